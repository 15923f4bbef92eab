"""Carries out a plan: side by side one status patch, behind which come the events, the creates, and the deletes.

The three are independent: a plan either moves the status on or writes what the status says already, so a crash between
any two writes is seen for what it is, and the status is written whatever becomes of the rest. No write is tried twice
here, and a plan whose creates take long is left half done: the next look goes on, and others had their turn.

Invariants:
- Nothing is written to, or deleted of, an object that the job doesn't control, but the job itself. An object that has
  the name of one we create is ours when its controller's UID is the job's, and a refusal otherwise.
- What a pod mounts or resolves is there before the pod, and goes after it.
- The stores know of each write before `apply` returns, so the next look at the job sees it.
- The status patch carries the resourceVersion of the job that the plan was made from.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import structlog

from footplate.errors import AlreadyExists, ApiError, ApiUnavailable, Conflict, NotFound, Refused, Retryable
from footplate.machinery.client import KubeClient
from footplate.machinery.clock import Clock
from footplate.machinery.cluster import Cluster
from footplate.machinery.metrics import CREATED_KINDS, Metrics
from footplate.machinery.patches import merge_patch
from footplate.machinery.recorder import Recorder
from footplate.machinery.resources import TRAINING_JOBS, resource_of, resource_of_kind, resource_of_target
from footplate.machinery.run_configs import RunConfigs
from footplate.objects import Object, controller_of, is_controlled_by, key_of, uid_of, version_of
from footplate.policy.measures import Measures
from footplate.policy.plan import Event, Plan, Refusal, Target
from footplate.policy.reasons import Reason

log = structlog.get_logger(__name__)

T = TypeVar("T")

_LANES = 50
"""Creates of one plan that go out side by side."""

_LONGEST_SECONDS = 5.0
"""For so long a plan begins creates; what it has begun it waits for."""

_MOST_FAILURES = 5
"""Creates that fail before a plan begins no more of them."""


class NameTaken(Retryable):
    """The name is still held by something that is on its way out."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a plan."""

    failed: Sequence[Refusal] = ()
    """Creates and deletes that failed, each as the next look is to see it."""
    error: Exception | None = None
    """Anything else that went wrong: planning again, later, says what is to be done."""


