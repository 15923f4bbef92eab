"""Some of `make fuzz`, with fixed seeds: nothing is unhandled, nothing is written outside, and all of it in bounds."""

import random
from typing import Any

import pytest

from footplate.policy.plan import Plan, Target
from fuzz.campaign import attack
from fuzz.grammar import hostile, mutated, places
from fuzz.results import any_results
from fuzz.subjects import Escaped, any_pod, any_status, check, manifest
from fuzz.words import any_answer, any_last_words
from unit.policy.build import UID

FIRST, CASES = 1_000_000, 100
SECONDS_EACH = 0.1
"""CPU, on average; the slowest is a gang of 10,000 pods, looked at six times."""
MAX_GROWTH = 400 * 2**20


SUBJECTS = (manifest, any_status, any_pod, any_answer, any_last_words, any_results)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_whatever_comes_it_is_answered(subject: Any) -> None:
    outcome = attack(subject, range(FIRST, FIRST + CASES))
    print(outcome)
    assert not outcome.failures, "\n".join(said for _, _, said in outcome.failures.values())
    assert len(outcome.became) > 1, "all of them go the same way: nothing is tried"
    assert outcome.seconds < SECONDS_EACH * CASES
    assert outcome.peak_bytes < MAX_GROWTH


def test_what_is_written_outside_is_found_out() -> None:
    owner = {"kind": "TrainingJob", "uid": UID, "controller": True}
    sound = {"kind": "Pod", "metadata": {"name": "fashion-1", "namespace": "team", "ownerReferences": [owner]}}
    check(Plan(create=(sound,)))
    for wrong in (
        {"namespace": "other"},
        {"name": "other-1"},
        {"ownerReferences": [{**owner, "uid": "another"}]},
        {"ownerReferences": [{**owner, "controller": False}]},
    ):
        with pytest.raises(Escaped):
            check(Plan(create=({**sound, "metadata": {**sound["metadata"], **wrong}},)))
    with pytest.raises(Escaped):
        check(Plan(delete=(Target("Pod", "other", "fashion-1"),)))
    with pytest.raises(Escaped):
        check(Plan(delete=(Target("Secret", "team", "fashion-1"),)))


def test_a_campaign_tells_failures_by_place_and_seed() -> None:
    def fails(rng: random.Random) -> str:
        return "even" if rng.random() < 0.5 else str(1 / 0)

    outcome = attack(fails, range(20))
    [(count, seed, said)] = outcome.failures.values()
    assert count + outcome.became["even"] == 20
    assert "ZeroDivisionError" in said
    with pytest.raises(ZeroDivisionError):
        fails(random.Random(f"fails/{seed}"))


def test_the_same_seed_is_the_same_case() -> None:
    raw = {"a": [1, {"b": "c"}], "d": {}}
    assert [repr(mutated(raw, random.Random(7))) for _ in range(2)] == [repr(mutated(raw, random.Random(7)))] * 2
    assert repr(hostile(random.Random(7))) == repr(hostile(random.Random(7)))
    assert raw == {"a": [1, {"b": "c"}], "d": {}}
    assert len([*places(raw)]) == 5
