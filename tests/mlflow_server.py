"""A real MLflow server on sqlite, in a Python of its own, and what it says of runs."""

import json
import os
import signal
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainer_pods import free_port

START_SECONDS = 180


class MlflowServer:
    """One that answers at `uri`."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def get(self, path: str, **query: str) -> Any:
        """What stands at a path of its REST API."""
        with urllib.request.urlopen(f"{self.uri}/api/2.0/mlflow/{path}?{urllib.parse.urlencode(query)}") as answer:
            return json.load(answer)

    def post(self, path: str, **said: Any) -> Any:
        """The answer to what is said."""
        asked = urllib.request.Request(
            f"{self.uri}/api/2.0/mlflow/{path}", json.dumps(said).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked) as answer:
            return json.load(answer)

    def runs(self, experiment: str) -> list[Any]:
        """All runs of an experiment; none where it isn't there."""
        try:
            found = self.get("experiments/get-by-name", experiment_name=experiment)["experiment"]["experiment_id"]
        except OSError:  # nor may the server be, at times
            return []
        return list(self.post("runs/search", experiment_ids=[found]).get("runs", ()))

    def run(self, experiment: str) -> "Run":
        """The only run of an experiment."""
        (found,) = self.runs(experiment)
        return Run(self, found)


class Run:
    """A run, as it was when it was asked for."""

    def __init__(self, server: MlflowServer, raw: Mapping[str, Any]) -> None:
        self._server = server
        self.id: str = raw["info"]["run_id"]
        self.status: str = raw["info"]["status"]
        self.name: str = raw["info"]["run_name"]
        self.has_ended = bool(raw["info"].get("end_time"))
        self.parameters = {each["key"]: each["value"] for each in raw["data"].get("params", ())}
        self.tags = {each["key"]: each["value"] for each in raw["data"].get("tags", ())}
        self.inputs = {each["dataset"]["name"]: each["dataset"] for each in raw["inputs"].get("dataset_inputs", ())}

    def points(self, metric: str) -> list[tuple[int, float]]:
        """A metric's steps and values, as they were told."""
        said = self._server.get("metrics/get-history", run_id=self.id, metric_key=metric, max_results="20000")
        return [(each.get("step", 0), each["value"]) for each in said.get("metrics", ())]


@contextmanager
def mlflow_server(folder: Path, python: str, *options: str, port: int | None = None) -> Iterator[MlflowServer]:
    """Runs one with its data in `folder`. `options` are the command's."""
    port = port or free_port()
    command = [python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder)]
    with (folder / "mlflow.log").open("ab") as log:
        process = subprocess.Popen([*command, *stores, *options], stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_until_ready(port, process, folder)
        yield MlflowServer(f"http://127.0.0.1:{port}")
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # it has workers
        process.wait()


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"MLflow's server did not begin:\n{(folder / 'mlflow.log').read_text()}")
