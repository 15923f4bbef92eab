"""The line as jobs, policies and classes change: what it answers, whom it wakes, and what it never gives twice."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from footplate.api.scalars import format_time
from footplate.machinery.cluster import Cluster
from footplate.objects import Key
from footplate.policy.plan import Admission
from footplate.policy.quota import claim_of
from unit.machinery.support import START, FakeClock
from unit.policy.build import job as make_job

GPU = "nvidia.com/gpu"
JSON = dict[str, Any]
EARLY = format_time(START)


class World:
    """Stores that the test fills, and the line over them."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.woken: list[Key] = []
        self.cluster = Cluster(self.woken.append, clock=clock)
        self.version = 0

    def _apply(self, store: Any, obj: JSON, *, deleted: bool = False) -> None:
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        store.apply(obj, deleted=deleted)

    def namespace(self, name: str, **labels: str) -> None:
        metadata = {"name": name, "labels": labels}
        self._apply(self.cluster.namespaces, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})

    def policy(self, name: str, *, gpus: int | None, borrow: bool = True, deleted: bool = False, **labels: str) -> None:
        quota = {"accelerators": {GPU: gpus}, "loanSeconds": 60, **({"borrowing": {}} if borrow else {})}
        spec = {"namespaceSelector": {"matchLabels": labels}, **({"quota": quota} if gpus is not None else {})}
        self._apply(self.cluster.policies, {"metadata": {"name": name}, "spec": spec}, deleted=deleted)

    def job(self, name: str, gpus: int = 4, *, holds: bool = False, phase: str = "", **place: Any) -> JSON:
        """A job `namespace/name` of one node, in the line or holding."""
        namespace, _, own = name.partition("/")
        queue = {
            "accelerators": {GPU: gpus}, "wanted": 1, "least": 1, "nodes": int(holds), "saves": True,
            "since": EARLY, "changedTime": EARLY, **place,
        }  # fmt: skip
        status = {"phase": phase or ("Running" if holds else "Queued"), "queue": queue}
        made = make_job(status=status, name=own, namespace=namespace, uid=name)
        self._apply(self.cluster.jobs, made)
        return made

    def delete(self, made: JSON) -> None:
        self._apply(self.cluster.jobs, made, deleted=True)

    def ask(self, made: JSON) -> Admission:
        self.cluster.line.settle()
        found = self.cluster.line.admission_of(made)
        assert found is not None
        return found

    def may_begin(self, made: JSON) -> bool:
        return self.ask(made).nodes > 0


@pytest.fixture
def world() -> World:
    """Two namespaces with eight accelerators each."""
    found = World(FakeClock())
    for name in ("a", "b"):
        found.namespace(name, tenant="yes")
    found.policy("all", gpus=8, tenant="yes")
    return found


@contextmanager
def fresh(world: World) -> Iterator[list[Key]]:
    """Those woken meanwhile."""
    world.woken.clear()
    yield world.woken


def test_a_namespace_without_a_quota_has_no_line(world: World) -> None:
    world.namespace("free")
    assert world.cluster.line.admission_of(world.job("free/x")) is None


def test_what_was_given_isn_t_given_again(world: World) -> None:
    """Though no status says it yet, and whoever else comes meanwhile."""
    world.policy("all", gpus=8, borrow=False, tenant="yes")
    first = world.job("a/first", 8)
    assert world.may_begin(first)
    high = world.job("a/high", 8, since=format_time(START.replace(year=2020)))
    assert not world.may_begin(high)
    assert world.may_begin(first), "asked again, the answer is the same"
    world.job("a/first", 8, holds=True)
    assert not world.may_begin(high)


def test_another_leader_sees_the_same(world: World) -> None:
    """All that it knows is in the statuses."""
    made = [world.job("a/one", 8, holds=True), world.job("a/two", 8, holds=True), world.job("b/mine", 8)]
    other = World(world.clock)
    for name in ("b", "a"):
        other.namespace(name, tenant="yes")
    for each in reversed(made):
        other._apply(other.cluster.jobs, {**each, "metadata": {**each["metadata"]}})
    other.policy("all", gpus=8, tenant="yes")
    other.clock._time = 100
    for each in made:
        assert world.ask(each) == other.ask(each)
    assert not other.may_begin(made[2])


