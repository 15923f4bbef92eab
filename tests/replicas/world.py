"""A cluster with jobs, kubelets that do their work and sometimes don't, and operators that come and go; and what must
hold whatever they see of it.

- No healthy gang ends: each end of an attempt has a cause that is so, and isn't over.
- No attempt runs beside an older one's live pods for longer than their grace, and the time it takes to lead.
- Nobody writes while another leads.
- In the end, when all goes well, every job finishes.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from footplate.contract import CONTAINER_NAME, Label
from footplate.machinery.resources import NODES, PODS, TRAINING_JOBS
from replicas.apiserver import JSON, ApiServer
from replicas.replica import WATCHED, Replica
from replicas.virtual import VirtualClock
from unit.policy.build import job as make_job
from unit.policy.build import node as make_node

NAMESPACE = "team"
GRACE = 30
SLACK = 15.0
"""For kubelets, lost answers and a watch's lag. Only the time counts in which somebody leads and is awake."""
STORM_SECONDS = 600
CALM_SECONDS = 3_000
Attempt = tuple[str, int, int]
"""A job's name, a run, an attempt."""


@dataclass
class Outcome:
    """What came of one life."""

    violations: list[str]
    takeovers: int
    harms: int
    finished: int


@dataclass
class Harm:
    """Something bad that really became of an attempt, from when until when."""

    what: str
    since: float
    until: float = field(default=float("inf"))


