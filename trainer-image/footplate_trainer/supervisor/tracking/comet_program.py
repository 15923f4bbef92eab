"""Writes an offline experiment of Comet by its own library. A program of its own, as the library is heavy.

    python -m footplate_trainer.supervisor.tracking.comet_program < LINES

The first line says what the experiment is, each other one what was reported at a step.
"""

import json
import os
import sys
from collections.abc import Iterable


def main(lines: Iterable[str]) -> None:
    """Runs the program."""
    os.environ["COMET_INTERNAL_SENTRY_DSN"] = ""  # else what it warns of goes to its makers
    import comet_ml

    about, *rows = map(json.loads, lines)
    experiment = comet_ml.OfflineExperiment(
        project_name=about["project"],
        workspace=about["workspace"],
        experiment_key=about["key"],
        offline_directory=about["dir"],
        disabled=False,
        log_code=False,
        log_graph=False,
        log_env_details=False,
        log_git_metadata=False,
        log_git_patch=False,
        parse_args=False,
        auto_param_logging=False,
        auto_metric_logging=False,
        auto_output_logging=False,
        display_summary_level=0,
    )
    experiment.set_name(about["name"])
    experiment.log_parameters(about["parameters"])
    experiment.log_others(about["others"])
    for row in rows:
        experiment.log_metrics(row["metrics"], step=row["step"])
    experiment.end()


if __name__ == "__main__":
    main(sys.stdin)
