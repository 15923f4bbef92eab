"""Trackers cost training nothing: what is told, how often it is tried, and who waits for whom."""

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from footplate.api.reports import ArtifactStatus
from footplate.contract import ExitCode
from footplate.records import Line, write_line
from footplate_trainer.errors import StorageUnavailable
from footplate_trainer.exchange import RankReport
from footplate_trainer.supervisor.history.history import History
from footplate_trainer.supervisor.history.parts import Parts
from footplate_trainer.supervisor.pod import Pod, read_pod
from footplate_trainer.supervisor.tracking import mlflow, worker
from footplate_trainer.supervisor.tracking.feed import MOST_LINES, Feed
from footplate_trainer.supervisor.tracking.mlflow import Mlflow
from footplate_trainer.supervisor.tracking.rest import Refused
from footplate_trainer.supervisor.tracking.tracker import Dataset, End, Subject, TrackerTrouble, outcome_of
from footplate_trainer.supervisor.tracking.tracking import Tracking, parameters
from footplate_trainer.supervisor.tracking.worker import MOST_NOTES, Worker
from trainer_pods import pod_environment

SECRET = "hunter2-hunter2"
TRACKED = {
    "trainer": {"command": ["train"]},
    "output": {"uri": "file:///models/"},
    "tracking": {"mlflow": {"uri": "http://mlflow:5000"}, "tensorboard": {}, "wandb": {}, "comet": {}},
}


def line(step: int, **metrics: float) -> Line:
    return Line(1e9 + step, step, None, metrics or {"loss": 1.0})


class Said:
    """A tracker that keeps what it is told, and fails as it is ordered to."""

    name, seconds = "said", 0.01
    environment: Mapping[str, str] = {"SAID_RUN": "1"}
    url = "https://said.example.com/1"

    def __init__(self, *troubles: Exception) -> None:
        self.troubles = list(troubles)
        self.begun = 0
        self.steps: list[int] = []
        self.ends: list[End] = []

    def _fail(self) -> None:
        if self.troubles:
            raise self.troubles.pop(0)

    def begin(self) -> None:
        self._fail()
        self.begun += 1

    def send(self, lines: Sequence[Line]) -> None:
        self._fail()
        self.steps += [line.step for line in lines]

    def end(self, end: End) -> None:
        self._fail()
        self.ends.append(end)


class Silent(Said):
    """One that never answers."""

    def begin(self) -> None:
        threading.Event().wait()


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(tmp_path / "metrics", part_bytes=200)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "MAX_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(worker, "LAST_PAUSES", (0.0, 0.0, 0.0))


def soon() -> float:
    return time.monotonic() + 30


def drive(tracker: Said, parts: Parts, end: End | None = None) -> list[str]:
    """Begins, sends and ends; returns the notes."""
    notes: list[str] = []
    driver = Worker(tracker, Feed(parts), notes.append)
    driver.start()
    assert driver._begun.wait(30)
    driver.finish(end or End("succeeded"))
    assert driver.wait_until_done(soon())
    return notes


def test_a_feed_goes_through_all_parts_and_repeats_what_was_not_taken(parts: Parts) -> None:
    for step in range(20):
        parts.write(write_line(line(step)))
    assert len(parts.sizes()) > 3
    feed, seen = Feed(parts), []
    while lines := feed.read():
        assert feed.read() == lines, "until it is taken"
        seen += [each.step for each in lines]
        feed.taken()
    parts.write(write_line(line(20)))
    assert [*seen, *(each.step for each in feed.read())] == [*range(21)]


def test_a_feed_leaves_out_what_is_no_line_and_takes_no_more_than_may_be_at_a_time(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "metrics")
    parts.write(b"no json\n" + b"".join(write_line(line(step)) for step in range(MOST_LINES + 5)))
    feed = Feed(parts)
    assert len(feed.read()) == MOST_LINES - 1
    feed.taken()
    assert [each.step for each in feed.read()] == [*range(MOST_LINES - 1, MOST_LINES + 5)]


def test_all_is_told_in_order_and_the_end_last(parts: Parts) -> None:
    tracker = Said()
    parts.write(write_line(line(1)) + write_line(line(2)))
    assert drive(tracker, parts, End("failed", "why")) == []
    assert (tracker.begun, tracker.steps) == (1, [1, 2])
    assert tracker.ends == [End("failed", "why")]


