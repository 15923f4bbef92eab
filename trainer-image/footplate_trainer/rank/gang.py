"""The ranks of one attempt, and what they say to each other beside the model's own collectives.

An attempt's world is fixed: membership belongs to the operator. Rank 0 serves the rendezvous on its own pod's address
alone, so that jobs which share a machine, or a network namespace, never hear each other; every key is prefixed with
run and attempt. All words of a `Gang` travel over gloo on the CPU: no device is waited for.
"""

import contextlib
import logging
import os
import pickle
import socket
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from footplate.contract import Env
from footplate_trainer import blame
from footplate_trainer.errors import ConfigError, PeerLost, TrainerError, UserError, words_of
from footplate_trainer.exchange import GENEROUS_SECONDS
from footplate_trainer.rank import devices
from footplate_trainer.rank.environment import Context, here

RENDEZVOUS_TIMEOUT = timedelta(hours=12)
"""Pods start as slowly as their images and inputs arrive; who never comes is the operator's business."""
UPLOAD_TIMEOUT = timedelta(hours=2)
"""How long ranks wait for the slowest one's part of a checkpoint, in the background."""
RESOLVE_SECONDS = 300.0
"""A pod's name is published some seconds after the pod has started."""

T = TypeVar("T")
log = logging.getLogger("footplate_trainer")


class Gang:
    """A group of all ranks. Every method is collective; in a world of one it costs nothing."""

    def __init__(self, rank: int, world_size: int, group: dist.ProcessGroup | None) -> None:
        self.rank = rank
        self.world_size = world_size
        self._group = group

    def maximum(self, values: Sequence[int]) -> list[int]:
        """The largest of each value over all ranks."""
        if self._group is None:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.int64)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX, group=self._group)
        return [int(value) for value in tensor.tolist()]

    def gather(self, value: T) -> list[T]:
        """The values of all ranks, by rank."""
        if self._group is None:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value, group=self._group)
        return values

    def to_main(self, value: T) -> list[T] | None:
        """The values of all ranks, by rank, on rank 0; None on the others, which needn't hold them."""
        if self._group is None:
            return [value]
        values: list[Any] | None = [None] * self.world_size if self.rank == 0 else None
        dist.gather_object(value, values, dst=0, group=self._group)
        return values

    def together(self, work: Callable[[], T]) -> list[T]:
        """Does work on every rank and returns all results, by rank; if it fails on one, all raise that rank's error."""
        value: T | None = None
        error: Exception | None = None
        try:
            value = work()
        except Exception as problem:
            error = _as_sent(problem)
        outcomes = self.gather((value, error))
        if error is not None:
            raise error
        for _, problem_there in outcomes:
            if problem_there is not None:
                raise problem_there
        return [cast(T, result) for result, _ in outcomes]

    def from_main(self, work: Callable[[], T]) -> T:
        """What rank 0 alone gets from work, on all ranks; if it fails, all raise its error."""
        return cast(T, self.together(lambda: work() if self.rank == 0 else None)[0])

    def wait(self) -> None:
        """Returns when all ranks are here."""
        self.maximum([0])


def _as_sent(error: Exception) -> Exception:
    """An exception as other ranks can have it: in words, where they may have no class for it or can't build it anew.
    One that can't be sent would leave them waiting.
    """
    if isinstance(error, TrainerError | OSError):
        with contextlib.suppress(Exception):
            if type(pickle.loads(pickle.dumps(error))) is type(error):  # noqa: S301 (it is our own)
                return error
    return UserError(f"{type(error).__name__}: {words_of(error)}").with_traceback(error.__traceback__)


def collective_timeout() -> timedelta:
    """How long ranks wait for each other in the middle of training.

    Longer than every limit of the watch over hangs (`hang`): it sees which rank is to blame. Those that wait would only
    say that they have waited, and be the first to say something; and a rank may evaluate or load for long, alone.
    """
    config = here().config
    hang_timeout = config.spec.run_policy.hang_timeout_seconds if config else 0
    return timedelta(seconds=max(hang_timeout, GENEROUS_SECONDS) + 60)


