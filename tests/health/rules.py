"""What generic tools must make of each status that a TrainingJob may have: run on every one that tests produce.

Never Failed or Degraded while the job may still succeed by itself; never Current or Healthy before it is settled; never
waiting where nothing more will come.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from health.judges import argo_health, flux_health, kstatus

Object = Mapping[str, Any]

EXPECTED = {
    "unseen": ("InProgress", "Progressing", "InProgress"),
    "working": ("InProgress", "Progressing", "InProgress"),
    "running": ("Current", "Progressing", "InProgress"),
    "suspended": ("Current", "Suspended", "Current"),
    "stalled": ("Failed", "Degraded", "Failed"),
    "failed": ("Failed", "Degraded", "Failed"),
    "complete": ("Current", "Healthy", "Current"),
}
"""By kstatus, Argo CD and Flux; docs/gitops.md has the same table. By kstatus a gang that runs is Current, as a Job is
that has started: who waits by it, as Helm does, waits for no training.
"""
_SETTLED = {"Succeeded": "complete", "Failed": "failed", "Suspended": "suspended", "Running": "running"}


def state_of(job: Object) -> str:
    """Where a job is, by what the operator has written of it."""
    status = job.get("status") or {}
    if status.get("observedGeneration", -1) != job["metadata"]["generation"]:
        return "unseen"
    settled = _SETTLED.get(str(status.get("phase")))
    stalled = any(each["type"] == "Stalled" and each["status"] == "True" for each in status.get("conditions") or ())
    return settled or ("stalled" if stalled else "working")


def unhealthy(job: Object) -> Iterator[str]:
    """What is wrong with what generic tools make of a job: nothing, always."""
    status, generation = job.get("status") or {}, job["metadata"]["generation"]
    conditions = status.get("conditions") or ()
    held = tuple((str(each["type"]), str(each["status"])) for each in conditions)
    yield from _wrong(state_of(job), generation, status.get("observedGeneration"), held)
    if any(each.get("observedGeneration", 0) > generation for each in conditions):
        yield "a condition speaks of a generation that is to come"


@lru_cache(maxsize=100_000)
def _wrong(
    state: str, generation: int, observed: int | None, conditions: tuple[tuple[str, str], ...]
) -> tuple[str, ...]:
    """The judges read nothing else, so what differs in other fields alone is judged once."""
    status: dict[str, Any] = {"conditions": [{"type": type_, "status": value} for type_, value in conditions]}
    if observed is not None:
        status["observedGeneration"] = observed
    job = {"metadata": {"generation": generation}, "status": status}
    found, wanted = (kstatus(job), argo_health(job)[0], flux_health(job)), EXPECTED[state]
    return () if found == wanted else (f"{state}: kstatus, Argo CD and Flux say {found}, not {wanted}",)
