"""What the outside may ask of a pod: `/metrics` (Prometheus), `/progress` (contract.Progress) and `/healthz`.

Served by threads beside the supervisor. It never stops training: where the address can't be had, it says so and does
without.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6, SHUT_RDWR
from threading import Thread
from typing import Any

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from pydantic import ValidationError

from footplate.api.status import MAX_STRAGGLERS, CheckpointStatus
from footplate.contract import MAX_NOTE_LENGTH, MAX_NOTES, MAX_PROGRESS_BYTES, Activity, Progress
from footplate_trainer.exchange import RankReport, read_heartbeats, read_report
from footplate_trainer.supervisor.heard import Heard
from footplate_trainer.supervisor.pod import Pod
from footplate_trainer.supervisor.verdict import describe_lie

REQUEST_SECONDS = 5
MAX_CONNECTIONS = 64
"""Open at once. The oldest makes room for the next: who asks slowly, or nothing, takes no more threads than that from
the ranks, and keeps nobody from an answer.
"""
PULSE_SECONDS = 1.0
STUCK_SECONDS = 60.0
"""A supervisor whose event loop hasn't turned for so long is as good as frozen, whoever answers for it."""

log = structlog.get_logger()


class Telemetry:
    """What is known of this pod at any moment, read from the files that its ranks write."""

    def __init__(self, pod: Pod, clock: Callable[[], float] = time.monotonic) -> None:
        self.heard = Heard()
        """What code says that doesn't use our library."""
        self.activity: Activity | None = "loading"
        """What the supervisor itself does; None while the ranks are at work."""
        self.notes: list[str] = []
        """What the supervisor itself has to tell the user."""
        self.resumed_from: str | None = None
        """URI of the snapshot that lies in the checkpoint folder again."""
        self._snapshot: CheckpointStatus | None = None
        self._snapshot_at: float | None = None
        self._pod = pod
        self._clock = clock
        self._pulse = clock()

    def note(self, text: str) -> None:
        """Tells the user something, in the job's progress and in the verdict."""
        self.notes = [*self.notes, text[:MAX_NOTE_LENGTH]][-MAX_NOTES:]

    def safe(self, snapshot: CheckpointStatus) -> None:
        """Says which snapshot of the checkpoint folder is the newest complete one."""
        self._snapshot, self._snapshot_at = snapshot, self._clock()

    def report(self) -> RankReport:
        """What is known of the run, from whoever has said it. Where rank 0 saves no checkpoints of ours, its checkpoint
        is the folder's snapshot.
        """
        report = self.heard.complete(read_report(self._pod.run_dir) or RankReport())
        changes: dict[str, Any] = {"resumed_from": report.resumed_from or self.resumed_from}
        if report.checkpoint is None:
            changes |= {"checkpoint": self._snapshot, "checkpointed_at": self._snapshot_at}
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
            progress=report.progress,
            checkpoint=report.checkpoint,
            resumed_from_step=report.resumed_from_step,
            productive_node_seconds=report.productive_node_seconds,
            stragglers=list(report.stragglers[:MAX_STRAGGLERS]),
            notes=[note[:MAX_NOTE_LENGTH] for note in (*self.notes, *report.notes)][-MAX_NOTES:],
        )

    def progress_json(self) -> bytes:
        """`progress` in at most `MAX_PROGRESS_BYTES`: older notes are left out first."""
        progress = self.progress()
        while len(text := progress.model_dump_json(by_alias=True).encode()) > MAX_PROGRESS_BYTES and progress.notes:
            progress = progress.model_copy(update={"notes": progress.notes[1:]})
        return text

    def metrics(self) -> bytes:
        """The text of `/metrics`."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Snapshot(self._pod, self.report(), now=self._clock()))
        return generate_latest(registry)

    def _activity_of_ranks(self, report: RankReport) -> Activity:
        beats = read_heartbeats(self._pod.run_dir)
        if beats:
            return next(iter(beats.values())).activity
        return "starting" if report.progress.step is None else "training"


class _Snapshot(Collector):
    """One scrape. The job's own metrics are one family with the name as a label, bounded by `RankReport`."""

    def __init__(self, pod: Pod, report: RankReport, *, now: float) -> None:
        self._pod = pod
        self._report = report
        self._now = now

    def collect(self) -> Iterator[GaugeMetricFamily]:
        report = self._report
        progress, checkpoint = report.progress, report.checkpoint
        yield from _gauges(
            ("step", "Optimizer steps finished.", progress.step),
            ("steps", "Optimizer steps in all.", progress.total_steps),
            ("epoch", "Epochs finished.", progress.epoch),
            ("samples_per_second", "Samples of all ranks together per second.", progress.samples_per_second),
            ("step_seconds", "Recent duration of a step, waiting included.", report.step_seconds),
            (
                "productive_node_seconds",
                "Node seconds of the steps that training stands on.",
                report.productive_node_seconds,
            ),
            ("checkpoint_step", "Step of the newest complete checkpoint.", checkpoint.step if checkpoint else None),
            ("checkpoint_size_bytes", "Its size.", checkpoint.size_bytes if checkpoint else None),
            ("checkpoint_save_seconds", "How long it took to save.", checkpoint.save_seconds if checkpoint else None),
            ("checkpoint_age_seconds", "Seconds since it was committed.", self._checkpoint_age(report)),
        )
        yield _labelled("metric", "Latest value that the code reported.", "name", progress.metrics)
        beats = read_heartbeats(self._pod.run_dir)
        ages = {str(rank): max(0.0, self._now - beat.time) for rank, beat in beats.items()}
        steps = {str(rank): float(beat.step) for rank, beat in beats.items()}
        work = {str(rank): beat.work_seconds for rank, beat in beats.items() if beat.work_seconds > 0}
        yield _labelled("heartbeat_age_seconds", "Seconds since a rank's last sign of life.", "rank", ages)
        yield _labelled("rank_step", "Optimizer steps that a rank has finished.", "rank", steps)
        yield _labelled("rank_work_seconds", "A rank's own work on a step, without waiting for others.", "rank", work)

    def _checkpoint_age(self, report: RankReport) -> float | None:
        return None if report.checkpointed_at is None else max(0.0, self._now - report.checkpointed_at)


def _gauges(*values: tuple[str, str, float | None]) -> Iterator[GaugeMetricFamily]:
    for name, text, value in values:
        if value is not None:
            yield GaugeMetricFamily(f"footplate_trainer_{name}", text, value=value)


def _labelled(name: str, text: str, label: str, values: dict[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"footplate_trainer_{name}", text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


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

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is http.server's)
            """Requests are no news."""

    return Handler
