"""What `report` takes in, and what the supervisor gets to see of it."""

import math
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from footplate.api.reports import MAX_METRICS, CheckpointStatus, Straggler
from footplate_trainer import exchange
from footplate_trainer.errors import ConfigError
from footplate_trainer.exchange import RankReport
from footplate_trainer.rank.report import UNHEARD, Reporter, enter


class Stubborn:
    """What is no number, and says so in its own way."""

    def __float__(self) -> float:
        raise LookupError


@pytest.fixture
def reporter(tmp_path: Path) -> Reporter:
    return Reporter(0, tmp_path)


def written(reporter: Reporter, run_dir: Path) -> RankReport:
    reporter.close()
    report = exchange.read_report(run_dir)
    assert report is not None
    return report


def test_every_rank_has_a_heartbeat_and_rank_0_alone_reports(tmp_path: Path) -> None:
    for rank in (0, 1):
        reporter = Reporter(rank, tmp_path)
        reporter.step_done(5 + rank, 0.5, None, {})
        reporter.close()
    beats = exchange.read_heartbeats(tmp_path)
    assert {rank: (beat.step, beat.activity) for rank, beat in beats.items()} == {
        0: (5, "training"),
        1: (6, "training"),
    }
    report = exchange.read_report(tmp_path)
    assert report is not None
    assert report.progress.step == 5


@pytest.mark.parametrize(("rank", "supervised", "times"), [(0, False, 1), (0, True, 0), (1, False, 0)])
def test_where_nobody_takes_it_rank_0_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, rank: int, supervised: bool, times: int
) -> None:
    reporter = Reporter(rank, tmp_path, supervised=supervised)
    for step in (1, 2):
        reporter.step_done(step, 0.5, None, {})
    reporter.close()
    assert caplog.messages.count(UNHEARD) == times


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param(0.5, 0.5, id="float"),
        pytest.param(3, 3.0, id="int"),
        pytest.param(torch.tensor([0.25], requires_grad=True) * 2, 0.5, id="tensor with a graph"),
        pytest.param(math.nan, None, id="NaN"),
        pytest.param(torch.tensor(math.inf), None, id="infinity"),
        pytest.param(torch.zeros(2), None, id="two numbers"),
        pytest.param("half", None, id="text"),
        pytest.param(10**400, None, id="too large"),
        pytest.param(Stubborn(), None, id="raises"),
    ],
)
def test_metrics_are_finite_numbers_or_left_out_with_a_note(
    reporter: Reporter, tmp_path: Path, value: Any, shown: float | None
) -> None:
    reporter.step_done(1, value, None, {"other": 1.0})
    report = written(reporter, tmp_path)
    assert report.progress.metrics == {"other": 1.0} | ({} if shown is None else {"loss": shown})
    assert bool(report.notes) == (shown is None)
    assert all("'loss'" in note for note in report.notes)


def test_a_metric_keeps_its_last_value(reporter: Reporter, tmp_path: Path) -> None:
    reporter.step_done(1, None, None, {"val_accuracy": 0.9})
    reporter.step_done(2, 0.5, 1, {})
    progress = written(reporter, tmp_path).progress
    assert progress.metrics == {"val_accuracy": 0.9, "loss": 0.5}
    assert progress.epoch == 1


def test_too_many_metrics_are_cut_with_a_note(reporter: Reporter, tmp_path: Path) -> None:
    reporter.step_done(1, None, None, {f"m{number}": float(number) for number in range(MAX_METRICS + 1)})
    report = written(reporter, tmp_path)
    assert len(report.progress.metrics) == MAX_METRICS
    assert f"{MAX_METRICS} of {MAX_METRICS + 1}" in report.notes[0]


def test_of_metrics_that_would_have_one_name_the_first_is_shown_with_a_note(reporter: Reporter, tmp_path: Path) -> None:
    name = "validation/detection/mean_average_precision_at_iou_0.50_to_0.95_"
    reporter.step_done(1, None, None, {f"{name}small": 0.25, f"{name}large": 0.75})
    report = written(reporter, tmp_path)
    assert report.progress.metrics == {name[:63]: 0.25}
    assert "only the first is shown: names count up to 63 characters" in report.notes[0]


