"""What a probe, one process for each device of a pod, has found out so far. It writes all of it again at each stage, so
that the supervisor, which ends it when its time is over, knows how far it came.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from footplate.api.types import Model

MAX_BYTES = 4 * 2**20
"""Of a reading: twenty thousand links."""

Stage = Literal["starting", "device", "waiting", "network", "done"]


class Link(Model):
    """What two nodes have sent each other at the same time, in Gbit/s in each direction."""

    nodes: Annotated[tuple[int, int], Field(strict=False)]
    """Their node ranks."""
    gigabits_per_second: float


class Reading(Model):
    """Of one probe."""

    stage: Stage = "starting"
    device: str = ""
    """Its name, such as `NVIDIA H100 80GB HBM3` or `cpu`."""
    memory_bytes: int | None = None
    """What is free of the device's memory."""
    teraflops: float | None = None
    gigabits_per_second: float | None = None
    """What this node sends while all sum a tensor."""
    exchanges_with: int | None = None
    """Node rank of the partner, while two nodes are measured."""
    links: Annotated[tuple[Link, ...], Field(strict=False)] = ()
    """Of the whole gang, where it was slower than the floor."""
    least_memory_bytes: int | None = None
    least_teraflops: float | None = None
    """Of all devices of the gang."""
    unfit: str = ""
    """What speaks against this node."""
    mistake: str = ""
    """Why nothing can be said of it: the job can't run as it is written."""
    lost: str = ""
    """Why nothing can be said of it: others went away."""


def path_of(run_dir: Path, local: int) -> Path:
    """Where the probe of this device writes."""
    return run_dir / f"preflight-{local}.json"


def write(path: Path, reading: Reading) -> None:
    """Replaces it; a reader sees the old one or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(reading.model_dump_json().encode())
    temporary.replace(path)


def read(path: Path) -> Reading:
    """What the probe has written; that it is starting, where that is nothing yet."""
    try:
        with path.open("rb") as file:
            return Reading.model_validate_json(file.read(MAX_BYTES))
    except (OSError, ValidationError):
        return Reading()


class Recorder:
    """The reading so far, and its file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.reading = Reading()

    def add(self, **changes: Any) -> None:
        """Writes it with these changes."""
        self.reading = self.reading.model_copy(update=changes)
        write(self._path, self.reading)
