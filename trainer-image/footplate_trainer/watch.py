"""Watches a pod's processes until all have ended.

One failure ends all: the others get a moment to fail of their own, because their words may name the cause better, then
SIGTERM, then SIGKILL. A request to stop is passed on, and ends with SIGKILL when the grace is used up. A hang ends with
the Python stacks of all ranks in the log, and SIGKILL.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Coroutine, Sequence

import structlog

from footplate_trainer.ending import Ending, Story, conclude, failures
from footplate_trainer.exchange import read_error, read_heartbeats
from footplate_trainer.hang import HangDetector, Stuck
from footplate_trainer.pod import Pod
from footplate_trainer.processes import Exit, Process, reap

TICK_SECONDS = 1.0
SETTLE_SECONDS = 1.0
"""How long survivors may take to notice by themselves that a peer is gone."""
TERMINATE_SECONDS = 2.0
"""From SIGTERM to SIGKILL, after a failure."""
DUMP_SECONDS = 1.0
"""How long stacks take to reach the log."""

log = structlog.get_logger()


class Watch:
    """The watch over the processes of one attempt. `stop` is set when this pod was asked to stop."""

    def __init__(self, pod: Pod, processes: Sequence[Process], stop: asyncio.Event) -> None:
        self._pod = pod
        self._processes = processes
        self._stop = stop
        self._exits: list[Exit] = []
        self._ended_by_us: set[int] = set()
        self._stuck: Stuck | None = None
        self._late = False
        self._helpers: list[asyncio.Task[None]] = []

    async def run(self) -> Ending:
        """Returns when all processes have ended."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, reap, self._processes)
        reap(self._processes)  # what ended before the handler was there
        waits = {asyncio.create_task(process.wait()) for process in self._processes}
        self._help(self._pass_stop_on())
        self._help(self._look_regularly())
        try:
            while waits:
                done, waits = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                self._exits.extend(task.result() for task in done)
                if not self._ended_by_us and failures(self._story()):
                    self._help(self._end_survivors())
        finally:
            loop.remove_signal_handler(signal.SIGCHLD)
            for helper in self._helpers:
                helper.cancel()
        return conclude(self._story())

    def _story(self) -> Story:
        errors = {exit_.rank: read_error(self._pod.run_dir, exit_.rank) for exit_ in self._exits}
        return Story(
            exits=self._exits,
            errors={rank: error for rank, error in errors.items() if error is not None},
            ended_by_us=frozenset(self._ended_by_us),
            stop_requested=self._stop.is_set(),
            late=self._late,
            stuck=self._stuck,
            grace_seconds=self._pod.grace_seconds,
            hang_timeout=self._pod.spec.run_policy.hang_timeout_seconds,
        )

    @property
    def _running(self) -> list[Process]:
        ended = {exit_.rank for exit_ in self._exits}
        return [process for process in self._processes if process.rank not in ended]

    def _help(self, work: Coroutine[None, None, None]) -> None:
        self._helpers.append(asyncio.create_task(work))

    async def _pass_stop_on(self) -> None:
        await self._stop.wait()
        log.info("asked to stop", ranks=len(self._running), grace_seconds=self._pod.grace_seconds)
        for process in self._running:
            process.send(signal.SIGTERM)
        await asyncio.sleep(self._pod.working_grace)
        self._late = True
        self._kill()

    async def _end_survivors(self) -> None:
        self._ended_by_us.update(process.rank for process in self._running)
        await asyncio.sleep(SETTLE_SECONDS)
        for process in self._running:
            process.send(signal.SIGTERM)
        await asyncio.sleep(TERMINATE_SECONDS)
        self._kill()

    async def _look_regularly(self) -> None:
        detector = HangDetector(self._pod.spec.run_policy.hang_timeout_seconds)
        while True:
            await asyncio.sleep(TICK_SECONDS)
            stuck = detector.observe(read_heartbeats(self._pod.run_dir), now=time.monotonic())
            if stuck is not None and not self._ended_by_us and not self._stop.is_set():
                await self._end_hang(stuck)

    async def _end_hang(self, stuck: Stuck) -> None:
        log.error("a rank hangs: stacks of all ranks follow", rank=stuck.rank, activity=stuck.activity, step=stuck.step)
        self._stuck = stuck
        self._ended_by_us.update(process.rank for process in self._running)
        for beat in read_heartbeats(self._pod.run_dir).values():
            with contextlib.suppress(OSError):
                if os.getpgid(beat.pid) != os.getpgid(0):  # a rank of ours, and not who else may have the number by now
                    os.kill(beat.pid, signal.SIGUSR1)
        await asyncio.sleep(DUMP_SECONDS)
        self._kill()

    def _kill(self) -> None:
        for process in self._running:
            process.kill()
