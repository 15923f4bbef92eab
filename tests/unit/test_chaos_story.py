"""What must not be in a story is found in it, and nothing else is."""

from dataclasses import replace
from typing import Any

import pytest

from chaos.schedule import STEPS, Fault, Kind, Moment, Schedule, Strike, Variant
from chaos.story import Step, Story, Struck, parse_steps, problems, resumptions

LAST = STEPS["exact.py"]


def steps(attempt: int, first: int, last: int) -> list[Step]:
    """One second each, and a minute between attempts."""
    return [Step(attempt, step, f"0x{step}", attempt * 60.0 + step) for step in range(first, last + 1)]


def struck(*kinds: Kind, attempt: int = 0, complete: tuple[int, ...] = ()) -> Struck:
    strike = Strike(Moment.STEP, 30, 0.0, tuple(Fault(kind, 0, 0.0) for kind in kinds))
    return Struck(strike, attempt, complete, kinds)


def ended(attempt: int, reason: str, **more: Any) -> dict[str, Any]:
    return {"attempt": attempt, "reason": reason, **more}


def story(*taken: list[Step], by: Struck, reason: str = "Killed", **status: Any) -> Story:
    """A job whose first attempt was struck, and whose second one ended well."""
    attempts = [ended(0, reason), ended(1, "Completed")]
    restarts = {"user": int(reason == "Killed"), "infrastructure": int(reason == "Evicted"), "hang": 0}
    told = {"phase": "Succeeded", "artifact": {}, "attempt": 1, "attempts": attempts, "restarts": restarts}
    return Story(
        Schedule(1, "exact.py", Variant.PLAIN, 1, 1, 0, (by.strike,)),
        struck=[by],
        status={**told, "artifact": {"uri": "s3://models/"}, **status},
        steps=[step for each in taken for step in each],
        reference_steps=steps(0, 1, LAST),
        result={"sha256": "a"},
        reference={"sha256": "a"},
        checkpoints={60: 0, 72: 1},
    )


KILLED = story(steps(0, 1, 40), steps(1, 37, LAST), by=struck(Kind.RANK_KILLED, complete=(24, 36)))
EVICTED = story(steps(0, 1, 40), steps(1, 41, LAST), by=struck(Kind.POD_EVICTED), reason="Evicted")
ZOMBIE = story(
    steps(0, 1, 40), steps(1, 37, 50), steps(0, 41, 60), steps(1, 51, LAST), by=struck(Kind.NODE_PARTITIONED)
)


@pytest.mark.parametrize("good", [KILLED, EVICTED, ZOMBIE], ids=["killed", "evicted", "zombie"])
def test_a_story_as_it_should_be(good: Story) -> None:
    assert problems(good) == []


BAD = {
    "failed": (replace(KILLED, status={**KILLED.status, "phase": "Failed"}), "ended Failed"),
    "other weights": (replace(KILLED, result={"sha256": "b"}), "differs from that of an undisturbed run in ['sha256']"),
    "other step": (
        replace(KILLED, steps=[Step(0, 1, "0x0"), *KILLED.steps[1:]]),
        "1 steps went otherwise than in an undisturbed run, first Step(attempt=0, step=1, outcome='0x0', time=0.0)",
    ),
    "left out": (story(steps(0, 1, 40), steps(1, 43, LAST), by=struck(Kind.POD_KILLED)), "nobody took: [41, 42]"),
    "twice in one": (
        story([*steps(0, 1, 40), *steps(0, 40, 41)], steps(1, 37, LAST), by=struck(Kind.POD_KILLED)),
        "attempt 0 took the steps",
    ),
    "lost though asked": (
        story(steps(0, 1, 40), steps(1, 40, LAST), by=struck(Kind.POD_EVICTED), reason="Evicted"),
        "1 steps lost at a clean stop, attempt 0 (to step 40) → 1 (from 40): pod evicted",
    ),
    "lost though API down": (
        story(
            steps(0, 1, 40), steps(1, 37, LAST), by=struck(Kind.SUSPENDED, Kind.API_BROKEN), reason="SuspendedByUser"
        ),
        "4 steps lost at a clean stop",
    ),
    "complete lost": (
        story(steps(0, 1, 40), steps(1, 25, LAST), by=struck(Kind.POD_KILLED, complete=(24, 36))),
        "step 36 was complete, attempt 0 (to step 40) → 1 (from 25)",
    ),
    "never saved": (
        story(steps(0, 1, 40), steps(1, 1, LAST), by=struck(Kind.POD_KILLED)),
        "40 steps lost: for 28 s none of them was saved",
    ),
    "miscounted": (replace(KILLED, status={**KILLED.status, "restarts": {"hang": 1}}), "restarts.hang is 1"),
    "misreported": (
        replace(KILLED, status={**KILLED.status, "attempts": [ended(0, "Killed", lastStep=41)], "attempt": 0}),
        "attempt 0 says its last step was 41, but it was 40",
    ),
    "usage": (
        replace(
            KILLED, status={**KILLED.status, "usage": {"nodeSeconds": 5, "productiveSeconds": 3, "lostSeconds": 3}}
        ),
        "usage doesn't add up",
    ),
    "zombie": (replace(KILLED, checkpoints={60: 1, 72: 0}), "a zombie has committed"),
}


@pytest.mark.parametrize(("bad", "said"), BAD.values(), ids=BAD)
def test_what_must_not_be(bad: Story, said: str) -> None:
    assert any(said in problem for problem in problems(bad)), problems(bad)


def test_what_may_be_lost() -> None:
    """Steps since a checkpoint that is damaged, that storage didn't take, or that was being written."""
    damaged = story(steps(0, 1, 40), steps(1, 13, LAST), by=struck(Kind.DAMAGED, complete=(12, 24, 36)))
    refused = story(steps(0, 1, 40), steps(1, 1, LAST), by=struck(Kind.POD_EVICTED, Kind.S3_REFUSED), reason="Evicted")
    saving = story(steps(0, 1, 40), steps(1, 22, LAST), by=struck(Kind.POD_KILLED))
    assert problems(damaged) == problems(refused) == problems(saving) == []


def test_resumptions_leave_out_attempts_that_took_no_step() -> None:
    text = "0 1 0x1 10.0\n0 2 0x2 10.5\n2 3 0x3 14.0\n"
    evicted = replace(struck(Kind.POD_EVICTED, attempt=1), time=11.0)
    [resumption] = resumptions(replace(KILLED, steps=parse_steps(text), struck=[evicted]))
    assert (resumption.before, resumption.after, resumption.lost, resumption.clean) == (2, 3, 0, True)
    assert (resumption.cause, resumption.seconds) == (Kind.POD_EVICTED, 3.0)
