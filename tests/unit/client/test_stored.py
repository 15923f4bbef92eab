"""What pods have left in storage is read within bounds: logs, curves, checkpoints; and whose keys go where."""

import base64
import gzip
import hashlib
import io
import itertools
import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import obstore
import pytest
import structlog

from client_site import Site
from footplate import records
from footplate.api.reports import CurveStatus
from footplate.api.trainingjob import TrainingJobSpec
from footplate.client import Client, StorageUnreadable, checkpoints, history, stored
from footplate.client.checkpoints import list_checkpoints
from footplate.client.history import History, of_lines, of_records, of_status
from footplate.client.storage import open_store
from footplate.client.stored import Records
from footplate.records import Line
from footplate_trainer.errors import StorageError
from footplate_trainer.storage.store import Store

LOGS = records.pod_logs_folder(0)
KEYS = {"AWS_ACCESS_KEY_ID": "mine", "AWS_SECRET_ACCESS_KEY": "mine", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(f"file://{tmp_path}/run")


def read(store: Store, folder: str = LOGS, name: str = "node-00000.log") -> bytes:
    return b"".join(Records(store).text(folder, name))


def test_a_whole_log_and_one_of_parts(store: Store) -> None:
    assert read(store) == b""
    for number in (0, 1, 3):
        store.put(f"{LOGS}/{records.part('node-00000.log', number)}", gzip.compress(b"part %d\n" % number))
    assert read(store) == b"part 0\npart 1\n... some of it is missing here ...\npart 3\n"
    store.put(f"{LOGS}/{records.whole('node-00000.log')}", gzip.compress(b"one\n") + gzip.compress(b"two\n"))
    assert read(store) == b"one\ntwo\n"


def test_a_part_that_the_whole_replaces_meanwhile(store: Store) -> None:
    names = [f"{LOGS}/{records.part('node-00000.log', number)}" for number in range(2)]
    for number, name in enumerate(names):
        store.put(name, gzip.compress(b"part %d\n" % number))
    pieces = Records(store).text(LOGS, "node-00000.log")
    assert next(pieces) == b"part 0\n"
    store.put(f"{LOGS}/{records.whole('node-00000.log')}", gzip.compress(b"part 0\npart 1\nend\n"))
    store.delete(names)
    assert b"".join(pieces) == b"part 1\nend\n"


def test_a_log_that_lies_about_its_size_or_is_damaged(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"{LOGS}/{records.whole('node-00000.log')}"
    monkeypatch.setattr(stored, "MAX_BYTES", 4 << 20)
    store.put(name, gzip.compress(b"0" * (64 << 20)))
    found = read(store)
    assert len(found) < 6 << 20
    assert found.endswith(b"... it is longer than is read here ...\n")
    packed = gzip.compress(b"whole\n" + b"".join(b"%d\n" % (n * n) for n in range(10_000)))
    store.put(name, packed[: len(packed) // 2])
    assert read(store).startswith(b"whole\n")
    store.put(name, b"no gzip at all")
    assert read(store) == b""


def test_the_curves_of_all_attempts_without_what_was_undone(store: Store) -> None:
    def line(step: int, **metrics: float) -> bytes:
        return records.write_line(Line(1000.0 + step, step, None, metrics))

    first = line(1, loss=3.0) + line(2, loss=2.0) + b"\xff not a line\n" + b"x" * 200_000 + b"\n" + line(3, loss=1.5)
    second = line(2, loss=1.9) + line(2, accuracy=0.5) + b'{"time": 1'
    for attempt, text in enumerate((first, second)):
        store.put(f"metrics/{records.whole(records.metrics(attempt))}", gzip.compress(text))
    found = of_records(Records(store))
    assert found.steps == [1, 2]
    assert found.metrics == {"loss": [3.0, 1.9], "accuracy": [None, 0.5]}
    assert found.times == [1001.0, 1002.0]


def test_a_thousand_metrics_are_cut_and_curves_of_a_liar_are_whole() -> None:
    lines = [(0, Line(0.0, step, None, {f"m{step}": 1.0})) for step in range(1_000)]
    found = of_lines(lines)
    assert len(found.metrics) == 128
    assert {len(values) for values in found.metrics.values()} == {1_000}
    assert of_status(None) == History()
    lying = CurveStatus.model_construct(steps=[1, 2], metrics={"a": [1.0], "b": [1.0, 2.0, 3.0]})
    assert of_status(lying).metrics == {"a": [1.0, None], "b": [1.0, 2.0]}


def test_checkpoints_are_those_that_are_whole(store: Store) -> None:
    def save(folder: str, *, time: str) -> bytes:
        store.put(f"{folder}/model-1.bin", b"x" * 100)
        manifest = json.dumps({"time": time}).encode()
        store.put(f"{folder}/manifest.json", manifest)
        return manifest

    save("step-00000100", time="2026-01-01T00:00:00Z")
    damaged = save("step-00000200", time="2026-01-02T00:00:00Z")
    store.put(f"step-00000200/bad-{hashlib.sha256(damaged).hexdigest()[:12]}", b"")
    save("trainings/fold-1/step-00000050", time="2026-01-03T00:00:00Z")
    store.put("step-00000300/model-1.bin", b"half")
    store.put("step-00000400/manifest.json", b"\xff")
    store.put("attempts/0", b"")
    store.put("snapshots/00000000-00000001/node-0-of-2.json", b'{"time": "2026-01-04T00:00:00Z", "files": []}')
    store.put("snapshots/00000000-00000001/node-1-of-2.json", b'{"files": [{"size": 7000000000}, {"size": "x"}]}')
    store.put("snapshots/00000000-00000003/node-0-of-1.json", b'{"files": []}')
    store.put("snapshots/00000000-00000002/node-0-of-2.json", b"{}")
    found = [
        (view.uri.removeprefix(store.uri), view.step, view.training, view.damaged) for view in list_checkpoints(store)
    ]
    assert found == [
        ("/snapshots/00000000-00000001/", None, "main", False),
        ("/trainings/fold-1/step-00000050/", 50, "fold-1", False),
        ("/step-00000200/", 200, "main", True),
        ("/step-00000100/", 100, "main", False),
        ("/step-00000400/", 400, "main", True),
    ]
    assert list_checkpoints(store)[0].size_bytes == 7_000_000_000
    newest = list_checkpoints(store)[3]
    assert newest.size_bytes is not None
    assert newest.size_bytes > 100
    assert newest.time is not None


def spec(**storage: object) -> TrainingJobSpec:
    return TrainingJobSpec.model_validate({"trainer": {"image": "x", "command": ["x"]}, "storage": storage})


def test_the_jobs_secret_opens_its_storage_and_nothing_of_it_names_files_here(
    site: Site, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    data = {name: base64.b64encode(value.encode()).decode() for name, value in KEYS.items()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s3"}, "data": data}
    site.request("POST", "/api/v1/namespaces/default/secrets", secret)
    opened = open_store(client.connection, spec(secretRef={"name": "s3"}), "s3://bucket/x", namespace="default")
    assert opened.uri == "s3://bucket/x"
    with pytest.raises(StorageUnreadable, match="lies in a volume of the job's pods"):
        open_store(client.connection, spec(), "file:///etc", namespace="default")


def test_what_storage_says_goes_to_where_the_program_reads_it_now(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    structlog.reset_defaults()
    before, after = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", before)
    with pytest.raises(StorageUnreadable):
        open_store(client.connection, spec(), "file:///etc", namespace="default")
    before.close()
    monkeypatch.setattr(sys, "stderr", after)
    structlog.get_logger().warning("is tried again")
    assert "is tried again" in after.getvalue()


def test_who_has_no_reader_of_storage_is_told_its_name(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "footplate_trainer.storage.store", None)
    with pytest.raises(StorageUnreadable, match=r"isn't installed; run: pip install 'footplate\[cli\]'"):
        open_store(client.connection, spec(), "s3://bucket/x", namespace="default")


@pytest.mark.parametrize(
    "settings",
    [{}, {"AWS_SKIP_SIGNATURE": "false"}, {"AWS_ACCESS_KEY_ID": ""}, {"AWS_ACCESS_KEY_ID": "theirs"}],
    ids=str,
)
def test_own_keys_go_to_no_address_that_a_job_names(
    site: Site, client: Client, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    data = {name: base64.b64encode(value.encode()).decode() for name, value in settings.items()}
    data["AWS_ENDPOINT_URL"] = base64.b64encode(b"http://evil.example.com").decode()
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s3"}, "data": data}
    site.request("POST", "/api/v1/namespaces/default/secrets", secret)
    for storage in ({"endpoint": "http://evil.example.com"}, {"secretRef": {"name": "s3"}}):
        with pytest.raises(StorageUnreadable, match=r"evil.example.com, which the job names"):
            open_store(client.connection, spec(**storage), "s3://bucket/x", namespace="default")
    secret_ref = {} if "AWS_ACCESS_KEY_ID" in settings else {"secretRef": {"name": "s3"}}
    mine = spec(endpoint=KEYS["AWS_ENDPOINT_URL"], **secret_ref)
    opened = open_store(client.connection, mine, "s3://bucket/x", namespace="default")
    assert opened._contact._endpoint == KEYS["AWS_ENDPOINT_URL"], "the job's goes before its Secret's, as in its pods"


def test_a_bucket_made_to_hold_its_reader_up_is_left_early(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"{LOGS}/{records.whole('node-00000.log')}"
    store.put(name, gzip.compress(b"whole\n") + gzip.compress(b"") * 100_000)
    began = time.monotonic()
    assert read(store) == b"whole\n"
    assert time.monotonic() - began < 3, "each empty member costs as much as all that follow it"
    store.put(name, gzip.compress(b"0") * 50_000)
    assert len(read(store)) == 50_000
    assert time.monotonic() - began < 3, "each member costs as much as all that follow it"
    store.delete([name])
    for number in range(20):
        store.put(f"{LOGS}/{records.part('node-00000.log', number)}", b"")
    monkeypatch.setattr(stored, "MAX_BYTES", 10 << 16)
    assert read(store) == b"... it is longer than is read here ...\n"


def test_a_listing_without_an_end_ends(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = itertools.count()

    def endless(*_: object, **__: object) -> Iterator[list[dict[str, object]]]:
        for page in pages:
            assert page < 50, "the server is asked on and on"
            keys = [f"run/{LOGS}/{page:06d}-{number}" for number in range(1_000)]
            yield [{"path": key, "size": 1, "e_tag": None} for key in keys]

    monkeypatch.setattr(obstore, "list", endless)
    for module in (stored, checkpoints):
        monkeypatch.setattr(module, "MAX_OBJECTS", 10_000)
    with pytest.raises(StorageUnreadable, match="more than 10,000 objects lie there"):
        read(store)
    with pytest.raises(StorageUnreadable, match="more than 10,000 objects lie there"):
        list_checkpoints(store)


def test_a_history_longer_than_memory_is_thinned_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_LINES", 1_000)
    seldom = {40: {"accuracy": 0.5}}
    found = of_lines((0, Line(0.0, step, None, {"loss": float(step), **seldom.get(step, {})})) for step in range(9_999))
    assert 500 <= len(found.steps) <= 1_000
    assert found.steps[-1] == 9_998
    assert found.metrics["loss"] == [float(step) for step in found.steps]
    assert [value for value in found.metrics["accuracy"] if value is not None] == [0.5]


class Liar(BaseHTTPRequestHandler):
    """Storage that says that an object has a hundred bytes, and gives as many as are taken."""

    given = 0

    def do_GET(self) -> None:
        self.send_response(206)
        for name, value in {"Content-Range": "bytes 0-99/100", "Content-Length": str(256 << 20), "ETag": '"a"'}.items():
            self.send_header(name, value)
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.end_headers()
        for _ in range(256):
            self.wfile.write(b"\0" * (1 << 20))
            Liar.given += 1 << 20

    def log_message(self, *_: object) -> None:
        pass


def test_storage_that_gives_more_than_it_says_is_left_early() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Liar) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        keys = {name: value for name, value in KEYS.items() if name != "AWS_ENDPOINT_URL"}
        store = Store.open(
            "s3://b/x", endpoint=f"http://127.0.0.1:{server.server_port}", credentials=keys, outage_seconds=0
        )
        with pytest.raises(StorageError, match="where it was asked for 100"):
            store.get_range("manifest.json", 0, 100)
        server.shutdown()
    assert Liar.given < 64 << 20
