"""The witness of a soak tells when a job is where it should be, when it never gets there, and what was broken."""

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

import soak.witness
from soak.stories import STORIES, fate_of
from soak.witness import Stuck, Witness


class Events:
    """A client whose watch of jobs brings what a test gives it, and whose watch of pods brings nothing."""

    def __init__(self, *jobs: tuple[str, Any]) -> None:
        self.jobs = jobs

    async def follow(self, path: str) -> AsyncIterator[tuple[str, Any]]:
        yield "LIST", []
        for event in self.jobs if "trainingjobs" in path else ():
            yield event


def job(phase: str, *conditions: str) -> dict[str, Any]:
    held = [{"type": kind, "status": "True"} for kind in conditions]
    return {
        "metadata": {"name": "j", "uid": "u", "generation": 1},
        "status": {"observedGeneration": -1, "phase": phase, "run": 1, "conditions": held},
    }


async def test_a_job_that_is_there() -> None:
    witness = Witness(cast(Any, Events(("ADDED", job("Pending")), ("MODIFIED", job("Running")))))
    await witness.run()
    await witness.until("j", lambda status: status.get("phase") == "Running", "Running")
    assert witness.phases == {"Pending": 1, "Running": 1}
    assert witness.violations == []


async def test_a_job_that_never_gets_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak.witness, "PATIENCE_SECONDS", 0.01)
    witness = Witness(cast(Any, Events(("ADDED", job("Pending")))))
    await witness.run()
    with pytest.raises(Stuck, match=r"j isn't Running, but .*Pending"):
        await witness.until("j", lambda status: status.get("phase") == "Running", "Running")
    with pytest.raises(Stuck, match="j isn't gone"):
        await witness.until_gone("j")


async def test_a_job_that_went_while_nobody_watched() -> None:
    witness = Witness(cast(Any, Events(("ADDED", job("Running")), ("LIST", []))))
    await witness.run()
    await witness.until_gone("j")


async def test_a_broken_invariant_is_told_once() -> None:
    both = job("Failed", "Complete", "Failed", "Finished")
    witness = Witness(cast(Any, Events(("ADDED", both), ("DELETED", both))))
    await witness.run()
    assert witness.violations == ["j: Complete and Failed"]
    await witness.until_gone("j")


@pytest.mark.parametrize("story", STORIES)
def test_each_story_has_an_end(story: str) -> None:
    """Every rank of some attempt ends by itself, or the story waits for none."""
    fates = [fate_of(pod(story, attempt, rank)) for attempt in (0, 1) for rank in (0, 1)]
    assert any(fates) or story == "deleted"
    if story in ("crashes", "recovers"):
        assert fates[0] is not None
        assert fates[0].code == 1
        assert fates[1] is None


def pod(story: str, attempt: int, rank: int) -> dict[str, Any]:
    labels = {"job": f"{story}-1-1", "attempt": str(attempt), "rank": str(rank)}
    return {"metadata": {"labels": {f"footplate.dev/{key}": value for key, value in labels.items()}}}
