"""Installs what a job requires, once a node, before its program starts.

It goes into a virtual environment in scratch that lies over the image's packages: what the image has counts, and is
never touched; what is installed is found first. Its Python runs the ranks, and is first on a command's PATH. A folder
on PYTHONPATH would come before the standard library, and `pip install --target` would bring torch a second time.
"""

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.metadata import PackageNotFoundError, distributions, requires
from itertools import islice
from pathlib import Path
from site import getsitepackages

import structlog

from footplate.api.packages import WHEELS, PipPolicy
from footplate_trainer.errors import ConfigError, StorageUnavailable
from footplate_trainer.storage.authorities import bundle_with_public
from footplate_trainer.supervisor import pip_words
from footplate_trainer.supervisor.pod import Pod
from footplate_trainer.supervisor.requirements import FIELD, FILE, Line, check_policy, read_requirements

LIMIT_SECONDS = 1800.0
"""A build may run any code, and hang."""
TOLD_SECONDS = 60.0
"""What takes longer is told while it lasts."""
TAIL_BYTES = 65_536
MAX_UNREACHED = 5

KEPT = ("torch", "torchvision", "torchaudio", "triton", "numpy", "nvidia-*", "cuda-*", "tensorflow", "jax", "jaxlib")
"""Packages of the image that were built for each other and for its CUDA: no requirement replaces them."""
OPTIONS = ("--disable-pip-version-check", "--no-input", "--no-color", "--progress-bar=off", "--no-warn-script-location")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Installed:
    """An environment with what was installed for the job, over what the image has."""

    folder: Path
    versions: Mapping[str, str]
    """What was installed, by name."""

    @property
    def python(self) -> Path:
        """The interpreter that finds it."""
        return self.folder / "bin/python"

    @property
    def site(self) -> Path:
        """The folder of the packages."""
        return _site_of(self.folder)


def install(
    pod: Pod, source: Path, *, tell: Callable[[str], object], seconds: float = LIMIT_SECONDS
) -> Installed | None:
    """Installs what the job requires; None where it requires nothing that the image doesn't have.

    Args:
        pod: this one, whose channel of wheels is complete.
        source: the folder of the user's code.
        tell: tells the user something while the job runs.
        seconds: after which pip is ended.

    Raises:
        ConfigError: it can't be installed, with what pip says, or comes from where the runtime doesn't allow.
        StorageUnavailable: the index is away, and was there for an earlier attempt.
    """
    policy = pod.config.pip or PipPolicy()
    lines = read_requirements(pod.spec.trainer.requirements, source)
    wanted = [line for line in lines if not line.constrains]
    if not wanted:
        return None
    if policy.install == "never":
        tell(f"{_name(pod)} isn't installed: the policy of the job's runtime lets jobs have what is in their image")
        return None
    check_policy(lines, policy)
    if importlib.util.find_spec("pip") is None:
        raise ConfigError(
            f"{_name(pod)} can't be installed: trainer.image has no pip; install 'footplate[supervisor]' there, which "
            f"brings it, or say with {FIELD.removeprefix('spec.')}: [] that nothing is to be installed"
        )
    began, folder = time.monotonic(), pod.work_dir / "packages"
    _make_environment(folder)
    command = [sys.executable, "-m", "pip", f"--python={folder}/bin/python", "install", *OPTIONS]
    command += _from_where(pod, policy) + _write_lines(pod.work_dir, lines)
    status, output = _run(command, _environment(pod, policy), source, seconds=seconds, tell=tell)
    if status != 0:
        if pip_words.found_nothing(output):
            output = _why_nothing_was_found(pod, policy, command, source) + output
        raise _failure(pod, wanted, status, output, seconds=seconds)
    versions = installed_versions([str(_site_of(folder))])
    log.info("requirements installed", packages=versions, seconds=round(time.monotonic() - began, 1))
    if not versions:
        return None
    _copy_programs(folder)
    return Installed(folder, versions)


