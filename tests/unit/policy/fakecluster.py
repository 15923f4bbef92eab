"""A cluster as the policies see it: a dict of objects, a clock, and pods whose fate the test decides.

Every write is checked when it is done, so that a plan that is carried out half is held to the same invariants.
"""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from footplate.api.status import TrainingJobStatus, format_time
from footplate.contract import CONTAINER_NAME, Progress
from footplate.policy.plan import RETRY_REFUSED_SECONDS, Observed, Plan, Refusal, Target
from footplate.policy.pods import Pod
from footplate.policy.situation import run_config_name
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
    progress: Progress | None = None
    refusing: int | None = None
    """HTTP status with which creates are refused."""
    refusals: list[Refusal] = field(default_factory=list)
    refused_at: datetime = NOW
    status_written: datetime | None = None
    uids: int = 0

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
        return [pod for pod in self.pods() if not pod.terminal]

    def observe(self) -> Observed:
        if abs((self.now - self.refused_at).total_seconds()) >= RETRY_REFUSED_SECONDS:
            self.refusals = []
        return Observed(
            job=copy.deepcopy(self.job),
            pods=[pod.raw for pod in self.pods()],
            nodes=self.nodes,
            run_config=self.objects.get(("ConfigMap", run_config_name(self.job))),
            progress=self.progress,
            refusals=self.refusals,
            status_written=self.status_written,
        )

    def plan(self) -> Plan:
        return plan_of(self.observe(), now=self.now)

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
            self.refusals = [Refusal(kind, metadata["name"], self.refusing, "Forbidden", "exceeded quota")]
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
            assert rank < gang, "a rank that the attempt hasn't"

    def delete(self, target: Target) -> None:
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
        assert status["observedGeneration"] <= self.job["metadata"]["generation"]
        self.job = {**self.job, "status": status}
        self.status_written = self.now

    def edit(self, block: str, **fields: Any) -> None:
        """What a user's `kubectl apply` does."""
        spec = self.job["spec"]
        metadata = {**self.job["metadata"], "generation": self.job["metadata"]["generation"] + 1}
        changed = {**spec.get(block, {}), **fields}
        self.job = {**self.job, "metadata": metadata, "spec": {**spec, block: changed}}

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

    def set_state(self, pod: Pod, phase: str, state: JSON) -> None:
        self.objects["Pod", pod.name]["status"] = {
            **pod.status,
            "phase": phase,
            "containerStatuses": [{"name": CONTAINER_NAME, "state": state}],
        }

    def start(self, pod: Pod) -> None:
        self.set_state(pod, "Running", {"running": {"startedAt": format_time(self.now)}})

    def end(self, pod: Pod, code: int, **more: Any) -> None:
        """The container ends; a pod that was deleted is gone with it."""
        state = {"terminated": {"exitCode": code, "finishedAt": format_time(self.now), **more}}
        self.set_state(pod, "Failed" if code else "Succeeded", state)
        if pod.terminating:
            del self.objects["Pod", pod.name]

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
