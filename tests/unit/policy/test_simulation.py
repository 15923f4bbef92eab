"""Whatever becomes of a job's pods, nodes, user and operator: the invariants hold, and it can still come to an end."""

import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from documents import names_in, read_table
from footplate.api.reports import CheckpointStatus, ProgressStatus, Straggler
from footplate.contract import Label, Progress, Verdict
from footplate.policy.plan import Target
from footplate.policy.pod import Pod
from unit.policy.build import UID, job
from unit.policy.fakecluster import Crash, FakeCluster, is_empty

MAX_NODES = 4
CANNOT_START = (
    ("ImagePullBackOff", "no"),
    ("InvalidImageName", "no"),
    ("CreateContainerConfigError", "no Secret"),
    ("CreateContainerError", "context deadline exceeded"),
    ("ContainerCreating", ""),
)
REFUSALS = (
    (403, "exceeded quota"),
    (403, 'admission webhook "w" denied the request: no'),
    (422, "pods is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: no"),
    (422, '{kind} "{name}" is invalid: spec'),
)
DATA = {
    "inputs": [{"name": "train", "uri": "s3://datasets/train/"}],
    "data": {"profile": True},
    "output": {"uri": "s3://models/fashion/"},
}
FINAL = {name for row in read_table("principles.md", "final") for name in names_in(row[0])}
CODES = (0, 1, 65, 70, 75, 76, 77, 78, 137, 139, 143)
# A fixed seed where others must see the same; HYPOTHESIS_PROFILE=nightly looks further.
settings.register_profile("ci", max_examples=120, stateful_step_count=40, derandomize=True, deadline=None)
settings.register_profile("nightly", max_examples=3000, stateful_step_count=80, deadline=None)


# What the operator does after each event: most often all that is due, else one look, which it may not survive.
REACTIONS = st.sampled_from(["settle", "settle", "settle", "look", "die at 0", "die at 1", "die at 2", "sleep"])


def event(**strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Any]:
    """A rule by which the world changes, and the operator reacts."""

    def decorate(happens: Callable[..., None]) -> Any:
        @wraps(happens)
        def run(self: "Life", then: str, **drawn: Any) -> None:
            happens(self, **drawn)
            self.react(then)

        drawing: dict[str, Any] = {"then": REACTIONS, **strategies}
        as_rule: Any = rule(**drawing)
        return as_rule(run)

    return decorate


