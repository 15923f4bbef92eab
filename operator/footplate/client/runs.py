"""What each run of a job was started with: the merged jobs that the operator keeps as ConfigMaps as long as the job."""

import json
from collections.abc import Mapping
from typing import Any

from footplate.client.job import Job
from footplate.contract import JOB_FILE, Label
from footplate.machinery.resources import CONFIG_MAPS
from footplate.objects import Object, block, is_controlled_by, number, text


def run_specs(job: Job) -> dict[int, Mapping[str, Any]]:
    """The merged spec (the runtime's and the job's) by number of the run, the newest first.

    Raises ClientError where ConfigMaps of the job's namespace may not be listed.
    """
    selector = f"{Label.JOB}={job.name}"
    found, _ = job.connection.run(job.connection.list(CONFIG_MAPS, namespace=job.namespace, selector=selector))
    ours = (_read(config_map) for config_map in found if is_controlled_by(config_map, job.manifest))
    return dict(sorted((each for each in ours if each is not None), reverse=True))


def _read(config_map: Object) -> tuple[int, Mapping[str, Any]] | None:
    """None of one that isn't a run's, or that can't be read."""
    try:
        config = json.loads(text(block(config_map, "data"), JOB_FILE))
    except (ValueError, RecursionError):
        return None
    run, spec = number(config, "run") if isinstance(config, dict) else None, block(config, "spec")
    return (run, spec) if run is not None and spec else None
