"""`Client`: TrainingJobs of one cluster, with the rights of whoever's kubeconfig it is."""

import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from footplate.api.status import Phase
from footplate.client.connection import Connection
from footplate.client.errors import ClientError, JobNotFound, NotAllowed
from footplate.client.job import Job
from footplate.client.watching import ChangeType, watch_jobs
from footplate.errors import NotFound
from footplate.machinery.resources import NODES, PODS, TRAINING_JOBS
from footplate.objects import Object, key_of

if TYPE_CHECKING:
    from footplate.client.bills import Bill
    from footplate.client.cluster import ClusterView
    from footplate.client.planning import Plan
    from footplate.client.submission import Source

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


_LIVING_PODS = "status.phase!=Succeeded,status.phase!=Failed"
"""Field selector of the pods that hold what they ask for."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened to a job; `job` is as it was then."""

    type: ChangeType
    job: Job


class Client:
    """The way to TrainingJobs for people and programs. Safe to share between threads.

    Raises, here and in all methods: `footplate.errors.ConfigurationError` without a usable kubeconfig, else a
    `footplate.client.ClientError` whose message says the way out.
    """

    def __init__(
        self, *, namespace: str | None = None, context: str | None = None, kubeconfig: str | None = None
    ) -> None:
        """Reads the kubeconfig; in a pod without one, the service account.

        Args:
            namespace: where jobs are looked for; the context's own where not given.
            context: of the kubeconfig; its current one where not given.
            kubeconfig: path of the file; $KUBECONFIG or ~/.kube/config where not given.
        """
        self.connection = Connection(kubeconfig=kubeconfig, context=context)
        self.namespace = _checked(namespace, "namespace") if namespace else self.connection.namespace

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection; the client can't be used afterwards. Without it, that comes with the program's end."""
        self.connection.close()

    def get(self, name: str, *, namespace: str | None = None) -> Job:
        """The job of this name as it is now. Raises JobNotFound, with the names that are nearest."""
        where = self._place(namespace)
        if _NAME.fullmatch(name):
            with suppress(NotFound):
                return Job(self.connection, self.connection.run(self.connection.get(TRAINING_JOBS, where, name)))
        raise JobNotFound(name, namespace=where, names=[job.name for job in self.list(namespace=where)])

    def list(
        self,
        *,
        namespace: str | None = None,
        all_namespaces: bool = False,
        phase: Phase | str | None = None,
        selector: str | None = None,
    ) -> list[Job]:
        """Jobs, by namespace and name.

        Args:
            namespace: in which; the client's where not given.
            all_namespaces: in all of them.
            phase: only those in this phase.
            selector: only those with these labels, such as `team=vision,tier!=test`.
        """
        wanted = _phase(phase)
        where = "" if all_namespaces else self._place(namespace)
        found, _ = self.connection.run(self.connection.list(TRAINING_JOBS, namespace=where, selector=selector or ""))
        jobs = [Job(self.connection, manifest) for manifest in sorted(found, key=key_of)]
        return [job for job in jobs if wanted is None or job.phase == wanted]

    def watch(
        self,
        name: str | None = None,
        *,
        namespace: str | None = None,
        all_namespaces: bool = False,
        selector: str | None = None,
    ) -> Iterator[Change]:
        """Jobs as they change, those that are there as ADDED first. The deletion of the job that is named ends it."""
        where = "" if all_namespaces and name is None else self._place(namespace)
        if name is not None:
            self.get(name, namespace=where)
        fields = f"metadata.name={name}" if name else ""
        return self.connection.iterate(self._changes(where, selector or "", fields))

    def plan(self, job: "Source") -> "Plan":
        """What a job will create and take, and what is left of the namespace's quotas; `print` it. Sends nothing.

        Raises NotAllowed where the job's runtime may not be read, else as `submit`.
        """
        from footplate.client import submission  # takes as long to import as all the rest

        return submission.plan(self.connection, job, namespace=self.namespace)

    def render(self, job: "Source") -> Sequence[Object]:
        """The ConfigMap, the Service and the pods that the operator will create for a job. Raises as `plan`."""
        from footplate.client import submission  # takes as long to import as all the rest

        return submission.render_job(self.connection, job, namespace=self.namespace)

    def submit(self, job: "Source", *, dry_run: bool = False) -> Job:
        """Creates a job, once it keeps all rules that can be checked here.

        Args:
            job: a manifest as a dict, the path of a file that holds one, or the model TrainingJob. Without a namespace
                of its own it goes into the client's.
            dry_run: True has the API server judge it too, and creates nothing.

        Raises:
            JobInvalid: it breaks rules of the API or of its runtime; with all that is wrong.
            JobExists: there is one of its name.
            JobRefused: the API server, a quota or an admission policy doesn't take it.
        """
        from footplate.client import submission

        made = submission.submit(self.connection, job, namespace=self.namespace, dry_run=dry_run)
        return Job(self.connection, made)

    def submit_function(
        self,
        train: Callable[..., object],
        *,
        name: str,
        args: Mapping[str, Any] | None = None,
        nodes: int = 1,
        packages: Sequence[str] = (),
        image: str | None = None,
        resources: Mapping[str, Any] | None = None,
        spec: Mapping[str, Any] | None = None,
        dry_run: bool = False,
    ) -> Job:
        """Creates a job that calls a function, once on each rank.

        Its source goes into a ConfigMap, with the imports of its module or notebook that it uses. Warns of imports that
        the trainer image doesn't have.

        Args:
            train: written with `def`; all that it uses is imported, or defined inside of it.
            name: of the job.
            args: its keyword arguments, as JSON has them. They are the job's hyperparameters.
            nodes: pods of the gang.
            packages: requirements, such as `transformers==4.57.1`, that are installed before the start.
            image: with `footplate[trainer]`. Needed where `spec` names no runtime that has one.
            resources: of each pod: `{"limits": {"nvidia.com/gpu": 8}}`.
            spec: further fields of the job, as in a manifest: `{"output": {"uri": "s3://models/"}}`.
            dry_run: True has the API server judge it, and creates nothing.

        Raises:
            UnfitFunction: the function can't run elsewhere; with all that keeps it from that.
            JobInvalid, JobExists, JobRefused: as `submit`.
        """
        from footplate.client.function_jobs import submit_function

        made = submit_function(
            self.connection, train, name=name, namespace=self.namespace, args=args or {}, nodes=nodes,
            packages=packages, image=image, resources=resources, spec=spec or {}, dry_run=dry_run,
        )  # fmt: skip
        return Job(self.connection, made)

    def cluster(self) -> "ClusterView":
        """Accelerators, who holds them, and what comes of it: of all namespaces where they may be read, else of one."""
        from footplate.client.cluster import view_cluster

        try:
            jobs, pods, whole = *self._living(""), True
        except NotAllowed:
            jobs, pods, whole = *self._living(self.namespace), False
        try:
            nodes, _ = self.connection.run(self.connection.list(NODES))
        except NotAllowed:
            nodes = None
        return view_cluster(jobs, pods, nodes, whole=whole)

    def bills(self, label: str = "") -> "Sequence[Bill]":
        """What the jobs that are there have held and cost, by namespace: of all where they may be read, else of one.

        Args:
            label: key of a label of jobs whose value says who pays within a namespace; empty: nobody else.
        """
        from footplate.client.bills import make_bills

        try:
            jobs, _ = self.connection.run(self.connection.list(TRAINING_JOBS))
        except NotAllowed:
            jobs, _ = self.connection.run(self.connection.list(TRAINING_JOBS, namespace=self.namespace))
        return make_bills(jobs, label=label)

    def _living(self, namespace: str) -> tuple[Sequence[Object], Sequence[Object]]:
        jobs, _ = self.connection.run(self.connection.list(TRAINING_JOBS, namespace=namespace))
        pods, _ = self.connection.run(self.connection.list(PODS, namespace=namespace, fields=_LIVING_PODS))
        return jobs, pods

    async def _changes(self, namespace: str, selector: str, fields: str) -> AsyncGenerator[Sequence[Change]]:
        async for batch in watch_jobs(self.connection, namespace=namespace, selector=selector, fields=fields):
            changes = [Change(kind, Job(self.connection, manifest)) for kind, manifest in batch]
            deleted = next((n for n, change in enumerate(changes, 1) if change.type == "DELETED"), None)
            if fields and deleted is not None:
                yield changes[:deleted]
                return
            yield changes

    def _place(self, namespace: str | None) -> str:
        return _checked(namespace, "namespace") if namespace else self.namespace


def _checked(name: str, field: str) -> str:
    if not _NAME.fullmatch(name):
        raise ClientError(f"{field}: {name!r} can't be one; names are lower-case letters, digits, '-' and '.'")
    return name


def _phase(phase: Phase | str | None) -> Phase | None:
    if phase is None:
        return None
    found = next((each for each in Phase if each.lower() == phase.lower()), None)
    if found is None:
        raise ClientError(f"phase: {phase!r} is none; it is one of {', '.join(Phase)}")
    return found
