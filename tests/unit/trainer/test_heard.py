"""What code says of itself without our library, and what becomes of it."""

import asyncio
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from footplate.api.reports import MAX_METRICS, ProgressStatus
from footplate.api.scalars import MAX_COUNT
from footplate.api.trainer import MetricDefinition
from footplate_trainer.exchange import RankReport
from footplate_trainer.supervisor.heard import Heard
from footplate_trainer.supervisor.kubeflow import Endpoint, read_status
from footplate_trainer.supervisor.listening import Listening
from footplate_trainer.supervisor.log_metrics import LogMetrics
from footplate_trainer.supervisor.metrics_file import MAX_DISK_BYTES, MetricsFile
from footplate_trainer.supervisor.pod import Pod, read_pod
from trainer_pods import pod_environment

NOTHING = RankReport()


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return read_pod(pod_environment(tmp_path, {"trainer": {"command": ["python", "train.py"]}}))


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def file(tmp_path: Path, notes: list[str]) -> tuple[Path, MetricsFile, list[dict[str, Any]]]:
    heard: list[dict[str, Any]] = []

    def note(text: str) -> None:
        if text not in notes:
            notes.append(text)

    path = tmp_path / "metrics.jsonl"
    return path, MetricsFile(path, lambda *said: heard.extend(said), note), heard


def test_numbers_have_the_places_of_the_status_and_the_rest_are_metrics() -> None:
    moments = iter([0.0, 10.0])
    heard = Heard(clock=lambda: next(moments))
    heard.hear({"step": 100, "totalSteps": 400, "epoch": 1.7, "loss": 2.2365198135375977})
    heard.hear({"step": 200, "accuracy": 0.5})
    progress = heard.complete(NOTHING).progress
    assert (progress.step, progress.total_steps, progress.epoch, progress.percent) == (200, 400, 1, 50.0)
    assert progress.eta_seconds == 20
    assert progress.metrics == {"loss": 2.2365198135375977, "accuracy": 0.5}
    assert progress.loss == 2.237
    assert progress.update_time is not None


@pytest.mark.parametrize(
    "values",
    [
        {"loss": float("nan")},
        {"loss": "much"},
        {"loss": None, "accuracy": [1], "ok": True},
        {"step": -1},
        {"step": 10**30},
        {"step": 10**400},
        {},
    ],
    ids=str,
)
def test_what_is_no_number_is_not_heard(values: dict[str, Any]) -> None:
    heard = Heard()
    heard.hear(values)
    assert heard.complete(NOTHING) is NOTHING


def test_a_metric_alone_invents_no_step() -> None:
    heard = Heard()
    heard.hear({"loss": 1})
    assert heard.complete(NOTHING).progress.step is None


def test_no_total_is_too_far_away_for_the_status() -> None:
    moments = iter([0.0, 1e6])
    heard = Heard(clock=lambda: next(moments))
    heard.hear({"step": 1, "totalSteps": MAX_COUNT})
    heard.hear({"step": 2})
    assert heard.complete(NOTHING).progress.eta_seconds == MAX_COUNT


def test_an_evaluation_was_at_the_step_of_its_line(tmp_path: Path) -> None:
    """A look sees many lines, and the newest step isn't that of all."""
    heard, path = Heard(clock=lambda: 1.0), tmp_path / "metrics.jsonl"
    reader = MetricsFile(path, heard.hear, pytest.fail)
    path.write_text('{"f0": 1}\n{"step": 100, "loss": 0.5}\n{"f1": 0.75}\n{"step": 125, "loss": 0.25, "steps": []}\n')
    reader.look()
    log = LogMetrics(definitions(step=r"step (\d+)", bleu=r"bleu=(\d+)", lr=r"lr=(\d+)"), heard.hear)
    log.add([b"step 126 lr=3", b"bleu=7", b"step 150 lr=2"])
    log.look()
    report = heard.complete(NOTHING)
    assert report.reported_at_step == {"loss": 125, "f1": 100, "bleu": 126, "lr": 150}
    assert (report.progress.step, report.progress.metrics) == (
        150,
        {"f0": 1.0, "f1": 0.75, "loss": 0.25, "bleu": 7.0, "lr": 2.0},
    )


