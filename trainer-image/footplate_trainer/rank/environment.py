"""What the environment says of this process: its rank, its device, and what the job gives it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from footplate.api.blocks import Checkpoint
from footplate.api.data import SPLITS
from footplate.contract import Env, JobConfig
from footplate_trainer.errors import ConfigError
from footplate_trainer.exchange import METRICS_FILE
from footplate_trainer.identity import check_identity
from footplate_trainer.rank import devices

if TYPE_CHECKING:
    import torch


@dataclass(slots=True)
class Resumption:
    """Step of the checkpoint that training goes on from, once one is loaded."""

    step: int | None = None


class Folders(dict[str, Path]):
    """Folders by name; of a name that isn't there it says what is, and where such a folder comes from."""

    def __init__(self, folders: Mapping[str, Path], *, what: str, way_out: str) -> None:
        super().__init__(folders)
        self._what, self._way_out = what, way_out

    def __missing__(self, name: str) -> Path:
        there = f"there are {', '.join(map(repr, self))}" if self else "there are none"
        raise KeyError(f"no {self._what} {name!r}: {there}. {self._way_out}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One rank's place in its job. Outside a job: the only rank, no inputs, `output_dir` is `./output`."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    """Rank among the processes of this pod."""
    local_world_size: int = 1
    node_rank: int = 0
    device: "torch.device"
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Path] = field(default_factory=dict)
    """Folder of each input channel, by the channel's name."""
    splits: Mapping[str, Path] = field(default_factory=dict)
    """Folder of each part that data.split has made, by its name: train, validation, test. Empty without one."""
    output_dir: Path = Path("output")
    """What is left here is uploaded to output.uri after a successful end. Rank 0 of each pod sees the pod's own."""
    checkpoint: Checkpoint | None = None
    """The job's checkpoint block; None where nothing is saved."""
    job: str = ""
    uid: str = ""
    run: int = 1
    attempt: int = 0
    """Number of the gang in this run, from 0."""
    seed: int = 0
    """`hyperparameters.seed`, or 0: the same on every rank."""
    config: JobConfig | None = None
    """The whole resolved job; None outside one."""
    run_dir: Path | None = None
    """Where ranks and supervisor meet; None outside a job."""
    checkpoint_dir: Path | None = None
    """Local staging for checkpoints; None outside a job."""
    grace_seconds: float = 30.0
    """From SIGTERM to SIGKILL."""
    resumption: Resumption = field(default_factory=Resumption, compare=False)

    @property
    def is_main(self) -> bool:
        """True on rank 0, the one that should write and print."""
        return self.rank == 0

    @property
    def resumed_from(self) -> int | None:
        """Step of the checkpoint that `checkpoint.restore` has loaded; None before, and on a fresh start."""
        return self.resumption.step


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What any process of a job can know without torch."""

    rank: int
    world_size: int
    nodes: int
    run_dir: Path | None
    """Where ranks and supervisor meet; None outside a job."""
    checkpoint_dir: Path | None
    grace_seconds: float
    supervised: bool
    """False in a pod in which nobody takes what is reported."""


def read_place(environ: Mapping[str, str]) -> Place:
    """The place that an environment describes.

    Raises:
        ConfigError: a number is none.
    """
    world_size = _number(environ, "WORLD_SIZE", 1)
    return Place(
        rank=_number(environ, "RANK", 0),
        world_size=world_size,
        nodes=max(1, world_size // max(1, _number(environ, "LOCAL_WORLD_SIZE", 1))),
        run_dir=_path(environ, Env.RUN_DIR),
        checkpoint_dir=_path(environ, Env.CHECKPOINT_DIR),
        grace_seconds=float(_number(environ, Env.GRACE_SECONDS, 30)),
        supervised=METRICS_FILE in environ,
    )


@cache
def here() -> Context:
    """The same as `context`, without waiting for anybody and without seeding anything.

    Raises:
        ConfigError: as `context`.
    """
    return read_context(os.environ)


def read_context(environ: Mapping[str, str]) -> Context:
    """The context that an environment describes.

    Raises:
        ConfigError: as `context`.
    """
    local_rank = _number(environ, "LOCAL_RANK", 0)
    local_world_size = _number(environ, "LOCAL_WORLD_SIZE", 1)
    config = read_config(environ)
    hyperparameters = config.spec.trainer.hyperparameters if config else {}
    return Context(
        rank=_number(environ, "RANK", 0),
        world_size=_number(environ, "WORLD_SIZE", 1),
        local_rank=local_rank,
        local_world_size=local_world_size,
        node_rank=_number(environ, Env.NODE_RANK, 0),
        device=devices.find(config, local_rank, local_world_size),
        hyperparameters=hyperparameters,
        inputs=_inputs(environ, config),
        splits=_splits(environ),
        output_dir=Path(environ.get(Env.OUTPUT_DIR, "output")),
        checkpoint=config.spec.checkpoint if config else None,
        job=config.metadata.name if config else "",
        uid=environ.get(Env.UID) or (config.metadata.uid if config else ""),
        run=_number(environ, Env.RUN, 1),
        attempt=_number(environ, Env.ATTEMPT, 0),
        seed=_seed(hyperparameters),
        config=config,
        run_dir=_path(environ, Env.RUN_DIR),
        checkpoint_dir=_path(environ, Env.CHECKPOINT_DIR),
        grace_seconds=float(_number(environ, Env.GRACE_SECONDS, 30)),
    )


def read_config(environ: Mapping[str, str]) -> JobConfig | None:
    """The resolved job; None outside one. Raises ConfigError where it can't be read, or is another's."""
    path = _path(environ, Env.CONFIG)
    if path is None:
        return None
    try:
        config = JobConfig.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ConfigError(f"{Env.CONFIG}={path} is not a resolved job; the operator writes it: {error}") from error
    check_identity(config, environ)
    return config


def _inputs(environ: Mapping[str, str], config: JobConfig | None) -> Folders:
    folder = _path(environ, Env.INPUT_DIR)
    names = [channel.name for channel in config.spec.inputs] if config is not None else []
    found = {name: folder / name for name in names} if folder is not None else {}
    way_out = "They are those of spec.inputs; outside a job: ctx.inputs.get(name, Path('a folder of yours'))"
    return Folders(found, what="input", way_out=way_out)


def _splits(environ: Mapping[str, str]) -> Folders:
    folder = _path(environ, "SPLITS")
    folders = {str(name): folder / name for name in SPLITS} if folder is not None else {}
    found = {name: path for name, path in folders.items() if path.is_dir()}
    way_out = "spec.data.split makes them; outside a job the variable SPLITS names a folder that holds train, test, …"
    return Folders(found, what="part", way_out=way_out)


def _path(environ: Mapping[str, str], name: str) -> Path | None:
    value = environ.get(name)
    return Path(value) if value else None


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    value = environ.get(name)
    if not value:
        return default
    try:
        return int(value)
    except ValueError:
        raise ConfigError(f"{name}={value!r} must be a whole number; the supervisor sets it") from None


def _seed(hyperparameters: Mapping[str, Any]) -> int:
    seed = hyperparameters.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise ConfigError(f"hyperparameters.seed={seed!r} must be a whole number from 0 to 2^63-1")
    return seed
