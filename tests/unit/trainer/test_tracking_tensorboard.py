"""Event files, read back by TensorBoard's own reader."""

import math
from pathlib import Path

import pytest

from footplate.records import Line
from footplate_trainer.errors import StorageUnavailable
from footplate_trainer.storage.store import Store
from footplate_trainer.supervisor.tracking import event_file, tensorboard
from footplate_trainer.supervisor.tracking.tensorboard import TensorBoard
from footplate_trainer.supervisor.tracking.tracker import TrackerTrouble

Points = list[tuple[int, float]]


def scalars(folder: Path) -> dict[str, Points]:
    """What TensorBoard would show."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    read.Reload()
    return {name: [(event.step, event.value) for event in read.Scalars(name)] for name in read.Tags()["scalars"]}


def writer(folder: Path, attempt: int = 0) -> TensorBoard:
    made = TensorBoard(f"file://{folder}", lambda uri: Store.open(uri), attempt, clock=lambda: 1e9)
    made.begin()
    return made


def lines(*steps: int, value: float = 0.5) -> list[Line]:
    return [Line(1e9 + step, step, None, {"loss": value, "val/größe": float(step)}) for step in steps]


def test_what_is_written_is_what_tensorboard_reads(tmp_path: Path) -> None:
    written = writer(tmp_path)
    written.send(lines(1, 2))
    written.send(lines(200, 2**40))
    assert scalars(tmp_path) == {
        "loss": [(1, 0.5), (2, 0.5), (200, 0.5), (2**40, 0.5)],
        "val/größe": [(1, 1.0), (2, 2.0), (200, 200.0), (2**40, float(2**40))],
    }
    assert written.url == f"file://{tmp_path}/"


def test_the_time_and_values_beyond_32_bits(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    writer(tmp_path).send([Line(1234.5, 1, None, {"loss": 1e300})])
    (path,) = tmp_path.iterdir()
    head, value = EventFileLoader(str(path)).Load()
    assert head.file_version == "brain.Event:2"
    assert value.wall_time == 1234.5
    assert math.isinf(event_file._single(1e300))


def test_steps_that_an_attempt_does_again_are_shown_once_as_they_were_done_last(tmp_path: Path) -> None:
    writer(tmp_path).send(lines(1, 2, 3, 4, 5))
    again = writer(tmp_path, attempt=1)
    again.send(lines(3, 4, value=0.25))
    again.send(lines(5, 6, value=0.25))
    assert scalars(tmp_path)["loss"] == [(1, 0.5), (2, 0.5), (3, 0.25), (4, 0.25), (5, 0.25), (6, 0.25)]


def test_a_training_that_goes_back_within_an_attempt(tmp_path: Path) -> None:
    writer(tmp_path).send(lines(1, 2, 3) + lines(2, value=0.25))
    assert scalars(tmp_path)["loss"] == [(1, 0.5), (2, 0.25)]


def test_a_file_that_is_large_enough_is_left_and_the_next_one_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorboard, "MAX_FILE_BYTES", 2000)
    written = writer(tmp_path)
    for step in range(100):
        written.send(lines(step))
    sizes = [path.stat().st_size for path in sorted(tmp_path.iterdir())]
    assert len(sizes) > 3
    assert max(sizes) < 2300
    assert [step for step, _ in scalars(tmp_path)["loss"]] == [*range(100)]


def test_what_storage_did_not_take_is_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = writer(tmp_path)
    put = Store.put

    def refuse(*_: object, **__: object) -> None:
        raise StorageUnavailable("storage is away")

    monkeypatch.setattr(Store, "put", refuse)
    with pytest.raises(TrackerTrouble, match="storage is away"):
        written.send(lines(1))
    monkeypatch.setattr(Store, "put", put)
    written.send(lines(1))
    written.send(lines(2))
    assert scalars(tmp_path)["loss"] == [(1, 0.5), (2, 0.5)]
