"""Writes an offline run of Weights & Biases by its own library. A program of its own, as the library is heavy.

    python -m footplate_trainer.supervisor.tracking.wandb_program < LINES

The first line says what the run is, each other one what was reported at a step.
"""

import json
import os
import sys
from collections.abc import Iterable


def main(lines: Iterable[str]) -> None:
    """Runs the program."""
    os.environ["WANDB_ERROR_REPORTING"] = "false"  # else what it warns of goes to its makers
    import wandb

    about, *rows = map(json.loads, lines)
    run = wandb.init(
        project=about["project"],
        entity=about["entity"],
        id=about["id"],
        name=about["name"],
        config=about["config"],
        dir=about["dir"],
        job_type="train",
        mode="offline",
        settings=wandb.Settings(console="off", silent=True, x_disable_stats=True, x_disable_meta=True),
    )
    for row in rows:
        run.log({**row["metrics"], "_timestamp": row["time"]}, step=row["step"])
    run.finish(exit_code=about["exitCode"])


if __name__ == "__main__":
    main(sys.stdin)
