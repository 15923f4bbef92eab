"""Kills the first process of a container of this node, as the kernel would: argv[1] is the container's ID."""

import os
import signal
import sys
from pathlib import Path


def is_first_in(container: str, process: Path) -> bool:
    try:
        status = (process / "status").read_text()
        inside = next(line.split()[-1] for line in status.splitlines() if line.startswith("NSpid:"))
        return inside == "1" and container in (process / "cgroup").read_text()
    except OSError:  # ended meanwhile
        return False


[pid] = [int(each.name) for each in Path("/proc").glob("[0-9]*") if is_first_in(sys.argv[1], each)]
os.kill(pid, signal.SIGKILL)
