"""Carries out a plan: deletes and creates side by side, then one status patch, then events.

Invariants:
- Nothing is written to, or deleted of, an object that the job doesn't control, but the job itself. An object that has
  the name of one we create is ours when its controller's UID is the job's, and a refusal otherwise.
- What a pod mounts or resolves is there before the pod.
- The stores know of each write before `apply` returns, so the next look at the job sees it.
- The status patch carries the resourceVersion of the job that the plan was made from.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from footplate.api.status import Phase
from footplate.errors import AlreadyExists, Conflict, NotFound, Refused, Retryable
from footplate.machinery.client import KubeClient
from footplate.machinery.cluster import Cluster
from footplate.machinery.metrics import CREATED_KINDS, RESTART_CLASSES, Metrics
from footplate.machinery.patches import merge_patch
from footplate.machinery.recorder import Recorder
from footplate.machinery.resources import TRAINING_JOBS, resource_of, resource_of_kind
from footplate.machinery.run_configs import RunConfigs
from footplate.objects import Object, controller_of, is_controlled_by, key_of, uid_of, version_of
from footplate.policy.plan import Plan, Refusal, Target

log = structlog.get_logger(__name__)

T = TypeVar("T")

_FINISHED = tuple(phase for phase in Phase if phase.finished)

_LANES = 40
"""Writes of one plan that go out side by side: fewer than the client lets out, so that a gang of thousands leaves room
for other jobs."""


class NameTaken(Retryable):
    """The name is still held by something that is on its way out."""


class Applier:
    """Writes what plans say."""

    def __init__(
        self, client: KubeClient, cluster: Cluster, run_configs: RunConfigs, *, recorder: Recorder, metrics: Metrics
    ) -> None:
        self._client = client
        self._cluster = cluster
        self._run_configs = run_configs
        self._recorder = recorder
        self._metrics = metrics

    async def apply(self, job: Object, plan: Plan) -> list[Refusal]:
        """Writes the plan; what the API server refused to create comes back, and nothing is created after it.

        Raises:
            Conflict: the job has changed since; the store has its newest version now.
            Retryable: some of it may not be written; planning again says what.
        """
        refusals: list[Refusal] = []
        before = [manifest for manifest in plan.create if manifest["kind"] != "Pod"]
        pods = [manifest for manifest in plan.create if manifest["kind"] == "Pod"]

        async def create(manifest: Object) -> None:
            if not refusals:
                refusals.extend(await self._create(job, manifest))

        async def create_all() -> None:
            await _side_by_side(before, create)
            await _side_by_side(pods, create)

        async def delete_all() -> None:
            await _side_by_side(plan.delete, lambda target: self._delete(job, target))

        await _all_of(create_all(), delete_all())
        if plan.status is not None:
            await self._patch_status(job, plan.status)
        for event in plan.events:
            self._recorder.record(job, event)
        return refusals

    async def _create(self, job: Object, manifest: Object) -> list[Refusal]:
        try:
            created = await self._client.create(manifest)
        except AlreadyExists:
            return await self._adopt(job, manifest)
        except (Refused, NotFound) as error:
            return [_refusal(manifest, error.status, error.reason, error.message)]
        if manifest["kind"] in CREATED_KINDS:
            self._metrics.created.labels(manifest["kind"]).inc()
        self._remember(created)
        return []

    async def _adopt(self, job: Object, manifest: Object) -> list[Refusal]:
        """What holds the name: this job's own from an earlier try, something that is going away, or a foreign one."""
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        try:
            existing = await self._client.get(resource_of(manifest), *key_of(manifest))
        except NotFound:
            raise NameTaken(f"{kind} {name} was there a moment ago and is gone") from None
        if existing["metadata"].get("deletionTimestamp") or _is_predecessor(existing, job):
            raise NameTaken(f"{kind} {name} of an earlier job or run is being deleted")
        if not is_controlled_by(existing, job):
            owner = controller_of(existing)
            held = f"belongs to {owner['kind']} {owner['name']}" if owner else "isn't this job's"
            message = f"{kind} {name} exists already and {held}"
            return [_refusal(manifest, 409, "NameConflict", message)]
        self._remember(existing)
        return []

    def _remember(self, obj: Object) -> None:
        if obj["kind"] == "Pod":
            self._cluster.pods.observe(obj)
        elif obj["kind"] == "ConfigMap":
            self._run_configs.put(obj)

    async def _delete(self, job: Object, target: Target) -> None:
        if target.kind == "TrainingJob":
            await self._delete_job(job, target)
            return
        key = target.namespace, target.name
        resource = resource_of_kind(target.kind)
        try:
            uid = target.uid or await self._owned_uid(job, target)
            answer = await self._client.delete(resource, *key, uid=uid) if uid else None
        except (NotFound, Conflict):
            answer = None  # gone, or another object has the name by now: what was meant is gone either way
        if target.kind == "ConfigMap":
            self._run_configs.discard(key_of(job))
        elif target.kind == "Pod" and answer is not None and answer["kind"] == "Pod":
            self._cluster.pods.observe(answer)
        elif target.kind == "Pod":
            self._cluster.pods.discard(key, uid=target.uid)

    async def _delete_job(self, job: Object, target: Target) -> None:
        """Deletes the job itself, unless it has changed since; what it owns goes by its ownerReferences."""
        key = target.namespace, target.name
        try:
            answer = await self._client.delete(TRAINING_JOBS, *key, uid=target.uid, version=target.version)
        except NotFound:
            answer = None
        except Conflict:
            await self._refresh(job)
            raise
        if answer is not None and answer["kind"] == target.kind:
            self._cluster.jobs.observe(answer)  # somebody's finalizer holds it
        else:
            self._cluster.jobs.discard(key, uid=target.uid)

    async def _owned_uid(self, job: Object, target: Target) -> str:
        """UID of what holds the name, empty where it isn't the job's."""
        existing = await self._client.get(resource_of_kind(target.kind), target.namespace, target.name)
        return uid_of(existing) if is_controlled_by(existing, job) else ""

    async def _patch_status(self, job: Object, status: Object) -> None:
        old = job.get("status") or {}
        patch = merge_patch(old, status)
        if not patch:
            return
        body = {"metadata": {"resourceVersion": version_of(job)}, "status": patch}
        try:
            patched = await self._client.patch(TRAINING_JOBS, *key_of(job), body, subresource="status")
        except NotFound:
            self._cluster.jobs.discard(key_of(job), uid=uid_of(job))
            raise
        except Conflict:
            await self._refresh(job)
            raise
        self._count_restarts(old, status)
        self._count_usage(old, status)
        self._cluster.jobs.observe(patched)

    async def _refresh(self, job: Object) -> None:
        """Reads the job that changed under us, so that the next look doesn't depend on when the watch brings it."""
        try:
            self._cluster.jobs.observe(await self._client.get(TRAINING_JOBS, *key_of(job)))
        except NotFound:
            self._cluster.jobs.discard(key_of(job), uid=uid_of(job))

    def _count_restarts(self, old: Object, new: Object) -> None:
        before, after = old.get("restarts") or {}, new.get("restarts") or {}
        for class_ in RESTART_CLASSES:
            self._metrics.restarts.labels(class_).inc(max(0, after.get(class_, 0) - before.get(class_, 0)))

    def _count_usage(self, old: Object, new: Object) -> None:
        """Counts what a run has held, once: its end is written once, by whoever leads then."""
        if new.get("phase") not in _FINISHED or old.get("phase") in _FINISHED or not (usage := new.get("usage")):
            return
        accelerators = sum(usage["acceleratorSeconds"].values())
        held = "accelerators" if accelerators else "nodes"
        seconds, productive = accelerators or usage["nodeSeconds"], usage.get("productiveSeconds")
        parts = {"unknown": seconds} if productive is None else {"productive": productive, "lost": seconds - productive}
        for outcome, part in parts.items():
            self._metrics.run_seconds.labels(held, outcome).inc(max(0, part))


def _is_predecessor(existing: Object, job: Object) -> bool:
    """Whether it belongs to a deleted job of the same name, and waits for garbage collection."""
    controller = controller_of(existing) or {}
    named_alike = (controller.get("kind"), controller.get("name")) == ("TrainingJob", job["metadata"]["name"])
    return named_alike and controller.get("uid") != uid_of(job)


def _refusal(manifest: Object, code: int, reason: str, message: str) -> Refusal:
    return Refusal(manifest["kind"], manifest["metadata"]["name"], code, reason, message)


async def _side_by_side(items: Sequence[T], do: Callable[[T], Awaitable[None]]) -> None:
    """Does each, at most `_LANES` at a time."""
    rest = iter(items)

    async def lane() -> None:
        for item in rest:
            await do(item)

    await _all_of(*(lane() for _ in range(min(_LANES, len(items)))))


async def _all_of(*works: Awaitable[None]) -> None:
    """Waits for all, whatever becomes of each, and raises the first error: a lost answer for one pod is no reason to
    leave the others half-way."""
    results = await asyncio.gather(*works, return_exceptions=True)
    for error in results:
        if error is not None:
            raise error
