"""What tracking takes from a training that reports ten times a second. Prints JSON lines.

    python tests/bench/bench_tracking.py

The trackers of a pod run as in a supervisor, in a process of its own: the recorder looks twice a second, MLflow's
server (one on this machine that answers at once) is told every 5 s, TensorBoard's files go to a folder. Its CPU time is
held against the time of the steps, of which there are ten a second: the goal is less than 1 % of a step. Once more with
a server that answers nothing, with one whose answers never end, and without trackers, which is what the recorder alone
takes. What a look of the recorder took at most is printed too: it is nobody else that a tracker could hold up.
"""

import json
import multiprocessing
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

SECONDS = 30
REPORTS_PER_SECOND = 10
METRICS = {"loss": 0.5, "accuracy": 0.5, "learning_rate": 1e-3}
GOAL_PERCENT = 1.0
ANSWERS: Mapping[str, Any] = {
    "/experiments/get-by-name": {"experiment": {"experiment_id": "1"}},
    "/runs/create": {"run": {"info": {"run_id": "a" * 32}, "data": {}}},
}


class Handler(BaseHTTPRequestHandler):
    """Answers as MLflow would."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].removeprefix("/api/2.0/mlflow")
        body = json.dumps(ANSWERS.get(path, {})).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Requests are no news."""


class Endless(Handler):
    """Answers byte by byte, for ever."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):
            while True:
                self.wfile.write(b" ")
                time.sleep(0.02)


def supervise(folder: str, tracking: Mapping[str, Any], said: Connection) -> None:
    """What a supervisor does of tracking, while training reports; sends its CPU seconds, how much it told, and how long
    a look took at most.
    """
    from footplate_trainer.exchange import RankReport
    from footplate_trainer.supervisor.history.parts import Parts
    from footplate_trainer.supervisor.history.recorder import Recorder
    from footplate_trainer.supervisor.pod import read_pod
    from footplate_trainer.supervisor.tracking.tracker import End
    from footplate_trainer.supervisor.tracking.tracking import Tracking
    from trainer_pods import pod_environment

    root = Path(folder)
    spec: dict[str, Any] = {"trainer": {"command": ["train"]}, "output": {"uri": f"file://{root}/output/"}}
    pod = read_pod(pod_environment(root, {**spec, **({"tracking": tracking} if tracking else {})}))
    step, reported = 0, RankReport()
    parts = Parts(root / "metrics")
    recorder = Recorder(lambda: reported, parts)
    trackers = Tracking(pod, parts, lambda note: None)
    trackers.begin()
    began, cpu, longest = time.monotonic(), time.process_time(), 0.0
    while time.monotonic() - began < SECONDS:
        for _ in range(REPORTS_PER_SECOND // 2):
            step += 1
            progress = reported.progress.model_copy(update={"step": step, "metrics": METRICS})
            now = dict.fromkeys(METRICS, time.monotonic())
            reported = reported.model_copy(
                update={"progress": progress, "reported": now, "reported_at_step": dict.fromkeys(METRICS, step)}
            )
            time.sleep(1 / REPORTS_PER_SECOND)
        looked = time.monotonic()
        recorder.look(looked)
        longest = max(longest, time.monotonic() - looked)
    trackers.finish(End("succeeded"), seconds=5)
    said.send((time.process_time() - cpu, step, parts.total_bytes, longest))


def measure(name: str, tracking: Mapping[str, Any], base: float = 0.0) -> float:
    """CPU seconds of one supervisor; those of trackers alone are what it takes more than `base`."""
    here, there = multiprocessing.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        process = multiprocessing.get_context("spawn").Process(target=supervise, args=(folder, tracking, there))
        process.start()
        seconds, steps, told, longest = here.recv()
        process.join()
    percent = 100 * (seconds - base) / SECONDS
    figures = {"cpu_percent_of_a_step": round(percent, 3), "goal": GOAL_PERCENT if base else None}
    held = {"reports": steps, "bytes": told, "longest_look_ms": round(1000 * longest, 1)}
    print(json.dumps({"bench": "tracking", "case": name, **figures, **held}), flush=True)
    return float(seconds)


def main() -> None:
    """Measures all cases."""
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler) for handler in (Handler, Endless)]
    for server in servers:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
    silent = socket.create_server(("127.0.0.1", 0))
    ports = [server.server_address[1] for server in servers] + [silent.getsockname()[1]]
    base = measure("recorder alone", {})
    for name, port in zip(("MLflow and TensorBoard", "endless answers", "silent"), ports, strict=True):
        tracking = {"mlflow": {"uri": f"http://127.0.0.1:{port}"}, "tensorboard": {}}
        measure(name, tracking, base)
    with suppress(OSError):
        silent.close()
    for server in servers:
        server.shutdown()


if __name__ == "__main__":
    main()
