"""Who counts as slower than the others, and from when to when."""

import pytest

from footplate_trainer.timing.stragglers import MIN_LOOKS, WINDOW_SECONDS, StragglerWatch

Work = list[float]


def watch(work: Work, *, seconds: float = WINDOW_SECONDS, looks: int = MIN_LOOKS) -> dict[int, float]:
    """Factors of the stragglers after so many looks at the same work in so many seconds."""
    stragglers = StragglerWatch(2)
    found = [stragglers.look(work, now=seconds * look / (looks - 1)) for look in range(looks)]
    return {straggler.rank: straggler.factor for straggler in found[-1]}


@pytest.mark.parametrize(
    ("work", "stragglers"),
    [
        pytest.param([0.1, 0.1, 0.1], {}, id="all alike"),
        pytest.param([0.1, 0.14, 0.1], {}, id="a little slower"),
        pytest.param([0.1, 0.16, 0.1], {1: 1.6}, id="slower"),
        pytest.param([0.1, 0.3], {1: 3.0}, id="of two"),
        pytest.param([0.1, 0.2, 0.3, 0.1], {1: 2.0, 2: 3.0}, id="two of four"),
        pytest.param([0.0009, 0.0018, 0.0009], {}, id="by less than a millisecond"),
        pytest.param([0.0, 0.2, 0.1, 0.1], {1: 2.0}, id="one of whom nothing is known"),
        pytest.param([0.0, 0.2, 0.0], {}, id="nobody to compare with"),
        pytest.param([0.0, 0.0], {}, id="nothing known"),
        pytest.param([5.0], {}, id="alone"),
        pytest.param([0.01, 0.1, 0.1], {}, id="a fast one makes no other slow"),
    ],
)
def test_slow_means_against_the_median(work: Work, stragglers: dict[int, float]) -> None:
    assert watch(work) == stragglers


@pytest.mark.parametrize(
    ("seconds", "looks", "found"),
    [
        (WINDOW_SECONDS, MIN_LOOKS, True),
        (WINDOW_SECONDS - 1, 2 * MIN_LOOKS, False),
        (10 * WINDOW_SECONDS, MIN_LOOKS - 1, False),
    ],
    ids=["long enough", "too short", "too few looks"],
)
def test_it_takes_a_while(seconds: float, looks: int, found: bool) -> None:
    assert bool(watch([0.1, 0.1, 0.2], seconds=seconds, looks=looks)) == found


def test_it_is_over_at_the_first_good_look_and_begins_anew_after_it() -> None:
    stragglers = StragglerWatch(1)
    slow, good = [0.1, 0.1, 0.2], [0.1, 0.1, 0.1]
    found = [bool(stragglers.look(slow, now=now)) for now in range(32)]
    assert found == [False] * 30 + [True] * 2
    assert not stragglers.look(good, now=32)
    assert not any(stragglers.look(slow, now=now) for now in range(33, 63))


def test_the_slowest_come_first_each_with_its_node_and_there_are_not_too_many() -> None:
    stragglers = StragglerWatch(4)
    work = [0.1] * 20 + [0.2 + rank / 100 for rank in range(10)]
    found = [stragglers.look(work, now=4.0 * look) for look in range(MIN_LOOKS)][-1]
    assert [straggler.rank for straggler in found] == [29, 28, 27, 26, 25, 24, 23, 22]
    assert (found[0].node_rank, found[0].node) == (7, None)
