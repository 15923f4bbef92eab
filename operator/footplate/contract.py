"""What the operator and the trainer agree on: environment names, paths, JSON shapes and exit codes.

Each side reads this module and nothing else of the other. Whatever crosses the border in JSON has a model here, with
bounds: what a pod says of itself is a tenant's text, and may be a lie.
"""

import hashlib
import re
from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError

from footplate.api.money import Prices
from footplate.api.packages import WHEELS, PipPolicy
from footplate.api.preflight import Preflight
from footplate.api.recipe_inputs import MODEL
from footplate.api.reports import (
    MAX_STRAGGLERS,
    ArtifactStatus,
    CheckpointStatus,
    DataStatus,
    EvaluationStatus,
    Metrics,
    PreflightStatus,
    ProgressStatus,
    Straggler,
    TrackedRuns,
)
from footplate.api.scalars import Count
from footplate.api.trainingjob import InputChannel, JobMetadata, TrainingJobSpec
from footplate.api.types import Model

METRICS_PORT = 9464
MAX_PROGRESS_BYTES = 65_536
MAX_VERDICT_BYTES = 4_096
"""Kubernetes cuts a termination message here."""

TOKEN_HEADER = "Footplate-Token"  # noqa: S105 (a header's name)
"""Not Authorization, which the API server keeps to itself where it passes a request on to a pod."""

UID_DIGITS = 8
"""Of a job's UID, in names: enough to tell it from others of its name, and a run's name stays a DNS label."""

PRETENDED_ACCELERATORS = "FOOTPLATE_PRETENDED_ACCELERATORS"
"""Set in pods of a devcluster, whose accelerators are there to be counted: ranks compute on the CPU."""

MAX_HOSTS = 128
"""Pods of a gang that each of them has the names of: the API server keeps a copy for each."""

CONTAINER_NAME = "trainer"
CA_FILE = "ca.pem"
JOB_FILE = "job.json"
"""Key of the run's ConfigMap, and name of the file in the pod."""


class Env(StrEnum):
    """Environment variables that the operator sets in every trainer pod."""

    CONFIG = "FOOTPLATE_CONFIG"
    """Path of job.json, a `JobConfig`."""
    JOB = "FOOTPLATE_JOB"
    NAMESPACE = "FOOTPLATE_NAMESPACE"
    UID = "FOOTPLATE_UID"
    RUN = "FOOTPLATE_RUN"
    ATTEMPT = "FOOTPLATE_ATTEMPT"
    NODE_RANK = "FOOTPLATE_NODE_RANK"
    NODES = "FOOTPLATE_NODES"
    """Pods of this attempt's gang; elastic gangs differ from `spec.nodes`."""
    HOSTS = "FOOTPLATE_HOSTS"
    """Names under which these pods find each other, by node rank, with commas between; empty where there are more than
    `MAX_HOSTS`.
    """
    PROCESSES_PER_NODE = "FOOTPLATE_PROCESSES_PER_NODE"
    GRACE_SECONDS = "FOOTPLATE_GRACE_SECONDS"
    METRICS_ADDRESS = "FOOTPLATE_METRICS_ADDRESS"
    """host:port that /metrics, /progress and /healthz listen on."""
    INPUT_DIR = "FOOTPLATE_INPUT_DIR"
    """Each input channel is a folder in here, named after the channel."""
    CHECKPOINT_DIR = "FOOTPLATE_CHECKPOINT_DIR"
    """Local staging for checkpoints."""
    OUTPUT_DIR = "FOOTPLATE_OUTPUT_DIR"
    """What the code leaves here is uploaded to output.uri after a successful end."""
    LOGS_DIR = "FOOTPLATE_LOGS_DIR"
    """What the code leaves here is uploaded at every end, whatever it is."""
    SOURCE_DIR = "FOOTPLATE_SOURCE_DIR"
    """Files of source.configMap, read-only; empty where the source is another or none."""
    WORK_DIR = "FOOTPLATE_WORK_DIR"
    """Scratch space on the node's disk; the code is unpacked here."""
    RUN_DIR = "FOOTPLATE_RUN_DIR"
    """tmpfs in which ranks and supervisor meet: heartbeats, reports, sockets."""
    TERMINATION_LOG = "FOOTPLATE_TERMINATION_LOG"
    """Path of the termination message, a `Verdict`."""
    SPEC_SHA256 = "FOOTPLATE_SPEC_SHA256"
    """Digest of the job's own spec, without what may change while it lives: by it the model of a job that is deleted
    and created anew is known. Empty where nobody knows it.
    """
    NONCE = "FOOTPLATE_NONCE"
    """Digest of the restartNonce that the run answers, empty for none."""


