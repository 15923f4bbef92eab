"""What the outside may ask of a pod: `/metrics` (Prometheus), `/progress` (contract.Progress) and `/healthz`.

Where the run has a token, who doesn't show it gets neither progress nor metrics; the kubelet, which knows none, asks
for /healthz. Served by threads beside the supervisor. It never stops training: where the address can't be had, it says
so and does without.
"""

import asyncio
import contextlib
import hmac
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6, SHUT_RDWR
from threading import Thread
from typing import Any

import structlog
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from pydantic import ValidationError

from footplate.api.reports import (
    MAX_STRAGGLERS,
    CheckpointStatus,
    DataStatus,
    PreflightStatus,
    ProgressStatus,
    TrackedRun,
)
from footplate.contract import MAX_NOTE_LENGTH, MAX_NOTES, MAX_PROGRESS_BYTES, TOKEN_HEADER, Activity, Progress
from footplate_trainer.exchange import RankReport, read_heartbeats, read_report
from footplate_trainer.supervisor.device_readings import DeviceReadings
from footplate_trainer.supervisor.heard import Heard
from footplate_trainer.supervisor.history.recorder import Recorder
from footplate_trainer.supervisor.pod import Pod
from footplate_trainer.supervisor.scrape import render
from footplate_trainer.supervisor.verdict import describe_lie
from footplate_trainer.timing.durations import SAVE_BOUNDS, Durations

REQUEST_SECONDS = 5
MAX_CONNECTIONS = 64
"""Open at once. The oldest makes room for the next: who asks slowly, or nothing, takes no more threads than that from
the ranks, and keeps nobody from an answer.
"""
PULSE_SECONDS = 1.0
MIN_PATIENCE_SECONDS = 60.0
PATIENCE_STEPS = 10
"""How many times a step's duration may go by without one, and at least so many seconds, before training's speed isn't
known any more.
"""
STUCK_SECONDS = 60.0
"""A supervisor whose event loop hasn't turned for so long is as good as frozen, whoever answers for it."""

log = structlog.get_logger()


class Telemetry:
    """What is known of this pod at any moment, read from the files that its ranks write."""

    def __init__(
        self, pod: Pod, clock: Callable[[], float] = time.monotonic, devices: DeviceReadings | None = None
    ) -> None:
        self.heard = Heard()
        """What code says that doesn't use our library."""
        self.activity: Activity | None = "loading"
        """What the supervisor itself does; None while the ranks are at work."""
        self.notes: list[str] = []
        """What the supervisor itself has to tell the user."""
        self.preflight: PreflightStatus | None = None
        """What the nodes have shown before training."""
        self.data: DataStatus | None = None
        """What the run's data are, once that is known."""
        self.resumed_from: str | None = None
        """URI of the snapshot that lies in the checkpoint folder again."""
        self.tracked: Callable[[], list[TrackedRun]] = list
        """Where trackers show the run."""
        self.recorder: Recorder | None = None
        """Who knows the course of the metrics, once the ranks have begun."""
        self._snapshot: CheckpointStatus | None = None
        self._snapshot_at: float | None = None
        self._saves = Durations(SAVE_BOUNDS)
        """Of snapshots."""
        self._devices = devices
        self._pod = pod
        self._clock = clock
        self._pulse = clock()

    def note(self, text: str) -> None:
        """Tells the user something, in the job's progress and in the verdict."""
        self.notes = [*self.notes, text[:MAX_NOTE_LENGTH]][-MAX_NOTES:]

    def tell_data(self, data: DataStatus) -> None:
        """Says what the run's data are."""
        self.data = data

    def safe(self, snapshot: CheckpointStatus) -> None:
        """Says which snapshot of the checkpoint folder is the newest complete one."""
        self._snapshot, self._snapshot_at = snapshot, self._clock()
        if snapshot.save_seconds is not None:
            self._saves.add(snapshot.save_seconds)

    def report(self) -> RankReport:
        """What is known of the run, from whoever has said it. Where rank 0 saves no checkpoints of ours, its checkpoint
        is the folder's snapshot.
        """
        report = self.heard.complete(read_report(self._pod.run_dir) or RankReport())
        changes: dict[str, Any] = {"resumed_from": report.resumed_from or self.resumed_from}
        if report.checkpoint is None:
            changes |= {"checkpoint": self._snapshot, "checkpointed_at": self._snapshot_at}
        history = self.recorder.curve if self.recorder is not None else None
        changes["progress"] = report.progress.model_copy(update={"history": history})
        return report.model_copy(update=changes)

    async def pulse(self) -> None:
        """Runs in the supervisor's event loop, to show that it turns, until cancelled."""
        while True:
            self._pulse = self._clock()
            await asyncio.sleep(PULSE_SECONDS)

    @property
    def stuck_seconds(self) -> float:
        """Seconds since the supervisor's event loop last turned."""
        return self._clock() - self._pulse

    def admits(self, path: str, token: str) -> bool:
        """True where a request that shows this token may have a page."""
        if not self._pod.token or path == "/healthz" or (path == "/metrics" and self._pod.open_metrics):
            return True
        return hmac.compare_digest(token.encode(), self._pod.token.encode())

    def progress(self) -> Progress:
        """The document of `/progress`."""
        try:
            return self._progress(self.report())
        except ValidationError as problem:  # it lies in a folder that user code may write to
            return self._progress(RankReport(notes=(describe_lie(problem),)))

    def _progress(self, report: RankReport) -> Progress:
        return Progress(
            uid=self._pod.uid,
            run=self._pod.run,
            attempt=self._pod.attempt,
            activity=self.activity or self._activity_of_ranks(report),
            progress=self._as_of_now(report),
            checkpoint=report.checkpoint,
            data=self.data,
            resumed_from_step=report.resumed_from_step,
            productive_node_seconds=report.productive_node_seconds,
            device_idle_seconds=self._devices.idle_seconds() if self._devices is not None else None,
            preflight=self.preflight,
            stragglers=list(report.stragglers[:MAX_STRAGGLERS]),
            tracking=self.tracked(),
            notes=[note[:MAX_NOTE_LENGTH] for note in (*self.notes, *report.notes)][-MAX_NOTES:],
        )

    def _as_of_now(self, report: RankReport) -> ProgressStatus:
        """An ETA is of recent steps: where none has come for long, it isn't known any more."""
        progress, stepped_at = report.progress, report.stepped_at
        patience = max(MIN_PATIENCE_SECONDS, PATIENCE_STEPS * (report.step_seconds or 0.0))
        if not progress.eta_seconds or stepped_at is None or self._clock() - stepped_at <= patience:
            return progress
        return progress.model_copy(update={"eta_seconds": None, "samples_per_second": None})

    def progress_json(self) -> bytes:
        """`progress` in at most `MAX_PROGRESS_BYTES`: older notes are left out first."""
        progress = self.progress()
        while len(text := progress.model_dump_json(by_alias=True).encode()) > MAX_PROGRESS_BYTES and progress.notes:
            progress = progress.model_copy(update={"notes": progress.notes[1:]})
        return text

    def metrics(self) -> bytes:
        """The text of `/metrics`."""
        report, beats = self.report(), read_heartbeats(self._pod.run_dir)
        report = report.model_copy(update={"progress": self._as_of_now(report)})
        devices = self._devices.newest() if self._devices is not None else ()
        return render(report, beats, devices, saves=self._saves, now=self._clock(), preflight=self.preflight)

    def _activity_of_ranks(self, report: RankReport) -> Activity:
        beats = read_heartbeats(self._pod.run_dir)
        if beats:
            return next(iter(beats.values())).activity
        return "starting" if report.progress.step is None else "training"