def test_progress_knows_totals_once_it_is_told(reporter: Reporter, tmp_path: Path) -> None:
    reporter.progress.expect(total_steps=200, epochs=4)
    reporter.step_done(50, None, 1, {})
    progress = written(reporter, tmp_path).progress
    assert (progress.percent, progress.total_steps, progress.epochs) == (25.0, 200, 4)


@dataclass
class Position:
    """A loader with 1,000 samples in all."""

    epoch: int = 1
    epochs: int | None = 4
    samples_done: int = 300
    samples_in_all: int | None = 1000


def test_progress_follows_the_loader(reporter: Reporter, tmp_path: Path) -> None:
    """However many batches make a step: the share is that of samples."""
    position = Position()
    reporter.progress.follow(position)
    reporter.step_done(10, None, None, {})
    reporter.flush()
    position.samples_done = 400
    reporter.step_done(20, None, None, {})
    progress = written(reporter, tmp_path).progress
    assert (progress.percent, progress.epoch, progress.epochs, progress.total_steps) == (40.0, 1, 4, None)
    assert progress.samples_per_second is not None
    assert progress.eta_seconds == round(600 / progress.samples_per_second)


def test_nothing_unknown_is_guessed(reporter: Reporter, tmp_path: Path) -> None:
    reporter.step_done(50, None, None, {})
    progress = written(reporter, tmp_path).progress
    assert (progress.percent, progress.eta_seconds, progress.epoch, progress.samples_per_second) == (None,) * 4


def test_a_checkpoint_is_reported_at_once(reporter: Reporter, tmp_path: Path) -> None:
    status = CheckpointStatus(uri="file:///c/step-00000003/", step=3)
    reporter.checkpointed(status)
    report = exchange.read_report(tmp_path)
    assert report is not None
    assert report.checkpoint == status


def test_a_note_is_told_once(reporter: Reporter, tmp_path: Path) -> None:
    for _ in range(3):
        reporter.note("something")
    assert written(reporter, tmp_path).notes == ("something",)


def test_a_note_names_files_of_the_data_as_their_owner_knows_them(
    reporter: Reporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOOTPLATE_INPUT_DIR", "/scratch/input")
    monkeypatch.setenv("SPLITS", "/scratch/splits")
    reporter.note("row 8 of /scratch/splits/test/data.parquet, row 1 of /scratch/input/train/a.csv")
    assert written(reporter, tmp_path).notes == ("row 8 of test/data.parquet, row 1 of train/a.csv",)


def test_outside_a_job_nothing_is_written_and_no_thread_runs() -> None:
    threads = threading.active_count()
    reporter = Reporter()
    reporter.step_done(1, 0.5, None, {})
    reporter.close()
    assert threading.active_count() == threads


def test_before_its_first_step_a_rank_is_loading_and_not_training(reporter: Reporter, tmp_path: Path) -> None:
    """The first step compiles, and waits for the first batch: it has the limit that loading has."""
    seen = []
    for activity in ("training", "evaluating", "training"):
        reporter.enter(activity)
        seen.append(exchange.read_heartbeats(tmp_path)[0].activity)
    reporter.step_done(1, None, None, {})
    reporter.enter("training")
    seen.append(exchange.read_heartbeats(tmp_path)[0].activity)
    assert seen == ["loading", "evaluating", "loading", "training"]


def test_an_activity_that_is_none_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"enter\('sleeping'\).*evaluating"):
        enter("sleeping")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param(CheckpointStatus(uri="file:///c/", step=3), 120.0, id="the run's own"),
        pytest.param(None, None, id="another job's"),
    ],
)
def test_what_a_checkpoint_cost_counts_where_it_is_the_runs_own(
    reporter: Reporter, tmp_path: Path, status: CheckpointStatus | None, expected: float | None
) -> None:
    reporter.resumed(step=3, uri="file:///c/", status=status, productive_node_seconds=120.0)
    assert written(reporter, tmp_path).productive_node_seconds == expected


