"""One attempt of a run as it is to be made: its names, and what a job's spec asks of its pods. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from footplate.api.trainingjob import TrainingJobSpec
from footplate.contract import UID_DIGITS, JobConfig
from footplate.gangs.kinds import GangKind

MAX_LABEL_LENGTH = 63


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
    gang: GangKind = GangKind.NONE
    """Which scheduler starts its pods together."""
    spec_sha256: str = ""
    """Digest of the job's own spec, empty where it isn't known."""
    nonce: str = ""
    """Digest of the restartNonce that the run answers, empty for none."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What goes on from the job's labels to its pods'."""
    token: str = field(default="", repr=False)
    """What the pods await of who asks them; empty: nothing."""
    open_metrics: bool = False
    """Whether /metrics awaits nothing all the same."""
    stage: str = ""
    """What is done before there is a gang: `data`; empty: training."""

    @property
    def supervised(self) -> bool:
        """Whether our supervisor is the first process of its pods."""
        return is_supervised(self.config, self.spec)

    @property
    def hosts(self) -> list[str]:
        """Names of the pods in the run's headless Service, by rank."""
        return [f"{self.pod_name(rank)}.{self.run_name}" for rank in range(self.nodes)]

    @property
    def group_name(self) -> str:
        """Name of the attempt's group, where a scheduler knows it as one."""
        job = self.config.metadata
        return group_name(job.name, run=self.config.run, attempt=self.attempt, uid=job.uid)

    @property
    def fewest(self) -> int:
        """Pods that must start together: all of them, or as many as an elastic job makes do with."""
        return self.nodes if self.spec.elastic is None else min(self.spec.elastic.min_nodes, self.nodes)

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


def group_name(job: str, *, run: int, attempt: int, uid: str) -> str:
    """Name of an attempt's group, a label's value. The UID is in it since a scheduler may remember the group of a
    deleted job that had the same name.
    """
    number = f"-{run}-{attempt}-{uid[:UID_DIGITS]}"
    return f"{job[: MAX_LABEL_LENGTH - len(number)]}{number}"


def job_of_group(name: str) -> str | None:
    """The job that a group of this name may be of; None where it is none of ours, or the job's name was cut."""
    found = re.fullmatch(rf"(.+)-\d+-\d+-[0-9a-f]{{{UID_DIGITS}}}", name)
    return found[1] if found and len(name) <= MAX_LABEL_LENGTH else None


def pod_name(job: str, *, run: int, attempt: int, rank: int) -> str:
    """Name of a pod: the same for the same rank of the same attempt, always."""
    return f"{attempt_name(job, run=run, attempt=attempt)}-{rank}"


def processes_per_node(spec: TrainingJobSpec) -> int:
    """Ranks in each pod: as the job says, else one an accelerator, else one."""
    if spec.processes_per_node != "auto":
        return spec.processes_per_node
    return max(1, sum(spec.resources.accelerators.values()))


def is_supervised(config: JobConfig, spec: TrainingJobSpec) -> bool:
    """Whether our supervisor is the first process of the pods: for the job, or for its runtime's preflight."""
    return config.preflight is not None or needs_supervisor(spec)


def needs_supervisor(spec: TrainingJobSpec) -> bool:
    """False for a bare command, which then needs nothing of ours in its image."""
    code_to_fetch = spec.trainer.source is not None and spec.trainer.source.config_map is None
    keeps_folder = spec.checkpoint is not None and spec.checkpoint.uri is not None
    to_be_stored = spec.output is not None or keeps_folder
    to_be_done = spec.inputs or spec.trainer.requirements or spec.trainer.metric_definitions or spec.evaluation
    told = spec.tracking is not None
    return spec.trainer.command is None or bool(to_be_done) or to_be_stored or code_to_fetch or told