class TokenEnv(StrEnum):
    """Set only where the operator has a key."""

    TOKEN = "FOOTPLATE_TOKEN"  # noqa: S105 (a variable's name)
    """What a request for /progress or /metrics must show in `TOKEN_HEADER`."""
    OPEN_METRICS = "FOOTPLATE_OPEN_METRICS"
    """Set where /metrics needs no token all the same."""


class StageEnv(StrEnum):
    """Set only in a pod that does something before the gang."""

    STAGE = "FOOTPLATE_STAGE"
    """`data`: it prepares the data, and ends."""


class StorageEnv(StrEnum):
    """Set only where `spec.storage` gives the trainer more than variables."""

    CA_BUNDLE = "FOOTPLATE_CA_BUNDLE"
    """Path of the certificates of storage.caBundle, in PEM; where our supervisor runs it may be missing."""
    SECRET_DIR = "FOOTPLATE_STORAGE_SECRET_DIR"  # noqa: S105 (a variable's name)
    """Files of storage.secretRef's Secret as it is now, by key: variables stay as they were when the pod began."""


SIGNING_KEY = "FOOTPLATE_SIGNING_KEY"
"""Path of the key that signs the model; set in node 0's pod alone, where the job has `output.sign`."""


class MountPath(StrEnum):
    """Where the operator mounts what `Env` names. Trainer code reads the environment, never these."""

    CONFIG = "/footplate/config"
    SOURCE = "/footplate/source"
    SCRATCH = "/footplate/scratch"
    """Folder on the node's disk that holds inputs, checkpoints in the making, outputs and the unpacked code."""
    RUN = "/footplate/run"
    CA = "/footplate/ca"
    STORAGE_SECRET = "/footplate/storage-secret"  # noqa: S105 (a path)
    SIGNING_KEY = "/footplate/signing-key"
    TERMINATION_LOG = "/dev/termination-log"


SCRATCH_FOLDERS: Mapping[Env, str] = {
    Env.INPUT_DIR: "input",
    Env.CHECKPOINT_DIR: "checkpoint",
    Env.OUTPUT_DIR: "output",
    Env.LOGS_DIR: "logs",
    Env.WORK_DIR: "work",
}
"""What is there for programs to write to, by name of the folder in `MountPath.SCRATCH`."""

CODE_FOLDER = "source"
"""Of `Env.WORK_DIR`: the user's code, and the working directory."""

SAGEMAKER_FOLDER = "sagemaker"
"""Of `Env.WORK_DIR`: what SageMaker has in /opt/ml."""


class Label(StrEnum):
    """Labels of everything that the operator creates."""

    MANAGED_BY = "footplate.dev/managed-by"
    JOB = "footplate.dev/job"
    UID = "footplate.dev/job-uid"
    RUN = "footplate.dev/run"
    ATTEMPT = "footplate.dev/attempt"
    RANK = "footplate.dev/rank"
    """Node rank of a pod in its gang."""
    SCOUT = "footplate.dev/scout"
    """Only on pods that keep a place for an elastic gang to grow into: they train nothing."""


