"""The files by which ranks and supervisor meet."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from footplate.api.reports import ProgressStatus
from footplate.contract import Activity, ExitCode
from footplate_trainer import errors, exchange
from footplate_trainer.exchange import ACTIVITIES, Heartbeat, RankReport


@pytest.mark.parametrize("activity", ACTIVITIES)
def test_a_beat_is_read_as_it_was_written(tmp_path: Path, activity: Activity) -> None:
    heartbeat = Heartbeat(tmp_path, 3)
    before = time.monotonic()
    heartbeat.beat(2**40, activity, 0.25)
    beat = exchange.read_heartbeats(tmp_path)[3]
    assert (beat.step, beat.activity, beat.pid, beat.work_seconds) == (2**40, activity, os.getpid(), 0.25)
    assert before <= beat.time <= time.monotonic()


def test_a_new_heartbeat_is_alive_and_starting(tmp_path: Path) -> None:
    for rank in (10, 2):
        Heartbeat(tmp_path, rank)
    beats = exchange.read_heartbeats(tmp_path)
    assert list(beats) == [2, 10]
    assert {(beat.step, beat.activity) for beat in beats.values()} == {(0, "starting")}


def test_a_beat_costs_microseconds(tmp_path: Path) -> None:
    heartbeat = Heartbeat(tmp_path, 0)
    costs = []
    for _ in range(200):
        start = time.perf_counter()
        for step in range(100):
            heartbeat.beat(step, "training")
        costs.append((time.perf_counter() - start) / 100)
    assert min(costs) < 5e-6  # the best of many: other work on the machine is not what is measured


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 64])
def test_what_is_no_heartbeat_counts_as_absent(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rank-0.beat").write_bytes(content)
    (tmp_path / "rank-x.beat").write_bytes(content)
    assert exchange.read_heartbeats(tmp_path) == {}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["rank-0.beat", "rank-0.stack", "report.json", "error-0.json"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    assert exchange.read_heartbeats(tmp_path) == {}
    assert not exchange.has_finished(tmp_path, 0)
    assert exchange.read_stacks(tmp_path, 0) == ""
    assert exchange.read_report(tmp_path) is None
    assert exchange.read_error(tmp_path, 0) is None


def test_a_report_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for step in (1, 2):
        exchange.write_report(tmp_path, RankReport(progress=ProgressStatus(step=step), notes=("é",)))
    report = exchange.read_report(tmp_path)
    assert report is not None
    assert (report.progress.step, report.notes) == (2, ("é",))
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize("text", ["", "{", '{"progress": {"step": "many"}}', '{"unknown": 1}', "[1]"])
def test_what_is_no_report_counts_as_absent(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_text(text)
    assert exchange.read_report(tmp_path) is None


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("x"), ExitCode.USER_ERROR),
        (errors.ConfigError("x"), ExitCode.CONFIG_ERROR),
        (errors.DataError("x"), ExitCode.DATA_ERROR),
        (errors.NotFound("x"), ExitCode.DATA_ERROR),
        (errors.Denied("x"), ExitCode.CONFIG_ERROR),
        (errors.StorageUnavailable("x"), ExitCode.PEER_LOST),
        (errors.PeerLost("x"), ExitCode.PEER_LOST),
        (errors.Stopped("x"), ExitCode.STOPPED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_carries_its_exit_code(tmp_path: Path, error: Exception, code: ExitCode) -> None:
    assert exchange.write_error(tmp_path, rank=1, error=error) == code
    read = exchange.read_error(tmp_path, 1)
    assert read is not None
    assert (read.exit_code, read.failure.rank, read.failure.message) == (code, 1, "x")


def test_a_huge_error_is_cut_to_the_end_of_its_traceback(tmp_path: Path) -> None:
    exchange.write_error(tmp_path, rank=0, error=ValueError("x" * 10_000 + "end"))
    read = exchange.read_error(tmp_path, 0)
    assert read is not None
    assert len(read.failure.message) == 1024
    assert read.failure.traceback is not None
    assert read.failure.traceback.endswith("end\n")


def test_clear_leaves_nothing_of_an_earlier_gang(tmp_path: Path) -> None:
    Heartbeat(tmp_path, 0)
    exchange.write_report(tmp_path, RankReport())
    exchange.write_error(tmp_path, rank=0, error=ValueError())
    exchange.open_stacks(tmp_path, 0).close()
    exchange.clear(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_ours_says_all_in_its_message() -> None:
    described = exchange.describe_error(errors.ConfigError("spec.nodes: no"), rank=1)
    assert (described.rank, described.type, described.message, described.traceback) == (1, "", "spec.nodes: no", None)


def test_our_own_error_names_a_file_of_the_inputs_as_its_owner_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOOTPLATE_INPUT_DIR", "/scratch/input/")
    said = "/scratch/input/train/tweets.csv has no rows"
    assert exchange.describe_error(errors.DataError(said), rank=0).message == "train/tweets.csv has no rows"
    assert exchange.describe_error(FileNotFoundError(said), rank=0).message == said


def test_a_full_disk_has_a_way_out_whoever_wraps_it() -> None:
    try:
        try:
            Path("/dev/full").write_bytes(b"x")
        except OSError as full:
            raise RuntimeError("file write failed") from full
    except RuntimeError as error:
        described = exchange.describe_error(error, rank=0)
    assert described.message.startswith("file write failed; request more ephemeral-storage in spec.resources")
    assert exchange.describe_error(RuntimeError("file write failed"), rank=0).message == "file write failed"


class Unspeakable(Exception):
    """Whoever asks what it says gets another error."""

    def __str__(self) -> str:
        raise LookupError


@pytest.mark.parametrize(
    ("error", "said"),
    [
        pytest.param(
            ValueError(os.fsdecode(b"no image: caf\xe9.jpg")), "no image: caf\\udce9.jpg", id="bytes of a name"
        ),
        pytest.param(Unspeakable(), "it can't be said what it is: LookupError", id="no words"),
    ],
)
def test_an_error_is_told_whatever_it_says(tmp_path: Path, error: Exception, said: str) -> None:
    assert exchange.write_error(tmp_path, rank=0, error=error) == ExitCode.USER_ERROR
    read = exchange.read_error(tmp_path, 0)
    assert read is not None
    assert (read.failure.message, read.failure.type) == (said, type(error).__name__)


def test_words_are_written_as_utf8_whatever_the_locale_is(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys; from footplate_trainer import exchange\n"
        "exchange.write_error(pathlib.Path(sys.argv[1]), rank=0, error=ValueError('Gr\\u00f6\\u00dfe 3\\u00d73'))"
    )
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], env={**os.environ, **ascii_only}, check=True)
    read = exchange.read_error(tmp_path, 0)
    assert read is not None
    assert read.failure.message == "Größe 3×3"


def test_a_rank_that_is_done_has_said_so(tmp_path: Path) -> None:
    heartbeat = exchange.Heartbeat(tmp_path, 0)
    heartbeat.beat(7, "exporting")
    assert not exchange.has_finished(tmp_path, 0)
    heartbeat.finish()
    assert exchange.has_finished(tmp_path, 0)
    assert exchange.read_heartbeats(tmp_path)[0].step == 7
    assert not exchange.has_finished(tmp_path, 1)


@pytest.mark.parametrize("code", [0, 256, -1, 2**40])
def test_a_failure_that_claims_to_be_none_is_no_word(tmp_path: Path, code: int) -> None:
    (tmp_path / "error-0.json").write_text(f'{{"failure": {{}}, "exitCode": {code}}}')
    assert exchange.read_error(tmp_path, 0) is None
