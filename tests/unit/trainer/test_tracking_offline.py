"""What an offline run is made of, and what is said where its library isn't there, or fails."""

from pathlib import Path

import pytest

from footplate.records import Line
from footplate_trainer.errors import StorageUnavailable
from footplate_trainer.storage.store import Store
from footplate_trainer.supervisor.tracking.offline import Offline, thinned
from footplate_trainer.supervisor.tracking.tracker import TrackerTrouble
from offline_runs import line, offline

LIBRARIES = pytest.mark.parametrize(
    ("library", "program"), [("wandb", "wandb_program"), ("comet_ml", "comet_program")], ids=["wandb", "comet"]
)


def test_steps_that_were_undone_are_left_out() -> None:
    lines = [(0, line(1)), (0, line(2)), (0, line(3)), (1, line(2, loss=9.0)), (1, line(2, acc=1.0)), (1, line(4))]
    assert [(each.step, each.metrics) for each in thinned(lines)] == [
        (1, {"loss": 1.0}), (2, {"loss": 9.0}), (2, {"acc": 1.0}), (4, {"loss": 4.0}),
    ]  # fmt: skip


@pytest.mark.parametrize("count", [10, 11, 39, 40, 41, 1000])
def test_of_many_lines_neighbours_are_told_as_one(count: int) -> None:
    lines = [(0, line(step, **{"loss": float(step), f"at {step % 3}": 1.0})) for step in range(count)]
    kept = thinned(lines, most=10)
    assert len(kept) <= 10
    assert kept[-1].step == count - 1
    assert [each.step for each in kept] == sorted({each.step for each in kept})
    assert all(each.metrics["loss"] == each.step for each in kept), "the newest value"
    if count > 30:
        assert {"at 0", "at 1", "at 2"} <= {*kept[0].metrics}, "and what is said besides"


def test_a_line_of_another_attempt_says_nothing_of_this_one() -> None:
    lines = [(0, line(step, old=1.0)) for step in range(5)] + [(1, line(step, new=1.0)) for step in range(5)]
    assert all(each.metrics == {"new": 1.0} for each in thinned(lines, most=5))


def write(made: Offline, tmp_path: Path) -> Path | None:
    return made.write({"id": "1"}, folder=tmp_path / "own", pattern="*.zip")


@LIBRARIES
def test_an_image_without_the_library_says_so(tmp_path: Path, library: str, program: str) -> None:
    with pytest.raises(TrackerTrouble, match=rf"the image has no {library}; name it in trainer\.requirements"):
        write(offline(tmp_path, library, program, [(0, line(1))]), tmp_path)


@LIBRARIES
def test_a_library_that_fails_is_told_by_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, program: str
) -> None:
    broken = tmp_path / "packages"
    broken.mkdir()
    (broken / f"{library}.py").write_text("raise ValueError('too old')")
    monkeypatch.setenv("PYTHONPATH", str(broken))
    with pytest.raises(TrackerTrouble, match="its library says: ValueError: too old"):
        write(offline(tmp_path, library, program, [(0, line(1))]), tmp_path)


def test_of_nothing_no_run_is_made(tmp_path: Path) -> None:
    nothing: list[tuple[int, Line]] = []
    assert write(offline(tmp_path, "wandb", "wandb_program", nothing), tmp_path) is None


def test_a_folder_is_stored_whole_and_a_file_by_its_name(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "files").mkdir(parents=True)
    (run / "files/a.txt").write_text("a")
    made = offline(tmp_path, "wandb", "wandb_program", [])
    assert made.store(run, "one") == f"file://{tmp_path}/stored/one/"
    assert made.store(run / "files/a.txt", "two.txt") == f"file://{tmp_path}/stored/two.txt"
    assert (tmp_path / "stored/one/files/a.txt").read_text() == "a"
    assert (tmp_path / "stored/two.txt").read_text() == "a"


def test_storage_that_is_away_is_the_trackers_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise StorageUnavailable("away")

    monkeypatch.setattr(Store, "put_file", away)
    with pytest.raises(TrackerTrouble, match="away"):
        offline(tmp_path, "wandb", "wandb_program", []).store(Path(__file__), "one")