def test_who_ran_before_the_quota_counts(world: World) -> None:
    world.namespace("c", late="yes")
    spec = {"nodes": 2, "resources": {"limits": {GPU: 4}}}
    attempt = {"attempt": 0, "startTime": EARLY, "nodes": 2, "createdTime": EARLY}
    ran = make_job(spec, status={"phase": "Running", "attempts": [attempt]}, name="ran", namespace="c", uid="ran")
    world._apply(world.cluster.jobs, ran)
    with fresh(world) as woken:
        world.policy("late", gpus=8, borrow=False, late="yes")
        waits = world.job("c/waits", 4)
        told = world.ask(waits)
        assert not told.nodes
        assert "(ran 8)" in told.why
        assert ("c", "ran") in woken, "it takes its place"


def test_what_ran_before_the_quota_counts_as_it_was_started_whatever_its_runtime_says_by_now() -> None:
    """A TrainingRuntime is its tenant's to edit."""
    status = {
        "phase": "Running",
        "resolved": {"accelerators": {GPU: 4}},
        "attempts": [{"attempt": 0, "startTime": EARLY, "nodes": 2, "createdTime": EARLY}],
    }
    edited = {"spec": {"resources": {"limits": {GPU: "0"}}}}
    claim = claim_of(make_job({"nodes": 2}, status=status), edited, rank=lambda name: 0)
    assert claim is not None
    assert claim.each == ((GPU, 4),)


@pytest.mark.parametrize(
    ("limits", "each"),
    [
        ({GPU: "1k"}, ((GPU, 1000),)),
        ({GPU: 8, "cpu": "4"}, ((GPU, 8),)),
        ({GPU: "9" * 5000, "a.b/c": "\u00b2", "a.b/d": {}, "a.b/e": "-1", "a.b/f": "0"}, ()),
    ],
    ids=["thousands", "a number", "what no node has"],
)
def test_limits_are_counted_whatever_is_in_them(limits: JSON, each: tuple[tuple[str, int], ...]) -> None:
    status = {"phase": "Running", "attempts": [{"attempt": 0, "startTime": EARLY, "createdTime": EARLY}]}
    claim = claim_of(make_job({"resources": {"limits": limits}}, status=status), None, rank=lambda name: 0)
    assert claim is not None
    assert claim.each == each


def left_pod(owned: bool = True, version: int = 100, gpus: int = 8, **metadata: Any) -> JSON:
    """The pod of job a/old."""
    owner = {"apiVersion": "footplate.dev/v1alpha1", "kind": "TrainingJob", "name": "old", "uid": "a/old"}
    labels = {"footplate.dev/job": "old", "footplate.dev/job-uid": "a/old", "footplate.dev/rank": "0"}
    head = {"name": "old-1-0-0", "namespace": "a", "uid": "pod", "resourceVersion": str(version), "labels": labels}
    owners = [{**owner, "controller": True}] if owned else []
    spec = {"nodeName": "n", "containers": [{"resources": {"limits": {GPU: str(gpus), "cpu": "4"}}}]}
    return {"metadata": {**head, "ownerReferences": owners, **metadata}, "spec": spec, "status": {}}


@pytest.mark.parametrize("owned", [True, False], ids=["a long grace period", "--cascade=orphan"])
def test_who_is_deleted_holds_as_long_as_its_pods_are_there(world: World, owned: bool) -> None:
    """Else a job that is deleted and created again and again has as much as it likes."""
    world.policy("all", gpus=8, borrow=False, tenant="yes")
    pods, old = world.cluster.pods, world.job("a/old", 8, holds=True)
    pods.apply(left_pod(version=world.version + 1), deleted=False)
    pods.apply(left_pod(owned, version=world.version + 2, deletionTimestamp=EARLY), deleted=False)
    world.version += 2
    world.delete(old)
    again = world.job("a/again", 8)
    told = world.ask(again)
    assert not told.nodes
    assert "(old (stopping, a/old) 8)" in told.why
    assert world.may_begin(world.job("b/mine", 8)), "who left them is nobody else's business"
    pods.apply(left_pod(owned, version=world.version + 1), deleted=True)
    assert world.may_begin(again)


