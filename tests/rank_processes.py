"""Starts a gang's rank processes as the supervisor does, for tests that need no supervisor."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from footplate.contract import Env, rendezvous_port
from footplate_trainer import exchange

PROGRAMS = Path(__file__).parent / "programs"
Result = dict[str, Any]
UID = "8a6e0804-2bd0-4672-b79d-d97027f9071a"


@dataclass
class Job:
    """A job of one run, whose folders all lie in `root`."""

    root: Path
    entrypoint: str
    world_size: int
    hyperparameters: Mapping[str, Any]
    checkpoint: Mapping[str, Any] | None = None
    run: int = 1
    uid: str = UID
    folder: Path = PROGRAMS
    """Where the entrypoint is."""
    output_uri: str = ""
    grace_seconds: int = 30
    run_policy: Mapping[str, Any] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    """What the job's Secrets bring."""
    spec: Mapping[str, Any] = field(default_factory=dict)
    """What else its spec says."""

    def start(self, attempt: int, *, ranks: Sequence[int] | None = None) -> "Gang":
        """Starts the ranks of an attempt, all unless some are named, each as a node of its own."""
        numbers = range(self.world_size) if ranks is None else ranks
        address = _address(self.root)
        port = rendezvous_port(self.uid, self.run, attempt)
        processes = [self._start_rank(rank, attempt, address=address, port=port) for rank in numbers]
        return Gang(processes, [self.run_dir(rank, attempt) for rank in numbers])

    def run_dir(self, rank: int, attempt: int) -> Path:
        return self.root / f"attempt-{attempt}" / f"node-{rank}"

    @property
    def output(self) -> Path:
        return self.root / "output"

    def prepare(self, rank: int, attempt: int, *, address: str = "", port: int | None = None) -> dict[str, str]:
        """Makes a rank's folder, and returns its environment."""
        run_dir = self.run_dir(rank, attempt)
        run_dir.mkdir(parents=True)
        config = run_dir / "job.json"
        config.write_text(json.dumps(self._config()))
        return {
            **os.environ,
            **self.environ,
            Env.CONFIG: str(config),
            Env.UID: self.uid,
            Env.RUN: str(self.run),
            Env.ATTEMPT: str(attempt),
            Env.NODE_RANK: str(rank),
            Env.RUN_DIR: str(run_dir),
            Env.CHECKPOINT_DIR: str(run_dir / "staging"),
            Env.OUTPUT_DIR: str(self.output),
            Env.GRACE_SECONDS: str(self.grace_seconds),
            "RANK": str(rank),
            "LOCAL_RANK": "0",
            "WORLD_SIZE": str(self.world_size),
            "LOCAL_WORLD_SIZE": "1",
            "MASTER_ADDR": address or _address(self.root),
            "MASTER_PORT": str(rendezvous_port(self.uid, self.run, attempt) if port is None else port),
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def _start_rank(self, rank: int, attempt: int, *, address: str, port: int) -> subprocess.Popen[bytes]:
        run_dir, environ = self.run_dir(rank, attempt), self.prepare(rank, attempt, address=address, port=port)
        with (run_dir / "log").open("wb") as log:
            command = [sys.executable, "-m", "footplate_trainer.rank.program"]
            return subprocess.Popen(command, env=environ, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT)

    def _config(self) -> dict[str, Any]:
        spec: dict[str, Any] = {
            "trainer": {
                "image": "trainer:test",
                "entrypoint": self.entrypoint,
                "hyperparameters": dict(self.hyperparameters),
            },
            "nodes": self.world_size,
            "runPolicy": dict(self.run_policy),
            **self.spec,
        }
        if self.checkpoint is not None:
            spec["checkpoint"] = {"uri": f"file://{self.root}/checkpoints", **self.checkpoint}
        if self.output_uri:
            spec["output"] = {"uri": self.output_uri}
        metadata = {"name": "exact", "namespace": "test", "uid": self.uid}
        return {"metadata": metadata, "run": self.run, "spec": spec}


def result_of(job: Job) -> Result:
    """What rank 0 of `exact.py` ended with. Others have their own batch norm statistics and losses, as is usual."""
    result: Result = json.loads((job.output / "result-0.json").read_text())
    return result


class Gang:
    """The running ranks of one attempt. Leaves no process behind."""

    def __init__(self, ranks: list[subprocess.Popen[bytes]], run_dirs: list[Path]) -> None:
        self.ranks = ranks
        self.run_dirs = run_dirs

    def __enter__(self) -> "Gang":
        return self

    def __exit__(self, *_: object) -> None:
        self.send(signal.SIGKILL)
        for rank in self.ranks:
            rank.wait()

    def send(self, number: signal.Signals) -> None:
        for rank in self.ranks:
            rank.send_signal(number)

    def steps(self) -> list[int]:
        """The last step in each rank's heartbeat; -1 where there is none yet."""
        beats = [exchange.read_heartbeats(run_dir) for run_dir in self.run_dirs]
        return [next(iter(beats_here.values())).step if beats_here else -1 for beats_here in beats]

    def wait_for_step(self, step: int) -> bool:
        """Waits until a rank has finished a step; False if all ended before."""
        self.wait_until(lambda: max(self.steps()) >= step or self.ended())
        return max(self.steps()) >= step

    def ended(self) -> bool:
        return all(rank.poll() is not None for rank in self.ranks)

    def wait(self) -> list[int]:
        """Exit codes, by rank."""
        self.wait_until(self.ended)
        return [rank.returncode for rank in self.ranks]

    def wait_until(self, condition: Callable[[], bool], *, seconds: float = 90.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"nothing happened within {seconds} s:\n{self.logs()}"
            time.sleep(0.005)

    def logs(self) -> str:
        return "\n".join(f"--- {path}\n{(path / 'log').read_text()}" for path in self.run_dirs)


def _address(root: Path) -> str:
    """A loopback address of this job's own, where the machine has more than one."""
    number = hash(str(root)) % 250 + 2
    address = f"127.83.{number}.1"
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return "127.0.0.1"
    return address
