"""Functions that end in the ways that training code ends."""

import sys
import threading
import time

import torch
import torch.distributed as dist

from footplate_trainer import Context, report


def well(ctx: Context) -> None:
    report(step=1, loss=0.5)


def raises(ctx: Context) -> None:
    if ctx.rank == ctx.world_size - 1:
        raise ValueError("the data has 3 columns, not 4")
    dist.all_reduce(torch.zeros(1))


def exits_with_7(ctx: Context) -> None:
    sys.exit(7)


def exits_with_0(ctx: Context) -> None:
    sys.exit(0)


def trains_slowly(ctx: Context) -> None:
    """Knows nothing of checkpoints, so nothing is lost by ending it at once."""
    for step in range(1, 1000):
        report(step=step)
        time.sleep(0.1)


def leaves_a_thread(ctx: Context) -> None:
    """As a prefetcher that nobody stops."""
    report(step=1, loss=0.5)
    threading.Thread(target=time.sleep, args=(ctx.hyperparameters["seconds"],), name="prefetcher").start()


not_a_function = 3


class Unspeakable(Exception):
    """Whoever asks what it says gets another error."""

    def __str__(self) -> str:
        raise RuntimeError("no words for it")


def cannot_be_said(ctx: Context) -> None:
    raise Unspeakable


def comes_from_itself(ctx: Context) -> None:
    error = ValueError("the data has 3 columns, not 4")
    raise error from error
