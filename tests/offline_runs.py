"""What runs that a tracker's library writes offline are tested with."""

import sys
from collections.abc import Iterable
from pathlib import Path

from footplate.records import Line
from footplate_trainer.storage.store import Store
from footplate_trainer.supervisor.tracking.offline import Offline
from footplate_trainer.supervisor.tracking.tracker import Subject

PATIENT = """
import runpy
from footplate_trainer.supervisor import lifecycle
lifecycle.TRACKING_SECONDS = lifecycle.KEEPING_SECONDS = 80.0
runpy.run_module("footplate_trainer", run_name="__main__", alter_sys=True)
"""
"""A supervisor that waits for its trackers as long as a busy machine may take to write a run."""


def line(step: int, **metrics: float) -> Line:
    """What was reported at a step: by default its number as the loss."""
    return Line(1e9 + step, step, None, metrics or {"loss": float(step)})


def subject() -> Subject:
    """The first attempt of a second run."""
    return Subject(
        namespace="team", job="digits", uid="0123456789", run=2, attempt=0, image="i", parameters={"lr": "1"}
    )


def offline(tmp_path: Path, library: str, program: str, lines: Iterable[tuple[int, Line]]) -> Offline:
    """One that writes by this Python, which has none of these libraries, and stores in `stored`."""
    return Offline(
        library=library,
        program=program,
        uri=f"file://{tmp_path}/stored",
        open_store=lambda uri: Store.open(uri),
        lines=lambda: lines,
        python=lambda: Path(sys.executable),
    )
