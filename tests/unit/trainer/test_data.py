"""The order of samples: every sample once an epoch, over any world size and any interruption."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from footplate_trainer import data
from footplate_trainer.data.indexed import Batching, FetchSamples, IndexedData, Order, SliceTensors
from footplate_trainer.data.loader import Loader
from footplate_trainer.errors import ConfigError, DataError


def make_loader(
    samples: int,
    *,
    batch_size: int,
    rank: int = 0,
    world_size: int = 1,
    drop_last: bool = False,
    shuffle: bool = True,
    epochs: int | None = None,
) -> Loader:
    """A loader of the numbers 0 to samples - 1, as a rank of a gang sees it."""
    split = Batching(samples, batch_size, drop_last=drop_last)
    fetch = SliceTensors([torch.arange(samples)])
    order = Order(samples, 7, shuffle=shuffle)
    return Loader(IndexedData(split, order, fetch, rank=rank, world_size=world_size), epochs=epochs)


def take(loader: Loader, batches: int | None = None) -> list[int]:
    """The sample numbers of the next batches; of all where no number is given."""
    taken: list[int] = []
    for count, (numbers,) in enumerate(loader, start=1):
        taken += numbers.tolist()
        if count == batches:
            break
    return taken


@given(
    samples=st.integers(1, 200), batch_size=st.integers(1, 40), world_size=st.integers(1, 9), epoch=st.integers(0, 3)
)
def test_every_sample_is_handed_out_once_an_epoch(samples: int, batch_size: int, world_size: int, epoch: int) -> None:
    ranks = [
        make_loader(samples, batch_size=batch_size, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    for loader in ranks:
        loader.start_at(epoch)
    assert sorted(sample for loader in ranks for sample in take(loader)) == list(range(samples))


@given(
    samples=st.integers(1, 200),
    batch_size=st.integers(1, 40),
    worlds=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 5)), max_size=6),
    drop_last=st.booleans(),
)
def test_an_interrupted_epoch_goes_on_where_it_was(
    samples: int, batch_size: int, worlds: list[tuple[int, int]], drop_last: bool
) -> None:
    """However often it is interrupted, and whatever world it goes on in, the batches are those of one rank at rest."""
    whole = take(make_loader(samples, batch_size=batch_size, drop_last=drop_last))
    seen: list[int] = []
    position = make_loader(samples, batch_size=batch_size, drop_last=drop_last).state_dict()
    smallest = min(
        (end - start for start, end in Batching(samples, batch_size, drop_last=drop_last).bounds()), default=1
    )
    for world_size, batches in [*worlds, (1, 1000)]:
        if world_size > smallest:
            continue  # `data.loader` refuses a training loop whose batches would leave a rank without a sample
        ranks = [
            make_loader(samples, batch_size=batch_size, drop_last=drop_last, rank=rank, world_size=world_size)
            for rank in range(world_size)
        ]
        for loader in ranks:
            loader.load_state_dict(position)
        streams = [iter(loader) for loader in ranks]
        for _ in range(batches):
            shares = [next(stream, None) for stream in streams]
            if all(share is None for share in shares):
                assert seen == whole
                return
            seen += [sample for share in shares if share is not None for sample in share[0].tolist()]
            position = max((loader.state_dict() for loader in ranks), key=lambda state: state["index"])
    assert seen == whole


@given(samples=st.integers(1, 500), batch_size=st.integers(1, 60), drop_last=st.booleans())
def test_batches_are_full_but_the_last_two(samples: int, batch_size: int, drop_last: bool) -> None:
    split = Batching(samples, batch_size, drop_last=drop_last)
    sizes = [end - start for start, end in split.bounds()]
    assert len(sizes) == split.batches == (samples // batch_size if drop_last else -(-samples // batch_size))
    assert all(size == batch_size for size in sizes[:-2])
    assert drop_last or len(sizes) == 1 or min(sizes) >= batch_size // 2


@given(samples=st.integers(2, 100), epoch=st.integers(0, 50))
def test_each_epoch_has_an_order_of_its_own_and_always_the_same(samples: int, epoch: int) -> None:
    order = Order(samples, 7, shuffle=True)
    assert order.of_epoch(epoch).equal(Order(samples, 7, shuffle=True).of_epoch(epoch))
    if samples > 20:
        assert not order.of_epoch(epoch).equal(order.of_epoch(epoch + 1))


@given(samples=st.integers(1, 400), batch_size=st.integers(1, 50), epoch=st.integers(0, 9))
def test_by_length_each_sample_still_comes_once_an_epoch(samples: int, batch_size: int, epoch: int) -> None:
    lengths = torch.randint(1, 100, (samples,), generator=torch.Generator().manual_seed(samples))
    made = [Order(samples, 7, shuffle=True, lengths=lengths, together=batch_size).of_epoch(epoch) for _ in range(2)]
    assert made[0].equal(made[1])
    assert sorted(made[0].tolist()) == list(range(samples))


def test_by_length_batches_hold_samples_of_like_length() -> None:
    lengths = torch.randint(1, 100, (6400,), generator=torch.Generator().manual_seed(0))

    def padded(loader: Loader) -> tuple[int, list[int]]:
        longest = [int(lengths[batch[0]].max()) for batch in loader]
        return sum(longest), longest

    samples = TensorDataset(torch.arange(6400))
    at_random, _ = padded(data.loader(samples, batch_size=32))
    by_length, longest = padded(data.loader(samples, batch_size=32, lengths=lengths))
    assert by_length < 0.6 * at_random
    assert sorted(longest) != longest
    assert padded(data.loader(samples, batch_size=32, shuffle=False, lengths=lengths))[0] > 0.9 * at_random


def test_lengths_that_fit_no_samples() -> None:
    with pytest.raises(ConfigError, match=r"lengths\) has 3 values for 4 samples; give one a sample"):
        data.loader(TensorDataset(torch.arange(4)), batch_size=2, lengths=torch.ones(3))
    with pytest.raises(ConfigError, match="a stream's samples stay in its order; leave lengths out"):
        data.loader(iter(range(4)), batch_size=2, lengths=torch.ones(4))


def test_without_shuffling_the_order_is_the_datasets() -> None:
    assert take(make_loader(10, batch_size=3, shuffle=False)) == list(range(10))


def test_with_epochs_one_loop_goes_through_all() -> None:
    loader = make_loader(10, batch_size=4, epochs=3)
    epochs = [loader.epoch for _ in loader]
    assert epochs == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert (loader.epoch, loader.index, loader.samples_handed) == (3, 0, 30)


def test_a_loader_restored_at_an_epochs_end_ends_it_without_a_batch() -> None:
    """So the evaluation after the loop is done again, as if there had been no interruption."""
    loader = make_loader(10, batch_size=5)
    stream = iter(loader)
    next(stream), next(stream)
    assert loader.epoch_ended
    restored = make_loader(10, batch_size=5)
    restored.load_state_dict(loader.state_dict())
    assert restored.epoch == 0
    assert restored.epoch_ended
    assert take(restored) == []
    assert restored.epoch == 1


@pytest.mark.parametrize(("name", "value"), [("samples", 11), ("seed", 8)])
def test_a_position_in_other_data_is_refused(name: str, value: int) -> None:
    loader = make_loader(10, batch_size=5)
    with pytest.raises(ConfigError, match=f"{name}={value}"):
        loader.load_state_dict({**loader.state_dict(), name: value})


@pytest.mark.parametrize(
    ("samples", "batch_size", "world_size", "drop_last", "error"),
    [
        pytest.param(0, 4, 1, False, DataError, id="no samples"),
        pytest.param(3, 4, 1, True, DataError, id="drop_last leaves nothing"),
        pytest.param(10, 4, 4, False, ConfigError, id="last batches smaller than the gang"),
        pytest.param(100, 2, 4, False, ConfigError, id="batch smaller than the gang"),
    ],
)
def test_what_would_leave_a_rank_without_samples_is_refused(
    samples: int, batch_size: int, world_size: int, drop_last: bool, error: type[Exception]
) -> None:
    with pytest.raises(error, match="batch"):
        Batching(samples, batch_size, drop_last=drop_last).check(world_size=world_size, training=True)


def test_what_divides_evenly_may_have_one_sample_a_rank() -> None:
    Batching(100, 4, drop_last=False).check(world_size=4, training=True)


class Augmented(Dataset[tuple[int, float]]):
    """Samples with numbers drawn from all three generators."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> tuple[int, float]:
        return index, float(torch.rand(())) + random.random() + float(np.random.rand())


