"""Builders for trainer pods: the folders and the environment that the operator would give them."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from footplate.contract import Env, Verdict, parse_verdict

T = TypeVar("T")


def pod_environment(
    root: Path,
    spec: Mapping[str, Any],
    *,
    job: str = "digits",
    namespace: str = "team",
    uid: str = "uid-1",
    run: int = 1,
    attempt: int = 0,
    node_rank: int = 0,
    nodes: int = 1,
    processes: int = 1,
    grace_seconds: int = 20,
    files: Mapping[str, str] | None = None,
    metrics_address: str = "",
    preflight: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Writes job.json under `root` and returns the pod's environment. `spec` is a TrainingJob's; `files` are those of
    source.configMap; `preflight` is its runtime's.
    """
    source = root / "source"
    for folder in (source, root / "run"):
        folder.mkdir(parents=True, exist_ok=True)
    for name, text in (files or {}).items():
        (source / name).write_text(text)
    trainer = {"image": "trainer:test", **spec.get("trainer", {})}
    if files is not None:
        trainer.setdefault("source", {"configMap": {"name": "code"}})
    config = {
        "metadata": {"name": job, "namespace": namespace, "uid": uid},
        "run": run,
        "spec": {**spec, "trainer": trainer, "nodes": nodes},
        **({"preflight": preflight} if preflight is not None else {}),
    }
    (root / "job.json").write_text(json.dumps(config))
    is_command = trainer.get("command") is not None
    rendezvous = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    place = {"RANK": str(node_rank), "NODE_RANK": str(node_rank), "WORLD_SIZE": str(nodes)}
    return {
        Env.CONFIG: str(root / "job.json"),
        Env.JOB: job,
        Env.NAMESPACE: namespace,
        Env.UID: uid,
        Env.RUN: str(run),
        Env.ATTEMPT: str(attempt),
        Env.NODE_RANK: str(node_rank),
        Env.NODES: str(nodes),
        Env.PROCESSES_PER_NODE: str(processes),
        Env.GRACE_SECONDS: str(grace_seconds),
        Env.METRICS_ADDRESS: metrics_address,
        Env.INPUT_DIR: str(root / "scratch/input"),
        Env.CHECKPOINT_DIR: str(root / "scratch/checkpoint"),
        Env.OUTPUT_DIR: str(root / "scratch/output"),
        Env.LOGS_DIR: str(root / "scratch/logs"),
        Env.WORK_DIR: str(root / "scratch/work"),
        Env.SOURCE_DIR: str(source),
        Env.RUN_DIR: str(root / "run"),
        Env.TERMINATION_LOG: str(root / "termination-log"),
        "PYTHONUNBUFFERED": "1",
        **(rendezvous if nodes * (1 if is_command else processes) > 1 else {}),
        **(place if is_command and nodes > 1 else {}),
    }


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@dataclass(frozen=True)
class Done:
    """How a pod ended: its exit code, its termination message and its log."""

    exit_code: int
    verdict: Verdict
    log: str


class RunningPod:
    """A real supervisor process in a pod's environment."""

    def __init__(
        self,
        root: Path,
        environment: Mapping[str, str],
        *,
        through: Sequence[str] = (),
        python: str = sys.executable,
        program: Sequence[str] = ("-m", "footplate_trainer"),
        arguments: Sequence[str] = (),
    ) -> None:
        self._root = root
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*through, python, *program, *arguments],
                env={**os.environ, **environment},
                cwd=root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def log_path(self) -> Path:
        """The container's log."""
        return self._root / "log.txt"

    def wait_for(self, what: Callable[[], T | None], *, seconds: float = 60) -> T:
        """Waits until `what` returns something, and returns it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            if (found := what()) is not None:
                return found
            time.sleep(0.02)
        raise AssertionError(f"not seen within {seconds} s, or the pod ended; its log:\n{self.log_path.read_text()}")

    def kill(self) -> None:
        """Ends all of the pod at once, as when its node dies."""
        self.process.send_signal(signal.SIGSTOP)  # it would tell what it sees of its ranks' end
        for pid in [*descendants(self.process.pid), self.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def wait_for_log(self, text: str, *, seconds: float = 60) -> None:
        """Waits until the container's log holds a text."""
        self.wait_for(lambda: True if text in self.log_path.read_text() else None, seconds=seconds)

    def finish(self, *, seconds: float = 90) -> Done:
        """Waits for the end."""
        try:
            exit_code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the pod did not end in {seconds} s; its log:\n{self.log_path.read_text()}") from None
        log = self.log_path.read_text()
        verdict = parse_verdict((self._root / "termination-log").read_text())
        assert verdict is not None, f"no verdict; the log:\n{log}"
        assert verdict.exit_code == exit_code
        return Done(exit_code, verdict, log)


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, listed.read_text().split()):
            found += [child, *descendants(child)]
    return found