def installed_versions(folders: Sequence[str]) -> dict[str, str]:
    """Versions by name, the first folder's where several have a package. What an interrupted `pip install` leaves
    behind (`~orch-2.13.0.dist-info`) has no name or no version, and doesn't count.
    """
    versions: dict[str, str] = {}
    for package in distributions(path=list(folders)):
        with contextlib.suppress(Exception):  # each version of Python says in its own way that there is no METADATA
            if package.name and package.version:
                versions.setdefault(package.name, package.version)
    return dict(sorted(versions.items()))


def constraints(versions: Mapping[str, str], own: Iterable[str]) -> list[str]:
    """What no requirement may change: the image's own builds, and what our library needs beside the user's code.

    Args:
        versions: what the image has.
        own: what footplate's metadata says it requires.
    """
    kept = [
        f"{name}=={version}" for name, version in versions.items() if any(fnmatch(_key(name), each) for each in KEPT)
    ]
    needed = (text.partition(";") for text in own)
    return kept + [name.strip() for name, _, marker in needed if "extra" not in marker or "supervisor" in marker]


def _key(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _name(pod: Pod) -> str:
    return FIELD if pod.spec.trainer.requirements is not None else f"{FILE} of the source"


def _or_not_at_all(pod: Pod) -> str:
    """Who only has such a file among the code, as for a laptop, hasn't asked for anything to be installed."""
    asked = pod.spec.trainer.requirements is not None
    return (
        "" if asked else f". Where the image has all that is needed, {FIELD.removeprefix('spec.')}: [] installs nothing"
    )


def _site_of(folder: Path) -> Path:
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "installed_base": str(folder)}))


def _make_environment(folder: Path) -> None:
    """An environment over the packages that this process sees: one in an environment would see the base's alone."""
    shutil.rmtree(folder, ignore_errors=True)
    venv.EnvBuilder(symlinks=True).create(folder)
    lines = [f"import site; site.addsitedir({path!r})\n" for path in getsitepackages()]
    (_site_of(folder) / "_image.pth").write_text("".join(lines), encoding="utf-8")


def _copy_programs(folder: Path) -> None:
    """The image's own programs in Python, torchrun and the like, started by the environment's Python."""
    python = Path(sys.executable)
    for path in python.parent.iterdir():
        target = folder / "bin" / path.name
        if target.exists() or not path.is_file():
            continue
        first, _, rest = path.read_bytes().partition(b"\n")
        program = os.fsdecode(first[2:].strip())
        if first.startswith(b"#!") and program and Path(program).resolve() == python.resolve():
            # A shell's first, since the kernel takes but short paths without blanks after #!.
            start = f"#!/bin/sh\n'''exec' \"{folder}/bin/python\" \"$0\" \"$@\"\n' '''\n"
            target.write_bytes(os.fsencode(start) + rest)
            target.chmod(0o755)


def _write_lines(work_dir: Path, lines: Sequence[Line]) -> list[str]:
    """Puts the lines into two files for pip, and returns the arguments that name them."""
    try:
        own = requires("footplate") or []
    except PackageNotFoundError:
        own = []
    bounds = constraints(installed_versions(sys.path), own) + [line.text for line in lines if line.constrains]
    arguments = []
    for option, name, texts in (
        ("--constraint", "constraints.txt", bounds),
        ("--requirement", FILE, [line.text for line in lines if not line.constrains]),
    ):
        path = work_dir / name
        path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
        arguments += [option, str(path)]
    return arguments


def _from_where(pod: Pod, policy: PipPolicy) -> list[str]:
    """Options that say where packages come from; none where the image and PIP_* say it."""
    options = ["--isolated"] if policy.is_closed else []
    wheels = any(channel.name == WHEELS for channel in pod.spec.inputs)
    if wheels:
        options += ["--find-links", str(pod.input_dir / WHEELS)]
    if wheels or policy.install == "fromFiles":
        options.append("--no-index")
    elif policy.indexes:
        first, *more = policy.indexes
        options += ["--index-url", first, *(word for index in more for word in ("--extra-index-url", index))]
    if (bundle := bundle_with_public(pod.work_dir)) is not None:
        options += ["--cert", str(bundle)]
    return options if "PIP_CACHE_DIR" in os.environ else [*options, "--no-cache-dir"]