@pytest.mark.parametrize("owned", [True, False], ids=["a long grace period", "--cascade=orphan"])
def test_so_it_does_for_an_operator_that_never_saw_the_job(world: World, owned: bool) -> None:
    world.policy("all", gpus=8, borrow=False, tenant="yes")
    world.version += 1
    world.cluster.pods.apply(left_pod(owned, version=world.version, deletionTimestamp=EARLY), deleted=False)
    again = world.job("a/again", 8)
    assert "(old (stopping, a/old) 8)" in world.ask(again).why
    assert not world.may_begin(again)
    world.version += 1
    world.cluster.pods.apply(left_pod(owned, version=world.version), deleted=True)
    assert world.may_begin(again)


def test_pods_that_are_listed_before_their_job_are_no_leftovers_once_it_is_there(world: World) -> None:
    world.policy("all", gpus=16, borrow=False, tenant="yes")
    world.version += 1
    world.cluster.pods.apply(left_pod(version=world.version), deleted=False)
    both = world.job("a/both", 16)
    assert not world.may_begin(both)
    world.job("a/old", 8, holds=True)
    world.delete(both)
    assert world.may_begin(world.job("a/late", 8)), "what it holds isn't counted twice"


@pytest.mark.parametrize(
    "queued",
    [{"labels": {"kueue.x-k8s.io/queue-name": "q"}}, {"annotations": {"scheduling.k8s.io/group-name": "old-1-0"}}],
    ids=["Kueue", "Volcano"],
)
def test_what_another_queue_counts_isn_t_counted_twice(world: World, queued: JSON) -> None:
    world.policy("all", gpus=8, borrow=False, tenant="yes")
    pod = left_pod(version=world.version + 1)
    metadata = {name: {**pod["metadata"].get(name, {}), **more} for name, more in queued.items()}
    world.cluster.pods.apply({**pod, "metadata": {**pod["metadata"], **metadata}}, deleted=False)
    world.version += 1
    assert world.may_begin(world.job("a/again", 8))


@pytest.mark.parametrize("phase", ["Failed", "Restarting"])
def test_who_gives_its_share_back_holds_what_its_pods_still_hold(world: World, phase: str) -> None:
    """A rank that fails at once, and others that ignore SIGTERM for a day, were a way to have more than the quota."""
    world.policy("all", gpus=8, borrow=False, tenant="yes")
    world.cluster.pods.apply(left_pod(version=world.version + 1), deleted=False)
    old = world.job("a/old", 8, holds=True)
    again = world.job("a/again", 8)
    assert not world.may_begin(again)
    given_up = {**old["status"], "phase": phase, "queue": {**old["status"]["queue"], "nodes": 0}}
    world._apply(world.cluster.jobs, {**old, "status": given_up})
    assert not world.may_begin(again)
    world.version += 1
    world.cluster.pods.apply(left_pod(version=world.version), deleted=True)
    assert world.may_begin(again)


def test_a_node_that_changes_counts_none_of_its_pods_again(world: World) -> None:
    world.policy("all", gpus=12, borrow=False, tenant="yes")
    world.job("a/old", 8, holds=True)
    world.cluster.pods.apply(left_pod(version=world.version + 1), deleted=False)
    world.version += 1
    for unschedulable in (True, False):
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "spec": {"unschedulable": unschedulable}}
        world._apply(world.cluster.nodes, node)
        assert world.woken.pop() == ("a", "old")
    assert world.may_begin(world.job("a/small", 4))


