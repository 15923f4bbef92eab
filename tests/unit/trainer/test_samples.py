"""Batches are those of samples that were all seeded, though few are; training's random numbers stay as they were."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from footplate_trainer.data import samples
from footplate_trainer.data.samples import BatchMaker, Traces
from footplate_trainer.rank.seeds import GENERATORS, derive_seed, seed_everything, seed_host

SEED = 5
BATCHES = [[(0, sample) for sample in (3, 1, 4)], [(0, 5), (0, 9), (0, 2)], [(1, sample) for sample in (3, 1, 4)]]


class Dataset:
    """Samples by a function of their number."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        self.make = make

    def __getitem__(self, sample: int) -> Any:
        return self.make(sample)


def late(sample: int) -> float:
    return random.random() if sample in (9, 1) else 0.5


def of_its_seed(sample: int) -> float:
    return sample + float(np.random.default_rng(torch.initial_seed()).random())


def odd_normal(_sample: int) -> float:
    """numpy makes two at a time, and holds the second back."""
    return float(np.random.normal())


DATASETS: dict[str, Callable[[int], Any]] = {
    "nothing": lambda sample: {"pixels": torch.full((2,), sample), "label": sample, "name": str(sample)},
    "arrays": lambda sample: (np.full(2, sample), np.float32(sample)),
    "torch": lambda sample: sample + torch.rand(2),
    "random": lambda sample: sample + random.random(),
    "random's normal": lambda sample: sample + random.gauss(0, 1),
    "numpy": lambda sample: sample + np.random.rand(),
    "numpy's normal": odd_normal,
    "all": lambda sample: sample + float(torch.rand(())) + random.random() + float(np.random.rand()),
    "some samples alone": late,
    "its seed": of_its_seed,
}


def seeded(make: Callable[[int], Any], collate: Callable[[list[Any]], Any]) -> list[Any]:
    """What every sample's own seeds make of it."""

    def one(epoch: int, sample: int) -> Any:
        seed_host(derive_seed(SEED, "sample", epoch, sample))
        return make(sample)

    return [collate([one(*key) for key in keys]) for keys in BATCHES]


def state() -> tuple[Any, ...]:
    name, words, *rest = np.random.get_state()
    return torch.get_rng_state().tolist(), random.getstate(), name, words.tolist(), rest


def prepare_generators(kind: str) -> None:
    seed_everything(11)
    if kind == "a normal held back":
        np.random.normal()
        random.gauss(0, 1)


def mixed(batch: Sequence[Any]) -> Any:
    return default_collate(batch), random.random(), torch.rand(()).item(), np.random.normal()


@pytest.mark.parametrize("generators", ["fresh", "a normal held back"])
@pytest.mark.parametrize("collate", [default_collate, mixed], ids=["collate", "a collate that draws"])
@pytest.mark.parametrize("make", DATASETS.values(), ids=DATASETS)
def test_batches_are_those_of_seeded_samples(
    make: Callable[[int], Any], collate: Callable[[list[Any]], Any], generators: str
) -> None:
    expected = seeded(make, collate)
    prepare_generators(generators)
    before = state()
    maker = BatchMaker(Dataset(make), SEED, collate)
    assert str([maker(keys) for keys in BATCHES]) == str(expected)
    assert state() == before


@pytest.mark.parametrize(
    ("make", "generators"),
    [
        pytest.param(DATASETS["nothing"], set(), id="none"),
        pytest.param(DATASETS["arrays"], set(), id="arrays"),
        pytest.param(DATASETS["torch"], {"torch"}, id="torch"),
        pytest.param(DATASETS["all"], GENERATORS, id="all"),
        pytest.param(of_its_seed, {"torch"}, id="who asks for the seed"),
    ],
)
def test_what_is_not_drawn_from_is_not_seeded(
    make: Callable[[int], Any], generators: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = BatchMaker(Dataset(make), SEED, list)
    maker(BATCHES[0])
    seen: list[Any] = []
    monkeypatch.setattr(samples, "seed_host", lambda seed, which: seen.append(which) or seed_host(seed, which))
    maker(BATCHES[1])
    assert [set(which) for which in seen] == ([generators] * 3 if generators else [])


def test_an_error_leaves_the_generators_as_they_were() -> None:
    def fail(sample: int) -> float:
        if sample == 4:
            random.random()
            raise LookupError(sample)
        return 0.0

    seed_everything(11)
    before = state()
    with pytest.raises(LookupError):
        BatchMaker(Dataset(fail), SEED, list)(BATCHES[0])
    assert state() == before


class GpuGenerator:
    """As torch's of a device, whose offset moves with each draw."""

    def __init__(self) -> None:
        self.seed, self.offset = 7, 40

    def initial_seed(self) -> int:
        return self.seed

    def get_offset(self) -> int:
        return self.offset

    def manual_seed(self, seed: int) -> None:
        self.seed, self.offset = seed, 0

    def set_offset(self, offset: int) -> None:
        self.offset = offset


def test_a_gpus_generator_is_put_back_and_never_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = GpuGenerator()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "default_generators", (generator,))
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda: pytest.fail("allocates, and copies"))

    def draw(sample: int) -> int:
        generator.offset += 4
        return sample

    maker = BatchMaker(Dataset(draw), SEED, list)
    assert [maker(keys) for keys in BATCHES] == [[3, 1, 4], [5, 9, 2], [3, 1, 4]]
    assert (generator.seed, generator.offset) == (7, 40)


def test_another_generator_of_numpy_is_told_too() -> None:
    kept = np.random.get_bit_generator()
    np.random.set_bit_generator(np.random.PCG64(3))
    try:
        traces = Traces()
        before = traces.look()
        assert traces.restore(before) == set()
        first = np.random.rand()
        assert traces.restore(before) == {"numpy"}
        assert np.random.rand() == first
    finally:
        np.random.set_bit_generator(kept)


def test_the_slow_way_sees_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Traces()._random_words is not None
    monkeypatch.setattr(samples, "_find_random_words", lambda: None)
    traces = Traces()
    before = traces.look()
    first = random.random()
    assert traces.restore(before) == {"random"}
    assert random.random() == first
