"""Functions that end in the ways that training code ends."""

import asyncio
import atexit
import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from footplate_trainer import Context, checkpoint, exchange, report
from footplate_trainer.errors import UserError
from footplate_trainer.rank.gang import all_ranks


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


def completes(ctx: Context) -> None:
    """A training that is due to leave a checkpoint of its last step."""
    model = torch.nn.Linear(2, 1)
    state = checkpoint.restore(model=model)
    while state.step < 2:
        state.step += 1
        report(step=state.step, loss=0.5)
        checkpoint.maybe_save(state)
    checkpoint.save(state)
    if (how := ctx.hyperparameters.get("how")) == "raises":
        raise ValueError("the data has 3 columns, not 4")
    if how == "stops":
        os.kill(os.getpid(), signal.SIGTERM)
        while checkpoint.maybe_save(state) is not checkpoint.STOP:
            time.sleep(0.01)
            state.step += 1


def exits(ctx: Context) -> None:
    """With what `sys.exit` is given, which may be anything."""
    codes = {
        "none": None,
        "true": True,
        "false": False,
        "text": "the data has 3 columns",
        "float": 0.0,
        "numpy": np.int64(0),
        "tensor": torch.tensor(0),
        "tensors": torch.zeros(2),
        "256": 256,
        "2**40": 2**40,
        "2**70": 2**70,
        "-1": -1,
        "-256": -256,
        "zero that says it is one": Fickle(0),
        "one that says it is zero": Fickle(1),
    }
    how = ctx.hyperparameters["code"]
    sys.exit(codes.get(how, how))


class Fickle(int):
    def __eq__(self, other: object) -> bool:
        return not super().__eq__(other)

    __hash__ = int.__hash__


class Unreadable(SystemExit):
    @property
    def code(self) -> int:  # type: ignore[override]
        raise RuntimeError("no code for it")


class NoSuccess(UserError):
    """Says of itself with which code its process ends."""


class Unpicklable(OSError):
    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second} don't fit")


def raises_odd(ctx: Context) -> None:
    how = ctx.hyperparameters["how"]
    if how.startswith("claims "):
        NoSuccess.exit_code = {"0": 0, "256": 256, "text": "0", "none": None}[how.removeprefix("claims ")]  # type: ignore[assignment]
        raise NoSuccess("no")
    report(step=-1, epoch=torch.zeros(2), loss="a text", other=np.array([1, 2]))
    odd: dict[str, BaseException] = {
        "unspeakable": Unspeakable(),
        "surrogate": ValueError("caf\udce9 \x00"),
        "interrupt": KeyboardInterrupt(),
        "generator": GeneratorExit(),
        "cancelled": asyncio.CancelledError(),
        "group": BaseExceptionGroup("several", [KeyboardInterrupt(), ValueError("no")]),
        "memory": MemoryError(),
        "recursion": RecursionError(),
        "no code": Unreadable(),
        "unpicklable": Unpicklable(1, 2),
        "long": ValueError("x" * 10_000_000),
    }
    raise odd[how]


def leaves_with_0(ctx: Context) -> None:
    """Past everything that comes after a program's end."""
    how = ctx.hyperparameters["how"]
    if how == "os._exit":
        os._exit(0)
    if how == "exec":
        os.execv("/bin/true", ["true"])
    if how == "thread":
        threading.Thread(target=os._exit, args=(0,)).start()
        time.sleep(60)
    if how == "thread after the end":
        threading.Thread(target=lambda: (time.sleep(0.5), os._exit(0))).start()
    if how == "libc":
        ctypes.CDLL(None)._exit(0)
    if how.startswith("atexit"):
        atexit.register(os._exit, 0)
    if how == "after its fork has come to the end":
        atexit.register(lambda: os.fork() and os.wait() and os._exit(0))
    if how == "atexit of a failure":
        raise ValueError("the data has 3 columns, not 4")


def registers(ctx: Context) -> None:
    """A handler of atexit, as trackers have one."""
    handler = ctx.hyperparameters["handler"]
    if handler in ("writes", "writes in a fork"):
        atexit.register(_append, ctx.output_dir / "tail", f"{os.getpid()}\n")
    elif handler == "hangs":
        atexit.register(time.sleep, 600)
    elif handler == "raises":
        atexit.register(_fail_to_save)
    elif handler == "a library's raises":
        atexit.register(json.loads, "{")
    elif handler.startswith("exits with "):
        atexit.register(sys.exit, int(handler.removeprefix("exits with ")))
    if handler == "writes in a fork":
        if os.fork() == 0:
            raise ValueError("no rank")
        os.wait()
    if (how := ctx.hyperparameters.get("how")) == "raises":
        raise ValueError("the data has 3 columns, not 4")
    if how == "stops":
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)


def _append(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(text)


def _fail_to_save() -> None:
    raise OSError(28, "No space left on device")


def spoils(ctx: Context) -> None:
    """What its process needs for its end."""
    how = ctx.hyperparameters["how"]
    if how == "closes its output":
        sys.stdout.close()
        sys.stderr.close()
    elif how == "closes its descriptors":
        os.closerange(0, 3)
    elif how == "takes all descriptors":
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
        with contextlib.suppress(OSError):
            while True:
                KEPT.append(os.open(os.devnull, os.O_RDONLY))
    elif how == "fills the run folder":
        exchange._replace = _full  # type: ignore[assignment]
    elif how == "forks":
        if os.fork() == 0:
            return
        os.wait()
    if ctx.hyperparameters.get("then") == "raises":
        raise ValueError("the data has 3 columns, not 4")


KEPT: list[object] = []


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def gives_sigterm_up(ctx: Context) -> None:
    """As code that uses an event loop's signal handlers for a while; then trains until it is told to stop."""
    state = checkpoint.restore(model=torch.nn.Linear(2, 1))

    async def wait() -> None:
        loop = asyncio.get_running_loop()
        for number in ctx.hyperparameters["signals"]:
            loop.add_signal_handler(number, print)
        for number in ctx.hyperparameters["signals"]:
            loop.remove_signal_handler(number)

    asyncio.run(wait())
    for _ in range(500):
        if checkpoint.maybe_save(state) is checkpoint.STOP:
            return
        state.step += 1
        if state.step == 5:
            checkpoint.should_stop()
            time.sleep(1.2)
        if state.step == 10:
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.02)


def fails_together(ctx: Context) -> None:
    """On one rank, with an exception that can't travel as it is."""

    def work() -> None:
        if ctx.rank == 1:
            raise Unpicklable(1, 2) if ctx.hyperparameters["how"] == "unpicklable" else Unspeakable

    all_ranks("test").together(work)


def is_stopped(ctx: Context) -> None:
    """Before it has anything to lose: it has no checkpoints."""
    how, told = ctx.hyperparameters["how"], []
    if how == "handles it":
        signal.signal(signal.SIGTERM, lambda *_: told.append("told"))
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(2.5 if how == "handles it" else 60)
    except SystemExit:
        if how == "fails over it":
            raise ValueError("what it was at is broken") from None
        if how == "goes on":
            time.sleep(60)
        raise
    finally:
        _append(ctx.output_dir / "tail", f"{told}\n")
