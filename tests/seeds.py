"""Random schedules by their numbers: `17` for one, `0-199` for many."""

import pytest


def parametrize_seeds(metafunc: pytest.Metafunc, seeds: str) -> None:
    """Has a test that takes a `seed` live through each of them."""
    if "seed" in metafunc.fixturenames:
        first, _, last = seeds.partition("-")
        numbers = range(int(first), int(last or first) + 1)
        metafunc.parametrize("seed", numbers, ids=[f"seed {number}" for number in numbers])
