"""Whole pods whose trackers are away or silent: the model is there, the files are, and nobody waited for long."""

import gzip
import json
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from footplate.contract import ExitCode
from trainer_pods import Done, RunningPod, free_port, pod_environment

pytestmark = pytest.mark.integration

TRAIN = """
import json, os, pathlib, time
file = open(os.environ["FOOTPLATE_METRICS_FILE"], "a")
for step in range(1, 4):
    print(json.dumps({"step": step, "loss": 1 / step}), file=file, flush=True)
    time.sleep(0.2)
print("MLFLOW_RUN_ID is", os.environ.get("MLFLOW_RUN_ID"))
pathlib.Path(os.environ["FOOTPLATE_OUTPUT_DIR"], "model.bin").write_bytes(b"weights")
"""


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def run(root: Path, uri: str, **tracking: Any) -> Done:
    words = [sys.executable, "-c", TRAIN]
    spec = {
        "trainer": {"command": words},
        "output": {"uri": f"file://{root}/models/"},
        "tracking": {"mlflow": {"uri": uri}, **tracking},
    }
    environment = pod_environment(root, spec) | {"MLFLOW_TRACKING_TOKEN": "hunter2-hunter2"}
    return RunningPod(root, environment, arguments=words).finish()


def test_a_silent_server_costs_seconds_and_a_note(silent: str, tmp_path: Path) -> None:
    done = run(tmp_path, silent, tensorboard={})
    assert done.exit_code == ExitCode.OK, done.log
    assert done.verdict.artifact is not None
    assert "MLFLOW_RUN_ID is None" in done.log
    assert any("mlflow may lack the end of this run" in note for note in done.verdict.notes)
    assert "hunter2" not in done.log
    (files,) = done.verdict.tracking
    assert files.name == "tensorboard"
    assert shown(Path(files.url.removeprefix("file://"))) == 3


def shown(folder: Path) -> int:
    """The last step that TensorBoard shows of the loss."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder))
    read.Reload()
    return int(read.Scalars("loss")[-1].step)


class Echo(BaseHTTPRequestHandler):
    """Refuses, and says again all that it was shown."""

    def do_GET(self) -> None:
        shown = self.headers["Authorization"]
        body = json.dumps({"error_code": "BAD", "message": f"I was shown {shown}, by {shown.split()[1]}"}).encode()
        self.send_response(400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Requests are no news."""


def test_what_a_server_says_again_of_a_secret_is_nowhere(tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        done = run(tmp_path, f"http://127.0.0.1:{server.server_address[1]}")
    finally:
        server.shutdown()
        server.server_close()
    assert done.exit_code == ExitCode.OK, done.log
    assert any("I was shown Bearer ***, by ***" in note for note in done.verdict.notes)
    kept = [path for path in (tmp_path / "models").rglob("*") if path.is_file()]
    texts = [gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() for path in kept]
    assert any(b"I was shown" in text for text in texts), "the log is kept, with the note"
    said = b"".join([done.log.encode(), done.verdict.model_dump_json().encode(), *texts])
    assert b"hunter2" not in said


def test_a_server_that_is_not_there_costs_a_note(tmp_path: Path) -> None:
    done = run(tmp_path, f"http://127.0.0.1:{free_port()}")
    assert done.exit_code == ExitCode.OK, done.log
    assert any("Connection refused" in note for note in done.verdict.notes)