MANAGED_BY = "footplate"
MANAGED_SELECTOR = f"{Label.MANAGED_BY}={MANAGED_BY}"


KEEPING_SECONDS = 10.0
"""How long a pod whose ranks have failed may take to send its logs; who awaits its word, waits so much longer."""

GRACE_FACTOR = 1.5
"""A gang that is asked to stop saves a checkpoint if the grace left is so many times what the slowest rank's last save
took."""


def working_grace(seconds: float) -> float:
    """Seconds of a pod's grace that may be spent on work; the rest is for the verdict and the way out."""
    return seconds - min(5.0, seconds / 5)


class ExitCode(IntEnum):
    """How a trainer pod ends; after sysexits(3) where that has a code."""

    OK = 0
    """Done; where the job has an output, the artifact is verified."""
    DATA_ERROR = 65
    """Input or checkpoint is missing, damaged or not what its checksum says: permanent."""
    USER_ERROR = 70
    """An exception in the user's code."""
    STOPPED = 75
    """Stopped on request; a checkpoint is committed, or none was due."""
    PEER_LOST = 76
    """Another rank or the storage went away; the cause is elsewhere."""
    HANG = 77
    """No step was finished within the hang timeout."""
    CONFIG_ERROR = 78
    """The job can't run as it is written: permanent."""
    NODE_UNFIT = 79
    """This node falls short of what its runtime's preflight asks of it."""
    GATE_NOT_PASSED = 80
    """The model is trained and kept, and doesn't reach what a gate of spec.evaluation asks: permanent."""


Activity = Literal["starting", "loading", "training", "evaluating", "checkpointing", "exporting", "stopping"]


class JobConfig(Model):
    """job.json: the resolved job of one run, the same for every pod and attempt of it."""

    metadata: JobMetadata
    run: int
    spec: TrainingJobSpec
    locked: Annotated[list[Annotated[str, Field(max_length=253)]], Field(max_length=32)] | None = None
    """Fields that any job may change while it lives, and this one may not: paths below spec that the policy of its
    runtime kept when the run began. For the operator alone.
    """
    pip: PipPolicy | None = None
    """What the policy of its runtime said of packages when the run began; None where it said nothing."""
    prices: Prices | None = None
    """What its runtime said that accelerators cost when the run began. For the operator alone."""
    accelerators: Annotated[dict[Annotated[str, Field(max_length=317)], int], Field(max_length=32)] | None = None
    """Accelerators of each node, by resource name, where the operator that began the run names others than by default;
    `processesPerNode` is a number then.
    """

    preflight: Preflight | None = None
    """What its runtime asked of nodes when the run began."""
    data_in_gang: Literal[True] | None = None
    """True where node 0 of the gang prepares the data, and no pod before it does."""

    @property
    def devices(self) -> Mapping[str, int]:
        """Accelerators of each node, by resource name."""
        return self.spec.resources.accelerators if self.accelerators is None else self.accelerators


MAX_NOTES = 16
MAX_NOTE_LENGTH = 1024
Notes = Annotated[list[Annotated[str, Field(max_length=MAX_NOTE_LENGTH)]], Field(max_length=MAX_NOTES)]
"""What the user should know, such as a checkpoint that was found damaged."""

NodeSeconds = Annotated[float, Field(ge=0, le=1e15)] | None
"""Seconds times nodes of the steps that training stands on: those before the checkpoint it came from, and all since."""


_LINK = re.compile(r"https?://[!-?A-~]+|(s3|gs|az|file)://[^\s@]+")


def is_link(url: str) -> bool:
    """Whether a tracker's address may be told: a page makes a link of it, and a script is none. Of storage it may have
    all letters that a job's own URI may have.
    """
    return _LINK.fullmatch(url) is not None and url.isprintable()


def _check_links(runs: TrackedRuns) -> TrackedRuns:
    for run in runs:
        if not is_link(run.url):
            raise ValueError(f"{run.name}: its url must be an address without blanks and '@'")
    return runs


