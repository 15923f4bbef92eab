"""Listens to code that doesn't use our library, in all ways in which it may say how far it is."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog

from footplate_trainer.exchange import METRICS_FILE
from footplate_trainer.supervisor.heard import Heard
from footplate_trainer.supervisor.kubeflow import Endpoint
from footplate_trainer.supervisor.log_metrics import LogMetrics
from footplate_trainer.supervisor.metrics_file import MetricsFile
from footplate_trainer.supervisor.pod import Pod

LOOK_SECONDS = 1.0
log = structlog.get_logger()


class Listening:
    """Goes on from the start of the processes to their end. `note` tells the user something."""

    def __init__(self, pod: Pod, heard: Heard, note: Callable[[str], None]) -> None:
        self._path: Path = pod.work_dir / "metrics.jsonl"
        self._file = MetricsFile(self._path, heard.hear, note)
        self._log = LogMetrics(pod.spec.trainer.metric_definitions, heard.hear)
        self._endpoint = Endpoint(pod, heard.hear)

    @property
    def environment(self) -> Mapping[str, str]:
        """What tells the processes where they are listened to."""
        return {METRICS_FILE: str(self._path), **self._endpoint.environment}

    def add_lines(self, lines: Sequence[bytes]) -> None:
        """Lines of the log."""
        self._log.add(lines)

    async def go_on(self) -> None:
        """Looks about once a second, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self._look)

    async def close(self) -> None:
        """Looks for the last time, when all processes have ended."""
        self._endpoint.close()
        await asyncio.to_thread(self._look)

    def _look(self) -> None:
        for source in (self._file, self._log):
            try:
                source.look()
            except Exception:  # whatever a program says of its progress, it decides over no job
                log.exception("what the program says of its progress could not be read")
