"""Streams: one order on any number of ranks and workers, and a position that is found again to the sample."""

import random
from collections.abc import Iterator, Mapping
from itertools import chain
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import IterableDataset, get_worker_info

from footplate_trainer import data
from footplate_trainer.data import streams
from footplate_trainer.data.loader import Loader
from footplate_trainer.data.streams import StreamData
from footplate_trainer.errors import ConfigError, DataError


class Numbers(IterableDataset[tuple[int, float]]):
    """Numbers through a shuffle buffer, each with one drawn at random; it would share itself out over data workers."""

    def __init__(self, samples: int) -> None:
        self.samples = samples
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, float]]:
        worker = get_worker_info()
        buffer: list[int] = []
        for number in range(worker.id if worker else 0, self.samples, worker.num_workers if worker else 1):
            buffer.append(1000 * self.epoch + number)
            if len(buffer) > 4:
                yield buffer.pop(random.randrange(4)), float(torch.rand(()))
        for number in buffer:
            yield number, float(torch.rand(()))


class Remembering(IterableDataset[int]):
    """Says where it is, and counts what it had to read."""

    def __init__(self, samples: int) -> None:
        self.samples, self.next, self.reads = samples, 0, 0

    def __iter__(self) -> Iterator[int]:
        start, self.next = self.next, 0
        for number in range(start, self.samples):
            self.reads += 1
            self.next = number + 1
            yield number
        self.next = 0

    def state_dict(self) -> dict[str, Any]:
        return {"next": self.next}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.next = state["next"]


def make_loader(
    stream: Any,
    *,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
    batch_size: int = 4,
    drop_last: bool = False,
    epochs: int | None = None,
) -> Loader:
    streamed = StreamData(
        stream,
        batch_size=batch_size,
        drop_last=drop_last,
        seed=7,
        num_workers=workers,
        collate=list,
        pin_memory=False,
        rank=rank,
        world_size=world_size,
    )
    return Loader(streamed, epochs=epochs)


def take(loader: Loader, batches: int | None = None) -> list[Any]:
    taken: list[Any] = []
    for count, batch in enumerate(loader, start=1):
        taken.append(batch)
        if count == batches:
            break
    return taken


@pytest.mark.parametrize(("world_size", "workers"), [(1, 2), (2, 0), (3, 0), (2, 1)])
def test_ranks_and_workers_change_nothing_of_the_batches(world_size: int, workers: int) -> None:
    """18 samples are batches of 4, 4, 4, 4 and 2, which with three ranks is left out."""
    expected = take(make_loader(Numbers(18), epochs=2))
    assert sorted(number for batch in expected[5:] for number, _ in batch) == list(range(1000, 1018))
    assert len({value for batch in expected for _, value in batch}) == 36
    ranks = [
        take(make_loader(Numbers(18), rank=rank, world_size=world_size, workers=workers, epochs=2))
        for rank in range(world_size)
    ]
    whole = [batch for number, batch in enumerate(expected) if world_size < 3 or number not in (4, 9)]
    assert [list(chain(*shares)) for shares in zip(*ranks, strict=True)] == whole


@pytest.mark.parametrize(("cut", "workers"), [(1, 0), (4, 0), (5, 0), (7, 0), (7, 2)])
def test_a_position_is_found_again_to_the_sample(cut: int, workers: int) -> None:
    expected = take(make_loader(Numbers(18), epochs=2))
    first, second = (make_loader(Numbers(18), workers=workers, epochs=2) for _ in range(2))
    seen = take(first, cut)
    assert first.epoch_ended == (cut == 5)
    second.load_state_dict(first.state_dict())
    assert seen + take(second) == expected


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stream_that_knows_its_position_isnt_gone_through_again(workers: int) -> None:
    first, stream = make_loader(Remembering(30), workers=workers), Remembering(30)
    assert take(first, 3) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    state = first.state_dict()
    assert state["state"] == {"next": 12}
    second = make_loader(stream)
    second.load_state_dict(state)
    assert take(second)[0] == [12, 13, 14, 15]
    assert stream.reads == 18
    assert take(second)[0] == [0, 1, 2, 3]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_endless_stream_is_cut_into_epochs_and_read_once(workers: int) -> None:
    loader = make_loader(Remembering(10**9), workers=workers)
    loader.steps_per_epoch = 3
    assert [number for _ in range(4) for batch in take(loader) for number in batch] == list(range(48))
    assert (loader.epoch, loader.samples_done) == (4, 48)


