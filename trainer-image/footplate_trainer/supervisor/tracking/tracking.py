"""All trackers of a pod: made from the job's spec, begun with the pod, told of its end."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from footplate import records
from footplate.api.status import TrackedRun
from footplate.records import Line, read_line
from footplate_trainer.storage.runs import OUTAGE_SECONDS
from footplate_trainer.storage.store import Store
from footplate_trainer.supervisor.history.earlier import earlier_lines
from footplate_trainer.supervisor.history.parts import Parts
from footplate_trainer.supervisor.pod import Pod
from footplate_trainer.supervisor.secrets import mask, secret_values
from footplate_trainer.supervisor.tracking import mlflow
from footplate_trainer.supervisor.tracking.feed import Feed
from footplate_trainer.supervisor.tracking.mlflow import Mlflow, Subject
from footplate_trainer.supervisor.tracking.rest import Rest
from footplate_trainer.supervisor.tracking.tensorboard import FOLDER, TensorBoard
from footplate_trainer.supervisor.tracking.tracker import End, Tracker
from footplate_trainer.supervisor.tracking.worker import Worker

BEGIN_SECONDS: Final = 10.0
"""From the pod's start; a tracker that hasn't begun by then is one that the user's own calls don't join."""
MOST_PARAMETERS: Final = 400
OWN_CODE: Final = "job."
"""Before the names of parameters where the code is the user's, and may log parameters of its own: MLflow refuses a
second value of one name, by an error in that code.
"""


class Tracking:
    """The trackers of one pod; none but on node 0. `lines` is where the metrics are written, `note` tells the user."""

    def __init__(self, pod: Pod, lines: Parts | None, note: Callable[[str], object]) -> None:
        self._pod = pod
        self._tell = note
        self._began = time.monotonic()
        trackers = _trackers(pod) if lines is not None and pod.node_rank == 0 else ()
        self._workers = [self._worker(tracker, lines) for tracker in trackers if lines is not None]

    def begin(self) -> None:
        """Begins the runs, in the background."""
        self._began = time.monotonic()
        for worker in self._workers:
            worker.start()

    def environment(self) -> dict[str, str]:
        """What has the user's own calls join the runs. Waits for them, until the pod is 10 s old."""
        found: dict[str, str] = {}
        for worker in self._workers:
            if worker.wait_until_begun(self._began + BEGIN_SECONDS):
                found |= worker.tracker.environment
        return found

    def runs(self) -> list[TrackedRun]:
        """Where they are shown; not where a server puts what it was shown into an address."""
        shown = ((worker.tracker.name, worker.tracker.url) for worker in self._workers)
        return [TrackedRun(name=name, url=url) for name, url in shown if url and _masked(url) == url]

    def finish(self, end: End, *, seconds: float) -> None:
        """Tells how the pod ends, and waits for the trackers for so many seconds at most."""
        error = mask(end.error.encode(), secret_values(self._pod.spec, os.environ))
        end = End(end.outcome, error.decode(errors="replace"), end.artifact)
        deadline = time.monotonic() + seconds
        for worker in self._workers:
            worker.finish(end)
        for worker in self._workers:
            if not worker.wait_until_done(deadline):
                self._note(f"{worker.tracker.name} may lack the end of this run: it was too slow")

    def _worker(self, tracker: Tracker, lines: Parts) -> Worker:
        earlier = self._earlier if isinstance(tracker, Mlflow) else tuple  # files of earlier attempts are there
        return Worker(tracker, Feed(lines), self._note, earlier)

    def _earlier(self) -> Iterator[Line]:
        pod = self._pod
        if (folder := _records(pod)) is not None:
            texts = earlier_lines(pod.attempt, folder, pod.spec.storage.endpoint)
            yield from (line for _, text in texts if (line := read_line(text)) is not None)

    def _note(self, text: str) -> None:
        self._tell(_masked(text))


def _masked(text: str) -> str:
    """A server may say again what it was shown."""
    shown = [secret.encode() for secret in mlflow.secrets_shown()]
    return mask(text.encode(), shown).decode(errors="replace")


def _trackers(pod: Pod) -> Iterator[Tracker]:
    settings = pod.spec.tracking
    if settings is None:
        return
    if settings.mlflow is not None:
        rest = Rest(settings.mlflow.uri or "", field=mlflow.FIELD, headers=mlflow.headers)
        yield Mlflow(settings.mlflow, _subject(pod), rest)
    folder = _records(pod)
    if settings.tensorboard is not None and folder is not None:
        endpoint = pod.spec.storage.endpoint

        def open_store(uri: str) -> Store:
            return Store.open(uri, endpoint=endpoint, outage_seconds=OUTAGE_SECONDS)

        yield TensorBoard(f"{folder}/{FOLDER}", open_store, pod.attempt)


def _records(pod: Pod) -> str | None:
    base = records.base_uri(pod.spec)
    return records.records_uri(base, job=pod.job, run=pod.run, uid=pod.uid) if base is not None else None


def _subject(pod: Pod) -> Subject:
    trainer = pod.spec.trainer
    prefix = "" if trainer.recipe is not None else OWN_CODE
    return Subject(
        namespace=pod.config.metadata.namespace,
        job=pod.job,
        uid=pod.uid,
        run=pod.run,
        attempt=pod.attempt,
        image=trainer.image or "",
        parameters={f"{prefix}{name}": value for name, value in parameters(trainer.hyperparameters).items()},
    )


def parameters(hyperparameters: Mapping[str, Any]) -> dict[str, str]:
    """Hyperparameters by name, those of a block as block.name, as Python writes them."""
    return dict(list(_flat(hyperparameters))[:MOST_PARAMETERS])


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from _flat(child, f"{name}.{key}" if name else str(key))
    elif name:
        yield name, json.dumps(value) if isinstance(value, Mapping | list) else str(value)
