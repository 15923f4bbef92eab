"""All jobs that the user may see, kept current by one watch for all pages together."""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from footplate.client import Client, Job, NotAllowed
from footplate.errors import FootplateError

log = logging.getLogger(__name__)
Key = tuple[str, str]
"""Namespace and name."""
MAX_PAUSE_SECONDS = 15.0


class Board:
    """`namespace`: only the jobs of one; None: of all, or of the client's where the user may not see all.

    `trouble` says why what is shown may be old, and is None while it isn't.
    """

    def __init__(self, client: Client, *, namespace: str | None = None) -> None:
        self.client = client
        self.namespace = namespace
        self.trouble: str | None = None
        self._jobs: dict[Key, Job] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="board", daemon=True)

    def start(self) -> None:
        """Reads all jobs, then watches them in a thread. An error of the first look is kept as trouble."""
        self._try(self._read)
        self._thread.start()

    def stop(self) -> None:
        """The thread ends with the client's watch."""
        self._stopped.set()

    def jobs(self) -> list[Job]:
        """All of them, in no order."""
        return list(self._jobs.values())

    def get(self, namespace: str, name: str) -> Job | None:
        """One of them."""
        return self._jobs.get((namespace, name))

    def _keep(self) -> None:
        pause = 1.0
        while not self._stopped.is_set():
            began = datetime.now(UTC)
            self._try(self._watch)
            lasted = (datetime.now(UTC) - began).total_seconds()
            pause = 1.0 if lasted > MAX_PAUSE_SECONDS else min(2 * pause, MAX_PAUSE_SECONDS)
            self._stopped.wait(pause)
            self._try(self._read)  # what was deleted meanwhile

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except FootplateError as error:
            self.trouble = str(error)
        except Exception as error:  # the page stays, and says that it is old
            log.exception("the watch ended")
            self.trouble = f"{type(error).__name__}: {error}"

    def _read(self) -> None:
        try:
            found = self.client.list(namespace=self.namespace, all_namespaces=self.namespace is None)
        except NotAllowed:
            if self.namespace is not None:
                raise
            self.namespace = self.client.namespace  # who may not see all sees his own
            found = self.client.list(namespace=self.namespace)
        self._jobs = {(job.namespace, job.name): _understood(job) for job in found}
        self.trouble = None

    def _watch(self) -> None:
        for change in self.client.watch(namespace=self.namespace, all_namespaces=self.namespace is None):
            if self._stopped.is_set():
                return
            key = (change.job.namespace, change.job.name)
            if change.type == "DELETED":
                self._jobs.pop(key, None)
            else:
                self._jobs[key] = _understood(change.job)
            self.trouble = None


def _understood(job: Job) -> Job:
    """The job, with its status read here and not while a page waits for it."""
    _ = job.status
    return job