def test_what_cannot_be_read_ends_no_job(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.make_folders()
    tried: list[Any] = []
    monkeypatch.setattr(MetricsFile, "look", lambda _: tried.append(1 / 0))
    monkeypatch.setattr(LogMetrics, "look", lambda _: tried.append("the log"))
    asyncio.run(Listening(pod, Heard(), lambda _: None).close())
    assert tried == ["the log"]


def test_what_report_says_goes_first() -> None:
    heard = Heard()
    heard.hear({"step": 5, "percent": 120, "loss": 1.0, "f1": 0.5})
    own = ProgressStatus(step=7, metrics={"loss": 0.5})
    progress = heard.complete(RankReport(progress=own, seed=3)).progress
    assert (progress.step, progress.percent, progress.metrics) == (7, 100.0, {"loss": 0.5, "f1": 0.5})
    assert progress.loss == 0.5


def test_metrics_are_bounded_whoever_brings_them() -> None:
    heard = Heard()
    heard.hear({f"m{n}{'x' * 80}": n for n in range(1000)})
    own = ProgressStatus(step=1, metrics={f"own{n}": 1.0 for n in range(MAX_METRICS)})
    assert len(heard.complete(NOTHING).progress.metrics) == MAX_METRICS
    assert heard.complete(RankReport(progress=own)).progress.metrics == own.metrics


def test_lines_of_json_are_heard_as_they_come(file: tuple[Path, MetricsFile, list[Any]], notes: list[str]) -> None:
    path, reader, heard = file
    reader.look()
    with path.open("a") as lines:
        lines.write('{"step": 1}\n{"step": 2, "lo')
        lines.flush()
        reader.look()
        assert heard == [{"step": 1}]
        lines.write('ss": 3}\r\n')
    reader.look()
    reader.look()
    assert (heard, notes) == ([{"step": 1}, {"step": 2, "loss": 3}], [])
    path.write_text('{"step": 9}\n')
    reader.look()
    assert heard[-1] == {"step": 9}


def test_binary_and_what_is_no_object_is_left_out_with_one_note(
    file: tuple[Path, MetricsFile, list[Any]], notes: list[str]
) -> None:
    path, reader, heard = file
    junk = [os.urandom(5000), b"[1, 2]", b"[" * 60_000, b"x" * 200_000, b'{"a": ' * 10_000]
    path.write_bytes(b"\n".join(junk) + b'\n{"step": 3}\n')
    reader.look()
    assert heard == [{"step": 3}]
    assert len(notes) == 1
    assert "FOOTPLATE_METRICS_FILE" in notes[0]


def test_a_flood_is_read_at_its_end_and_gives_its_disk_back(
    file: tuple[Path, MetricsFile, list[Any]], notes: list[str]
) -> None:
    path, reader, heard = file
    block = b'{"step": 1, "loss": 0.5}\n' * 40_000
    with path.open("ab", buffering=0) as appending:
        while appending.tell() <= MAX_DISK_BYTES:
            appending.write(block)
        appending.write(b'{"step": 2}\n')
        began = time.monotonic()
        reader.look()
        assert time.monotonic() - began < 5
        assert (heard, notes) == ([{"step": 1, "loss": 0.5}, {"step": 2}], [])
        assert path.stat().st_blocks == 0
        appending.write(b'{"step": 3}\n')
        reader.look()
        assert heard[-1] == {"step": 3}


def test_who_doesnt_append_leaves_a_hole_that_is_skipped(
    file: tuple[Path, MetricsFile, list[Any]], notes: list[str]
) -> None:
    path, reader, heard = file
    with path.open("wb") as lines:
        lines.seek(5_000_000)
        lines.write(b'{"step": 4}\n')
    reader.look()
    assert (heard, notes) == ([], [])  # the line began before what a look reads
    with path.open("ab") as lines:
        lines.write(b'{"step": 5}\n')
    reader.look()
    assert heard == [{"step": 5}]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_told_and_not_waited_for(
    make: Callable[[Path], None], file: tuple[Path, MetricsFile, list[Any]], notes: list[str]
) -> None:
    path, reader, heard = file
    make(path)
    reader.look()
    reader.look()
    assert heard == []
    assert len(notes) == 1


def definitions(**regexes: str) -> list[MetricDefinition]:
    return [MetricDefinition(name=name.replace("_", ":"), regex=regex) for name, regex in regexes.items()]


def test_definitions_find_numbers_in_the_log() -> None:
    heard = Heard()
    log = LogMetrics(definitions(step=r"step (\d+)", valid_f1="f1=([-+.0-9eE]+)", never="never=(x)"), heard.hear)
    log.add([b"\xff\xfe step 10 of 90, f1=1e-3", b"f1=nothing", b"f1=\xff", b"step 12"])
    log.look()
    progress = heard.complete(NOTHING).progress
    assert (progress.step, progress.metrics) == (12, {"valid:f1": 0.001})


def test_an_expression_that_backtracks_takes_no_time_and_a_flood_no_memory() -> None:
    found: list[Any] = []
    log = LogMetrics(definitions(loss="(a+)+$", f1=r"(\d+)"), found.append)
    for _ in range(100):
        log.add([b"a" * 5000 + b"!"] * 100)
    log.add([b"7"])
    began = time.monotonic()
    log.look()
    assert time.monotonic() - began < 2
    assert found == [{"f1": "7"}]


def test_an_expression_of_another_engine_is_refused() -> None:
    with pytest.raises(ValidationError, match="must be a regular expression of RE2's syntax"):
        definitions(f1=r"(?<=f1=)(x)")


def test_no_expression_takes_long_to_be_judged() -> None:
    """The operator does that for all tenants, one after the other."""
    began = time.monotonic()
    definitions(f1=f"({'a{1000}' * 70})")
    assert time.monotonic() - began < 0.3


@pytest.fixture
def posted(pod: Pod) -> Any:
    heard: list[Any] = []
    endpoint = Endpoint(pod, heard.append)
    token = Path(endpoint.environment["KUBEFLOW_TRAINER_SERVER_TOKEN"]).read_text()

    def post(body: bytes, token: str = token, **more: str) -> int:
        url = endpoint.environment["KUBEFLOW_TRAINER_SERVER_URL"]
        headers = {"Authorization": f"Bearer {token}"} | {name.replace("_", "-"): value for name, value in more.items()}
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    yield post, heard
    endpoint.close()


def test_a_status_posted_as_kubeflows_callback_does_is_heard(posted: Any) -> None:
    post, heard = posted
    metrics = [{"name": "loss", "value": "0.25"}, {"name": "current_step", "value": "40"},
               {"name": "total_steps", "value": "80"}, {"name": "current_epoch", "value": "1.5"}]  # fmt: skip
    status = {"lastUpdatedTime": "x", "progressPercentage": 50, "estimatedRemainingSeconds": 9, "metrics": metrics}
    assert post(json.dumps({"trainerStatus": status}).encode()) == 200
    known = Heard()
    known.hear(heard[0])
    progress = known.complete(NOTHING).progress
    assert (progress.step, progress.total_steps, progress.epoch) == (40, 80, 1)
    assert (progress.percent, progress.eta_seconds, progress.metrics) == (50.0, 9, {"loss": 0.25})


def test_what_is_no_status_or_has_another_token_is_refused(posted: Any) -> None:
    post, heard = posted
    assert post(b'{"trainerStatus": {}}', token="another") == 401
    assert post(b"x" * 70_000) == 413
    assert post(b"{}", Content_Length="0" * 10 + "9" * 12) == 413  # what isn't there isn't waited for
    for body in (b"[]", b"\xff", b"[" * 60_000, b'{"trainerStatus": 1}', b'{"trainerStatus": {"metrics": [1]}}'):
        assert post(body) == 422
    assert heard == []


def test_a_status_without_metrics_is_one() -> None:
    assert read_status(b'{"trainerStatus": {"progressPercentage": 3}}') == {"percent": 3, "etaSeconds": None}
