"""Jobs for the page without a cluster: real `Job`s over made-up manifests, whose pods, events and logs are told."""

import asyncio
import json
import math
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from footplate.api.reports import ProgressStatus
from footplate.api.scalars import format_time
from footplate.client import (
    Change,
    ClusterView,
    History,
    Job,
    JobData,
    JobEvent,
    LogLine,
    RankView,
    StorageUnreadable,
    Why,
)
from footplate.client.artifacts import Artifact
from footplate.client.cluster import ResourceView, UseView
from footplate.client.errors import JobNotFound

Json = dict[str, Any]
BEGAN = datetime.now(UTC) - timedelta(hours=3)


def moment(minutes: float) -> str:
    """So many minutes after the jobs began."""
    return format_time(BEGAN + timedelta(minutes=minutes))


def curve(
    points: int = 100, *, stride: int = 16, seed: float = 0.0, names: Sequence[str] = ("loss", "accuracy")
) -> Json:
    """A curve that learns: metrics fall or rise towards an end, with some noise."""
    steps = [index * stride for index in range(points)]

    def fall(x: int, depth: float) -> float:
        noise = 0.04 * math.sin(37.0 * x + 11 * seed) + 0.03 * math.sin(91.7 * x + seed)
        return round(2.3 * math.exp(-depth * x / points) + 0.12 + 0.05 * seed % 0.4 + noise * math.exp(-x / points), 5)

    shapes = {
        "loss": [fall(x, 3 + seed % 3) for x in range(points)],
        "accuracy": [round(1 - fall(x, 4 + seed % 2) / 2.9, 5) for x in range(points)],
        "learningRate": [round(0.003 * (1 + math.cos(math.pi * x / points)) / 2 + 1e-5, 7) for x in range(points)],
        "valLoss": [fall(x, 2.6 + seed % 3) * 1.1 if x % 8 == 0 else None for x in range(points)],
    }
    return {"steps": steps, "metrics": {name: shapes.get(name, shapes["loss"]) for name in names}}


def job(name: str = "digits", namespace: str = "team", *, phase: str = "Running", uid: str = "", **status: Any) -> Json:
    """A TrainingJob that the operator has seen."""
    metadata = {
        "name": name,
        "namespace": namespace,
        "uid": uid or f"uid-{namespace}-{name}",
        "generation": 1,
        "resourceVersion": "1",
        "creationTimestamp": moment(0),
    }
    spec = {
        "trainer": {
            "image": "registry.example.com/footplate/trainer:0.1.0",
            "recipe": "image-classification",
            "hyperparameters": {"epochs": 30, "batchSize": 64, "learningRate": 0.003},
        },
        "nodes": 4,
        "resources": {"requests": {"cpu": "8", "memory": "64Gi"}, "limits": {"nvidia.com/gpu": "8"}},
        "checkpoint": {"uri": f"s3://checkpoints/{name}/"},
        "output": {"uri": f"s3://models/{name}/"},
    }
    seen = {
        "observedGeneration": 1,
        "phase": phase,
        "reason": "AllPodsRunning",
        "message": "4 of 4 nodes running, step 1,584 of 2,400",
        "run": 1,
        "attempt": 0,
        "startTime": moment(0),
        "nodes": {"desired": 4, "created": 4, "scheduled": 4, "ready": 4, "summary": "4/4"},
        "restarts": {"user": 0, "infrastructure": 0, "hang": 0, "total": 0},
        "transitions": [{"phase": "Pending", "time": moment(0)}, {"phase": phase, "time": moment(2)}],
        "attempts": [{"attempt": 0, "startTime": moment(0), "nodes": 4}],
        "progress": progress(),
    }
    head = {"apiVersion": "footplate.dev/v1alpha1", "kind": "TrainingJob"}
    return {**head, "metadata": metadata, "spec": spec, "status": {**seen, **status}}


def progress(*, step: int = 1584, total: int = 2400, history: Json | None = None, **said: Any) -> Json:
    """How far a job is."""
    history = curve() if history is None else history
    known = {name: values[-1] for name, values in history["metrics"].items() if values[-1] is not None}
    return {
        "step": step,
        "totalSteps": total,
        "epoch": 19,
        "epochs": 30,
        "percent": round(100 * step / total, 1),
        "etaSeconds": 3421,
        "samplesPerSecond": 5310.2,
        "updateTime": moment(175),
        "metrics": known,
        "history": history,
        **said,
    }


def run_config(of: Json, run: int, spec: Json) -> Json:
    """The ConfigMap that the operator makes of a run."""
    metadata = of["metadata"]
    owner = {"uid": metadata["uid"], "controller": True, "kind": "TrainingJob", "name": metadata["name"]}
    return {
        "metadata": {"name": f"run-{run}", "namespace": metadata["namespace"], "ownerReferences": [owner]},
        "data": {"job.json": json.dumps({"run": run, "spec": spec})},
    }


def rank(number: int, state: str = "running", *, reason: str = "", slow: float | None = None) -> RankView:
    """One pod of a gang."""
    return RankView(
        node_rank=number,
        pod=f"digits-1-0-{number}",
        node=f"gpu-{number}",
        state=state,  # type: ignore[arg-type]
        reason=reason,
        exit_code=None,
        since=BEGAN,
        slow=slow,
    )