Tracked = Annotated[TrackedRuns, AfterValidator(_check_links)]
"""Where trackers show the run."""


class Progress(Model):
    """`GET /progress` of rank 0's pod: one JSON document of at most `MAX_PROGRESS_BYTES`."""

    uid: Annotated[str, Field(max_length=64)]
    run: int
    attempt: int
    activity: Annotated[Activity, Field(description="What the ranks do now.")] = "starting"
    progress: ProgressStatus = ProgressStatus()
    checkpoint: CheckpointStatus | None = None
    data: DataStatus | None = None
    resumed_from_step: Count | None = None
    productive_node_seconds: NodeSeconds = None
    device_idle_seconds: Annotated[float, Field(ge=0, le=1e9)] | None = None
    """For how long no device of this pod has worked, in whole minutes; None where nobody measures them."""
    preflight: PreflightStatus | None = None
    """Of this attempt; None where it hasn't passed any."""
    stragglers: Annotated[list[Straggler], Field(max_length=MAX_STRAGGLERS)] = Field(default=[])
    """Ranks that have been slower than the median for a while, the slowest first; who runs on which node is the
    operator's knowledge.
    """
    tracking: Tracked = Field(default=[])
    notes: Notes = Field(default=[])


class Failure(Model):
    """The first error of a pod: which rank, what, and the end of its traceback."""

    rank: Count | None = None
    type: Annotated[str, Field(max_length=256)] = ""
    """Class of an exception of the user's code; empty where the message says it all."""
    message: Annotated[str, Field(max_length=1024)] = ""
    traceback: Annotated[str, Field(max_length=3072)] | None = None
    time: float | None = None
    """Seconds since the epoch; the earliest failing rank of the gang is the root cause."""


class Verdict(Model):
    """The termination message: how a pod ended, in at most `MAX_VERDICT_BYTES` of JSON."""

    outcome: Literal["succeeded", "failed", "stopped", "peer_lost", "hang"]
    exit_code: int
    step: Count | None = None
    progress: ProgressStatus | None = None
    checkpoint: CheckpointStatus | None = None
    artifact: ArtifactStatus | None = None
    evaluation: EvaluationStatus | None = None
    data: DataStatus | None = None
    already_complete: bool = False
    """Nothing was trained: a job of this name and spec had left the artifact, and it is as it should be."""
    metrics: Metrics = Field(default={})
    error: Failure | None = None
    resumed_from_step: Count | None = None
    productive_node_seconds: NodeSeconds = None
    tracking: Tracked = Field(default=[])
    notes: Notes = Field(default=[])


def parse_verdict(message: str | None) -> Verdict | None:
    """Reads a termination message; None where there is none or it isn't a `Verdict` (a user's own, or cut)."""
    if not message or len(message) > 4 * MAX_VERDICT_BYTES:
        return None
    try:
        return Verdict.model_validate_json(message, extra="ignore")
    except ValidationError:
        return None


def data_channels(spec: TrainingJobSpec) -> list[InputChannel]:
    """The input channels that hold data, which `spec.data` is about."""
    return [channel for channel in spec.inputs if channel.name not in (MODEL, WHEELS)]


def rendezvous_port(uid: str, run: int, attempt: int) -> int:
    """MASTER_PORT of one attempt, from 20000 to 29999: below the ephemeral ports, and another for each
    attempt, so that a zombie of an older one can't join.
    """
    digest = hashlib.sha256(f"{uid}/{run}/{attempt}".encode()).digest()
    return 20_000 + int.from_bytes(digest[:4], "big") % 10_000


def input_env_prefix(channel: str) -> str:
    """Prefix of the environment variables that hold the credentials of a channel with its own secretRef."""
    return f"FOOTPLATE_INPUT_{channel.upper().replace('-', '_')}_"
