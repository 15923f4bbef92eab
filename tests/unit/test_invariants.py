"""Each invariant is seen when it is broken, and only then."""

from typing import Any

import pytest

from invariants import Invariants


def job(*conditions: str, generation: int = 1, **status: Any) -> dict[str, Any]:
    held = [{"type": kind, "status": "True"} for kind in conditions]
    return {"metadata": {"generation": generation}, "status": {"run": 1, **status, "conditions": held}}


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
    assert seen.violations == [violation]


def test_an_ordinary_life() -> None:
    seen = Invariants()
    for version in (job(), job(attempt=0), job("Complete", "Finished", attempt=1, restarts={"total": 1}), job(run=2)):
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
