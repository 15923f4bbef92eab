"""What torch's Flight Recorder says of the collectives that ranks wait in: which, and since which line of the program.

torch keeps the last two thousand collectives of each rank of a GPU gang. NCCL's watchdog writes them to a file when a
collective has timed out, and whenever something is written to the rank's pipe, which the watch does when ranks hang. On
GPUs that is better evidence than stacks, since Python runs ahead of what the device waits in.
"""

import errno
import io
import os
import pickle
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

from footplate.causes import is_library

WRITE_SECONDS = 4.0
"""How long ranks may take: the watchdog looks at its pipe once a second."""
MAX_DUMP_BYTES = 64 * 2**20
_DUMP, _PIPE = "rank-", "pipe-"
_SETTINGS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("TORCH_FR_BUFFER_SIZE", "TORCH_NCCL_TRACE_BUFFER_SIZE"), "2000"),
    (("TORCH_FR_DUMP_TEMP_FILE", "TORCH_NCCL_DEBUG_INFO_TEMP_FILE"), "{folder}/" + _DUMP),
    (("TORCH_NCCL_DEBUG_INFO_PIPE_FILE",), "{folder}/" + _PIPE),
    (("TORCH_NCCL_DUMP_ON_TIMEOUT",), "1"),
)
"""Variables, the newest name first, and their values."""
RENAMED = (2, 9)
"""The version of torch since which it warns of the old names."""


def folder_in(work_dir: Path) -> Path:
    """Where a pod's recordings lie: on its disk, since they may take some megabytes a rank."""
    return work_dir / "flight-recorder"


def make_folder(work_dir: Path) -> None:
    """Makes it, without what an earlier gang has left."""
    shutil.rmtree(folder_in(work_dir), ignore_errors=True)
    folder_in(work_dir).mkdir(parents=True)


def settings(folder: Path, environ: Mapping[str, str], torch_version: str) -> dict[str, str]:
    """The environment by which ranks record; without what the user has set."""
    numbers = [int(part) for part in torch_version.split(".")[:2] if part.isdecimal()]
    name = 0 if tuple(numbers) >= RENAMED else -1
    return {
        names[name]: value.format(folder=folder)
        for names, value in _SETTINGS
        if not any(known in environ for known in names)
    }


def torch_version() -> str:
    """Of the torch that ranks will import; empty where there is none."""
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return ""


@dataclass(frozen=True, slots=True)
class Collective:
    """One that a rank has begun, and that isn't done."""

    group: str
    number: int
    """Of the group's collectives, alike on all its ranks."""
    operation: str
    where: str
    """The line of the program that called it."""

    def __str__(self) -> str:
        caller = f", called from {self.where}" if self.where else ""
        return f"collective {self.number} of {self.group}, {self.operation}{caller}"


@dataclass(frozen=True, slots=True)
class Recording:
    """What a rank's recorder holds."""

    waits_in: tuple[Collective, ...] = ()
    """The oldest first."""
    begun: Mapping[str, int] = field(default_factory=dict)
    """Number of the last collective that was begun, by group."""

    def __str__(self) -> str:
        if self.waits_in:
            return f"waits in {self.waits_in[0]}"
        last = ", ".join(f"{number} of {group}" for group, number in sorted(self.begun.items()))
        return f"waits in no collective; the last it has begun: {last or 'none'}"


def waits(rank: int, recordings: Mapping[int, Recording]) -> bool | None:
    """Whether a rank waits for others in a collective, as it does if it has begun all that they have; None without a
    recording of it.
    """
    mine = recordings.get(rank)
    if mine is None:
        return None
    if not mine.waits_in:
        return False
    others = [one for other, recording in recordings.items() if other != rank for one in recording.waits_in]
    return all(mine.begun.get(other.group, other.number) >= other.number for other in others)


def ask(folder: Path, ranks: Iterable[int]) -> bool:
    """Has ranks write what they hold; False where none has a recorder that listens."""
    asked = False
    for rank in ranks:
        try:
            pipe = os.open(folder / f"{_PIPE}{rank}.pipe", os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENXIO):
                raise
            continue
        os.write(pipe, b"1")
        os.close(pipe)
        asked = True
    return asked


def read(folder: Path) -> dict[int, Recording]:
    """What ranks have written, by rank; without what can't be read."""
    found = {}
    for path in sorted(folder.glob(f"{_DUMP}*")):
        number = path.name.removeprefix(_DUMP)
        if number.isdecimal() and path.is_file() and path.stat().st_size <= MAX_DUMP_BYTES:
            recording = parse(path.read_bytes())
            if recording is not None:
                found[int(number)] = recording
    return found


def parse(content: bytes) -> Recording | None:
    """A dump of torch's recorder; None of anything else. It is a pickle, of which only plain values are taken."""
    try:
        dump = _PlainUnpickler(io.BytesIO(content)).load()
        entries = [entry for entry in dump["entries"] if not entry["is_p2p"]]
        waits_in = tuple(_collective(e) for e in entries if not e["retired"] and e["state"] != "completed")
        begun: dict[str, int] = {}
        for entry in entries:
            group = _group(entry)
            begun[group] = max(begun.get(group, 0), entry["collective_seq_id"])
    except Exception:  # cut, of another version, or not of torch at all
        return None
    return Recording(tuple(sorted(waits_in, key=lambda one: one.number)), begun)


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"{module}.{name} is no plain value")


def _group(entry: Mapping[str, Any]) -> str:
    name, description = entry["process_group"]
    return str(description if description and description != "undefined" else name)


def _collective(entry: Mapping[str, Any]) -> Collective:
    frames = [frame for frame in entry.get("frames", ()) if not is_library(frame["filename"])]
    where = f"{frames[0]['filename']} line {frames[0]['line']} in {frames[0]['name']}" if frames else ""
    operation = f"{entry['profiling_name']} of {entry['input_sizes']} ({entry['state']})"
    return Collective(_group(entry), entry["collective_seq_id"], operation, where)