def test_what_was_borrowed_and_left_behind_isn_t_lent_again_nor_kept_from_its_owner(world: World) -> None:
    world.cluster.pods.apply(left_pod(version=world.version + 1, gpus=16), deleted=False)
    old = world.job("a/old", 16, holds=True)
    world.delete(old)
    assert not world.may_begin(world.job("a/again", 16))
    assert not world.may_begin(world.job("a/small", 4))
    assert world.may_begin(world.job("b/mine", 8))


def test_a_new_run_counts_beside_the_pods_of_the_old(world: World) -> None:
    world.policy("all", gpus=16, borrow=False, tenant="yes")
    world.cluster.pods.apply(left_pod(version=world.version + 1), deleted=False)
    old = world.job("a/old", 8, holds=True)
    other = world.job("a/other", 16)
    world._apply(world.cluster.jobs, {**old, "status": {**old["status"], "phase": "Failed"}})
    world._apply(world.cluster.jobs, {**old, "status": {"phase": "Pending", "run": 2}})
    assert "hold 8 (old (stopping, a/old) 8)" in world.ask(other).why
    world._apply(world.cluster.jobs, old)
    assert not world.may_begin(other), "what it holds by right isn't counted twice"
    assert world.may_begin(world.job("a/small", 8, since=format_time(START.replace(year=2020))))


def test_of_a_job_that_is_created_anew_both_count(world: World) -> None:
    world.policy("all", gpus=8, borrow=False, tenant="yes")
    world.cluster.pods.apply(left_pod(version=world.version + 1), deleted=False)
    old = world.job("a/old", 8, holds=True)
    queue = {**old["status"]["queue"], "nodes": 0}
    anew = {**old, "metadata": {**old["metadata"], "uid": "new"}, "status": {"phase": "Queued", "queue": queue}}
    world._apply(world.cluster.jobs, anew)
    assert not world.may_begin(anew)


def test_a_new_quota_holds_from_its_first_moment(world: World) -> None:
    """Whoever is looked at before the next round finds no room that there was before."""
    world.policy("all", gpus=16, borrow=False, tenant="yes")
    waits = world.job("a/waits", 16)
    world.cluster.line.settle()
    world.policy("all", gpus=8, borrow=False, tenant="yes")
    told = world.cluster.line.admission_of(waits)
    assert told is not None
    assert (told.nodes, told.hopeless) == (0, True)


async def test_only_whose_answer_changes_is_woken(world: World) -> None:
    import asyncio

    holder = world.job("a/holder", 8, holds=True)
    world.job("b/other", 8, holds=True)
    waiting = [world.job(f"a/{n}", 4, since=format_time(START.replace(year=2020 + n))) for n in range(4)]
    task = asyncio.create_task(world.cluster.line.run())
    await world.clock.advance(0.1)
    for each in waiting:
        assert not world.may_begin(each)
    with fresh(world) as woken:
        world.delete(holder)
        await world.clock.advance(0.1)
        assert sorted(woken) == [("a", "0"), ("a", "1"), ("a", "holder")]
    task.cancel()


async def test_a_borrower_is_woken_when_its_loan_may_end(world: World) -> None:
    import asyncio

    world.job("a/old", 8, holds=True)
    lent = world.job("a/lent", 8, holds=True, since=format_time(START.replace(minute=1)))
    task = asyncio.create_task(world.cluster.line.run())
    await world.clock.advance(0.1)
    mine = world.job("b/mine", 4, since=format_time(START.replace(minute=2)))
    await world.clock.advance(0.1)
    assert not world.may_begin(mine)
    assert world.ask(lent).keeps is None
    with fresh(world) as woken:
        await world.clock.advance(200)
        assert ("a", "lent") in woken
    asked = world.ask(lent)
    assert asked.keeps == 0
    assert "b/" not in asked.why
    assert "mine" not in asked.why, "no names of another tenant's jobs"
    world.job("a/lent", 8)
    assert world.may_begin(mine)
    task.cancel()