class Applier:
    """Writes what plans say."""

    def __init__(
        self,
        client: KubeClient,
        cluster: Cluster,
        run_configs: RunConfigs,
        *,
        recorder: Recorder,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._client = client
        self._cluster = cluster
        self._run_configs = run_configs
        self._recorder = recorder
        self._clock = clock
        self._metrics = metrics

    async def apply(self, job: Object, plan: Plan) -> Outcome:
        """Writes the plan, and says what failed. After a refusal, or several failures, nothing more is created."""
        failed: list[Refusal] = []
        error = await _all_of(
            self._write_status(job, plan), self._create_all(job, plan, failed), self._delete_all(job, plan, failed)
        )
        return Outcome(failed, error)

    async def _create_all(self, job: Object, plan: Plan, failed: list[Refusal]) -> None:
        """Pods after all else. Their number in the plan is their turn: small gangs go before the rest of large ones."""
        creates: list[Refusal] = []

        async def create_some(manifests: Sequence[Object]) -> None:
            until = self._clock.monotonic() + _LONGEST_SECONDS

            async def create(numbered: tuple[int, Object]) -> None:
                given_up = len(creates) >= _MOST_FAILURES or any(not each.transient for each in creates)
                if not given_up and self._clock.monotonic() <= until:
                    turn, manifest = numbered
                    creates.extend(await self._create(job, manifest, turn=turn))

            await _side_by_side([*enumerate(manifests, start=1)], create)

        try:
            await create_some([manifest for manifest in plan.create if manifest["kind"] != "Pod"])
            if not creates:
                await create_some([manifest for manifest in plan.create if manifest["kind"] == "Pod"])
        finally:
            failed += creates

    async def _delete_all(self, job: Object, plan: Plan, failed: list[Refusal]) -> None:
        """ConfigMaps go last: while one is there, its run is known, and what is left of the run is deleted again."""
        deletes: list[Refusal] = []

        async def delete(numbered: tuple[int, Target]) -> None:
            turn, target = numbered
            deletes.extend(await self._delete(job, target, turn=turn))

        first = [target for target in plan.delete if target.kind != "ConfigMap"]
        last = [target for target in plan.delete if target.kind == "ConfigMap"]
        try:
            await _side_by_side([*enumerate(first, start=1)], delete)
            if not deletes:
                await _side_by_side([*enumerate(last, start=1)], delete)
        finally:
            failed += deletes

    async def _create(self, job: Object, manifest: Object, *, turn: int) -> list[Refusal]:
        try:
            created = await self._client.create(manifest, turn=turn)
        except AlreadyExists:
            return await self._adopt(job, manifest)
        except (ApiError, ApiUnavailable) as error:
            return [_failed("create", manifest["kind"], manifest["metadata"]["name"], error)]
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
            gone = NameTaken(f"{kind} {name} was there a moment ago and is gone")
            return [_failed("create", kind, name, gone)]
        except (ApiError, ApiUnavailable) as error:
            return [_failed("create", kind, name, error)]
        if existing["metadata"].get("deletionTimestamp") or _is_predecessor(existing, job):
            going = NameTaken(f"{kind} {name} of an earlier job or run is being deleted")
            return [_failed("create", kind, name, going)]
        if not is_controlled_by(existing, job):
            owner = controller_of(existing)
            held = f"belongs to {owner['kind']} {owner['name']}" if owner else "isn't this job's"
            return [Refusal(kind, name, 409, "NameConflict", f"{kind} {name} exists already and {held}")]
        self._remember(existing)
        return []

    def _remember(self, obj: Object) -> None:
        if obj["kind"] == "Pod":
            self._cluster.pods.observe(obj)
        elif obj["kind"] == "ConfigMap":
            self._run_configs.put(obj)
        elif obj["kind"] == "PodGroup":
            self._cluster.gangs.observe(obj)

    async def _delete(self, job: Object, target: Target, *, turn: int) -> list[Refusal]:
        if target.kind == "TrainingJob":
            return await self._delete_job(job, target, turn=turn)
        key = target.namespace, target.name
        resource = resource_of_target(target.kind, target.api)
        try:
            uid = target.uid or await self._owned_uid(job, target)
            answer = await self._client.delete(resource, *key, uid=uid, turn=turn) if uid else None
        except (NotFound, Conflict):
            answer = None  # gone, or another object has the name by now: what was meant is gone either way
        except (ApiError, ApiUnavailable) as error:
            return [_failed("delete", target.kind, target.name, error)]
        if target.kind == "ConfigMap":
            self._run_configs.discard(key_of(job))
        elif target.kind == "Pod" and answer is not None and answer["kind"] == "Pod":
            self._cluster.pods.observe(answer)
        elif target.kind == "Pod":
            self._cluster.pods.discard(key, uid=target.uid)
        elif target.kind == "PodGroup":
            self._cluster.gangs.note_deleted(key, target.api, answer)
        return []

    async def _delete_job(self, job: Object, target: Target, *, turn: int) -> list[Refusal]:
        """Deletes the job itself, unless it has changed since; what it owns goes by its ownerReferences."""
        key = target.namespace, target.name
        try:
            answer = await self._client.delete(TRAINING_JOBS, *key, uid=target.uid, version=target.version, turn=turn)
        except NotFound:
            answer = None
        except Conflict:
            await self._refresh(job)
            raise
        except (ApiError, ApiUnavailable) as error:
            return [_failed("delete", target.kind, target.name, error)]
        if answer is not None and answer["kind"] == target.kind:
            self._cluster.jobs.observe(answer)  # somebody's finalizer holds it
        else:
            self._cluster.jobs.discard(key, uid=target.uid)
        return []

    async def _owned_uid(self, job: Object, target: Target) -> str:
        """UID of what holds the name, empty where it isn't the job's."""
        existing = await self._client.get(resource_of_kind(target.kind), target.namespace, target.name)
        return uid_of(existing) if is_controlled_by(existing, job) else ""

    async def _write_status(self, job: Object, plan: Plan) -> None:
        """The status, then what is said of it. One that is refused for good can't be told in the status."""
        try:
            if plan.status is not None:
                await self._patch_status(job, plan.status, plan.measures)
        except Refused as error:
            why = f"the job's status can't be written, so nothing of what follows can be seen here: {error.message}"
            self._recorder.record(job, Event("Warning", Reason.FAILED_UPDATE, why, "Update"))
            raise
        for event in plan.events:
            self._recorder.record(job, event)

    async def _patch_status(self, job: Object, status: Object, measures: Measures | None) -> None:
        patch = merge_patch(job.get("status") or {}, status)
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
        if measures is not None:
            self._metrics.jobs.count(job, measures)
        self._cluster.jobs.observe(patched)

    async def _refresh(self, job: Object) -> None:
        """Reads the job that changed under us, so that the next look doesn't depend on when the watch brings it."""
        try:
            self._cluster.jobs.observe(await self._client.get(TRAINING_JOBS, *key_of(job)))
        except NotFound:
            self._cluster.jobs.discard(key_of(job), uid=uid_of(job))


def _is_predecessor(existing: Object, job: Object) -> bool:
    """Whether it belongs to a deleted job of the same name, and waits for garbage collection."""
    controller = controller_of(existing) or {}
    named_alike = (controller.get("kind"), controller.get("name")) == ("TrainingJob", job["metadata"]["name"])
    return named_alike and controller.get("uid") != uid_of(job)


def _failed(verb: Literal["create", "delete"], kind: str, name: str, error: ApiError | Retryable) -> Refusal:
    if isinstance(error, ApiError):
        return Refusal(kind, name, error.status, error.reason, error.message, verb)
    code, said = (error.status or 0, error.said) if isinstance(error, ApiUnavailable) else (0, str(error))
    wait = error.retry_after or 0.0
    return Refusal(kind, name, code, type(error).__name__, said, verb, transient=True, retry_after=wait)


async def _side_by_side(items: Sequence[T], do: Callable[[T], Awaitable[None]]) -> None:
    """Does each, at most `_LANES` at a time."""
    rest = iter(items)

    async def lane() -> None:
        for item in rest:
            await do(item)

    error = await _all_of(*(lane() for _ in range(min(_LANES, len(items)))))
    if error is not None:
        raise error


async def _all_of(*works: Awaitable[None]) -> Exception | None:
    """Waits for all, whatever becomes of each, and answers the first error: a lost answer for one pod is no reason to
    leave the others half-way.
    """
    results = await asyncio.gather(*works, return_exceptions=True)
    errors = [error for error in results if error is not None]
    for error in errors:
        if not isinstance(error, Exception):
            raise error
    return next((error for error in errors if isinstance(error, Exception)), None)