def augmentation(*, workers: int, batch_size: int = 4) -> dict[int, float]:
    """What each sample of one epoch was augmented with."""
    fetch = FetchSamples(Augmented(), 7, num_workers=workers, collate=list, pin_memory=False)
    split, order = Batching(12, batch_size, drop_last=False), Order(12, 7, shuffle=True)
    loader = Loader(IndexedData(split, order, fetch, rank=0, world_size=1), epochs=None)
    return {index: value for batch in loader for index, value in batch}


@pytest.mark.parametrize("kwargs", [{"workers": 2}, {"workers": 0, "batch_size": 3}], ids=["workers", "batch size"])
def test_augmentation_depends_on_seed_epoch_and_sample_alone(kwargs: dict[str, Any]) -> None:
    expected = augmentation(workers=0)
    assert len(set(expected.values())) == 12
    assert augmentation(**kwargs) == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_loading_draws_nothing_from_trainings_random_numbers(workers: int) -> None:
    torch.manual_seed(3), random.seed(3), np.random.seed(3)
    expected = (torch.rand(3).tolist(), random.random(), np.random.rand())
    torch.manual_seed(3), random.seed(3), np.random.seed(3)
    augmentation(workers=workers)
    assert (torch.rand(3).tolist(), random.random(), np.random.rand()) == expected