async def test_a_namespace_without_jobs_makes_the_pool_larger_at_once(world: World) -> None:
    """Who could begin with it waited until any job changed, and who had just been told to was told no more."""
    import asyncio

    world.job("a/one", 8, holds=True)
    world.job("b/one", 8, holds=True)
    waits = world.job("a/waits", 8)
    task = asyncio.create_task(world.cluster.line.run())
    await world.clock.advance(0.1)
    assert not world.may_begin(waits)
    for name in ("c", "d"):
        with fresh(world) as woken:
            world.namespace(name, tenant="yes")
            await world.clock.advance(0.1)
            assert ("a", "waits") in woken, f"told again, since it hadn't begun when {name} came"
    assert world.may_begin(waits)
    task.cancel()


def test_who_has_begun_and_is_looked_at_before_the_next_round_can_be_asked_to_give_back(world: World) -> None:
    """Its status says that it holds; what the last round granted isn't news any more."""
    world.job("a/one", 8, holds=True)
    assert world.may_begin(world.job("a/two", 8, saves=False))
    borrows = world.job("a/two", 8, holds=True, saves=False)
    world.cluster.line.admission_of(borrows)
    world.job("b/mine", 4)
    world.clock._time = 100
    assert world.ask(borrows).keeps == 0


def test_who_gives_back_and_is_looked_at_before_the_next_round_isn_t_asked_again(world: World) -> None:
    """It gave all that it held, and waits: an ask that nobody can follow would make it deaf for ten minutes."""
    world.job("a/one", 8, holds=True)
    borrows = world.job("a/two", 8, holds=True)
    world.job("b/mine", 4)
    world.clock._time = 200
    assert world.ask(borrows).keeps == 0
    borrows = world.job("a/two", 8)
    found = world.cluster.line.admission_of(borrows)
    assert found is not None
    assert found.keeps is None


def test_edits_of_the_quota_count_at_once(world: World) -> None:
    world.policy("all", gpus=8, borrow=False, tenant="yes")
    holder, waits = world.job("a/holder", 8, holds=True), world.job("a/waits", 4)
    assert not world.may_begin(waits)
    with fresh(world) as woken:
        world.policy("all", gpus=12, borrow=False, tenant="yes")
        assert world.may_begin(waits)
        assert ("a", "holder") in woken
    world.policy("all", gpus=2, borrow=False, tenant="yes")
    assert world.ask(holder) == Admission(frozenset([GPU])), "a lowered quota stops nobody"
    with fresh(world) as woken:
        world.policy("all", gpus=None, deleted=True, tenant="yes")
        world.cluster.line.settle()
        assert world.cluster.line.admission_of(waits) is None
        assert ("a", "waits") in woken


def test_of_several_policies_the_smallest_counts(world: World) -> None:
    world.policy("one", gpus=4, tenant="yes")
    world.policy("two", gpus=16, borrow=False, tenant="yes")
    waits = world.job("a/waits", 8)
    told = world.ask(waits)
    assert told.hopeless
    assert "a quota of 4 nvidia.com/gpu, and it may borrow none" in told.why
    assert "have the quota raised" in told.why


def test_who_can_never_fit_blocks_nobody(world: World) -> None:
    huge, small = world.job("a/huge", 99, since=format_time(START.replace(year=2020))), world.job("a/small", 8)
    assert world.ask(huge).hopeless
    assert world.may_begin(small)


def test_the_words_say_what_is_asked_who_holds_it_and_whose_turn_it_is(world: World) -> None:
    world.job("a/train-x", 6, holds=True)
    world.job("a/train-y", 2, holds=True)
    world.job("b/secret-project", 8, holds=True)
    world.job("a/next", 4)
    said = world.ask(world.job("a/waits", 4, since=format_time(START.replace(hour=1)))).why
    assert said == (
        "waits for quota: it asks for 4 nvidia.com/gpu (1 node with 4 each); the quota of namespace a is 8 "
        "nvidia.com/gpu, of which its jobs hold 8 (train-x 6, train-y 2); 0 of 16 in all are free; number 2 of 2 in "
        "its namespace's line"
    )


