"""The watch over processes that do what no test can make real ones do."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

from footplate.contract import ExitCode
from footplate_trainer.supervisor import processes, watch
from footplate_trainer.supervisor.launch import plan_launches
from footplate_trainer.supervisor.pod import read_pod
from footplate_trainer.supervisor.processes import Process
from footplate_trainer.supervisor.watch import Watch
from trainer_pods import pod_environment


async def test_a_process_that_even_sigkill_does_not_end_keeps_no_verdict_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that waits for a mount that is gone."""
    monkeypatch.setattr(Process, "kill", lambda process: None)
    monkeypatch.setattr(watch, "KILL_SECONDS", 0.1)
    monkeypatch.setattr(processes, "DRAIN_SECONDS", 0.1)
    pod = read_pod(pod_environment(tmp_path, {"trainer": {"command": ["sleep", "600"]}}, grace_seconds=1))
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which is inherited
    try:
        [started] = await processes.start(plan_launches(pod, tmp_path))
    finally:
        signal.signal(signal.SIGTERM, before)
    stop = asyncio.Event()
    stop.set()
    try:
        ending = await asyncio.wait_for(Watch(pod, [started], stop).run(), 30)
    finally:
        monkeypatch.undo()
        started.kill()
        with contextlib.suppress(ChildProcessError):  # whoever has waited for it already
            await asyncio.to_thread(os.waitid, os.P_PID, started.pid, os.WEXITED | os.WNOWAIT)
        started.poll()
    assert ending.exit_code == ExitCode.STOPPED
    assert ending.error is not None
    assert "still at work near the end" in ending.error.message
