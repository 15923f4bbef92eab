"""Each invariant is seen when it is broken, and only then."""

from typing import Any

import pytest

from invariants import Invariants


def job(*conditions: str, generation: int = 1, **status: Any) -> dict[str, Any]:
    held = [{"type": kind, "status": "True"} for kind in conditions]
    seen = {"run": 1, "observedGeneration": 1, "phase": "Running", **status, "conditions": held}
    return {"metadata": {"generation": generation}, "status": seen}


def pod(uid: str, *, attempt: int = 0, phase: str = "Running") -> dict[str, Any]:
    labels = {"footplate.dev/run": "1", "footplate.dev/attempt": str(attempt), "footplate.dev/rank": "0"}
    return {"metadata": {"uid": uid, "labels": labels}, "status": {"phase": phase}}


BROKEN = {
    "both": ([job("Complete", "Failed", "Finished")], "Complete and Failed"),
    "undone": ([job("Finished"), job()], "Finished was undone"),
    "ahead": ([job(observedGeneration=2)], "observedGeneration is ahead"),
    "attempt": ([job(attempt=1), job(attempt=0)], "run and attempt went back from (1, 1) to (1, 0)"),
    "restarts": ([job(restarts={"total": 2}), job(restarts={"total": 1})], "restarts went back from 2 to 1"),
}


@pytest.mark.parametrize(("versions", "violation"), BROKEN.values(), ids=BROKEN)
def test_a_broken_invariant(versions: list[dict[str, Any]], violation: str) -> None:
    seen = Invariants()
    for version in versions:
        seen.see_job(version)
    assert violation in seen.violations


def test_a_status_that_generic_tools_would_misread() -> None:
    seen = Invariants()
    seen.see_job(job("Stalled"))
    assert seen.violations == [
        "running: kstatus, Argo CD and Flux say ('Failed', 'Degraded', 'Failed'), "
        "not ('Current', 'Progressing', 'InProgress')"
    ]


def test_an_ordinary_life() -> None:
    seen = Invariants()
    done = job("Complete", "Finished", phase="Succeeded", attempt=1, restarts={"total": 1})
    for version in (job("Reconciling", phase="Pending"), job("Running", attempt=0), done, job(run=2)):
        seen.see_job(version)
    for each, gone in ((pod("a"), False), (pod("b", attempt=1), False), (pod("a"), True), (pod("c"), False)):
        seen.see_pod(each, gone=gone)
    assert seen.violations == []


def test_two_pods_of_one_rank() -> None:
    seen = Invariants()
    seen.see_pod(pod("a", phase="Failed"))
    seen.see_pod(pod("b"))
    assert seen.violations == []
    seen.see_pod(pod("c"))
    assert seen.violations == ["2 live pods of run, attempt and rank ('1', '0', '0')"]
