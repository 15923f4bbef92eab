"""`footplate operator`, on a wall clock that the test sets: it is as far ahead as the file of the first argument says.

python launch.py CLOCK_FILE operator --port=…
"""

import mmap
import struct
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

AHEAD = struct.Struct("d")


def _set_clock(path: Path) -> None:
    from footplate.machinery import clock

    with path.open("rb") as file:
        ahead = mmap.mmap(file.fileno(), AHEAD.size, prot=mmap.PROT_READ)
    true_time = time.time

    def told() -> float:
        return true_time() + float(AHEAD.unpack(ahead[: AHEAD.size])[0])

    time.time = told
    clock.wall_time = lambda: datetime.fromtimestamp(told(), UTC)


if __name__ == "__main__":
    from footplate.cli.main import app

    _set_clock(Path(sys.argv.pop(1)))
    app()
