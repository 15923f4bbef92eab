"""Random numbers that depend on nothing but what they are for."""

import random
from pathlib import Path

import numpy as np
import torch

from footplate_trainer.checkpoint import codec
from footplate_trainer.rank.seeds import derive_seed, random_state, seed_everything, set_random_state


def draw() -> tuple[list[float], float, float]:
    return torch.rand(3).tolist(), random.random(), float(np.random.rand())


def test_seeding_fixes_every_generator() -> None:
    seed_everything(2**63 - 1)
    first = draw()
    seed_everything(2**63 - 1)
    assert draw() == first
    seed_everything(1)
    assert draw() != first


def test_the_state_goes_through_a_file(tmp_path: Path) -> None:
    seed_everything(5)
    draw()
    codec.write(tmp_path / "state", codec.flatten(random_state()))
    expected = draw()
    draw()
    set_random_state(codec.read(tmp_path / "state").tree())
    assert draw() == expected


def test_derived_seeds_are_fixed_for_ever_and_differ_by_part() -> None:
    assert derive_seed(0, "order", 1) == 4489457307835839548
    seeds = {derive_seed(seed, what, number) for seed in range(9) for what in ("order", "rank") for number in range(9)}
    assert len(seeds) == 9 * 2 * 9
    assert all(0 <= seed < 2**63 for seed in seeds)