def test_words_are_renewed_in_turns(world: World) -> None:
    """A new leader, or a busy line, tells nobody again what differs in a number."""
    world.job("a/holds", 8, holds=True)
    world.job("b/holds", 8, holds=True)
    waits = world.job("a/waits", 4)
    assert world.ask(waits).why, "it has been told nothing yet"
    waits["status"]["message"] = "told by somebody before"
    told = world.ask(waits)
    assert told.why == ""
    assert 0 < told.look <= 120
    world.clock._time = 121
    assert world.ask(waits).why
    assert world.ask(waits) == Admission(frozenset([GPU]), look=120.0)


def test_a_priority_class_counts_as_soon_as_it_is_there(world: World) -> None:
    world.policy("all", gpus=8, borrow=False, tenant="yes")
    low = world.job("a/low", 8)
    high = world.job("a/high", 8, since=format_time(START.replace(hour=1)), priorityClassName="high")
    world._apply(world.cluster.priority_classes, {"metadata": {"name": "high"}, "value": 1000})
    assert world.may_begin(high)
    assert not world.may_begin(low)


async def test_who_is_told_and_doesn_t_begin_is_passed_over(world: World) -> None:
    """A job whose status can't be written holds nothing for ever."""
    world.policy("all", gpus=8, borrow=False, tenant="yes")
    broken, next_ = world.job("a/broken", 8), world.job("a/next", 8, since=format_time(START.replace(hour=1)))
    assert world.may_begin(broken)
    assert not world.may_begin(next_)
    await world.clock.advance(121)
    assert world.may_begin(next_)
    assert not world.may_begin(broken)


async def test_who_is_asked_and_gives_nothing_back_keeps_nobody_waiting(world: World) -> None:
    """Such as a job whose status only a newer operator understands: others, that can, are asked instead."""
    early, late = (format_time(START + timedelta(seconds=seconds)) for seconds in (1, 2))
    world.job("a/own", 8, holds=True)
    good = world.job("a/good", 4, holds=True, since=early, changedTime=early)
    deaf = world.job("a/deaf", 4, holds=True, since=late, changedTime=late)
    owner = world.job("b/mine", 4)
    await world.clock.advance(200)
    assert (world.ask(good).keeps, world.ask(deaf).keeps) == (None, 0)
    await world.clock.advance(121)
    assert (world.ask(good).keeps, world.ask(deaf).keeps) == (0, None)
    world.delete(good)
    assert world.may_begin(owner)


@pytest.mark.parametrize("gang", ["kueue", "volcano"])
def test_who_runs_by_another_queue_holds_nothing_of_a_quota(world: World, gang: str) -> None:
    spec = {"nodes": 2, "resources": {"limits": {GPU: 8}}, "scheduling": {"gang": gang, "queueName": "mine"}}
    attempt = {"attempt": 0, "startTime": EARLY, "nodes": 2, "gang": gang}
    ran = make_job(spec, status={"phase": "Running", "attempts": [attempt]}, name="ran", namespace="a", uid="ran")
    world._apply(world.cluster.jobs, ran)
    assert world.may_begin(world.job("a/mine", 8))
    assert world.may_begin(world.job("b/mine", 8))
    assert world.ask(ran).keeps is None


def test_a_job_that_is_being_deleted_isn_t_begun(world: World) -> None:
    waits = world.job("a/waits", 4)
    waits = {**waits, "metadata": {**waits["metadata"], "deletionTimestamp": EARLY}}
    world._apply(world.cluster.jobs, waits)
    assert not world.may_begin(waits)


@pytest.mark.parametrize("junk", [None, 7, "x", [], {"accelerators": 7, "wanted": "many", "since": "when"}])
def test_whatever_a_status_says_the_line_goes_on(world: World, junk: Any) -> None:
    waits = world.job("a/waits", 4)
    odd = make_job(status={"phase": "Queued", "queue": junk}, name="odd", namespace="a", uid="odd")
    world._apply(world.cluster.jobs, odd)
    assert world.may_begin(waits)