def test_an_evaluation_leaves_out_nothing_and_disturbs_nobody() -> None:
    train = make_loader(Remembering(14), world_size=3, rank=2)
    assert take(train, 1) == [[2, 3]]
    held_out = train.beginning()
    assert list(held_out.shares()) == [[2, 3], [6, 7], [10, 11], [13]]
    assert list(make_loader(Remembering(13), world_size=3, rank=1).beginning().shares())[3] is None
    assert take(train) == [[6, 7], [10, 11]]


def test_loading_draws_nothing_from_trainings_random_numbers() -> None:
    torch.manual_seed(3), random.seed(3)
    expected = (torch.rand(3).tolist(), random.random())
    torch.manual_seed(3), random.seed(3)
    take(make_loader(Numbers(18)))
    assert (torch.rand(3).tolist(), random.random()) == expected


def test_drop_last_leaves_out_what_fills_no_batch() -> None:
    assert take(make_loader(Remembering(11), drop_last=True)) == [[0, 1, 2, 3], [4, 5, 6, 7]]


class Once(IterableDataset[int]):
    def __init__(self) -> None:
        self._numbers = iter(range(6))

    def __iter__(self) -> Iterator[int]:
        return self._numbers


@pytest.mark.parametrize("stream", [Remembering(0), Remembering(2)])
def test_a_stream_without_a_batch_is_an_error(stream: Any) -> None:
    with pytest.raises(DataError, match="the stream gave no batch of at least 3 samples in pass 1"):
        take(make_loader(stream, world_size=3))


def test_what_cant_begin_anew_is_an_error() -> None:
    with pytest.raises(DataError, match="whether its __iter__ begins anew each time"):
        take(make_loader(Once(), epochs=2))
    with pytest.raises(ConfigError, match="a range_iterator can be gone through only once"):
        data.loader(iter(range(5)), batch_size=2)


def test_a_stream_that_has_become_shorter_is_an_error() -> None:
    loader, again = make_loader(Numbers(18)), make_loader(Numbers(6))
    take(loader, 3)
    again.load_state_dict(loader.state_dict())
    with pytest.raises(DataError, match=r"training was at sample 12 .* which now has only 6; use the same data"):
        take(again)


def test_batches_must_have_a_sample_for_each_rank_where_they_train() -> None:
    with pytest.raises(ConfigError, match="batch_size=4, for all ranks together, is too small for 5 ranks"):
        make_loader(Remembering(20), world_size=5).check_training()
    with pytest.raises(ConfigError, match=r"batch_size=0\): it must be a whole number, at least 1"):
        data.loader(Remembering(20), batch_size=0)


def test_the_position_in_a_stream_isnt_one_in_numbered_data() -> None:
    numbered = data.loader(list(range(8)), batch_size=4, seed=7)
    with pytest.raises(ConfigError, match="samples=None, this one has samples=8"):
        numbered.load_state_dict(make_loader(Remembering(8)).state_dict())


def test_a_stream_that_was_looked_at_begins_anew() -> None:
    loader = make_loader(Remembering(14))
    assert len(take(loader.beginning(), 2)) == 2
    assert take(loader)[0] == [0, 1, 2, 3]


class Uncopied(Remembering):
    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("cannot copy a socket")


def test_what_cant_be_copied_cant_be_evaluated_in_the_middle_of_training() -> None:
    loader = make_loader(Uncopied(14))
    assert take(loader.beginning())[0] == [0, 1, 2, 3]
    take(loader, 1)
    with pytest.raises(ConfigError, match=r"Uncopied .* cannot copy a socket\); give the validation a dataset"):
        loader.beginning()


@pytest.mark.parametrize(("batch_size", "left_out"), [(4, 2), (3, 0)])
def test_what_is_left_out_is_said(monkeypatch: pytest.MonkeyPatch, batch_size: int, left_out: int) -> None:
    notes: list[str] = []
    monkeypatch.setattr(streams, "reporter", lambda: SimpleNamespace(note=notes.append))
    for drop_last in (False, True):
        take(make_loader(Remembering(18), world_size=3, batch_size=batch_size, drop_last=drop_last))
    assert len(notes) == bool(left_out)
    assert all(
        f"last {left_out} samples of pass 1 are left out: they are fewer than the 3 ranks" in note for note in notes
    )