def serve(telemetry: Telemetry, address: str | None) -> ThreadingHTTPServer | None:
    """Serves in the background, on `host:port`; None where that can't be had."""
    if not address:
        log.warning("no metrics address is set: /metrics is not served")
        return None
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        server = server_class(host)((host, int(port)), _handler(telemetry))
    except (OSError, ValueError, OverflowError) as error:
        log.warning(
            "/metrics and /progress are not served: the address can't be used", address=address, error=str(error)
        )
        return None
    Thread(target=server.serve_forever, name="telemetry", daemon=True).start()
    return server


def server_class(host: str) -> type[ThreadingHTTPServer]:
    """A server of bounded size for this address."""
    connections: deque[Any] = deque()

    class Server(ThreadingHTTPServer):
        address_family = AF_INET6 if ":" in host else AF_INET
        daemon_threads = True
        request_queue_size = MAX_CONNECTIONS

        def process_request(self, request: Any, client_address: Any) -> None:
            """Begins to answer, in a thread."""
            if len(connections) >= MAX_CONNECTIONS:
                with contextlib.suppress(OSError):
                    connections.popleft().shutdown(SHUT_RDWR)
            connections.append(request)
            super().process_request(request, client_address)

        def shutdown_request(self, request: Any) -> None:
            """It is answered."""
            with contextlib.suppress(ValueError):
                connections.remove(request)
            super().shutdown_request(request)

    return Server


def _handler(telemetry: Telemetry) -> type[BaseHTTPRequestHandler]:
    pages: dict[str, tuple[str, Callable[[], bytes]]] = {
        "/metrics": (CONTENT_TYPE_LATEST, telemetry.metrics),
        "/progress": ("application/json", telemetry.progress_json),
        "/healthz": ("text/plain", lambda: b"ok\n"),
    }

    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_SECONDS

        def do_GET(self) -> None:
            """Answers one of the pages."""
            path = self.path.partition("?")[0]
            page = pages.get(path)
            if page is None:
                self.send_error(404)
                return
            if not telemetry.admits(path, self.headers.get(TOKEN_HEADER, "")):
                self._refuse()
                return
            if path == "/healthz" and telemetry.stuck_seconds > STUCK_SECONDS:
                self.send_error(503, "the supervisor is stuck")
                return
            content_type, render = page
            body = render()
            with contextlib.suppress(OSError):
                self.send_response(200)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def _refuse(self) -> None:
            self.send_response(401, f"show the run's token in the header {TOKEN_HEADER}")
            self.send_header("WWW-Authenticate", TOKEN_HEADER)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is http.server's)
            """Requests are no news."""

    return Handler