def test_one_change_costs_milliseconds_with_ten_thousand_jobs() -> None:
    """500 namespaces with 20 jobs each, two of which hold what there is: the 18 others wait."""
    world = World(FakeClock())
    for number in range(500):
        world.namespace(f"team-{number}", tenant="yes")
    world.policy("all", gpus=8, tenant="yes")
    for number in range(500):
        for each in range(20):
            since = format_time(START.replace(hour=each))
            world.job(f"team-{number}/job-{each}", 4, holds=each < 2, since=since)
    first = world.job("team-7/job-0", 4, holds=True)
    world.ask(first)
    began, rounds = time.process_time(), 30
    for number in range(rounds):
        freed = world.job(f"team-{number}/job-0", 4, holds=True, phase="Succeeded")
        waiting = world.job(f"team-{number}/job-2", 4)
        world.ask(freed)
        assert world.may_begin(waiting)
    each = (time.process_time() - began) / rounds / 4
    print(f"a change among 10,000 jobs: {1000 * each:.1f} ms")
    assert each < 0.05, f"{each:.3f} s"


def test_who_has_taken_what_it_was_given_isn_t_given_it_again(world: World) -> None:
    """A look comes before the next round. It gave its nodes back, and had them again before all who waited."""
    world.policy("all", gpus=8, borrow=False, tenant="yes")
    first = world.job("a/first", 8)
    other = world.job("a/other", 8, since=format_time(START.replace(hour=1)))
    assert world.may_begin(first)
    told = world.cluster.line.admission_of(world.job("a/first", 8, holds=True))
    assert told is not None
    assert told.nodes == 0
    gave_up = world.job("a/first", 8, since=format_time(START.replace(hour=2)))
    assert not world.may_begin(gave_up)
    assert world.may_begin(other)


async def test_who_gives_back_and_takes_long_isn_t_taken_for_deaf(world: World) -> None:
    """Nobody else is asked for the same meanwhile."""
    early, late = (format_time(START + timedelta(seconds=seconds)) for seconds in (1, 2))
    world.job("a/own", 8, holds=True)
    good = world.job("a/good", 4, holds=True, since=early, changedTime=early)
    slow = world.job("a/slow", 4, holds=True, since=late, changedTime=late)
    world.job("b/mine", 4)
    await world.clock.advance(200)
    assert world.ask(slow).keeps == 0
    world.cluster.line.admission_of(world.job("a/slow", 4, holds=True, since=late, changedTime=late, leaves=0))
    await world.clock.advance(121)
    assert world.ask(good).keeps is None


def test_what_an_old_operators_job_holds_counts_once_its_runtime_says_it(world: World) -> None:
    world.policy("all", gpus=8, borrow=False, tenant="yes")
    attempt = {"attempt": 0, "startTime": EARLY, "nodes": 2, "createdTime": EARLY}
    status = {"phase": "Running", "attempts": [attempt]}
    spec = {"runtimeRef": {"name": "torch"}}
    world._apply(world.cluster.jobs, make_job(spec, status=status, name="ran", namespace="a", uid="ran"))
    waits = world.job("a/waits", 8)
    world.cluster.line.settle()
    limits = {"resources": {"limits": {GPU: 4}}}
    runtime = {"kind": "ClusterTrainingRuntime", "metadata": {"name": "torch"}, "spec": limits}
    world._apply(world.cluster.cluster_runtimes, runtime)
    assert not world.may_begin(waits)


def test_a_namespace_without_labels_that_is_gone_takes_its_quota_with_it(world: World) -> None:
    world.policy("every", gpus=8)
    world.namespace("free")
    big = world.job("a/big", 24)
    assert world.may_begin(big)
    world._apply(world.cluster.namespaces, {"metadata": {"name": "free", "labels": {}}}, deleted=True)
    assert world.ask(world.job("a/next", 24)).hopeless
