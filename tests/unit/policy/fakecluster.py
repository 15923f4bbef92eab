"""A cluster as the policies see it: a dict of objects, a clock, and pods whose fate the test decides.

Every write is checked when it is done, so that a plan that is carried out half is held to the same invariants.
"""

import copy
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from footplate.api.scalars import format_time
from footplate.api.status import TrainingJobStatus
from footplate.contract import CONTAINER_NAME, Progress, parse_verdict
from footplate.machinery.memory import RETRY_REFUSED_SECONDS
from footplate.policy.facts import parse_ranks
from footplate.policy.job import read_status
from footplate.policy.plan import Observed, Plan, Refusal, Target
from footplate.policy.pod import CLOCKS_DIFFER, Pod
from footplate.policy.run import run_config_name
from unit.policy.build import NOW, job, node, plan_of

JSON = dict[str, Any]
GRACE = 120
MAX_ROUNDS = 12
"""Plans in a row, each of which changes something, that no single change of the world may need."""

HOLDS = {
    "Queued": {"Queued"},
    "Running": {"Running"},
    "Suspended": {"Suspended"},
    "Complete": {"Succeeded"},
    "Failed": {"Failed"},
    "Finished": {"Succeeded", "Failed"},
}


class Crash(Exception):
    """The operator dies here."""