class Life(RuleBasedStateMachine):
    """A job's life under an operator that may die at every write."""

    @initialize(
        nodes=st.integers(1, 3),
        sidecars=st.booleans(),
        data=st.booleans(),
        policy=st.fixed_dictionaries(
            {},
            optional={
                "suspend": st.booleans(),
                "maxRestarts": st.integers(0, 3),
                "maxDisruptions": st.integers(0, 3),
                "activeDeadlineSeconds": st.integers(1, 900),
                "queueDeadlineSeconds": st.integers(1, 900),
                "ttlSecondsAfterFinished": st.integers(0, 60),
                "cleanPods": st.sampled_from(["onSuccess", "always", "never"]),
            },
        ),
    )
    def create(self, nodes: int, sidecars: bool, data: bool, policy: dict[str, object]) -> None:
        self.bounds = (nodes, nodes)
        spec = {"nodes": nodes, "runPolicy": policy, **(DATA if data else {})}
        self.cluster = FakeCluster(job(spec), sidecars=sidecars)

    def pick(self, which: int, *, bound: bool | None = None) -> Pod | None:
        pods = [pod for pod in self.cluster.live_pods() if bound is None or (pod.node is not None) is bound]
        return pods[which % len(pods)] if pods else None

    def react(self, how: str) -> None:
        if how == "settle":
            self.settle()
        elif how != "sleep":
            crash_after = int(how[-1]) if how.startswith("die") else None
            with suppress(Crash):
                self.cluster.apply(self.cluster.plan(), crash_after=crash_after)

    def settle(self) -> None:
        self.cluster.settle()
        assert is_empty(self.cluster.plan()), "the fixed point isn't one"
        assert self.cluster.remembers_the_done()
        if self.cluster.finished:
            assert all(pod.terminating for pod in self.cluster.live_pods())
            assert not any(pod.outlives_trainer(self.cluster.now) for pod in self.cluster.pods() if not pod.terminating)

    @event()
    def nothing(self) -> None:
        pass

    @event(which=st.integers(0, 9), on=st.sampled_from(["node-0", "node-1", "node-2"]))
    def pod_scheduled(self, which: int, on: str) -> None:
        if pod := self.pick(which, bound=False):
            self.cluster.schedule(pod, on)

    @event()
    def gang_runs(self) -> None:
        self.run_gang()

    def run_gang(self) -> None:
        for rank, pod in enumerate(self.cluster.live_pods()):
            if pod.node is None:
                self.cluster.schedule(pod, f"node-{rank % 3}")
            self.cluster.start(pod)

    @event(
        which=st.integers(0, 9),
        code=st.sampled_from(CODES),
        step=st.none() | st.integers(0, 3),
        supervised=st.booleans(),
    )
    def pod_ends(self, which: int, code: int, step: int | None, supervised: bool) -> None:
        if pod := self.pick(which, bound=True):
            said = Verdict(outcome="failed" if code else "succeeded", exit_code=code, step=step)
            self.cluster.end(pod, code, **({"message": said.model_dump_json(by_alias=True)} if supervised else {}))

    @event(how=st.sampled_from(["delete", "disrupt", "suspend"]), seen=st.booleans())
    def gang_ends_with_0_because_it_is_told_to_stop(self, how: str, seen: bool) -> None:
        self.run_gang()
        if how == "suspend":
            self.cluster.edit("runPolicy", suspend=True)
            self.cluster.settle()
        for pod in self.cluster.live_pods() if how != "suspend" else ():
            if how == "delete":
                self.cluster.delete(pod.target)
            else:
                self.cluster.disrupt(pod)
        for pod in self.cluster.live_pods():
            if pod.running and (pod.terminating or pod.disruption):
                self.cluster.end(pod, 0, seen=seen)

    def overstaying(self) -> list[Pod]:
        return [pod for pod in self.cluster.pods() if pod.ended and not pod.terminal]

    @event(which=st.integers(0, 9), code=st.sampled_from([0, 1]))
    def sidecar_ends(self, which: int, code: int) -> None:
        if pods := self.overstaying():
            self.cluster.end_sidecar(pods[which % len(pods)], code)

    @event(which=st.integers(0, 9))
    def ended_pod_is_removed(self, which: int) -> None:
        if ended := [pod for pod in self.cluster.pods() if pod.ended]:
            self.cluster.vanish(ended[which % len(ended)])

    @event(
        which=st.integers(0, 9),
        reason=st.sampled_from(["Evicted", "Terminated", "UnexpectedAdmissionError"]),
        code=st.sampled_from([None, 0, 137]),
    )
    def node_ends_pod(self, which: int, reason: str, code: int | None) -> None:
        if pod := self.pick(which, bound=True):
            self.cluster.end_by_node(pod, reason, code=code)

    @event(step=st.integers(0, 3), productive=st.none() | st.integers(0, 10**6), note=st.sampled_from(["", "a", "b"]))
    def rank_0_reports(self, step: int, productive: int | None, note: str) -> None:
        status, uid = self.cluster.status, self.cluster.job["metadata"]["uid"]
        self.cluster.progress = Progress(
            uid=uid,
            run=status.get("run", 1),
            attempt=status.get("attempt", 0),
            progress=ProgressStatus(step=step, update_time=self.cluster.now),
            checkpoint=CheckpointStatus(uri="s3://c/", step=step, time=self.cluster.now),
            productive_node_seconds=productive,
            stragglers=[Straggler(rank=step, node_rank=step, factor=2.0)],
            notes=[note],
        )

    @event()
    def gang_succeeds(self) -> None:
        self.let_gang_succeed()

    def let_gang_succeed(self) -> None:
        for pod in self.cluster.live_pods():
            if pod.running:
                self.cluster.end(pod, 0)

    @event(which=st.integers(0, 9), why=st.sampled_from(CANNOT_START))
    def pod_cannot_start(self, which: int, why: tuple[str, str]) -> None:
        if pod := self.pick(which, bound=True):
            self.cluster.set_state(pod, "Pending", {"waiting": {"reason": why[0], "message": why[1]}})

    @event(which=st.integers(0, 9), how=st.sampled_from(["vanish", "disrupt", "delete"]))
    def pod_taken(self, which: int, how: str) -> None:
        if pod := self.pick(which):
            if how == "delete":
                self.cluster.delete(pod.target)
            else:
                getattr(self.cluster, how)(pod)

    @event(name=st.sampled_from(["node-0", "node-1", "node-2"]), fate=st.sampled_from(["True", "False", "gone"]))
    def node_changes(self, name: str, fate: str) -> None:
        self.cluster.nodes.pop(name, None)
        if fate != "gone":
            self.cluster.set_node(name, ready=fate)

    @event(suspend=st.none() | st.booleans())
    def user_suspends(self, suspend: bool | None) -> None:
        self.cluster.edit("runPolicy", suspend=suspend)

    @event(nonce=st.sampled_from(["", "a", "b"]))
    def user_restarts(self, nonce: str) -> None:
        self.cluster.edit("runPolicy", restartNonce=nonce)

    @event(kind=st.sampled_from(["ConfigMap", "Service"]))
    def user_deletes(self, kind: str) -> None:
        run = self.cluster.status.get("run", 1)
        self.cluster.delete(Target(kind, "team", f"fashion-run-{run}-{UID[:8]}"))

    @event(refusal=st.none() | st.sampled_from(REFUSALS))
    def api_refuses(self, refusal: tuple[int, str] | None) -> None:
        self.cluster.refusing = refusal

    @event(seconds=st.sampled_from([-5, -1, 1, 4, 11, 31, 130, 400, 700]))
    def clock_jumps(self, seconds: int) -> None:
        self.cluster.tick(seconds)

    @invariant()
    def one_live_pod_a_rank(self) -> None:
        if hasattr(self, "cluster"):
            ranks = Counter(
                (pod.label(Label.RUN), pod.label(Label.ATTEMPT), pod.rank) for pod in self.cluster.live_pods()
            )
            assert all(count == 1 for count in ranks.values()), ranks

    @invariant()
    def nothing_transient_is_final(self) -> None:
        """A run fails only for what docs/principles.md lists."""
        if not hasattr(self, "cluster") or self.cluster.phase != "Failed":
            return
        status = self.cluster.status
        reason, class_ = status["reason"], (status.get("failure") or {}).get("class")
        assert reason in FINAL, reason
        if reason in ("ImagePullFailed", "ContainerConfigError", "InvalidPod"):
            has_run = "runningTime" in status
            spent = status["message"].endswith("is 0: no restart)") and class_ == "Infrastructure"
            assert not has_run or spent, "what could start once is final"

    @invariant()
    def gangs_keep_their_bounds(self) -> None:
        if hasattr(self, "cluster"):
            fewest, most = self.bounds
            attempts = self.cluster.status.get("attempts", ())
            sizes = [attempt["nodes"] for attempt in attempts if not attempt.get("stage")]
            assert all(fewest <= nodes <= most for nodes in sizes), sizes

    def teardown(self) -> None:
        """From here on all goes well: the job must come to its end."""
        cluster = self.cluster
        cluster.refusing = None
        for name in ("node-0", "node-1", "node-2"):
            cluster.set_node(name, ready="True", since=-3600)
        cluster.edit("runPolicy", suspend=False)
        for _ in range(12):
            cluster.tick(700)
            cluster.settle()
            if cluster.finished:
                break
            self.run_gang()
            cluster.settle()
            self.let_gang_succeed()
            for pod in cluster.live_pods():
                cluster.end(pod, 143)
            for pod in self.overstaying():
                if pod.terminating:
                    cluster.vanish(pod)
        assert cluster.finished, cluster.status
        cluster.settle()
        assert not cluster.live_pods() or all(pod.terminating for pod in cluster.live_pods())


