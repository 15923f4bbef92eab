"""What is kept of a pod's log and of its metrics, and what is in storage at any minute."""

import asyncio
import errno
import gzip
import os
import resource
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from footplate import records
from footplate.api.reports import MAX_CURVE_METRICS, MAX_CURVE_POINTS, ProgressStatus
from footplate.curves import MAX_BYTES, size_of
from footplate_trainer.errors import Denied, StorageUnavailable
from footplate_trainer.exchange import RankReport
from footplate_trainer.storage.store import Store
from footplate_trainer.supervisor.heard import Heard
from footplate_trainer.supervisor.history import history as history_module
from footplate_trainer.supervisor.history.history import History
from footplate_trainer.supervisor.history.parts import Parts
from footplate_trainer.supervisor.history.recorder import DOUBLING_BYTES, Recorder
from footplate_trainer.supervisor.history.sending import Sending
from footplate_trainer.supervisor.pod import read_pod
from trainer_pods import pod_environment

LINES = [b"line %04d\n" % number for number in range(100)]


def packed(parts: Parts, folder: Path) -> bytes:
    parts.pack(folder / "packed.gz")
    return gzip.decompress((folder / "packed.gz").read_bytes())


def read_as_a_reader(store: Store, folder: str, name: str) -> bytes:
    listed = [item.key.removeprefix(f"{folder}/") for item in store.list(folder)]
    found = records.to_read(name, listed)
    texts = [gzip.decompress(store.get(f"{folder}/{each.name}")) for each in found]
    return b"".join((b"~" if each.follows_gap else b"") + text for each, text in zip(found, texts, strict=True))


def test_a_short_text_is_kept_as_it_is(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "log", first=1, last=1)
    parts.write(b"epoch 1\n")
    parts.write(b"epoch 2\n")
    assert (packed(parts, tmp_path), parts.sizes()) == (b"epoch 1\nepoch 2\n", {0: 16})


def test_of_a_long_text_the_first_and_the_last_parts_are_kept_and_the_rest_counted(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "log", first=1, last=2, part_bytes=50)
    for line in LINES:
        parts.write(line)
    first, gap, rest = packed(parts, tmp_path).partition(b"... 850 bytes were left out here ...\n")
    assert (first, rest) == (b"".join(LINES[:5]), b"".join(LINES[90:]))
    assert gap
    assert len(list((tmp_path / "log").iterdir())) == 3


def test_who_sends_waits_for_nobody_who_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts(tmp_path / "log")
    parts.write(b"epoch 1\n")
    hangs, goes_on = threading.Event(), threading.Event()
    monkeypatch.setattr(os, "write", lambda _file, lines: (hangs.set(), goes_on.wait(), len(lines))[2])
    writer = threading.Thread(target=parts.write, args=(b"epoch 2\n",))
    writer.start()
    assert hangs.wait(10)
    reader = threading.Thread(target=parts.sizes, daemon=True)
    reader.start()
    reader.join(10)
    waited = reader.is_alive()
    goes_on.set()
    writer.join()
    assert not waited


def test_a_line_longer_than_a_part_is_one(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "log", part_bytes=10)
    parts.write(b"x" * 100 + b"\n")
    parts.write(b"y\n")
    assert parts.sizes() == {0: 101, 1: 2}


def test_a_disk_that_is_full_loses_whole_lines_alone_and_is_tried_again(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "log", part_bytes=10)
    parts.write(b"epoch 1\n")
    (tmp_path / "log/000001").mkdir()  # where the next part can't be written
    parts.write(b"epoch 2\n")
    assert "directory" in parts.trouble
    (tmp_path / "log/000001").rmdir()
    parts.write(b"epoch 3\n")
    assert packed(parts, tmp_path) == b"epoch 1\nepoch 3\n"