@cache
def all_ranks(purpose: str, timeout: timedelta | None = None) -> Gang:
    """The gang's line for one purpose; two purposes may speak at the same time, from different threads.

    The first call with a purpose is collective. `timeout` is how long ranks wait for each other; by default
    `collective_timeout`.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return Gang(0, 1, None)
    group = dist.new_group(backend="gloo", timeout=timeout or collective_timeout(), group_desc=purpose)
    return Gang(dist.get_rank(), dist.get_world_size(), group)


def join(ctx: Context) -> None:
    """Waits for all ranks and sets up torch.distributed, unless the gang has one rank or the code has done it itself.

    Raises:
        ConfigError: the environment names no rendezvous.
        BrokenDevice: this rank's device can't be used.
        PeerLost: the ranks could not be reached.
    """
    if ctx.world_size == 1 or dist.is_initialized():
        return
    address, port = _rendezvous()
    backend = devices.take(ctx.device)
    try:
        store = _open_store(ctx, address, port)
        _wait_for_all(store, ctx.world_size)
        dist.init_process_group(
            backend=f"cpu:gloo,cuda:{backend}" if backend else "gloo",
            store=store,
            rank=ctx.rank,
            world_size=ctx.world_size,
            timeout=collective_timeout(),
            device_id=ctx.device if backend == "nccl" else None,
        )
    except (OSError, RuntimeError) as error:
        network = isinstance(error, OSError | dist.DistNetworkError | dist.DistStoreError)
        if not (network or blame.lost_peer(error)):  # such as a device that two ranks share, or no memory left on it
            raise
        raise PeerLost(f"rank {ctx.rank} could not join the gang at {address}:{port}: {words_of(error)}") from error


def leave(*, clean: bool) -> None:
    """Ends membership. After a clean end no rank leaves before all have come here, so that none is taken for lost."""
    if not dist.is_initialized():
        return
    if clean:
        all_ranks("leave").wait()
    dist.destroy_process_group()


def _rendezvous() -> tuple[str, int]:
    address, port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT", "")
    if not address or not port.isdecimal():
        raise ConfigError(f"MASTER_ADDR={address!r} and MASTER_PORT={port!r} must name rank 0's rendezvous")
    return address, int(port)


def _open_store(ctx: Context, address: str, port: int) -> Store:
    listener = _listen(address, port, backlog=ctx.world_size) if ctx.is_main else None
    store = TCPStore(
        address,
        port,
        is_master=ctx.is_main,
        wait_for_workers=False,
        timeout=RENDEZVOUS_TIMEOUT,
        master_listen_fd=listener.detach() if listener else None,
    )
    return PrefixStore(f"{os.environ.get(Env.UID, '')}/{ctx.run}/{ctx.attempt}", store)


def _listen(address: str, port: int, *, backlog: int) -> socket.socket | None:
    """A socket that listens on this pod's own address; None where the address isn't ours to bind (behind a proxy or
    NAT): torch then listens on all interfaces.
    """
    family, _, _, _, target = _resolve(address, port)
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with contextlib.suppress(OSError):
        listener.bind(target)
        listener.listen(max(backlog, 128))
        return listener
    log.warning("rank 0 can't listen on %s port %d alone; it listens on all addresses", address, port)
    listener.close()
    return None


def _resolve(address: str, port: int) -> tuple[Any, ...]:
    deadline = time.monotonic() + RESOLVE_SECONDS
    while True:
        try:
            return socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        except socket.gaierror:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def _wait_for_all(store: Store, world_size: int) -> None:
    if store.add("arrived", 1) == world_size:
        store.set("complete", "")
    store.wait(["complete"], RENDEZVOUS_TIMEOUT)
    store.set_timeout(collective_timeout())
