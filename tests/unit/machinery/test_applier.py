import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from footplate.errors import AlreadyExists, ApiUnavailable, Conflict, NotFound, Refused
from footplate.machinery.applier import Applier
from footplate.machinery.cluster import Cluster
from footplate.machinery.metrics import Metrics
from footplate.machinery.run_configs import RunConfigs
from footplate.objects import key_of
from footplate.policy.measures import Measures
from footplate.policy.plan import Event, Plan, Target
from unit.machinery.support import FakeClock, make_job, make_pod, owned_by, settle


class FakeApi:
    """A client whose answers tests set by call (verb, name), and that remembers the calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.sent: list[Any] = []
        self.turns: list[tuple[int, str]] = []
        self.on_call: Callable[[], Awaitable[None]] | None = None
        self.answers: dict[tuple[str, str], Any] = {}
        self.under_way = 0
        self.most_under_way = 0
        self.version = 100

    async def _answer(self, verb: str, name: str, default: Any) -> Any:
        self.calls.append((verb, name))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(0)
        if self.on_call is not None and verb in ("create", "delete"):
            await self.on_call()
        self.under_way -= 1
        answer = self.answers.get((verb, name), default)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _stamped(self, manifest: Any) -> Any:
        self.version += 1
        return {**manifest, "metadata": {**manifest["metadata"], "uid": "u", "resourceVersion": str(self.version)}}

    async def create(self, manifest: Any, *, turn: int) -> Any:
        self.turns.append((turn, manifest["metadata"]["name"]))
        return await self._answer("create", manifest["metadata"]["name"], self._stamped(manifest))

    async def get(self, _: Any, namespace: str, name: str) -> Any:
        return await self._answer("get", name, NotFound(404, "NotFound", name))

    async def delete(self, _: Any, namespace: str, name: str, *, uid: str, version: str = "", turn: int = 0) -> Any:
        self.turns.append((turn, name))
        self.sent.append((uid, version) if version else uid)
        return await self._answer("delete", name, {"kind": "Status"})

    async def patch(self, _: Any, namespace: str, name: str, patch: Any, *, subresource: str) -> Any:
        self.sent.append(patch)
        status = patch["status"]
        return await self._answer("patch", name, make_job(name, version=200, status=status))


class FakeRecorder:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def record(self, job: Any, event: Event) -> None:
        self.events.append(event)


class Bench:
    """An applier, with everything around it in reach."""

    def __init__(self) -> None:
        self.api = FakeApi()
        self.enqueued: list[Any] = []
        self.cluster = Cluster(self.enqueued.append)
        self.clock = FakeClock()
        self.run_configs = RunConfigs(cast(Any, self.api), clock=self.clock)
        self.recorder = FakeRecorder()
        self.metrics = Metrics()
        self.job = make_job(status={"phase": "Pending", "restarts": {"user": 0, "hang": 1}, "message": "x"})
        self.cluster.jobs.observe(self.job)
        self.applier = Applier(
            cast(Any, self.api),
            self.cluster,
            self.run_configs,
            recorder=cast(Any, self.recorder),
            clock=self.clock,
            metrics=self.metrics,
        )

    async def apply(self, **plan: Any) -> Any:
        """What failed; what went wrong besides is raised."""
        outcome = await self.applier.apply(self.job, Plan(**plan))
        if outcome.error is not None:
            raise outcome.error
        return outcome.failed

    def pods(self) -> list[str]:
        return [pod["metadata"]["name"] for pod in self.cluster.pods_of(self.job)]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def manifest(kind: str, name: str, job: Any) -> dict[str, Any]:
    metadata = {"namespace": "ns", "name": name, "ownerReferences": owned_by(job)}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata}


def taken() -> AlreadyExists:
    return AlreadyExists(409, "AlreadyExists", "taken")


async def test_what_a_pod_mounts_and_resolves_is_there_before_it(bench: Bench) -> None:
    kinds = ["Pod", "Service", "Pod", "ConfigMap"]
    await bench.apply(create=tuple(manifest(kind, f"{kind}-{n}", bench.job) for n, kind in enumerate(kinds)))
    names = [name for _, name in bench.api.calls]
    assert set(names[:2]) == {"Service-1", "ConfigMap-3"}
    assert set(names[2:]) == {"Pod-0", "Pod-2"}


async def test_the_stores_know_of_what_was_created(bench: Bench) -> None:
    config_map = manifest("ConfigMap", "job-run-1-uid-job", bench.job)
    await bench.apply(create=(config_map, manifest("Pod", "p", bench.job)))
    assert bench.pods() == ["p"]
    assert await bench.run_configs.get(bench.job, runtime=None) is not None
    assert ("get", "job-run-1-uid-job") not in bench.api.calls


async def test_pods_go_out_side_by_side_but_not_without_bounds(bench: Bench) -> None:
    assert await bench.apply(create=tuple(manifest("Pod", f"p{n}", bench.job) for n in range(200))) == []
    assert len(bench.pods()) == 200
    assert 10 < bench.api.most_under_way <= 50


async def test_what_is_ours_already_is_taken_over(bench: Bench) -> None:
    pod = make_pod(bench.job)
    bench.api.answers = {("create", "p"): taken(), ("get", "p"): {**pod, "metadata": {**pod["metadata"], "name": "p"}}}
    assert await bench.apply(create=(manifest("Pod", "p", bench.job),)) == []
    assert bench.pods() == ["p"]


@pytest.mark.parametrize(
    ("owners", "said"),
    [
        pytest.param([], "exists already and isn't this job's", id="nobody's"),
        pytest.param(
            owned_by(make_job("other", uid="other")), "exists already and belongs to TrainingJob other", id="another's"
        ),
    ],
)
async def test_a_foreign_object_is_left_alone(bench: Bench, owners: Any, said: str) -> None:
    foreign = {"kind": "Pod", "metadata": {"namespace": "ns", "name": "p", "ownerReferences": owners}}
    bench.api.answers = {("create", "p"): taken(), ("get", "p"): foreign}
    [refusal] = await bench.apply(create=(manifest("Pod", "p", bench.job),))
    assert (refusal.kind, refusal.name, refusal.code, refusal.reason) == ("Pod", "p", 409, "NameConflict")
    assert refusal.message == f"Pod p {said}"
    assert {verb for verb, _ in bench.api.calls} == {"create", "get"}
    assert bench.pods() == []


@pytest.mark.parametrize(
    "existing",
    [
        pytest.param({"ownerReferences": owned_by(make_job(uid="before"))}, id="of a deleted job of the same name"),
        pytest.param({"deletionTimestamp": "2026-01-01T00:00:00Z"}, id="being deleted"),
        pytest.param(None, id="gone by now"),
    ],
)
async def test_a_name_that_becomes_free_is_waited_for(bench: Bench, existing: Any) -> None:
    bench.api.answers = {("create", "p"): taken()}
    if existing is not None:
        bench.api.answers["get", "p"] = {"kind": "Pod", "metadata": {"namespace": "ns", "name": "p", **existing}}
    [failed] = await bench.apply(create=(manifest("Pod", "p", bench.job),))
    assert (failed.verb, failed.reason, failed.transient) == ("create", "NameTaken", True)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(Refused(403, "Forbidden", "exceeded quota"), id="quota"),
        pytest.param(Refused(422, "Invalid", "bad label"), id="invalid"),
        pytest.param(NotFound(404, "NotFound", "no such API"), id="no such kind"),
    ],
)
async def test_a_refusal_comes_back_and_stops_further_creates(bench: Bench, error: Any) -> None:
    bench.api.answers = {("create", "p0"): error}
    [refusal] = await bench.apply(create=tuple(manifest("Pod", f"p{n}", bench.job) for n in range(300)))
    assert (refusal.name, refusal.code, refusal.reason, refusal.message) == (
        "p0",
        error.status,
        error.reason,
        error.message,
    )
    assert len(bench.api.calls) < 100


async def test_one_lost_answer_leaves_nothing_else_half_way(bench: Bench) -> None:
    bench.api.answers = {("create", "p3"): ApiUnavailable("lost", status=503, retry_after=7.0)}
    event = Event("Normal", "R", "m", "a")
    [failed] = await bench.apply(
        create=tuple(manifest("Pod", f"p{n}", bench.job) for n in range(8)),
        status={"phase": "Running"},
        events=(event,),
    )
    assert (failed.name, failed.code, failed.message, failed.transient, failed.retry_after) == (
        "p3",
        503,
        "lost",
        True,
        7.0,
    )
    assert len(bench.pods()) == 7
    assert ("patch", "job") in bench.api.calls
    assert bench.recorder.events == [event]


async def test_many_failures_end_the_try(bench: Bench) -> None:
    bench.api.answers = {("create", f"p{n}"): ApiUnavailable("away") for n in range(300)}
    failed = await bench.apply(create=tuple(manifest("Pod", f"p{n}", bench.job) for n in range(300)))
    assert len(failed) == len(bench.api.calls) < 100


async def test_a_plan_whose_creates_take_long_leaves_the_rest_to_the_next_look(bench: Bench) -> None:
    async def ten_seconds() -> None:
        await bench.clock.sleep(10)

    bench.api.on_call = ten_seconds
    plan = asyncio.create_task(bench.apply(create=tuple(manifest("Pod", f"p{n}", bench.job) for n in range(300))))
    await bench.clock.advance(10)
    assert await asyncio.wait_for(plan, 1) == []
    assert 10 < len(bench.pods()) <= 50


async def test_the_status_waits_for_nothing(bench: Bench) -> None:
    bench.api.on_call = asyncio.Event().wait  # type: ignore[assignment]
    task = asyncio.create_task(
        bench.apply(
            create=(manifest("Pod", "p", bench.job),),
            delete=(Target("Pod", "ns", "old", "u"),),
            status={"phase": "Running"},
        )
    )
    await settle()
    assert ("patch", "job") in bench.api.calls
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_first_pods_of_a_gang_come_before_the_last_of_another(bench: Bench) -> None:
    await bench.apply(
        create=(manifest("Service", "s", bench.job), *(manifest("Pod", f"p{n}", bench.job) for n in range(3)))
    )
    assert bench.api.turns == [(1, "s"), (1, "p0"), (2, "p1"), (3, "p2")]


@pytest.mark.parametrize(
    ("error", "reason", "transient"),
    [
        pytest.param(Refused(403, "Forbidden", "a policy"), "Forbidden", False, id="refused"),
        pytest.param(ApiUnavailable("away", status=500), "ApiUnavailable", True, id="failed"),
    ],
)
async def test_a_delete_that_fails_comes_back_and_hides_nothing(
    bench: Bench, error: Any, reason: str, transient: bool
) -> None:
    bench.api.answers = {("delete", "p1"): error}
    targets = tuple(Target("Pod", "ns", f"p{n}", "u") for n in range(3))
    [failed] = await bench.apply(
        delete=(*targets, Target("ConfigMap", "ns", "c", "u")),
        create=(manifest("Pod", "p", bench.job),),
        status={"phase": "Running"},
    )
    assert (failed.verb, failed.kind, failed.name, failed.reason, failed.transient) == (
        "delete",
        "Pod",
        "p1",
        reason,
        transient,
    )
    assert {("delete", "p0"), ("delete", "p2"), ("create", "p"), ("patch", "job")} <= {*bench.api.calls}
    assert ("delete", "c") not in bench.api.calls, "the run's ConfigMap goes last"


async def test_a_status_that_is_refused_is_told_by_an_event(bench: Bench) -> None:
    bench.api.answers = {("patch", "job"): Refused(422, "Invalid", "phase: no such value")}
    with pytest.raises(Refused):
        await bench.apply(status={"phase": "Running"}, events=(Event("Normal", "R", "m", "a"),))
    [event] = bench.recorder.events
    assert (event.type, event.reason) == ("Warning", "FailedUpdate")
    assert "phase: no such value" in event.message


async def test_an_unknown_error_is_raised_after_all_else_was_done(bench: Bench) -> None:
    bench.api.answers = {("create", "p1"): KeyError("a bug")}
    with pytest.raises(KeyError):
        await bench.apply(create=tuple(manifest("Pod", f"p{n}", bench.job) for n in range(8)))
    assert len(bench.pods()) == 7


async def test_a_delete_names_the_one_it_means_and_the_store_learns_of_it(bench: Bench) -> None:
    stays, goes, missing = (make_pod(bench.job, rank) for rank in range(3))
    for pod in (stays, goes, missing):
        bench.cluster.pods.observe(pod)
    leaving = {**stays, "metadata": {**stays["metadata"], "resourceVersion": "9", "deletionTimestamp": "soon"}}
    bench.api.answers = {
        ("delete", "job-1-0-0"): leaving,
        ("delete", "job-1-0-2"): NotFound(404, "NotFound", ""),
    }
    await bench.apply(
        delete=tuple(Target("Pod", *key_of(pod), pod["metadata"]["uid"]) for pod in (stays, goes, missing))
    )
    assert bench.api.sent == ["uid-job-1-0-0", "uid-job-1-0-1", "uid-job-1-0-2"]
    assert [turn for turn, _ in bench.api.turns] == [1, 2, 3]  # 0 is the status's
    [left] = bench.cluster.pods_of(bench.job)
    assert left["metadata"]["deletionTimestamp"] == "soon"


async def test_a_name_that_is_another_s_by_now_is_no_error(bench: Bench) -> None:
    bench.api.answers = {("delete", "p"): Conflict(409, "Conflict", "another UID")}
    assert await bench.apply(delete=(Target("Pod", "ns", "p", "u"),)) == []


@pytest.mark.parametrize(("owned", "deleted"), [(True, ["svc-uid"]), (False, [])], ids=["ours", "foreign"])
async def test_a_delete_by_name_alone_looks_whose_it_is(bench: Bench, owned: bool, deleted: list[str]) -> None:
    owners = owned_by(bench.job) if owned else []
    service = {
        "kind": "Service",
        "metadata": {"name": "s", "namespace": "ns", "uid": "svc-uid", "ownerReferences": owners},
    }
    bench.api.answers = {("get", "s"): service}
    await bench.apply(delete=(Target("Service", "ns", "s", ""),))
    assert bench.api.sent == deleted


async def test_the_status_is_one_patch_of_what_differs_with_the_version(bench: Bench) -> None:
    await bench.apply(status={"phase": "Running", "restarts": {"user": 2, "hang": 1}, "run": None})
    assert bench.api.sent == [
        {
            "metadata": {"resourceVersion": "1"},
            "status": {"phase": "Running", "restarts": {"user": 2}, "message": None},
        }
    ]
    stored = bench.cluster.jobs.get(("ns", "job"))
    assert stored is not None
    assert stored["metadata"]["resourceVersion"] == "200"


MEASURES = Measures(restarts={"user": 2}, finished={"node": {"lost": 5.0}})


def counted(bench: Bench) -> tuple[float | None, float | None]:
    held = {"held": "nodes", "outcome": "lost"}
    registry = bench.metrics.registry
    return (
        registry.get_sample_value("footplate_gang_restarts_total", {"class": "user"}),
        registry.get_sample_value("footplate_finished_run_seconds_total", held),
    )


async def test_a_write_is_counted_once_it_is_done(bench: Bench) -> None:
    await bench.apply(status={"phase": "Running"}, measures=MEASURES)
    assert counted(bench) == (2, 5)
    await bench.apply(status={**bench.job["status"], "message": "x"}, measures=MEASURES)
    assert counted(bench) == (2, 5), "there was nothing to write"


@pytest.mark.parametrize("error", [Conflict(409, "Conflict", ""), ApiUnavailable("lost")], ids=["409", "lost"])
async def test_a_write_that_fails_is_not_counted(bench: Bench, error: Exception) -> None:
    bench.api.answers = {("patch", "job"): error, ("get", "job"): make_job(version=50)}
    with pytest.raises(type(error)):
        await bench.apply(status={"phase": "Running"}, measures=MEASURES)
    assert counted(bench) == (0, 0)


async def test_a_status_that_says_the_same_is_not_written(bench: Bench) -> None:
    await bench.apply(status={**bench.job["status"], "artifact": None})
    assert bench.api.calls == []


async def test_after_a_conflict_the_store_has_the_newest(bench: Bench) -> None:
    bench.api.answers = {
        ("patch", "job"): Conflict(409, "Conflict", ""),
        ("get", "job"): make_job(version=50),
    }
    with pytest.raises(Conflict):
        await bench.apply(status={"phase": "Running"}, events=(Event("Normal", "R", "m", "a"),))
    stored = bench.cluster.jobs.get(("ns", "job"))
    assert stored is not None
    assert stored["metadata"]["resourceVersion"] == "50"
    assert bench.recorder.events == []


@pytest.mark.parametrize("error", [NotFound(404, "NotFound", ""), Conflict(409, "Conflict", "")], ids=["404", "409"])
async def test_a_job_that_is_gone_is_forgotten(bench: Bench, error: Exception) -> None:
    bench.api.answers = {("patch", "job"): error}
    with pytest.raises(type(error)):
        await bench.apply(status={"phase": "Running"})
    assert bench.cluster.jobs.get(("ns", "job")) is None


async def test_events_follow_the_status(bench: Bench) -> None:
    event = Event("Normal", "R", "m", "a")
    await bench.apply(status={"phase": "Running"}, events=(event,))
    assert bench.recorder.events == [event]


def itself(job: Any) -> Target:
    return Target("TrainingJob", *key_of(job), job["metadata"]["uid"], job["metadata"]["resourceVersion"])


@pytest.mark.parametrize("answer", [{"kind": "Status"}, NotFound(404, "NotFound", "")], ids=["deleted", "gone before"])
async def test_a_job_that_is_over_is_deleted_as_it_was_seen(bench: Bench, answer: Any) -> None:
    bench.api.answers = {("delete", "job"): answer}
    await bench.apply(delete=(itself(bench.job),))
    assert bench.api.sent == [(bench.job["metadata"]["uid"], bench.job["metadata"]["resourceVersion"])]
    assert bench.cluster.jobs.get(key_of(bench.job)) is None


async def test_a_job_that_a_finalizer_holds_is_known_to_be_going(bench: Bench) -> None:
    going = make_job(version=300, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    bench.api.answers = {("delete", "job"): going}
    await bench.apply(delete=(itself(bench.job),))
    assert bench.cluster.jobs.get(key_of(bench.job))["metadata"]["deletionTimestamp"]


async def test_a_job_that_has_changed_meanwhile_is_looked_at_again(bench: Bench) -> None:
    """Such as by another restartNonce."""
    edited = make_job(version=300)
    bench.api.answers = {("delete", "job"): Conflict(409, "Conflict", "changed"), ("get", "job"): edited}
    with pytest.raises(Conflict):
        await bench.apply(delete=(itself(bench.job),))
    assert bench.cluster.jobs.get(key_of(bench.job))["metadata"]["resourceVersion"] == "300"
