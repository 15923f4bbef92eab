"""`Job`: one TrainingJob as it was when it was read, what is known of it, and what can be done to it."""

import secrets
from collections.abc import Coroutine, Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from footplate.api.reports import ProgressStatus
from footplate.api.status import Attempt, Phase, TrainingJobStatus
from footplate.client.connection import Connection
from footplate.client.errors import ClientError, JobDeleted, NotAllowed
from footplate.client.events import EVENTS, JobEvent, view_events
from footplate.client.status import read_phase, read_status
from footplate.client.waiting import wait_until
from footplate.errors import Conflict, NotFound
from footplate.machinery.resources import PODS, TRAINING_JOBS
from footplate.objects import Object, block, key_of, number, time, uid_of

# What reads a job's spec, or decides by the operator's rules, takes longer to import than to list a thousand jobs.
if TYPE_CHECKING:
    from footplate.api.trainingjob import TrainingJobSpec
    from footplate.client.artifacts import Artifact
    from footplate.client.checkpoints import CheckpointView
    from footplate.client.data import JobData
    from footplate.client.evaluation import JobEvaluation
    from footplate.client.history import History
    from footplate.client.log_lines import LogLine
    from footplate.client.ranks import RankView
    from footplate.client.why import Why

T = TypeVar("T")


class Job:
    """A TrainingJob. What it says of itself is of the moment it was read: `refresh` reads it again.

    Texts in it are a tenant's: `footplate.client.untrusted` makes them fit for a terminal.
    """

    def __init__(self, connection: Connection, manifest: Object) -> None:
        self.connection = connection
        self.manifest = manifest

    def __repr__(self) -> str:
        return f"<Job {self.namespace}/{self.name}: {self.phase or 'new'}>"

    @property
    def name(self) -> str:
        """Of the TrainingJob."""
        return key_of(self.manifest)[1]

    @property
    def namespace(self) -> str:
        """Of the TrainingJob."""
        return key_of(self.manifest)[0]

    @property
    def uid(self) -> str:
        """Tells it from another job that had, or will have, its name."""
        return uid_of(self.manifest)

    @property
    def created(self) -> datetime | None:
        """When it was created."""
        return time(block(self.manifest, "metadata"), "creationTimestamp")

    @property
    def phase(self) -> Phase | None:
        """Where its run is in its life; None until the operator has seen the job."""
        return read_phase(self.manifest)

    @property
    def run(self) -> int:
        """Number of the run, from 1."""
        return self.status.run or 1

    @property
    def attempt(self) -> int:
        """Number of the gang in this run, from 0."""
        return self.status.attempt or 0

    @cached_property
    def status(self) -> TrainingJobStatus:
        """What the operator says of it. Fields that this version doesn't understand count as absent."""
        return read_status(self.manifest)

    @property
    def progress(self) -> ProgressStatus | None:
        """How far training was when the operator last asked; None where it isn't known."""
        return self.status.progress

    @property
    def attempts(self) -> Sequence[Attempt]:
        """The last attempts of this run, the newest last."""
        return self.status.attempts

    def refresh(self) -> Self:
        """Reads it again. Raises JobDeleted where it is gone, also if another job has its name by now."""
        manifest = self._ask(self.connection.get(TRAINING_JOBS, self.namespace, self.name))
        if uid_of(manifest) != self.uid:
            raise JobDeleted(self.name, namespace=self.namespace)
        return self._take(manifest)

    def wait(self, until: str = "Finished", timeout: float | None = None) -> Self:
        """Waits until a condition holds (Finished, Complete, Running, Suspended…), or a phase has come.

        Args:
            until: name of the condition or phase.
            timeout: seconds; None waits for ever.

        Raises:
            WaitTimeout: it isn't so yet.
            JobEnded: the run ended before it was so.
            JobDeleted: the job is gone.
        """
        return self._take(self.connection.run(wait_until(self.connection, self.manifest, until, seconds=timeout)))

    def live(self) -> ProgressStatus | None:
        """How far training is now, as rank 0's pod says it; where that can't be had, what `progress` says."""
        from footplate.client.live import read_live

        return self.connection.run(read_live(self.connection, self.manifest, now=datetime.now(UTC)))

    def history(self, full: bool = False) -> "History":
        """The run's curves: the thinned ones of the status or, with `full`, all that was reported, from storage.

        Raises StorageUnreadable where, with `full`, the job keeps none, or this user can't read them.
        """
        from footplate.client.history import of_records, of_status
        from footplate.client.stored import open_records

        if not full:
            return of_status(self.progress.history if self.progress is not None else None)
        return of_records(open_records(self.connection, self.manifest, self._spec()))

    def logs(
        self,
        rank: int | None = None,
        *,
        attempt: int | None = None,
        follow: bool = False,
        tail: int | None = None,
        failed: bool = False,
    ) -> "Iterator[LogLine]":
        """What the pods of an attempt have written: from themselves, or from storage once they are gone.

        Args:
            rank: of the node in the gang; all of them, one after the other, where not given.
            attempt: its number; the newest where not given.
            follow: the lines as they are written, those of several nodes mixed, through all attempts that follow, to
                the end of the run.
            tail: only the last lines that there are, so many of each node.
            failed: the attempt that failed last, of it the node that was the cause.

        Raises LogsNotFound where nobody has it any more.
        """
        from footplate.client.logs import LogRequest, follow_logs, read_logs

        asked = LogRequest(rank, attempt, tail, failed)
        read = follow_logs if follow and not failed else read_logs
        return read(self.connection, self.manifest, asked)

    def events(self) -> list[JobEvent]:
        """What was told of the job within the last hour or so, the newest last."""
        about = f"involvedObject.uid={self.uid}"
        found, _ = self.connection.run(self.connection.list(EVENTS, namespace=self.namespace, fields=about))
        return view_events(found)

    def why(self) -> "Why":
        """Why it waits, restarts or failed, and the way out."""
        from footplate.client.why import explain

        try:
            events = self.events()
        except NotAllowed:
            events = []
        return explain(self.manifest, self.status, events, now=datetime.now(UTC))

    def ranks(self) -> "list[RankView]":
        """The pods of the present gang, by rank."""
        from footplate.client.ranks import selector_of, view_ranks

        labels = selector_of(self.manifest, self.status)
        pods, _ = self.connection.run(self.connection.list(PODS, namespace=self.namespace, selector=labels))
        return view_ranks(self.manifest, self.status, pods)

    def checkpoints(self) -> "list[CheckpointView]":
        """What the run has saved, the newest first. Raises StorageUnreadable where none can be read."""
        from footplate.client.checkpoints import list_checkpoints, open_checkpoints

        return list_checkpoints(open_checkpoints(self.connection, self.manifest, self._spec()))

    def data(self) -> "JobData":
        """What the run's data are: rows, parts, broken checks, and the profile of each column.

        Raises NothingThere where there is no `spec.data`, or it isn't prepared yet; StorageUnreadable as `checkpoints`.
        """
        from footplate.client.data import read_data

        return read_data(self.connection, self.manifest, self._spec())

    def evaluation(self) -> "JobEvaluation":
        """What was measured of the run's model, its gates, plots and card; in a notebook it shows itself.

        Raises NothingThere where there is no model, ArtifactDamaged or StorageUnreadable where it can't be read.
        """
        from footplate.client.evaluation import JobEvaluation

        return JobEvaluation(self.artifact, self.status.evaluation)

    @property
    def artifact(self) -> "Artifact":
        """The run's model. Raises NothingThere where there is none."""
        from footplate.client.artifacts import artifact_of

        return artifact_of(self.connection, self.manifest)

    def support_bundle(self, path: str | Path) -> Path:
        """Writes a zip that helps others to help, without what may be secret: see `footplate.client.bundle`."""
        from footplate.client.bundle import Told, write_bundle

        return write_bundle(Told(self.connection, self.manifest, self.events, self.why), path)

    def suspend(self) -> Self:
        """Stops the gang after a checkpoint, and gives its nodes back."""
        self._refuse_finished("suspend")
        return self._patch({"runPolicy": {"suspend": True}})

    def resume(self) -> Self:
        """Goes on from the newest checkpoint."""
        self._refuse_finished("resume")
        return self._patch({"runPolicy": {"suspend": False}})

    def restart(self) -> Self:
        """Starts another run of a job that has finished; what it starts from says `checkpoint.resume`."""
        if self.phase is None or not self.phase.finished:
            raise ClientError(
                f"TrainingJob {self.name!r} is {self.phase or 'new'}, and only a finished one starts another run; "
                "to stop the gang and go on from its checkpoint, suspend and resume it"
            )
        nonce = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}-{secrets.token_hex(2)}"
        return self._patch({"runPolicy": {"restartNonce": nonce, "suspend": False}})

    def scale(self, nodes: int) -> Self:
        """Changes the size that is wanted of an elastic gang, within its bounds."""
        elastic = block(self.manifest, "spec", "elastic")
        least, most = number(elastic, "minNodes") or 1, number(elastic, "maxNodes")
        if not elastic:
            raise ClientError(
                f"nodes: TrainingJob {self.name!r} isn't elastic, so its nodes can't change; create it anew with "
                "spec.elastic: {minNodes: …, maxNodes: …}"
            )
        if nodes < least or (most is not None and nodes > most):
            raise ClientError(f"nodes: {nodes} is outside of spec.elastic, which allows {least} to {most or 'any'}")
        return self._patch({"nodes": nodes})

    def cancel(self) -> None:
        """Deletes the TrainingJob with its pods, for good: the API has no end of a run that keeps the job.

        What it has saved in storage stays. `suspend` gives the nodes back and keeps the record.
        """
        self._ask(self.connection.delete(TRAINING_JOBS, self.namespace, self.name, uid=self.uid))

    def _repr_html_(self) -> str:
        from footplate.client.html import job_html

        return job_html(self.name, self.namespace, self.status)

    def _spec(self) -> "TrainingJobSpec | None":
        from footplate.client.resolved import read_spec

        return self.connection.run(read_spec(self.connection, self.manifest))

    def _refuse_finished(self, verb: str) -> None:
        if self.phase is not None and self.phase.finished:
            raise ClientError(
                f"TrainingJob {self.name!r} has {self.phase}: there is nothing to {verb}; restart it to run it again"
            )

    def _patch(self, spec: Object) -> Self:
        """Changes this very job, and no other that has its name by now."""
        patch: dict[str, Any] = {"metadata": {"uid": self.uid}, "spec": spec}
        return self._take(self._ask(self.connection.patch(TRAINING_JOBS, self.namespace, self.name, patch)))

    def _ask(self, request: Coroutine[Any, Any, T]) -> T:
        """What the API server answers about this very job."""
        try:
            return self.connection.run(request)
        except (NotFound, Conflict) as error:
            if isinstance(error, Conflict) and "UID" not in error.message:
                raise
            raise JobDeleted(self.name, namespace=self.namespace) from error

    def _take(self, manifest: Object) -> Self:
        self.manifest = manifest
        self.__dict__.pop("status", None)
        return self