def test_what_goes_wrong_is_tried_again_and_told_once(parts: Parts) -> None:
    tracker = Said(TrackerTrouble("it is away"), TrackerTrouble("it is away"), ValueError("a mistake of ours"))
    parts.write(write_line(line(1)))
    (note,) = drive(tracker, parts)
    assert note.startswith("said isn't told of this run for now: it is away. Training goes on")
    assert (tracker.begun, tracker.steps, len(tracker.ends)) == (1, [1], 1)


def test_what_earlier_attempts_had_no_time_for_comes_first(parts: Parts) -> None:
    tracker, notes = Said(), list[str]()
    parts.write(write_line(line(4)))
    driver = Worker(tracker, Feed(parts), notes.append, lambda: [line(1), line(2)])
    tracker.troubles = [TrackerTrouble("away")]
    assert not driver._go()
    tracker.troubles = []
    assert driver._go()
    assert driver._go()
    assert tracker.steps == [1, 2, 4]


def test_what_storage_does_not_give_of_earlier_attempts_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_: object) -> Iterator[tuple[int, bytes]]:
        yield 0, write_line(line(1))
        raise StorageUnavailable("away")

    monkeypatch.setattr("footplate_trainer.supervisor.tracking.tracking.earlier_lines", unreadable)
    tracking = Tracking(read_pod(pod_environment(tmp_path, TRACKED)), Parts(tmp_path / "metrics"), print)
    assert [each.step for _, each in tracking._earlier()] == [1]


def test_mlflow_is_told_what_earlier_attempts_left_in_storage(tmp_path: Path) -> None:
    spec = {**TRACKED, "output": {"uri": f"file://{tmp_path}/models/"}}

    def pod(attempt: int) -> Pod:
        return read_pod(pod_environment(tmp_path / str(attempt), spec, attempt=attempt))

    history = History(pod(0), RankReport, print)
    assert history.metrics is not None
    history.metrics.write(write_line(line(1)) + write_line(line(2)))
    history.finish()
    tracking = Tracking(pod(1), Parts(tmp_path / "metrics"), print)
    assert [(attempt, each.step) for attempt, each in tracking._earlier()] == [(0, 1), (0, 2)]
    assert [(worker.tracker.name, len([*worker._earlier()])) for worker in tracking._workers if worker._earlier] == [
        ("mlflow", 2),
        ("tensorboard", 0),
        ("wandb", 0),
        ("comet", 0),
    ]
    assert [*Tracking(pod(0), Parts(tmp_path / "metrics"), print)._earlier()] == []


def test_one_that_flaps_is_told_of_a_few_times_at_most(parts: Parts) -> None:
    notes: list[str] = []
    driver = Worker(Said(), Feed(parts), notes.append)
    for number in range(10):
        parts.write(write_line(line(number)))
        driver.tracker.troubles = [TrackerTrouble(f"trouble {number}")]  # type: ignore[attr-defined]
        assert not driver._go()
        assert driver._go()
    assert len(notes) == MOST_NOTES


def test_one_that_never_takes_the_end_is_given_up(parts: Parts) -> None:
    class Stubborn(Said):
        def end(self, end: End) -> None:
            self.ends.append(end)
            raise TrackerTrouble("no")

    tracker = Stubborn()
    notes = drive(tracker, parts)
    assert len(tracker.ends) == 3
    assert notes[-1].startswith("said may lack the end of this run")


def tracking_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracker: Any, **pod: Any
) -> tuple[Tracking, list[str]]:
    monkeypatch.setattr(Tracking, "_work", lambda self, lines: [Worker(tracker, Feed(lines), self._note)])
    notes: list[str] = []
    spec = {**TRACKED, "output": {"uri": f"file://{tmp_path}/models/"}}
    parts = Parts(tmp_path / "metrics")
    return Tracking(read_pod(pod_environment(tmp_path, spec, **pod)), parts, notes.append), notes


def test_one_that_never_answers_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("footplate_trainer.supervisor.tracking.tracking.BEGIN_SECONDS", 0.05)
    tracking, notes = tracking_of(tmp_path, monkeypatch, Silent())
    tracking.begin()
    assert tracking.environment() == {}
    tracking.finish(End("succeeded"), seconds=0.05)
    assert notes == ["said may lack the end of this run: it was too slow"]