def _environment(pod: Pod, policy: PipPolicy) -> dict[str, str]:
    """Where the runtime says whence packages come, pip's own settings, the image's and the user's, don't count."""
    scratch = pod.work_dir / ".pip"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    closed = {"PIP_CONFIG_FILE": os.devnull} if policy.is_closed else {}
    return {**os.environ, "TMPDIR": str(scratch), "PYTHONUNBUFFERED": "1", "LC_ALL": "C.UTF-8", **closed}


def _run(
    command: Sequence[str],
    environ: Mapping[str, str],
    folder: Path,
    *,
    seconds: float,
    tell: Callable[[str], object],
) -> tuple[int | None, str]:
    """Runs pip, and returns its exit code, None where it took too long, and the end of what it said."""
    began, told, output = time.monotonic(), False, Path(environ["TMPDIR"]) / "output"
    with output.open("wb") as sink, output.open("rb") as said:
        process = subprocess.Popen(
            command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, process_group=0
        )
        status: int | None = None
        tail = b""
        while status is None and (lasted := time.monotonic() - began) < seconds:
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = process.wait(min(0.5, seconds - lasted))
            tail = (tail + _copy(said.read()))[-TAIL_BYTES:]
            if not told and lasted > TOLD_SECONDS:
                told = True
                at = pip_words.last_line(_said(tail))
                tell(f"packages are being installed, and pip is at: {at!r}. It is given {seconds:g} s in all")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # builds may have left something behind
        process.wait()
    shutil.rmtree(environ["TMPDIR"], ignore_errors=True)
    return status, _said(tail)


def _why_nothing_was_found(pod: Pod, policy: PipPolicy, command: Sequence[str], source: Path) -> str:
    """Why indexes gave nothing. Pip says that in its detailed log alone; else, that there is no such package. A run
    with that log shows nothing of builds, so it is another one.
    """
    details = pod.work_dir / "pip.log"
    details.unlink(missing_ok=True)
    again = [*command, "--dry-run", "--quiet", "--log", str(details)]
    _run(again, _environment(pod, policy), source, seconds=TOLD_SECONDS, tell=log.info)
    if not details.exists():
        return ""
    with details.open(encoding="utf-8", errors="replace") as lines:
        return "".join(islice((line for line in lines if "Could not fetch URL" in line), MAX_UNREACHED))


def _said(tail: bytes) -> str:
    return tail.decode(errors="replace")


def _copy(data: bytes) -> bytes:
    """Shows pip's words in the log."""
    with contextlib.suppress(OSError, ValueError):  # a log that nobody takes
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    return data


def _failure(
    pod: Pod, lines: Sequence[Line], status: int | None, said: str, *, seconds: float
) -> ConfigError | StorageUnavailable:
    name = _name(pod)
    if status is None:
        return ConfigError(
            f"{name} wasn't installed in {seconds:g} s; pip was at: {pip_words.last_line(said)!r}. What is built from "
            "source may run any code, and hang: name a version that has a wheel, or have it in trainer.image"
            f"{_or_not_at_all(pod)}"
        )
    if status < 0:
        return ConfigError(
            f"{name} wasn't installed: pip was ended by signal {-status}; if memory is short, raise "
            "resources.limits.memory"
        )
    words = pip_words.sentence(said, file=pod.work_dir / FILE, lines=lines)
    message = f"{name} can't be installed: {words}; {pip_words.way_out(said)}{_or_not_at_all(pod)}"
    return StorageUnavailable(message) if pod.attempt > 0 and pip_words.is_away(said) else ConfigError(message)
