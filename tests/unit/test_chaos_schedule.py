"""Schedules of faults are what they say they are."""

from itertools import pairwise

import pytest

from chaos.schedule import EVERY, KINDS, NATURES, STEPS, VARIANTS, Kind, Moment, draw

SEEDS = range(500)


def test_a_seed_is_a_schedule() -> None:
    assert [draw(seed) for seed in SEEDS] == [draw(seed) for seed in SEEDS]
    assert len({draw(seed).strikes for seed in SEEDS}) == len(SEEDS)


@pytest.mark.parametrize("start", [0, 100])
def test_a_row_of_seeds_meets_every_kind(start: int) -> None:
    """Each first in some schedule."""
    firsts = {draw(seed).strikes[0].faults[0].kind for seed in range(start, start + len(KINDS))}
    assert firsts == set(KINDS) == NATURES.keys()


def test_all_moments_and_shapes_are_drawn() -> None:
    schedules = [draw(seed) for seed in SEEDS]
    assert {strike.moment for schedule in schedules for strike in schedule.strikes} == set(Moment)
    shapes = {(schedule.program, schedule.world) for schedule in schedules}
    assert shapes == {(program, world) for program in STEPS for world in (1, 2, 3)}
    variants = {(schedule.program, schedule.variant) for schedule in schedules}
    assert variants == {(program, variant) for program, several in VARIANTS.items() for variant in several}
    assert {len(strike.faults) for schedule in schedules for strike in schedule.strikes} == {1, 2}


def test_strikes_follow_the_training() -> None:
    for schedule in map(draw, SEEDS):
        steps = [strike.step for strike in schedule.strikes if strike.moment is not Moment.STARTING]
        assert all(before <= after + EVERY for before, after in pairwise(steps))
        assert all(0 < step <= STEPS[schedule.program] for step in steps)


def test_a_start_is_struck_only_where_there_is_one() -> None:
    for schedule in map(draw, SEEDS):
        for before, strike in pairwise(schedule.strikes):
            assert strike.moment is not Moment.STARTING or before.ends


def test_what_nobody_could_notice_is_not_drawn() -> None:
    for schedule in map(draw, SEEDS):
        for strike in schedule.strikes:
            kinds = {fault.kind for fault in strike.faults}
            if Kind.RANK_FROZEN in kinds:
                assert schedule.program == "exact.py"
                assert strike.moment in (Moment.STEP, Moment.SAVING)
            if Kind.POD_FROZEN in kinds:
                assert schedule.nodes > 1
