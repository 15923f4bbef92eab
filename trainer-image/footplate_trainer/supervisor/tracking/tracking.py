"""All trackers of a pod: made from the job's spec, begun with the pod, told of its end."""

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import structlog

from footplate import records
from footplate.api.reports import TrackedRun
from footplate.contract import is_link
from footplate.records import Line, read_line
from footplate_trainer.errors import StorageError, words_of
from footplate_trainer.storage.fetch import Fetched
from footplate_trainer.storage.runs import OUTAGE_SECONDS
from footplate_trainer.storage.store import Store
from footplate_trainer.supervisor.history.earlier import earlier_lines
from footplate_trainer.supervisor.history.parts import Parts
from footplate_trainer.supervisor.pod import Pod
from footplate_trainer.supervisor.secrets import mask, secret_values, without_credentials
from footplate_trainer.supervisor.tracking import comet, mlflow, tensorboard, wandb
from footplate_trainer.supervisor.tracking.comet import Comet
from footplate_trainer.supervisor.tracking.feed import Feed
from footplate_trainer.supervisor.tracking.mlflow import Mlflow
from footplate_trainer.supervisor.tracking.offline import Offline
from footplate_trainer.supervisor.tracking.rest import Rest
from footplate_trainer.supervisor.tracking.tensorboard import TensorBoard
from footplate_trainer.supervisor.tracking.tracker import Dataset, End, Subject
from footplate_trainer.supervisor.tracking.wandb import Wandb
from footplate_trainer.supervisor.tracking.worker import Worker

BEGIN_SECONDS: Final = 10.0
"""From the pod's start; a tracker that hasn't begun by then is one that the user's own calls don't join."""
MOST_PARAMETERS: Final = 400
OWN_CODE: Final = "job."
"""Before the names of parameters where the code is the user's, and may log parameters of its own: MLflow refuses a
second value of one name, by an error in that code.
"""

log = structlog.get_logger()


class Tracking:
    """The trackers of one pod; none but on node 0. `lines` is where the metrics are written, `note` tells the user."""

    def __init__(self, pod: Pod, lines: Parts | None, note: Callable[[str], object]) -> None:
        self._pod = pod
        self._tell = note
        self._began = time.monotonic()
        self.python = Path(sys.executable)
        """Which one has the libraries of trackers."""
        self.inputs: Mapping[str, Fetched] = {}
        """What the input channels hold, once they are fetched."""
        there = lines is not None and pod.node_rank == 0 and not pod.stage
        self._workers = [*self._work(lines)] if there and lines is not None else []

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
        """Where they are shown; not where a server puts what it was shown into an address, nor where the address would
        have all that the pod says refused.
        """
        shown = ((worker.tracker.name, worker.tracker.url) for worker in self._workers)
        return [TrackedRun(name=name, url=url) for name, url in shown if is_link(url) and _masked(url) == url]

    def finish(self, end: End, *, seconds: float) -> None:
        """Tells how the pod ends, and waits for the trackers for so many seconds at most."""
        if not self._workers:
            return
        named = {channel.name: channel.uri for channel in self._pod.spec.inputs}
        inputs = [Dataset(name, named[name], fetched.sha256, fetched.version) for name, fetched in self.inputs.items()]
        end = replace(end, error=_harmless(self._pod)(end.error), inputs=inputs)
        deadline = time.monotonic() + seconds
        for worker in self._workers:
            worker.finish(end)
        for worker in self._workers:
            if not worker.wait_until_done(deadline):
                self._note(f"{worker.tracker.name} may lack the end of this run: it was too slow")

    def _work(self, lines: Parts) -> Iterator[Worker]:
        pod, settings, folder = self._pod, self._pod.spec.tracking, _records(self._pod)
        if settings is None:
            return
        if settings.mlflow is not None:
            rest = Rest(settings.mlflow.uri or "", field=mlflow.FIELD, headers=mlflow.headers)
            tracker = Mlflow(settings.mlflow, _subject(pod), rest)
            yield Worker(tracker, Feed(lines), self._note, lambda: (line for _, line in self._earlier()))
        if folder is None:
            return
        if settings.tensorboard is not None:
            yield Worker(
                TensorBoard(f"{folder}/{tensorboard.FOLDER}", self._open, pod.attempt), Feed(lines), self._note
            )
        if settings.wandb is not None:
            offline = self._offline(wandb.LIBRARY, "wandb_program", f"{folder}/{wandb.FOLDER}", lines)
            run = Wandb(settings.wandb, _subject(pod), logs_dir=pod.logs_dir, offline=offline)
            yield Worker(run, Feed(lines), self._note)
        if settings.comet is not None:
            offline = self._offline(comet.LIBRARY, "comet_program", f"{folder}/{comet.FOLDER}", lines)
            experiment = Comet(settings.comet, _subject(pod), logs_dir=pod.logs_dir, offline=offline)
            yield Worker(experiment, Feed(lines), self._note)

    def _offline(self, library: str, program: str, uri: str, lines: Parts) -> Offline:
        return Offline(
            library=library,
            program=program,
            uri=uri,
            open_store=self._open,
            lines=lambda: itertools.chain(self._earlier(), ((self._pod.attempt, line) for line in Feed(lines))),
            python=lambda: self.python,
        )

    def _earlier(self) -> Iterator[tuple[int, Line]]:
        """What earlier attempts have reported, each line with its attempt. What storage doesn't give is let go."""
        pod = self._pod
        if (folder := _records(pod)) is None:
            return
        try:
            for attempt, text in earlier_lines(pod.attempt, folder, pod.spec.storage.endpoint):
                if (line := read_line(text)) is not None:
                    yield attempt, line
        except StorageError as error:
            log.warning("what earlier attempts have reported can't be read", error=words_of(error))

    def _open(self, uri: str) -> Store:
        return Store.open(uri, endpoint=self._pod.spec.storage.endpoint, outage_seconds=OUTAGE_SECONDS)

    def _note(self, text: str) -> None:
        self._tell(_masked(text))


def _masked(text: str) -> str:
    """A server may say again what it was shown."""
    shown = [secret.encode() for secret in mlflow.secrets_shown()]
    return mask(text.encode(), shown).decode(errors="replace")


def _harmless(pod: Pod) -> Callable[[str], str]:
    """What makes of a text one that others may read: a tracker shows it to more people than may read the job."""
    values = secret_values(pod.spec, os.environ)
    return lambda text: without_credentials(mask(text.encode(errors="replace"), values).decode(errors="replace"))


def _records(pod: Pod) -> str | None:
    base = records.base_uri(pod.spec)
    return records.records_uri(base, job=pod.job, run=pod.run, uid=pod.uid) if base is not None else None


def _subject(pod: Pod) -> Subject:
    trainer = pod.spec.trainer
    prefix, harmless = "" if trainer.recipe is not None else OWN_CODE, _harmless(pod)
    named = parameters(trainer.hyperparameters)
    return Subject(
        namespace=pod.config.metadata.namespace,
        job=pod.job,
        uid=pod.uid,
        run=pod.run,
        attempt=pod.attempt,
        image=trainer.image or "",
        parameters={f"{prefix}{name}": harmless(value) for name, value in named.items()},
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