@dataclass
class FakeCluster:
    """One job and all that is about it."""

    job: JSON = field(default_factory=job)
    now: datetime = NOW
    objects: dict[tuple[str, str], JSON] = field(default_factory=dict)
    nodes: dict[str, JSON] = field(default_factory=lambda: {f"node-{n}": node(f"node-{n}") for n in range(3)})
    policies: Sequence[JSON] = ()
    """TrainingPolicies of the job's namespace."""
    progress: Progress | None = None
    refusing: tuple[int, str] | None = None
    """HTTP status and message with which creates are refused; `{kind}` and `{name}` are the object's."""
    refusals: list[Refusal] = field(default_factory=list)
    refused_at: datetime = NOW
    status_written: datetime | None = None
    deleted: bool = False
    """True once the TrainingJob is gone, and all that it owned with it."""
    uids: int = 0
    sidecars: bool = False
    """Whether a webhook puts a container beside each trainer that doesn't end with it."""
    done: set[str] = field(default_factory=set)
    """Names of the pods whose trainer did its work: it ended with 0 unasked, or a supervisor says so."""

    @property
    def status(self) -> JSON:
        return self.job.get("status") or {}

    @property
    def phase(self) -> str:
        return str(self.status.get("phase"))

    @property
    def finished(self) -> bool:
        return self.phase in ("Succeeded", "Failed")

    def pods(self) -> list[Pod]:
        return [Pod(raw) for (kind, _), raw in sorted(self.objects.items()) if kind == "Pod"]

    def live_pods(self) -> list[Pod]:
        """Those whose trainer has not ended."""
        return [pod for pod in self.pods() if not pod.ended]

    def observe(self) -> Observed:
        return Observed(
            job=copy.deepcopy(self.job),
            pods=[pod.raw for pod in self.pods()],
            nodes=self.nodes,
            run_config=self.objects.get(("ConfigMap", run_config_name(self.job, read_status(self.job), runtime=None))),
            progress=self.progress,
            policies=self.policies,
            refusals=self.refusals,
            status_written=self.status_written,
        )

    def plan(self) -> Plan:
        """What is decided, but for what the worker holds back: a refused create is tried again after a while."""
        if self.deleted:
            return Plan()
        plan = plan_of(self.observe(), now=self.now)
        left = RETRY_REFUSED_SECONDS - abs((self.now - self.refused_at).total_seconds())
        if not self.refusals or left <= 0:
            return plan
        return replace(plan, create=(), requeue_after=min(filter(None, (plan.requeue_after, left))))

    def settle(self) -> int:
        """Reconciles to the fixed point, as the worker does; the number of plans that changed something."""
        for round_ in range(MAX_ROUNDS):
            plan = self.plan()
            if is_empty(plan):
                assert plan.requeue_after is None or plan.requeue_after >= 0.5, "looks that change nothing, in a row"
                return round_
            self.apply(plan)
        raise AssertionError(f"does not settle: {self.plan()}")

    def apply(self, plan: Plan, *, crash_after: int | None = None) -> None:
        """Carries the plan out; dies after so many writes, if told to."""
        for done, write in enumerate(self._writes(plan)):
            if done == crash_after:
                self.status_written, self.refusals = None, []
                raise Crash
            write()

    def _writes(self, plan: Plan) -> Iterator[Any]:
        self.refusals = [] if plan.create else self.refusals
        for manifest in sorted(plan.create, key=lambda manifest: manifest["kind"] == "Pod"):
            yield lambda manifest=manifest: self._create(json.loads(json.dumps(manifest)))
        for target in plan.delete:
            yield lambda target=target: self.delete(target)
        if plan.status is not None:
            yield lambda: self._patch(json.loads(json.dumps(plan.status)))

    def _create(self, manifest: JSON) -> None:
        metadata, kind = manifest["metadata"], manifest["kind"]
        key = kind, metadata["name"]
        if kind == "Pod":
            wanted = (str(self.status["run"]), str(self.status["attempt"]))
            labels = metadata["labels"]
            assert (labels["footplate.dev/run"], labels["footplate.dev/attempt"]) == wanted, "not in the status yet"
            self._check_place_in_gang(int(labels["footplate.dev/rank"]), scout="footplate.dev/scout" in labels)
        if self.refusing is not None:
            code, said = self.refusing
            message = said.format(kind=kind, name=metadata["name"])
            self.refusals = [Refusal(kind, metadata["name"], code, "Forbidden", message)]
            self.refused_at = self.now
            return
        if key in self.objects:
            return
        self.uids += 1
        metadata["uid"] = f"uid-{self.uids}"
        if kind == "Pod":
            manifest["status"] = {"phase": "Pending"}
        self.objects[key] = manifest

    def _check_place_in_gang(self, rank: int, *, scout: bool) -> None:
        gang, most = self.status["attempts"][-1].get("nodes"), self.job["spec"]["nodes"]
        if scout:
            assert self.phase == "Running", "a scout of a gang that doesn't run"
            assert gang <= rank < most, "a scout for a rank that nobody wants"
        else:
            assert self.phase in ("Pending", "Restarting"), "a pod of a gang that is complete, or over"
            assert "createdTime" not in self.status["attempts"][-1], "a pod of a gang that was there"
            assert rank < gang, "a rank that the attempt hasn't"

    def delete(self, target: Target) -> None:
        if target.kind == "TrainingJob":
            assert self.finished, "a job that isn't finished was deleted"
            assert target.version == self.job["metadata"].get("resourceVersion", "")
            self.deleted = True
            self.objects.clear()
            return
        raw = self.objects.get((target.kind, target.name))
        if raw is None or (target.uid and raw["metadata"]["uid"] != target.uid):
            return
        pod = Pod(raw)
        graceless = pod.terminal or pod.node is None or raw["spec"].get("terminationGracePeriodSeconds") == 0
        if target.kind != "Pod" or graceless:
            del self.objects[target.kind, target.name]
        else:
            raw["metadata"].setdefault("deletionTimestamp", format_time(self.now + timedelta(seconds=GRACE)))
            raw["metadata"].setdefault("deletionGracePeriodSeconds", GRACE)

    def _patch(self, status: JSON) -> None:
        check_status(status)
        check_step(self.status, status)
        self._check_ends(self.status, status)
        assert status["observedGeneration"] <= self.job["metadata"]["generation"]
        self.job = {**self.job, "status": status}
        self.status_written = self.now

    def _check_ends(self, old: JSON, new: JSON) -> None:
        """No success that isn't one, and no blame for the absence of a pod that was done."""
        if new["phase"] == "Succeeded" and old.get("phase") != "Succeeded":
            last = new["attempts"][-1]
            assert not last.get("stage") or new["reason"] == "AlreadyComplete", "Succeeded, but nothing was trained"
            stem = f"{self.job['metadata']['name']}-{new['run']}-{last['attempt']}-"
            undone = [rank for rank in range(last["nodes"]) if f"{stem}{rank}" not in self.done]
            assert not undone, f"Succeeded, but the trainers of ranks {undone} were stopped or failed"
        if new["reason"] == "PodLost" != old.get("reason") and (
            said := re.search(r"pod of rank (\d+)", new["message"])
        ):
            known = old["attempts"][-1].get("succeededRanks")
            assert int(said[1]) not in parse_ranks(known, nodes=100), "PodLost of a rank that was done"

    def remembers_the_done(self) -> bool:
        """True where the status has each pod of the newest attempt whose trainer is seen to be done."""
        last = self.status["attempts"][-1] if self.status.get("attempts") else {}
        known = parse_ranks(last.get("succeededRanks"), nodes=100)
        stem = f"{self.job['metadata']['name']}-{self.status.get('run')}-{last.get('attempt')}-"
        seen = [pod for pod in self.pods() if pod.name in self.done and pod.name == f"{stem}{pod.rank}"]
        return all(pod.rank in known for pod in seen if pod.succeeded(self.now))

    def edit(self, block: str, **fields: Any) -> None:
        """What a user's `kubectl apply` does."""
        spec = self.job["spec"]
        metadata = {**self.job["metadata"], "generation": self.job["metadata"]["generation"] + 1}
        changed = {**spec.get(block, {}), **fields}
        self.job = {**self.job, "metadata": metadata, "spec": {**spec, block: changed}}

    def lose_run_config(self) -> None:
        """What a tenant can do: delete the run's ConfigMap, and fill the quota that another one takes."""
        name = self.status["resolved"]["configMap"]
        del self.objects["ConfigMap", name]
        self.refusing = 403, "exceeded quota: configmaps=1"

    def scale(self, nodes: int) -> None:
        """What a user's `kubectl scale` does."""
        metadata = {**self.job["metadata"], "generation": self.job["metadata"]["generation"] + 1}
        self.job = {**self.job, "metadata": metadata, "spec": {**self.job["spec"], "nodes": nodes}}

    def set_node(self, name: str, *, ready: str, since: float | None = None) -> None:
        """`since`: seconds from `NOW`; None is now."""
        seconds = (self.now - NOW).total_seconds() if since is None else since
        self.nodes[name] = node(name, ready=ready, since=seconds)

    def tick(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def schedule(self, pod: Pod, on: str) -> None:
        raw = self.objects["Pod", pod.name]
        raw["spec"]["nodeName"] = on
        bound = {"type": "PodScheduled", "status": "True", "lastTransitionTime": format_time(self.now)}
        raw["status"] = {"phase": "Pending", "startTime": format_time(self.now), "conditions": [bound]}

    def set_state(self, pod: Pod, phase: str, state: JSON, *, beside: JSON | None = None) -> None:
        containers = [{"name": CONTAINER_NAME, "state": state}]
        if self.sidecars:
            containers.insert(0, {"name": "istio-proxy", "state": beside or {"running": {}}})
        self.objects["Pod", pod.name]["status"] = {**pod.status, "phase": phase, "containerStatuses": containers}

    def start(self, pod: Pod) -> None:
        self.set_state(pod, "Running", {"running": {"startedAt": format_time(self.now)}})

    def end(self, pod: Pod, code: int, *, seen: bool = False, **more: Any) -> None:
        """The trainer ends; a sidecar keeps its pod. One that was deleted is gone with it, unless its end is `seen`."""
        verdict = parse_verdict(more.get("message"))
        unasked = not (pod.terminating or pod.disruption)
        if code == 0 and (unasked or (verdict is not None and verdict.outcome == "succeeded")):
            self.done.add(pod.name)
        # The node's clock may be behind, but not by more than is allowed for.
        finished = max(self.now, pod.deleted - CLOCKS_DIFFER) if pod.deleted else self.now
        state = {"terminated": {"exitCode": code, "finishedAt": format_time(finished), **more}}
        ended = "Failed" if code else "Succeeded"
        self.set_state(pod, "Running" if self.sidecars else ended, state)
        if pod.terminating and not seen:
            del self.objects["Pod", pod.name]

    def end_sidecar(self, pod: Pod, code: int) -> None:
        """What ran on beside the trainer ends too, well or not."""
        failed = code or pod.exit_code
        self.set_state(
            pod, "Failed" if failed else "Succeeded", dict(pod.state), beside={"terminated": {"exitCode": code}}
        )
        if pod.terminating:
            del self.objects["Pod", pod.name]

    def end_by_node(self, pod: Pod, reason: str, *, code: int | None) -> None:
        """A kubelet throws a pod out, and its trainer ends with this code; None where it never started."""
        if code is not None:
            self.set_state(pod, "Failed", {"terminated": {"exitCode": code, "finishedAt": format_time(self.now)}})
        raw = self.objects["Pod", pod.name]
        raw["status"] = {**raw["status"], "phase": "Failed", "reason": reason, "message": "so it is"}

    def vanish(self, pod: Pod) -> None:
        """`kubectl delete --force`, or a node that comes back empty."""
        del self.objects["Pod", pod.name]

    def disrupt(self, pod: Pod) -> None:
        condition = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
        conditions = [*pod.status.get("conditions", []), condition]
        self.objects["Pod", pod.name]["status"] = {**pod.status, "conditions": conditions}
        self.delete(pod.target)


def is_empty(plan: Plan) -> bool:
    return not (plan.create or plan.delete or plan.events or plan.status is not None)


def check_status(status: JSON) -> None:
    """What every status must keep, whatever became of the job before."""
    TrainingJobStatus.model_validate(status)
    phase = status["phase"]
    held = {c["type"]: c["status"] for c in status["conditions"]}
    for type_, phases in HOLDS.items():
        assert (held.get(type_) == "True") == (phase in phases), (phase, type_, held)
    assert "Ready" not in held
    assert not (phase == "Running" and "Reconciling" in held)
    assert ("Stalled" in held) or phase != "Failed"
    for condition in status["conditions"]:
        if condition["status"] == "True":
            assert condition["observedGeneration"] == status["observedGeneration"]
    assert len(status["attempts"]) <= 10
    assert len(status["transitions"]) <= 20


def check_step(old: JSON, new: JSON) -> None:
    """What no step from one status to the next may do."""
    if old.get("uid", new.get("uid")) != new.get("uid"):
        return  # a copy brought another job's along
    assert new["run"] >= old.get("run", 0)
    if new["run"] != old.get("run"):
        assert not old or old["phase"] in ("Succeeded", "Failed"), "a new run before the old one was over"
        return
    if old["phase"] in ("Succeeded", "Failed"):
        assert new["phase"] == old["phase"], "the end of a run was undone"
    assert new.get("attempt", -1) >= old.get("attempt", -1)
    assert new.get("activeSeconds", 0) >= old.get("activeSeconds", 0)
    for kind, count in old["restarts"].items():
        assert new["restarts"][kind] >= count, f"restarts.{kind} went back"
    assert new["startTime"] == old["startTime"]
    for sum_, seconds in (old.get("usage") or {}).items():
        if sum_ in ("nodeSeconds", "endedNodeSeconds"):
            assert new["usage"][sum_] >= seconds, f"usage.{sum_} went back"
    sizes = ({each["attempt"]: each.get("nodes") for each in status["attempts"]} for status in (old, new))
    before, after = sizes
    assert all(after[attempt] == nodes for attempt, nodes in before.items() if attempt in after), "a gang was resized"
