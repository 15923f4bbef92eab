"""Children of the devcluster keep their exit codes, whoever signals them when."""

import asyncio
import signal
import sys
from pathlib import Path

from footplate.devcluster.process import Keeper


async def test_a_signal_to_a_child_that_has_just_ended_leaves_its_exit_code_alone(tmp_path: Path) -> None:
    """asyncio's watcher waits for the child in a thread: who else does may be faster, and has the exit code then."""
    async with Keeper() as keeper:
        for code in range(20):
            argv = [sys.executable, "-I", "-S", "-c", f"import os; os._exit({code})"]
            child = await keeper.start(argv, env={}, cwd=tmp_path, log=tmp_path / str(code))
            while child.running:
                child.signal(signal.SIGCONT)
                await asyncio.sleep(0)
            assert await child.wait() == code
