"""What the operator tells one pod: the resolved job, and the environment that differs from pod to pod."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from footplate.api.trainingjob import TrainingJobSpec
from footplate.contract import Env, JobConfig, StageEnv, TokenEnv, working_grace
from footplate.dialects import hyperparameter_arguments
from footplate_trainer.errors import ConfigError
from footplate_trainer.identity import check_identity

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """One pod of an attempt's gang. Folders exist once `make_folders` has run."""

    config: JobConfig
    uid: str
    attempt: int
    node_rank: int
    nodes: int
    processes: int
    """Ranks in this pod."""
    grace_seconds: float
    """From SIGTERM to SIGKILL."""
    metrics_address: str | None
    input_dir: Path
    checkpoint_dir: Path
    output_dir: Path
    logs_dir: Path
    source_dir: Path | None
    """Files of source.configMap."""
    work_dir: Path
    run_dir: Path
    spec_sha256: str = ""
    """Digest of the job's own spec; empty where the operator doesn't say."""
    nonce: str = ""
    """Digest of the restartNonce that this run answers; empty for none."""
    token: str = field(default="", repr=False)
    """What who asks for /progress or /metrics must show; empty: nothing."""
    open_metrics: bool = False
    """Whether /metrics is shown without it."""
    stage: str = ""
    """What this pod does before there is a gang: `data`; empty: it trains."""
    arguments: tuple[str, ...] = ()
    """The job's `command` and `args`, in which Kubernetes has expanded $(NAME), and what hyperparameterArgs adds."""

    @property
    def spec(self) -> TrainingJobSpec:
        """The resolved job's spec."""
        return self.config.spec

    @property
    def job(self) -> str:
        """The job's name."""
        return self.config.metadata.name

    @property
    def run(self) -> int:
        """Number of the run, from 1."""
        return self.config.run

    @property
    def working_grace(self) -> float:
        """Seconds of the grace that may be spent on work; the rest is for the verdict and the way out."""
        return working_grace(self.grace_seconds)

    @property
    def first_rank(self) -> int:
        """Rank of this pod's first process."""
        return self.node_rank * self.processes

    @property
    def host(self) -> str:
        """This pod's name."""
        return self.host_of(self.node_rank)

    def host_of(self, node_rank: int) -> str:
        """Name of a pod of this attempt."""
        return f"{self.job}-{self.run}-{self.attempt}-{node_rank}"

    def make_folders(self) -> None:
        """Makes the folders that this pod writes to."""
        folders = (self.input_dir, self.checkpoint_dir, self.output_dir, self.logs_dir, self.work_dir, self.run_dir)
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)


def read_pod(environ: Mapping[str, str] = os.environ, arguments: Sequence[str] = ()) -> Pod:
    """Reads what the operator tells this pod. Without `arguments`, as when started by hand, they are the job's own.

    Raises:
        ConfigError: something is missing or isn't what the operator writes.
        WrongJob: job.json is another job's or run's.
    """

    def read(name: Env, parse: Callable[[str], T]) -> T:
        value = environ.get(name)
        if not value:
            raise ConfigError(f"{name} is not set; start the trainer as a pod of a TrainingJob, or set it by hand")
        try:
            return parse(value)
        except (ValueError, OSError) as error:
            raise ConfigError(f"{name}={value!r} can't be used: {_first_problem(error)}") from error

    source_dir = environ.get(Env.SOURCE_DIR)
    config = read(Env.CONFIG, lambda path: JobConfig.model_validate_json(Path(path).read_bytes()))
    uid = read(Env.UID, str)
    check_identity(config, environ)
    trainer = config.spec.trainer
    return Pod(
        config=config,
        uid=uid,
        attempt=read(Env.ATTEMPT, int),
        node_rank=read(Env.NODE_RANK, int),
        nodes=read(Env.NODES, int),
        processes=read(Env.PROCESSES_PER_NODE, int),
        grace_seconds=read(Env.GRACE_SECONDS, float),
        metrics_address=environ.get(Env.METRICS_ADDRESS),
        token=environ.get(TokenEnv.TOKEN, ""),
        open_metrics=TokenEnv.OPEN_METRICS in environ,
        input_dir=read(Env.INPUT_DIR, Path),
        checkpoint_dir=read(Env.CHECKPOINT_DIR, Path),
        output_dir=read(Env.OUTPUT_DIR, Path),
        logs_dir=read(Env.LOGS_DIR, Path),
        source_dir=Path(source_dir) if source_dir else None,
        work_dir=read(Env.WORK_DIR, Path),
        run_dir=read(Env.RUN_DIR, Path),
        spec_sha256=environ.get(Env.SPEC_SHA256, ""),
        nonce=environ.get(Env.NONCE, ""),
        stage=environ.get(StageEnv.STAGE, ""),
        arguments=tuple(arguments) or (*(trainer.command or ()), *trainer.args, *hyperparameter_arguments(trainer)),
    )


def _first_problem(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)
