"""One attempt of a run as it is to be made: its names, and what a job's spec asks of its pods. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from footplate.api.trainingjob import TrainingJobSpec
from footplate.contract import UID_DIGITS, JobConfig


@dataclass(frozen=True, slots=True)
class AttemptSpec:
    """One attempt of a run: what differs from gang to gang of the same job."""

    config: JobConfig
    spec: TrainingJobSpec
    run_name: str
    """Name of the run's ConfigMap and Service."""
    attempt: int
    nodes: int
    avoid: Sequence[str] = ()
    """Kubernetes nodes to keep away from as long as there are others."""
    spec_sha256: str = ""
    """Digest of the job's own spec, empty where it isn't known."""
    nonce: str = ""
    """Digest of the restartNonce that the run answers, empty for none."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What goes on from the job's labels to its pods'."""

    @property
    def hosts(self) -> list[str]:
        """Names of the pods in the run's headless Service, by rank."""
        return [f"{self.pod_name(rank)}.{self.run_name}" for rank in range(self.nodes)]

    def pod_name(self, rank: int) -> str:
        """Name of a pod."""
        return pod_name(self.config.metadata.name, run=self.config.run, attempt=self.attempt, rank=rank)


def run_name(job: str, run: int, *, uid: str) -> str:
    """Name of a new run's ConfigMap and of its Service, a DNS label. A run keeps the name that it began with.

    The UID is in it since a kubelet may mount its copy of an immutable ConfigMap, and a resolver answer with addresses,
    of a deleted job's that had the same name.
    """
    return f"{job}-run-{run}-{uid[:UID_DIGITS]}"


def attempt_name(job: str, *, run: int, attempt: int) -> str:
    """What the names of an attempt's pods have in common."""
    return f"{job}-{run}-{attempt}"


def pod_name(job: str, *, run: int, attempt: int, rank: int) -> str:
    """Name of a pod: the same for the same rank of the same attempt, always."""
    return f"{attempt_name(job, run=run, attempt=attempt)}-{rank}"


def processes_per_node(spec: TrainingJobSpec) -> int:
    """Ranks in each pod: as the job says, else one an accelerator, else one."""
    if spec.processes_per_node != "auto":
        return spec.processes_per_node
    return max(1, sum(accelerators(spec).values()))


def accelerators(spec: TrainingJobSpec) -> dict[str, int]:
    """Accelerators of each node, by resource name."""
    return spec.resources.accelerators


def needs_supervisor(spec: TrainingJobSpec) -> bool:
    """False for a bare command, which then needs nothing of ours in its image."""
    code_to_fetch = spec.trainer.source is not None and spec.trainer.source.config_map is None
    keeps_folder = spec.checkpoint is not None and spec.checkpoint.uri is not None
    to_be_stored = spec.output is not None or keeps_folder
    to_be_done = spec.inputs or spec.trainer.requirements or spec.trainer.metric_definitions
    return spec.trainer.command is None or bool(to_be_done) or to_be_stored or code_to_fetch