class ElasticLife(Life):
    """The life of a job whose gang may shrink and grow, and runs already."""

    @initialize(nodes=st.integers(2, MAX_NODES), fewest=st.integers(1, 2))
    def create(self, nodes: int, fewest: int) -> None:
        self.bounds = (fewest, MAX_NODES)
        elastic = {"minNodes": fewest, "maxNodes": MAX_NODES}
        self.cluster = FakeCluster(job({"nodes": nodes, "elastic": elastic}))
        self.settle()
        self.run_gang()
        self.settle()

    @event(nodes=st.integers(1, MAX_NODES))
    def user_scales(self, nodes: int) -> None:
        fewest, most = self.bounds
        self.cluster.scale(min(max(nodes, fewest), most))

    @event(which=st.integers(0, 9), on=st.sampled_from(["node-0", "node-1", "node-2"]))
    def scout_runs(self, which: int, on: str) -> None:
        scouts = [pod for pod in self.cluster.live_pods() if pod.is_scout]
        if scouts:
            scout = scouts[which % len(scouts)]
            self.cluster.schedule(scout, on)
            self.cluster.start(scout)

    @event(which=st.integers(0, 9), on=st.sampled_from(["node-0", "node-1", "node-2"]))
    def pod_runs(self, which: int, on: str) -> None:
        if pod := self.pick(which, bound=False):
            self.cluster.schedule(pod, on)
            self.cluster.start(pod)


TestLife, TestElasticLife = Life.TestCase, ElasticLife.TestCase
TestLife.settings = TestElasticLife.settings = settings(
    settings.get_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci")),
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