class World:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.clock = VirtualClock(asyncio.get_running_loop())
        self.server = ApiServer(self.clock)
        self.server.on_status = self._judge
        self.server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        self.replicas: list[Replica] = []
        self.harms: defaultdict[Attempt, list[Harm]] = defaultdict(list)
        self.harmed = 0
        self.births = 0
        self.stormy = True
        self._due: dict[str, float] = {}
        self._beside: dict[Attempt, float] = {}

    async def live(self) -> Outcome:
        """One life, in virtual time; it ends where something didn't hold."""
        for number in range(5):
            self.server.create({**make_node(f"node-{number}")})
        for number in range(3):
            policy = {
                "schedulingTimeoutSeconds": 20,
                "terminationGracePeriodSeconds": GRACE,
                "maxDisruptions": 1000,
                "maxRestarts": 1000,
            }
            job = make_job(
                {"nodes": self.rng.randint(1, 4), "runPolicy": policy}, name=f"job-{number}", uid=f"j{number}"
            )
            self.server.create(job)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(each) for each in (self._turn_kubelets(), self._keep_replicas(), self._watch_over())
            ]
            storm = group.create_task(self._storm())
            for second in range(STORM_SECONDS + CALM_SECONDS):
                if self.server.violations or (not self.stormy and self._is_over()):
                    break
                await asyncio.sleep(1)
                if second == STORM_SECONDS:
                    storm.cancel()
                    self._calm_down()
            storm.cancel()
            for task in tasks:
                task.cancel()
        for replica in self.replicas:
            replica.kill()
            await asyncio.gather(*replica._tasks, return_exceptions=True)
        return self._sum_up()

    def _sum_up(self) -> Outcome:
        jobs = self.server.all(TRAINING_JOBS)
        violations = self.server.violations or [
            f"{job['metadata']['name']} never finished: {job.get('status')}"
            for job in jobs
            if not self._is_finished(job)
        ]
        return Outcome(violations, self.server.takeovers, self.harmed, sum(map(self._is_finished, jobs)))

    def _is_over(self) -> bool:
        return all(self._is_finished(job) for job in self.server.all(TRAINING_JOBS))

    def _is_finished(self, job: JSON) -> bool:
        return (job.get("status") or {}).get("phase") in ("Succeeded", "Failed")

    def _violate(self, text: str) -> None:
        self.server.violations.append(f"{self.clock.monotonic():.1f}: {text}")

    # What is so of the operators.

    async def _keep_replicas(self) -> None:
        while True:
            self.replicas = [replica for replica in self.replicas if not replica.dead.is_set()]
            while len(self.replicas) < 2:
                self.births += 1
                replica = Replica(f"replica-{self.births}", self.server, self.rng)
                replica.line.losses = 0.01 if self.stormy else 0.0
                replica.line.lag = self.rng.choice([0.0, 0.0, 1.0, 5.0]) if self.stormy else 0.0
                self.replicas.append(replica)
                await asyncio.sleep(self.rng.uniform(0.5, 10))
            await asyncio.sleep(0.5)
            for replica in self.replicas:
                for error in replica.errors:
                    self._violate(f"{replica.name} died of {error!r}")

    def _leader(self) -> Replica | None:
        return next((replica for replica in self.replicas if replica.name == self.server.holder), None)

    # What happens.

    async def _storm(self) -> None:
        events: list[tuple[int, Callable[[], Any]]] = [
            (6, self._mute_somebody),
            (2, lambda: self._leader() and self._leader().kill()),  # type: ignore[union-attr]
            (2, self._stop_leader),
            (1, lambda: self._leader() and self._leader().line.freeze(self.rng.uniform(1, 40))),  # type: ignore[union-attr]
            (3, self._unsettle_node),
            (1, self._delete_pod),
            (1, self._crash_pod),
        ]
        weights = [weight for weight, _ in events]
        while True:
            await asyncio.sleep(self.rng.expovariate(1 / 8))
            [(_, happen)] = self.rng.choices(events, weights)
            result = happen()
            if asyncio.iscoroutine(result):
                await result

    def _mute_somebody(self) -> None:
        for replica in self.replicas:
            if self.rng.random() < 0.6:
                for resource in WATCHED:
                    if self.rng.random() < 0.6:
                        replica.line.mute(resource, self.rng.uniform(1, 75))

    async def _stop_leader(self) -> None:
        leader = self._leader()
        if leader is not None:
            await leader.stop()

    def _unsettle_node(self) -> None:
        """Not ready for a moment or for long, or gone and there again, as autoscalers do."""
        name = f"node-{self.rng.randrange(5)}"
        if ("", name) not in self.server.objects[NODES.plural]:
            return
        seconds = self.rng.choice([0.5, 3.0, 20.0, 60.0])
        since = self.clock.monotonic()
        hurt = {self._attempt_of(pod) for pod in self._live_pods() if pod["spec"].get("nodeName") == name}
        for attempt in hurt:
            self._harm(attempt, f"{name} isn't ready", until=since + seconds)
        if self.rng.random() < 0.5:
            self.server.remove(NODES, ("", name))
        else:
            self._set_node(name, "Unknown")
        self.clock.call_later(seconds, lambda: self._set_node(name, "True"))

    def _set_node(self, name: str, ready: str) -> None:
        node = make_node(name, ready=ready)
        node["status"]["conditions"][0]["lastTransitionTime"] = self.server.timestamp()
        known = self.server.objects[NODES.plural].get(("", name))
        node["metadata"]["uid"] = known["metadata"]["uid"] if known else f"{name}-{self.clock.monotonic()}"
        self.server.put(NODES, node, "MODIFIED" if known else "ADDED")

    def _delete_pod(self) -> None:
        if pods := self._live_pods():
            pod = self.rng.choice(pods)
            self._harm(self._attempt_of(pod), "a pod was deleted")
            self.server.delete(PODS, (NAMESPACE, pod["metadata"]["name"]))

    def _crash_pod(self) -> None:
        if pods := [pod for pod in self._live_pods() if pod["status"]["phase"] == "Running"]:
            self._end(self.rng.choice(pods), self.rng.choice([1, 137]))

    def _calm_down(self) -> None:
        self.stormy = False
        for replica in self.replicas:
            replica.line.losses = replica.line.lag = 0.0
            replica.line.silent_until.clear()

    # What kubelets and the scheduler do.

    async def _turn_kubelets(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            for pod in self._live_pods():
                self._turn(pod)

    def _turn(self, pod: JSON) -> None:
        name, now = pod["metadata"]["name"], self.clock.monotonic()
        if pod["metadata"].get("deletionTimestamp"):
            if self._is_due(f"{name} stops", 0.5, GRACE):
                self.server.remove(PODS, (NAMESPACE, name))
        elif not pod["spec"].get("nodeName"):
            if self._is_due(f"{name} is bound", 0, 3):
                self._bind(pod)
        elif pod["status"]["phase"] == "Pending":
            if self._is_due(f"{name} starts", 0, 3):
                self._set_state(pod, "Running", {"running": {"startedAt": self.server.timestamp()}})
        elif self._is_whole(pod):
            attempt = self._attempt_of(pod)
            if self._is_due(f"{attempt} ends well", 60, 500) or now > STORM_SECONDS:
                self._end(pod, 0)
        elif self._has_lost_a_peer(pod) and self._is_due(f"{name} misses its peer", 1, 10):
            self._end(pod, 75)

    def _has_lost_a_peer(self, pod: JSON) -> bool:
        return any(harm.what.startswith("a pod") for harm in self.harms[self._attempt_of(pod)])

    def _is_due(self, what: str, least: float, most: float) -> bool:
        """Whether the time has come, which is drawn when it is first asked for."""
        now = self.clock.monotonic()
        return now >= self._due.setdefault(what, now + self.rng.uniform(least, most))

    def _bind(self, pod: JSON) -> None:
        nodes = [node for node in self.server.all(NODES) if node["status"]["conditions"][0]["status"] == "True"]
        if nodes:
            node = self.rng.choice(nodes)["metadata"]["name"]
            bound = {"type": "PodScheduled", "status": "True", "lastTransitionTime": self.server.timestamp()}
            status = {**pod["status"], "startTime": self.server.timestamp(), "conditions": [bound]}
            self.server.put(PODS, {**pod, "spec": {**pod["spec"], "nodeName": node}, "status": status})

    def _is_whole(self, pod: JSON) -> bool:
        """Whether its gang trains, or is just ending."""
        attempt = self._attempt_of(pod)
        spec = self.server.objects[TRAINING_JOBS.plural][NAMESPACE, attempt[0]]["spec"]
        gang = [each for each in self._pods() if self._attempt_of(each) == attempt]
        well = [each for each in gang if each["status"]["phase"] in ("Running", "Succeeded")]
        return len(well) == spec["nodes"] and not any(each["metadata"].get("deletionTimestamp") for each in gang)

    def _end(self, pod: JSON, code: int) -> None:
        if code:
            self._harm(self._attempt_of(pod), f"a pod ended with {code}")
        ended = {"terminated": {"exitCode": code, "finishedAt": self.server.timestamp()}}
        self._set_state(pod, "Failed" if code else "Succeeded", ended)

    def _set_state(self, pod: JSON, phase: str, state: JSON) -> None:
        containers = [{"name": CONTAINER_NAME, "state": state}]
        self.server.put(PODS, {**pod, "status": {**pod["status"], "phase": phase, "containerStatuses": containers}})

    # What is held against it.

    def _pods(self) -> list[JSON]:
        return self.server.all(PODS)

    def _live_pods(self) -> list[JSON]:
        return [pod for pod in self._pods() if pod["status"]["phase"] not in ("Succeeded", "Failed")]

    def _attempt_of(self, pod: JSON) -> Attempt:
        labels = pod["metadata"]["labels"]
        return labels["footplate.dev/job"], int(labels[Label.RUN]), int(labels[Label.ATTEMPT])

    def _harm(self, attempt: Attempt, what: str, *, until: float = float("inf")) -> None:
        self.harmed += 1
        self.harms[attempt].append(Harm(what, self.clock.monotonic(), until))

    def _judge(self, job: JSON, status: JSON) -> None:
        """Every end of an attempt has a cause that is so; a second is what it takes to say it."""
        old = job.get("status") or {}
        ended = {each["attempt"] for each in status.get("attempts", ()) if each.get("endTime")}
        before = {each["attempt"] for each in old.get("attempts", ()) if each.get("endTime")}
        name, now = job["metadata"]["name"], self.clock.monotonic()
        for number in ended - before:
            attempt = name, status["run"], number
            harms = [harm for harm in self.harms[attempt] if now <= harm.until + 1.0]
            if not harms and status["phase"] != "Succeeded":
                known = [f"{harm.what} {harm.since:.1f}-{harm.until:.1f}" for harm in self.harms[attempt]]
                self._violate(f"healthy attempt {attempt} ended: {status['reason']}: {status['message']} ({known})")

    async def _watch_over(self) -> None:
        while True:
            await asyncio.sleep(1)
            newest: dict[str, Attempt] = {}
            for pod in self._live_pods():
                if pod["status"]["phase"] == "Running":
                    attempt = self._attempt_of(pod)
                    newest[attempt[0]] = max(newest.get(attempt[0], attempt), attempt)
            older = {a for pod in self._live_pods() if (a := self._attempt_of(pod)) < newest.get(a[0], a)}
            acting = any(replica.acts for replica in self.replicas)
            self._beside = {attempt: self._beside.get(attempt, 0.0) + acting for attempt in older}
            for attempt, seconds in self._beside.items():
                if seconds > GRACE + SLACK:
                    self._violate(f"pods of {attempt} live on beside {newest[attempt[0]]} for {seconds:.0f} s")
                    self._beside[attempt] = float("-inf")
