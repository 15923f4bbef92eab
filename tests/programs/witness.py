"""A witness of the training outside of its pods: which attempt took which step, when, and what came of it, in order."""

import time
from pathlib import Path

from footplate_trainer import Context


def witness(ctx: Context, step: int, outcome: float) -> None:
    """Rank 0 adds a line to the file that the hyperparameter `witness` names, where there is one."""
    path = ctx.hyperparameters.get("witness")
    if path is not None and ctx.rank == 0:
        with Path(path).open("ab", buffering=0) as file:  # one write, which appends as a whole
            file.write(f"{ctx.attempt} {step} {outcome.hex()} {time.time()}\n".encode())
