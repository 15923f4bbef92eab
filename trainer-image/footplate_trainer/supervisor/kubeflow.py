"""Kubeflow Trainer's endpoint for progress, so that what reports to it (transformers' KubeflowCallback, the Kubeflow
SDK) reports here, unchanged.

The code finds a URL and the path of a token in its environment, and posts

    {"trainerStatus": {"progressPercentage": 42, "estimatedRemainingSeconds": 90, "metrics": [{"name": …, "value": …}]}}

Ours listens on the pod's loopback address alone, without TLS: nothing leaves the pod.
"""

import contextlib
import hmac
import json
import os
import secrets
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import structlog

from footplate_trainer.supervisor.pod import Pod
from footplate_trainer.supervisor.telemetry import REQUEST_SECONDS, server_class

MAX_BODY_BYTES = 65_536
MAX_LENGTH_DIGITS = 10
"""Of a length in a header."""
_HOST = "127.0.0.1"
_PLACES = {"current_step": "step", "total_steps": "totalSteps", "current_epoch": "epoch"}
"""Metrics of KubeflowCallback that are no metrics."""

log = structlog.get_logger()
Hear = Callable[[Mapping[str, Any]], None]


class Endpoint:
    """The endpoint, while it is open. `environment` is what tells the code of it; empty where it can't be had."""

    def __init__(self, pod: Pod, hear: Hear) -> None:
        token, path = secrets.token_hex(16), pod.run_dir / "kubeflow-token"
        self._server: ThreadingHTTPServer | None = None
        self.environment: Mapping[str, str] = {}
        try:
            _write_secret(path, token)
            self._server = server_class(_HOST)((_HOST, 0), _handler(token, hear))
        except OSError as error:
            log.warning("Kubeflow's progress endpoint is not served", error=str(error))
            return
        name = f"namespaces/{pod.config.metadata.namespace}/trainjobs/{pod.job}"
        address = f"http://{_HOST}:{self._server.server_address[1]}"
        self.environment = {
            "KUBEFLOW_TRAINER_SERVER_URL": f"{address}/apis/trainer.kubeflow.org/v1alpha1/{name}/status",
            "KUBEFLOW_TRAINER_SERVER_TOKEN": str(path),
        }
        Thread(target=self._server.serve_forever, name="kubeflow", daemon=True).start()

    def close(self) -> None:
        """Nobody is heard any more."""
        if self._server is not None:
            with contextlib.suppress(OSError):
                self._server.shutdown()
                self._server.server_close()


def read_status(body: bytes) -> dict[str, Any]:
    """What a posted status says, by the names of `status.progress`.

    Raises:
        ValueError: it isn't of that shape.
    """
    try:
        status = json.loads(body)["trainerStatus"]
        metrics = {str(metric["name"]): metric["value"] for metric in status.get("metrics") or ()}
        own = {"percent": status.get("progressPercentage"), "etaSeconds": status.get("estimatedRemainingSeconds")}
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a trainerStatus: {error}") from None
    return {_PLACES.get(name, name): value for name, value in metrics.items()} | own


def _write_secret(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with open(path, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)


def _handler(token: str, hear: Hear) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_SECONDS

        def do_POST(self) -> None:
            """Takes a status in."""
            said = self.headers.get("Authorization", "").encode(errors="replace")
            if not hmac.compare_digest(said, f"Bearer {token}".encode()):
                return self._answer(401, "the token is another")
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal() or len(length) > MAX_LENGTH_DIGITS or int(length) > MAX_BODY_BYTES:
                return self._answer(413, f"a status has at most {MAX_BODY_BYTES} bytes")
            try:
                hear(read_status(self.rfile.read(int(length))))
            except ValueError as error:
                return self._answer(422, str(error)[:200])
            except OSError:
                return None
            return self._answer(200, "")

        def _answer(self, code: int, text: str) -> None:
            body = text.encode()
            with contextlib.suppress(OSError):
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is http.server's)
            """Requests are no news."""

    return Handler