def test_one_that_refuses_at_once_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("footplate_trainer.supervisor.tracking.tracking.BEGIN_SECONDS", 3600)
    tracking, _ = tracking_of(tmp_path, monkeypatch, Said(*[TrackerTrouble("away")] * 10_000))
    tracking.begin()
    assert tracking.environment() == {}


def test_other_nodes_tell_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracking, _ = tracking_of(tmp_path, monkeypatch, Said(), node_rank=1, nodes=2)
    tracking.begin()
    assert (tracking.environment(), tracking.runs()) == ({}, [])


def test_what_a_server_echoes_of_the_secrets_is_shown_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "somebody")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
    shown = mlflow.headers()["Authorization"].split()[1]

    class Echo(Said):
        url = f"https://said.example.com/{SECRET}"

        def send(self, lines: Sequence[Line]) -> None:
            raise TrackerTrouble(f"HTTP 400: {SECRET} {shown}")

    tracker = Echo()
    tracking, notes = tracking_of(tmp_path, monkeypatch, tracker)
    tracking._workers[0]._feed._parts.write(write_line(line(1)))
    tracking.begin()
    assert tracking.environment() == tracker.environment
    tracking.finish(End("failed", f"ValueError: {SECRET}"), seconds=30)
    said = " ".join(notes)
    assert "HTTP 400: *** ***" in said
    assert not any(secret in said for secret in (SECRET, shown))
    assert tracking.runs() == []
    assert all(SECRET not in end.error for end in tracker.ends)


@pytest.mark.parametrize("url", ["", "s3://models/\u202e/", "javascript:alert(1)"], ids=ascii)
def test_an_address_that_the_operator_would_refuse_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    tracker = Said()
    tracking, _ = tracking_of(tmp_path, monkeypatch, tracker)
    assert [run.url for run in tracking.runs()] == [tracker.url]
    monkeypatch.setattr(Said, "url", url)
    assert tracking.runs() == []


def test_no_secret_reaches_a_tracker_among_parameters_or_in_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
    said = f"{SECRET} https://me:{SECRET[:9]}@a.example.com/x?token={SECRET[:9]}&v=2"
    spec = {**TRACKED, "output": {"uri": f"file://{tmp_path}/models/"}}
    spec["trainer"] = {"command": ["train"], "hyperparameters": {"data": {"from": said}, "maxTokens": 512}}
    pod = read_pod(pod_environment(tmp_path, spec))
    tracking = Tracking(pod, Parts(tmp_path / "metrics"), print)
    told = [worker.tracker._subject.parameters for worker in tracking._workers if hasattr(worker.tracker, "_subject")]
    harmless = "*** https://***@a.example.com/x?token=***&v=2"
    assert told == [{"job.data.from": harmless, "job.maxTokens": "512"}] * 3
    ends: list[End] = []
    monkeypatch.setattr(Worker, "finish", lambda self, end: ends.append(end))
    tracking.finish(End("failed", f"OSError: {said}"), seconds=0)
    assert {end.error for end in ends} == {f"OSError: {harmless}"}


def test_parameters_are_flat_and_as_python_writes_them() -> None:
    said = {"lr": 1e-3, "flag": True, "none": None, "lora": {"r": 16, "on": {"q": 1}}, "list": [1, "a"], "empty": {}}
    assert parameters(said) == {
        "lr": "0.001", "flag": "True", "none": "None", "lora.r": "16", "lora.on.q": "1", "list": '[1, "a"]',
        "empty": "{}",
    }  # fmt: skip
    assert len(parameters({str(number): number for number in range(1000)})) == 400


@pytest.mark.parametrize(
    ("code", "outcome"),
    [(ExitCode.OK, "succeeded"), (ExitCode.STOPPED, "stopped"), (ExitCode.PEER_LOST, "failed"), (137, "failed")],
)
def test_outcomes(code: int, outcome: str) -> None:
    assert outcome_of(code) == outcome