def test_workers_live_from_epoch_to_epoch() -> None:
    fetch = FetchSamples(Augmented(), 7, num_workers=1, collate=list, pin_memory=False)
    split, order = Batching(12, 4, drop_last=False), Order(12, 7, shuffle=True)
    loader = Loader(IndexedData(split, order, fetch, rank=0, world_size=1), epochs=2)
    stream: Iterator[Any] = iter(loader)
    first_epoch = [next(stream) for _ in range(3)]
    second_epoch = list(stream)
    assert sorted(index for batch in second_epoch for index, _ in batch) == list(range(12))
    assert {value for batch in first_epoch for _, value in batch}.isdisjoint(
        value for batch in second_epoch for _, value in batch
    )


def test_loader_makes_batches_of_tensors_at_once() -> None:
    tensors = TensorDataset(torch.arange(10), torch.arange(10) * 2)
    loader = data.loader(tensors, batch_size=4)
    for numbers, doubles in loader:
        assert doubles.equal(numbers * 2)
    assert len(loader) == 3


def test_a_dataset_without_a_length_is_a_stream() -> None:
    class Endless(IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            return iter(range(3))

    loader = data.loader(Endless(), batch_size=2)
    with pytest.raises(TypeError, match="steps_per_epoch"):
        len(loader)
    with pytest.raises(ConfigError, match="shuffle in the stream itself"):
        data.loader(Endless(), batch_size=2, shuffle=True)
    with pytest.raises(ConfigError, match="int has no samples by number"):
        data.loader(5, batch_size=2)


def test_epochs_of_steps_go_on_where_the_one_before_has_ended() -> None:
    """Ten samples in batches of four are 4, 3 and 3; an epoch of five batches is a pass and two thirds."""
    plain, stepped = make_loader(10, batch_size=4, epochs=5), make_loader(10, batch_size=4)
    expected = take(plain)
    stepped.steps_per_epoch = 5
    seen: list[int] = []
    for epoch in range(3):
        assert (stepped.epoch, stepped.batch, len(stepped)) == (epoch, 0, 5)
        seen += take(stepped)
    assert seen == expected
    assert stepped.samples_done == 50


@pytest.mark.parametrize("cut", range(1, 10))
def test_epochs_of_steps_are_resumed_where_they_were(cut: int) -> None:
    whole = make_loader(10, batch_size=4, epochs=2)
    whole.steps_per_epoch = 5
    expected = take(whole)
    first, second = make_loader(10, batch_size=4, epochs=2), make_loader(10, batch_size=4, epochs=2)
    first.steps_per_epoch = second.steps_per_epoch = 5
    seen = take(first, cut)
    assert first.epoch_ended == (cut == 5)
    second.load_state_dict(first.state_dict())
    assert second.epoch_ended == (cut == 5)
    assert seen + take(second) == expected


def test_a_position_of_an_earlier_version_is_understood() -> None:
    loader, again = make_loader(10, batch_size=4, epochs=3), make_loader(10, batch_size=4, epochs=3)
    take(loader, 5)
    again.load_state_dict({"epoch": 1, "index": 7, "samples": 10, "seed": 7})
    assert take(again) == take(loader)


def test_a_dataset_that_fails_doesnt_seem_to_have_ended() -> None:
    class Broken(Dataset[int]):
        broken = True

        def __len__(self) -> int:
            return 6

        def __getitem__(self, index: int) -> int:
            if index == 3 and self.broken:
                raise OSError("no such file")
            return index

    dataset = Broken()
    loader = data.loader(dataset, batch_size=2, shuffle=False)
    with pytest.raises(OSError, match="no such file"):
        list(loader)
    dataset.broken = False
    assert [batch.tolist() for batch in loader] == [[2, 3], [4, 5]]