def event(minutes: float, reason: str, message: str, *, kind: str = "Normal", count: int = 1) -> JobEvent:
    """Something that was told of a job."""
    then = BEGAN + timedelta(minutes=minutes)
    return JobEvent(type=kind, reason=reason, message=message, first=then, last=then, count=count)


class ToldConnection:
    """What answers where a job asks for other objects: it has the ConfigMaps of runs."""

    def __init__(self, told: "Told") -> None:
        self._told = told

    async def list(self, *_: Any, **__: Any) -> tuple[list[Json], str]:
        return self._told.config_maps, "1"

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(work)


class ToldJob(Job):
    """A job of which pods and events say what the test says; actions are written down."""

    def __init__(self, manifest: Mapping[str, Any], told: "Told") -> None:
        super().__init__(ToldConnection(told), manifest)  # type: ignore[arg-type]
        self._told = told

    def live(self) -> ProgressStatus | None:
        return self.progress

    def history(self, full: bool = False) -> History:
        if full and self._told.history is None:
            raise StorageUnreadable("the job keeps none")
        return self._told.history if full and self._told.history else super().history()

    def why(self) -> Why | None:  # type: ignore[override]
        return self._told.why

    def ranks(self) -> list[RankView]:  # type: ignore[override]
        return self._told.ranks

    def events(self) -> list[JobEvent]:  # type: ignore[override]
        return self._told.events

    def data(self) -> JobData:
        if self._told.trouble is not None:
            raise self._told.trouble
        return self._told.data or super().data()

    @property
    def artifact(self) -> Artifact:
        if self._told.trouble is not None:
            raise self._told.trouble
        return self._told.artifact or super().artifact

    def logs(self, rank: int | None = None, *, attempt: int | None = None, **_: Any) -> Iterator[LogLine]:  # type: ignore[override]
        for line in self._told.logs:
            if (rank is None or line.node_rank == rank) and (attempt is None or line.attempt == attempt):
                yield line

    def suspend(self) -> "ToldJob":  # type: ignore[override]
        return self._act("suspend")

    def resume(self) -> "ToldJob":  # type: ignore[override]
        return self._act("resume")

    def restart(self) -> "ToldJob":  # type: ignore[override]
        return self._act("restart")

    def cancel(self) -> None:
        self._act("cancel")

    def _act(self, name: str) -> "ToldJob":
        self._told.done.append((self.key, name))
        if self._told.refusal:
            raise self._told.refusal
        return self

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


class Told:
    """What pods and events of all jobs say, and what was done to them."""

    def __init__(self) -> None:
        self.why: Why | None = None
        self.ranks: list[RankView] = []
        self.events: list[JobEvent] = []
        self.logs: list[LogLine] = []
        self.config_maps: list[Json] = []
        self.history: History | None = None
        self.data: JobData | None = None
        self.artifact: Artifact | None = None
        self.trouble: Exception | None = None
        """Why neither of these can be read."""
        self.done: list[tuple[str, str]] = []
        self.refusal: Exception | None = None


class ToldClient:
    """A client of no cluster: `put` and `delete` change what its watch tells."""

    namespace = "team"

    def __init__(self, *manifests: Json) -> None:
        self.told = Told()
        self.trouble: Exception | None = None
        self._jobs: dict[tuple[str, str], ToldJob] = {}
        self._changes: list[Change] = []
        self._changed = threading.Condition()
        for manifest in manifests:
            self.put(manifest)

    def put(self, manifest: Json) -> None:
        made = ToldJob(manifest, self.told)
        self._tell(Change("MODIFIED" if (made.namespace, made.name) in self._jobs else "ADDED", made))

    def delete(self, namespace: str, name: str) -> None:
        self._tell(Change("DELETED", self._jobs[namespace, name]))

    def _tell(self, change: Change) -> None:
        key = (change.job.namespace, change.job.name)
        with self._changed:
            if change.type == "DELETED":
                del self._jobs[key]
            else:
                assert isinstance(change.job, ToldJob)
                self._jobs[key] = change.job
            self._changes.append(change)
            self._changed.notify_all()

    def list(self, **_: Any) -> list[Job]:
        if self.trouble:
            raise self.trouble
        return list(self._jobs.values())

    def cluster(self) -> ClusterView:
        if self.trouble:
            raise self.trouble
        uses = [
            UseView(job.namespace, job.name, str(job.phase), 4, {"nvidia.com/gpu": 32}, 91.2)
            for job in self._jobs.values()
            if job.phase == "Running"
        ]
        held = sum(use.accelerators["nvidia.com/gpu"] for use in uses)
        gpus = ResourceView("nvidia.com/gpu", capacity=held + 96, used=held, others=24, free=72)
        return ClusterView([gpus], uses, goodput_percent=91.2, whole=True)

    def get(self, name: str, *, namespace: str | None = None) -> Job:
        found = self._jobs.get((namespace or self.namespace, name))
        if found is None:
            raise JobNotFound(name, namespace=namespace or self.namespace, names=[key[1] for key in self._jobs])
        return found

    def watch(self, **_: Any) -> Iterator[Change]:
        told = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: len(self._changes) > told or self.trouble)  # noqa: B023
                if self.trouble:
                    raise self.trouble
                new, told = self._changes[told:], len(self._changes)
            yield from new