class Server:
    """What MLflow would say, and what it was told."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.told: list[tuple[str, Mapping[str, Any]]] = []

    def get(self, path: str, **query: str) -> Mapping[str, Any]:
        return self._answer(path, query)

    def post(self, path: str, **said: Any) -> Mapping[str, Any]:
        return self._answer(path, said)

    def _answer(self, path: str, said: Mapping[str, Any]) -> Mapping[str, Any]:
        name = path.removeprefix(mlflow.API).strip("/")
        self.told.append((name, said))
        default = {"experiments/get-by-name": {"experiment": {"experiment_id": "7"}}}
        answer = self.answers.get(name, default.get(name, {}))
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    def points(self) -> list[tuple[str, int]]:
        batches = [said["metrics"] for name, said in self.told if name == "runs/log-batch" and "metrics" in said]
        return [(point["key"], point["step"]) for batch in batches for point in batch]


def run_on(server: Server, attempt: int = 0) -> Mlflow:
    settings = mlflow.MlflowTracking(uri="http://mlflow:5000/", register_as="sentiment")
    subject = Subject(
        namespace="team", job="digits", uid="uid-1", run=2, attempt=attempt, image="i", parameters={"lr": "1"}
    )
    return Mlflow(settings, subject, server)  # type: ignore[arg-type]


def info(run_id: str = "abc", **data: Any) -> Mapping[str, Any]:
    return {"info": {"run_id": run_id}, "data": data}


def test_a_run_that_is_taken_up_has_each_point_and_parameter_once() -> None:
    known = info(
        metrics=[{"key": "loss", "step": "10"}, {"key": "odd", "step": {}}], params=[{"key": "lr", "value": "1"}]
    )
    server = Server(**{"runs/search": {"runs": [known]}, "runs/get": {"run": known}})
    run = run_on(server, attempt=1)
    run.begin()
    run.send([line(9), line(10, loss=1.0, acc=0.5), line(11), line(11, loss=2.0)])
    assert server.points() == [("acc", 10), ("loss", 11)]
    assert ("runs/update", {"run_id": "abc", "status": "RUNNING"}) in server.told
    assert not [said for name, said in server.told if "params" in said or name == "runs/create"]
    assert run.url == "http://mlflow:5000/#/experiments/7/runs/abc"


def test_what_the_code_logs_by_itself_is_not_told_again() -> None:
    server = Server(**{"runs/create": {"run": info()}})
    run = run_on(server)
    run.begin()
    run.send([line(1), line(1, lr=0.5)])
    server.answers["runs/get"] = {"run": info(metrics=[{"key": "lr", "step": 2}])}  # the code's own call
    run.send([line(2), line(2, lr=0.25), line(3, lr=0.125)])
    assert server.points() == [("loss", 1), ("lr", 1), ("loss", 2), ("lr", 3)]


def test_a_run_that_nobody_has_ended_is_ended_by_the_next_one_of_the_job() -> None:
    class Running(Server):
        def post(self, path: str, **said: Any) -> Mapping[str, Any]:
            answer = super().post(path, **said)
            return {"runs": [info("left")]} if "RUNNING" in said.get("filter", "") else answer

    server = Running(**{"runs/create": {"run": info()}})
    run_on(server).begin()
    assert [said for name, said in server.told if name == "runs/update"] == [{"run_id": "left", "status": "FAILED"}]
    (wanted,) = (said["filter"] for _, said in server.told if "RUNNING" in said.get("filter", ""))
    assert "footplate.uid` = 'uid-1'" in wanted


def test_what_the_model_has_learnt_from_is_told() -> None:
    server = Server(**{"runs/create": {"run": info()}})
    run = run_on(server)
    run.begin()
    inputs = [Dataset("train", "s3://data/train/", "ab" * 32), Dataset("test", "s3://data/test/", "cd" * 32, version=7)]
    run.end(End("failed", inputs=inputs))
    ((_, said),) = ((name, said) for name, said in server.told if name == "runs/log-inputs")
    told, of_delta = said["datasets"]
    assert of_delta["dataset"]["source_type"] == "delta_table"
    assert json.loads(of_delta["dataset"]["source"]) == {"path": "s3://data/test/", "delta_table_version": 7}
    assert told["dataset"] == {
        "name": "train", "digest": "ab" * 18, "source_type": "s3", "source": '{"uri": "s3://data/train/"}'
    }  # fmt: skip


@pytest.mark.parametrize("status", [401, 403])
def test_who_is_not_let_in_is_told_where_credentials_belong(status: int) -> None:
    server = Server(**{"experiments/get-by-name": Refused("no entry", status=status)})
    with pytest.raises(
        TrackerTrouble, match=r"no entry\. Set the credentials in the Secret of spec\.tracking\.mlflow\.sec"
    ):
        run_on(server).begin()


def test_ids_that_change_from_try_to_try_leave_one_run_that_is_told_of() -> None:
    """What begins is done again after trouble: a server may name another run then."""
    server = Server(**{"runs/create": {"run": info("first")}, "runs/log-batch": TrackerTrouble("away")})
    run = run_on(server)
    with pytest.raises(TrackerTrouble):
        run.begin()
    server.answers = {"runs/create": {"run": info("second")}}
    run.begin()
    run.send([line(1)])
    server.answers["runs/get"] = {"run": info("third")}
    run.send([line(2)])
    run.end(End("succeeded"))
    later = [said["run_id"] for name, said in server.told if name in ("runs/log-batch", "runs/update")]
    assert later == ["first", *["second"] * 5]
    assert (run.url.rpartition("/")[2], run.environment["MLFLOW_RUN_ID"]) == ("second", "second")


def test_a_run_that_is_deleted_meanwhile_is_told_once_and_costs_nothing_else(tmp_path: Path) -> None:
    server = Server(**{"runs/create": {"run": info()}})
    parts, notes = Parts(tmp_path / "metrics"), list[str]()
    driver = Worker(run_on(server), Feed(parts), notes.append)
    assert driver._go()
    server.answers["runs/get"] = Refused("HTTP 400: The run abc must be in the 'active' state", status=400)
    for step in range(3):
        parts.write(write_line(line(step)))
        assert not driver._go()
    (note,) = notes
    assert "must be in the 'active' state. Training goes on" in note


def test_what_failed_is_sent_again_whole() -> None:
    server = Server(**{"runs/create": {"run": info()}})
    run = run_on(server)
    run.begin()
    server.answers["runs/log-batch"] = TrackerTrouble("away")
    with pytest.raises(TrackerTrouble):
        run.send([line(1)])
    del server.answers["runs/log-batch"]
    run.send([line(1)])
    assert server.points() == [("loss", 1)] * 2


@pytest.mark.parametrize("lie", ["", "a/b", "../x", 'x"onclick', "a" * 65, 5, None], ids=repr)
def test_an_id_that_is_none_is_not_believed(lie: Any) -> None:
    run = run_on(Server(**{"runs/create": {"run": info(lie)}}))
    with pytest.raises(TrackerTrouble, match="says no run_id"):
        run.begin()
    assert (run.url, run.environment) == ("", {})


@pytest.mark.parametrize("end", [End("failed"), End("stopped"), End("succeeded")], ids=lambda end: end.outcome)
def test_only_a_verified_model_of_a_run_that_succeeds_is_registered(end: End) -> None:
    artifact = ArtifactStatus(uri="s3://m/1", manifest="s3://m/1/manifest.json", sha256="0" * 64, size_bytes=1)
    server = Server(**{"runs/create": {"run": info()}})
    run = run_on(server)
    run.begin()
    run.end(End(end.outcome, artifact=None if end.outcome == "succeeded" else artifact))
    assert not [name for name, _ in server.told if "model" in name]


@pytest.mark.parametrize(
    ("metric", "name"),
    [("val/loss", "val/loss"), ("acc (%)", "acc ___"), ("../../etc", "_/_/etc"), ("/", "_"), ("größe", "größe")],
)
def test_names_that_mlflow_takes(metric: str, name: str) -> None:
    assert mlflow._name(metric) == name


@pytest.mark.parametrize(
    ("environ", "header"),
    [
        ({}, {}),
        ({"MLFLOW_TRACKING_TOKEN": "abc\n"}, {"Authorization": "Bearer abc"}),
        ({"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "ü"}, {"Authorization": "Basic bWU6w7w="}),
    ],
)
def test_credentials(environ: Mapping[str, str], header: Mapping[str, str]) -> None:
    assert mlflow.headers(environ) == header