def test_a_line_of_which_the_disk_takes_only_a_part_is_none(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "log")
    parts.write(b"epoch 1\n")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (12, before[1]))
        parts.write(b"epoch 2\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert parts.trouble
    parts.write(b"epoch 3\n")
    assert packed(parts, tmp_path) == b"epoch 1\nepoch 3\n"


class Bucket(Store):
    """A folder that counts what is written to it."""

    written: list[tuple[str, int]]

    @classmethod
    def at(cls, folder: Path) -> "Bucket":
        store = cls.open(f"file://{folder}")
        assert isinstance(store, Bucket)
        store.written = []
        return store

    def put(self, key: str, data: bytes, *, create: bool = False) -> None:
        super().put(key, data, create=create)
        self.written.append((key, len(data)))


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return Bucket.at(tmp_path / "bucket")


def test_only_what_has_grown_is_sent_again_and_the_whole_takes_the_place_of_its_parts(
    tmp_path: Path, bucket: Bucket
) -> None:
    parts = Parts(tmp_path / "log", first=1, last=2, part_bytes=50)
    sending = Sending(parts, "pods", "node.log", lambda: [b"0003"])
    for minute in range(4):
        for line in LINES[minute * 3 : minute * 3 + 3]:
            parts.write(line)
        sending.send(bucket)
        sending.send(bucket)
    names = [key.removeprefix("pods/node.log.part-").removesuffix(".gz") for key, _ in bucket.written]
    assert names == ["000000", "000000", "000001", "000001", "000001", "000002"]
    assert read_as_a_reader(bucket, "pods", "node.log") == b"".join(LINES[:12]).replace(b"0003", b"***")
    for line in LINES[12:]:
        parts.write(line)
    sending.send(bucket)
    text = read_as_a_reader(bucket, "pods", "node.log")
    assert text == b"".join(LINES[:5]).replace(b"0003", b"***") + b"~" + b"".join(LINES[90:])
    sending.finish(bucket, tmp_path / "scratch")
    assert [item.key for item in bucket.list()] == ["pods/node.log.gz"]
    assert b"bytes were left out here" in read_as_a_reader(bucket, "pods", "node.log")


def test_nothing_is_sent_of_what_was_never_written(tmp_path: Path, bucket: Bucket) -> None:
    Sending(Parts(tmp_path / "log"), "pods", "node.log").finish(bucket, tmp_path / "scratch")
    assert list(bucket.list()) == []


class Ranks:
    """What ranks report, as the supervisor reads it."""

    def __init__(self) -> None:
        self.report = RankReport()
        self._now = 0.0

    def say(self, step: int | None, *, at: int | None = None, **metrics: float) -> None:
        self._now += 1.0
        known = {**self.report.progress.metrics, **metrics}
        reported = {**self.report.reported, **dict.fromkeys(metrics, self._now)}
        steps = {**self.report.reported_at_step, **({} if at is None else dict.fromkeys(metrics, at))}
        progress = ProgressStatus(step=step, epoch=0, metrics=known)
        self.report = RankReport(progress=progress, reported=reported, reported_at_step=steps)


@pytest.fixture
def ranks() -> Ranks:
    return Ranks()


def lines_of(parts: Parts) -> list[records.Line]:
    text = b"".join(parts.read(number, size) for number, size in parts.sizes().items())
    return [line for each in text.splitlines() if (line := records.read_line(each)) is not None]


def test_the_curve_and_the_lines_hold_what_is_reported_where_it_was(tmp_path: Path, ranks: Ranks) -> None:
    parts = Parts(tmp_path / "metrics")
    recorder = Recorder(lambda: ranks.report, parts)
    looks = iter(range(100))

    def look() -> None:
        recorder.look(float(next(looks)), clock=lambda: 1000.0)

    look()
    for step in range(1, 4):
        ranks.say(step, loss=1.0 / step)
        look()
        look()
    ranks.say(3, accuracy=0.9)
    look()
    assert recorder.curve is not None
    assert recorder.curve.steps == [1, 2, 3]
    assert recorder.curve.metrics == {"loss": [1.0, 0.5, 0.33333], "accuracy": [None, None, 0.9]}
    assert [(line.step, dict(line.metrics)) for line in lines_of(parts)] == [
        (1, {"loss": 1.0}),
        (2, {"loss": 0.5}),
        (3, {"loss": 1.0 / 3}),
        (3, {"accuracy": 0.9}),
    ]
    ranks.say(2, loss=0.4)
    look()
    assert recorder.curve.steps == [1, 2], "what was undone is gone"


def test_lines_come_at_most_twice_a_second_and_lose_no_metric(tmp_path: Path, ranks: Ranks) -> None:
    parts = Parts(tmp_path / "metrics")
    recorder = Recorder(lambda: ranks.report, parts)
    for tenth in range(20):
        ranks.say(tenth, **({"accuracy": 0.5} if tenth == 3 else {"loss": 1.0}))
        recorder.look(tenth / 10, clock=lambda now=tenth / 10: now)
    assert sorted({line.time for line in lines_of(parts)}) == [0.0, 0.5, 1.0, 1.5]
    assert [line.step for line in lines_of(parts) if "accuracy" in line.metrics] == [3]
    parts.total_bytes = 2 * DOUBLING_BYTES
    ranks.say(30, loss=1.0)
    recorder.look(3.4)
    assert lines_of(parts)[-1].step == 15
    recorder.look(3.6)
    assert lines_of(parts)[-1].step == 30


def test_an_evaluation_some_steps_ago_is_where_it_was(tmp_path: Path, ranks: Ranks) -> None:
    parts = Parts(tmp_path / "metrics")
    recorder = Recorder(lambda: ranks.report, parts)
    ranks.say(90, at=90, loss=1.0)
    recorder.look(1.0)
    ranks.say(100, at=100, valLoss=0.5)
    ranks.say(123, at=123, loss=0.9)
    recorder.look(2.0)
    ranks.say(130, at=110, loss=0.8)
    recorder.look(3.0)
    assert recorder.curve is not None
    assert recorder.curve.steps == [90, 100, 123]
    assert recorder.curve.metrics == {"loss": [1.0, None, 0.8], "valLoss": [None, 0.5, None]}, (
        "none goes before another"
    )
    assert [line.step for line in lines_of(parts)] == [90, 100, 123, 123]
    ranks.say(50, at=50, loss=0.7)
    recorder.look(4.0)
    assert recorder.curve.steps == [50]


def test_the_last_look_leaves_nothing_unwritten(tmp_path: Path, ranks: Ranks) -> None:
    parts = Parts(tmp_path / "metrics")
    recorder = Recorder(lambda: ranks.report, parts)
    ranks.say(7, loss=1.0)
    recorder.look(1.0)
    ranks.say(8, loss=0.5)
    recorder.look(1.1)
    ranks.say(7, testAccuracy=0.9)
    recorder.look(1.2, last=True)
    assert [(line.step, dict(line.metrics)) for line in lines_of(parts)] == [
        (7, {"loss": 1.0}),
        (7, {"testAccuracy": 0.9}),
    ]


def test_code_without_steps_counts_its_reports(ranks: Ranks) -> None:
    recorder = Recorder(lambda: ranks.report, None)
    for number in range(3):
        ranks.say(None, loss=float(number))
        recorder.look(float(number))
    assert recorder.curve is not None
    assert (recorder.curve.steps, recorder.curve.metrics) == ([1, 2, 3], {"loss": [0.0, 1.0, 2.0]})


def test_a_thousand_metrics_with_hostile_names_are_bounded() -> None:
    heard, now = Heard(), 0.0
    recorder = Recorder(lambda: heard.complete(RankReport()), None)
    for step in range(300):
        now += 0.5
        heard.hear(
            {"step": step, **{f"{n}<script>\x1b[2J\n{'é' * 90}": float(step) for n in range(1000)}, "bad": "nan"}
        )
        recorder.look(now)
    assert recorder.curve is not None
    assert len(recorder.curve.metrics) == MAX_CURVE_METRICS
    assert len(recorder.curve.steps) <= MAX_CURVE_POINTS
    assert size_of(recorder.curve) <= MAX_BYTES
    assert recorder.curve.steps[-1] == 299


@pytest.fixture
def make_history(tmp_path: Path, ranks: Ranks) -> Callable[..., tuple[History, list[str]]]:
    def make(**place: Any) -> tuple[History, list[str]]:
        spec = {"trainer": {"entrypoint": "train.py"}, "output": {"uri": f"file://{tmp_path}/models"}}
        pod = read_pod(pod_environment(tmp_path, spec, attempt=3, nodes=2, **place))
        pod.make_folders()
        notes: list[str] = []

        def note(text: str) -> None:
            if text not in notes:
                notes.append(text)

        return History(pod, lambda: ranks.report, note), notes

    return make


Made = tuple[History, list[str]]


def test_a_pod_that_is_killed_has_left_what_was_sent_the_minute_before(
    make_history: Callable[..., Made], ranks: Ranks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "very-secret")
    history, notes = make_history()
    history.log.write(b"epoch 1, key very-secret\n")
    ranks.say(1, loss=0.5)
    history.look()
    history.send()
    history.log.write(b"epoch 2\n")
    store = Store.open(f"file://{tmp_path}/models/digits/records-1-uid-1")
    assert read_as_a_reader(store, records.pod_logs_folder(3), records.pod_log(0)) == b"epoch 1, key ***\n"
    said = read_as_a_reader(store, records.METRICS, records.metrics(3))
    lines = [line for text in said.splitlines() if (line := records.read_line(text)) is not None]
    assert [(line.step, line.metrics) for line in lines] == [(1, {"loss": 0.5})]
    assert notes == []


def test_node_0_alone_leaves_metrics(make_history: Callable[..., Made], ranks: Ranks, tmp_path: Path) -> None:
    history, _ = make_history(node_rank=1)
    history.log.write(b"epoch 1\n")
    ranks.say(1, loss=0.5)
    history.look()
    history.finish()
    left = [path.name for path in (tmp_path / "models").rglob("*") if path.is_file()]
    assert left == ["node-00001.log.gz"]


def test_storage_that_refuses_costs_one_note_until_it_takes_it_again(
    make_history: Callable[..., Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    history, notes = make_history()
    history.log.write(b"epoch 1\n")
    answers: Sequence[Exception] = [Denied("no: 1"), StorageUnavailable("no: 2"), OSError(errno.ENOSPC, "no: 3")]
    for error in answers:
        with monkeypatch.context() as patched:
            patched.setattr(Store, "put", lambda *_, error=error, **__: (_ for _ in ()).throw(error))
            history.send()
    assert notes == ["what node 0 logs and reports could not be stored, which is tried again every minute: no: 1"]
    history.send()
    assert len(notes) == 1
    history.log.write(b"epoch 2\n")
    monkeypatch.setattr(Store, "put", lambda *_, **__: (_ for _ in ()).throw(Denied("again")))
    history.send()
    assert len(notes) == 2


async def test_storage_that_hangs_holds_up_no_look(
    make_history: Callable[..., Made], ranks: Ranks, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, _ = make_history()
    asked: list[str] = []
    answer, is_asked = threading.Event(), threading.Event()

    def hang(_: Store, key: str, *__: Any) -> None:
        asked.append(key)
        is_asked.set()
        answer.wait(20)

    monkeypatch.setattr(Store, "put", hang)
    monkeypatch.setattr(history_module, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(history_module, "SEND_SECONDS", 0.05)
    history.log.write(b"epoch 1\n")
    going = asyncio.create_task(history.go_on())
    await asyncio.to_thread(is_asked.wait, 20)
    ranks.say(1, loss=0.5)
    await asyncio.sleep(0.2)
    assert history.recorder.curve is not None
    assert len(asked) == 1, "one that hangs is not joined by others"
    going.cancel()
    answer.set()


def test_a_full_disk_is_said_once(make_history: Callable[..., Made], tmp_path: Path) -> None:
    history, notes = make_history()
    (tmp_path / "scratch/work/log").write_text("no folder")
    for _ in range(3):
        history.log.write(b"epoch 1\n")
        history.send()
    assert notes == [f"not all that node 0 logs and reports can be kept on its disk: {os.strerror(errno.EEXIST)}"]


def test_without_storage_nothing_is_sent(tmp_path: Path, ranks: Ranks) -> None:
    pod = read_pod(pod_environment(tmp_path, {"trainer": {"entrypoint": "train.py"}}))
    pod.make_folders()
    history = History(pod, lambda: ranks.report, lambda text: pytest.fail(text))
    history.log.write(b"epoch 1\n")
    history.send()
    history.finish()


def test_the_table_is_made_by_another_process(
    make_history: Callable[..., Made], ranks: Ranks, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, notes = make_history()
    assert history.make_table() is None
    ranks.say(1, loss=0.5)
    history.look()
    made = history.make_table()
    assert made is not None
    assert (made.name, made.stat().st_size > 0, notes) == ("metrics.parquet", True, [])
    made.unlink()
    monkeypatch.setattr(history_module, "TABLE_SECONDS", 0.01)
    assert history.make_table() is None
    assert len(notes) == 1
    assert notes[0].startswith("the metrics of the run are not beside its model: ")