def test_stragglers_are_told_until_there_are_none(reporter: Reporter, tmp_path: Path) -> None:
    slow = Straggler(rank=2, node_rank=1, factor=2.5)
    told = []
    for stragglers in ([slow], []):
        reporter.found_stragglers(stragglers)
        reporter.flush()
        report = exchange.read_report(tmp_path)
        assert report is not None
        told.append(report.stragglers)
    assert told == [(slow,), ()]


@pytest.mark.parametrize(
    ("step", "epoch", "shown"),
    [
        pytest.param(np.int64(3), np.float32(2.0), (3, 2), id="numpy"),
        pytest.param(torch.tensor(3), torch.tensor([1]), (3, 1), id="tensors"),
        pytest.param(3.0, 0.4, (3, 0), id="fractions"),
        pytest.param(-3, 1, (2, 1), id="a negative step"),
        pytest.param(2**70, 1, (2, 1), id="too many"),
        pytest.param("third", 1, (2, 1), id="text"),
        pytest.param(None, 1, (2, 1), id="none"),
        pytest.param(3, math.nan, (3, None), id="an epoch that is no number"),
        pytest.param(3, -1, (3, None), id="a negative epoch"),
    ],
)
def test_steps_and_epochs_are_counted_or_left_out_with_a_note(
    reporter: Reporter, tmp_path: Path, step: Any, epoch: Any, shown: tuple[int, int | None]
) -> None:
    reporter.step_done(2, None, None, {})
    reporter.step_done(step, None, epoch, {})
    assert exchange.read_heartbeats(tmp_path)[0].step == shown[0]
    report = written(reporter, tmp_path)
    assert (report.progress.step, report.progress.epoch) == shown
    assert len(report.notes) == (shown not in ((3, 2), (3, 1), (3, 0)))


def test_a_name_of_bytes_that_are_no_text_is_shown_escaped(reporter: Reporter, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    reporter.note(f"{name} is skipped")
    reporter.step_done(1, None, None, {name: 1.0})
    report = written(reporter, tmp_path)
    assert report.notes == ("caf\\udce9 is skipped",)
    assert report.progress.metrics == {"caf\\udce9": 1.0}


def test_a_report_that_cant_be_written_neither_raises_nor_ends_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    reporter = Reporter(0, run_dir)
    run_dir.rename(tmp_path / "gone")
    for step in (1, 2):
        reporter.step_done(step, None, None, {})
        reporter.flush()
    assert caplog.text.count("progress could not be written") == 1
    (tmp_path / "gone").rename(run_dir)
    assert written(reporter, run_dir).progress.step == 2


def test_a_report_says_when_what_was_reported_and_how_long_steps_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    reporter = Reporter(0, tmp_path)
    for step, metrics in ((1, {}), (2, {"accuracy": 0.5}), (4, {})):
        now[0] += 0.2
        reporter.step_done(step, 1.0, None, metrics)
        reporter.flush()
    reporter.enter("evaluating")
    now[0] += 50
    reporter.step_done(4, None, None, {"accuracy": 0.6})
    report = written(reporter, tmp_path)
    assert report.stepped_at == pytest.approx(100.6)
    assert report.progress.last_step_time is not None
    assert report.progress.metrics == {"loss": 1.0, "accuracy": 0.6}
    assert report.reported == {"loss": pytest.approx(100.6), "accuracy": pytest.approx(150.6)}
    assert report.steps_took is not None
    assert sum(report.steps_took.counts) == 3, "the first step is no measure, nor an evaluation"
    assert report.steps_took.seconds == pytest.approx(0.4)


def test_a_save_is_counted_by_what_it_took(reporter: Reporter, tmp_path: Path) -> None:
    reporter.checkpointed(CheckpointStatus(uri="s3://c/1/", step=1, save_seconds=3.0))
    report = written(reporter, tmp_path)
    assert report.saves_took is not None
    assert (sum(report.saves_took.counts), report.saves_took.seconds) == (1, 3.0)


def test_waiting_for_data_is_a_share_of_the_time(reporter: Reporter, tmp_path: Path) -> None:
    reporter.progress.status(0.0, metrics={})
    reporter.waited_for_data(2.0)
    reporter.enter("evaluating")
    reporter.waited_for_data(50.0)
    reporter.progress.step = 1
    reporter.progress.status(8.0, metrics={})
    assert reporter.progress.data_wait_ratio == 0.25
