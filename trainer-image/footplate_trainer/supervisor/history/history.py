"""The history of one pod: looked at twice a second, sent every minute, and as a whole at the end."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from footplate import records
from footplate_trainer.errors import Unreachable, WrongEndpoint, words_of
from footplate_trainer.exchange import RankReport
from footplate_trainer.storage.runs import OUTAGE_SECONDS
from footplate_trainer.storage.store import Store
from footplate_trainer.supervisor.history.parts import Parts
from footplate_trainer.supervisor.history.recorder import Recorder
from footplate_trainer.supervisor.history.sending import Sending
from footplate_trainer.supervisor.pod import Pod
from footplate_trainer.supervisor.secrets import secret_values

LOOK_SECONDS = 0.5
SEND_SECONDS = 60.0
TABLE_SECONDS = 120.0
FIRST_LOG_PARTS: Final = 8
LAST_LOG_PARTS: Final = 12

log = structlog.get_logger()


class History:
    """Of the pod's log, which is written to `log`, and on node 0 of the metrics. `note` tells the user something."""

    def __init__(self, pod: Pod, report: Callable[[], RankReport], note: Callable[[str], object]) -> None:
        self._pod = pod
        self._note = note
        self._store: Store | None = None
        self._is_told = False
        self._looking = threading.Lock()
        self.log = Parts(pod.work_dir / "log", first=FIRST_LOG_PARTS, last=LAST_LOG_PARTS)
        self._metrics_folder = pod.work_dir / "metrics"
        self.metrics = Parts(self._metrics_folder) if pod.node_rank == 0 else None
        self.recorder = Recorder(report, self.metrics)
        self._sending = [
            Sending(
                self.log,
                records.pod_logs_folder(pod.attempt),
                records.pod_log(pod.node_rank),
                lambda: secret_values(pod.spec, os.environ),
            )
        ]
        if self.metrics is not None:
            self._sending.append(Sending(self.metrics, records.METRICS, records.metrics(pod.attempt)))

    async def go_on(self) -> None:
        """Looks and sends, until cancelled. What storage does holds up no look."""
        sending: asyncio.Task[None] | None = None
        sent_at = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self.look)
            if time.monotonic() - sent_at >= SEND_SECONDS and (sending is None or sending.done()):
                sent_at = time.monotonic()
                sending = asyncio.create_task(asyncio.to_thread(self.send))

    def look(self, *, last: bool = False) -> None:
        """Takes in what was reported; the `last` time all of it, whenever it was last written."""
        try:
            with self._looking:  # a look that was cancelled may still be under way
                self.recorder.look(time.monotonic(), last=last)
        except Exception:  # whatever is said of progress, it decides over no job
            log.exception("what was reported could not be recorded")

    def send(self) -> None:
        """Sends what is new. Whatever goes wrong, one note says so, until it goes well again."""
        try:
            self._each(lambda store, text: text.send(store))
            self._is_told = False
        except (Unreachable, WrongEndpoint) as error:  # of which `contact` tells
            log.warning("the log and the metrics could not be stored", error=str(error))
        except Exception as error:  # none of it is worth a verdict
            if not self._is_told:
                self._is_told = True
                self._note(
                    f"what node {self._pod.node_rank} logs and reports could not be stored, which is tried again every "
                    f"minute: {words_of(error)}"
                )
        self._tell_of_the_disk()

    def finish(self) -> None:
        """Sends all of it, for the last time.

        Raises:
            StorageError: storage doesn't take it.
            OSError: the disk is full.
        """
        self._tell_of_the_disk()
        self._each(lambda store, text: text.finish(store, self._pod.work_dir / "history.gz"))

    def make_table(self) -> Path | None:
        """The table of all that the run has reported, for its artifact; None where there is none, and where it can't be
        made, which a note says.
        """
        if self.metrics is None or not self.metrics.total_bytes:
            return None
        pod, folder = self._pod, self._pod.work_dir / "history"
        uri = records.base_uri(pod.spec)
        program = [sys.executable, "-m", "footplate_trainer.supervisor.history.table", str(folder), str(pod.attempt)]
        storage = [self._folder_in(uri), pod.spec.storage.endpoint or ""] if uri is not None else []
        try:
            folder.mkdir(exist_ok=True)
            done = subprocess.run(
                [*program, str(self._metrics_folder), *storage], capture_output=True, timeout=TABLE_SECONDS, check=False
            )
        except (OSError, subprocess.SubprocessError) as error:
            self._note(f"the metrics of the run are not beside its model: {words_of(error)}")
            return None
        made = [path for name in records.ARTIFACT_METRICS if (path := folder / name).is_file()]
        if not made:
            said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            self._note(f"the metrics of the run are not beside its model: {said}")
        return made[0] if made else None

    def _each(self, act: Callable[[Store, Sending], None]) -> None:
        uri = records.base_uri(self._pod.spec)
        if uri is not None:
            store = self._store = self._store or self._open(uri)
            for text in self._sending:
                act(store, text)

    def _tell_of_the_disk(self) -> None:
        for parts in (self.log, self.metrics):
            if parts is not None and parts.trouble:
                self._note(
                    f"not all that node {self._pod.node_rank} logs and reports can be kept on its disk: {parts.trouble}"
                )

    def _open(self, uri: str) -> Store:
        endpoint = self._pod.spec.storage.endpoint
        return Store.open(self._folder_in(uri), endpoint=endpoint, outage_seconds=OUTAGE_SECONDS)

    def _folder_in(self, uri: str) -> str:
        pod = self._pod
        return records.records_uri(uri, job=pod.job, run=pod.run, uid=pod.uid)
