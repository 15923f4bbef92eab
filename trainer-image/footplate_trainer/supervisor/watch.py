"""Watches a pod's processes until all have ended.

One failure ends all: the others get a moment to fail of their own, because their words may name the cause better, then
SIGTERM, then SIGKILL. A request to stop is passed on, and ends with SIGKILL when the grace is used up. A hang ends with
the Python stacks of all ranks in the log, and SIGKILL; where all ranks of this pod only wait for those of others, the
others' watch gets a head start, since what it ends shows here as a lost peer.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path

import structlog

from footplate.contract import ExitCode
from footplate_trainer.exchange import (
    Beat,
    RankReport,
    clear_stacks,
    has_finished,
    read_error,
    read_heartbeats,
    read_report,
    read_stacks,
)
from footplate_trainer.supervisor import flight_recorder, logs, stopping
from footplate_trainer.supervisor.ending import Ending, Story, failures, find_ending
from footplate_trainer.supervisor.hang import Hang, HangDetector, Silence, find_culprit
from footplate_trainer.supervisor.pod import Pod
from footplate_trainer.supervisor.processes import KILL_SECONDS, Exit, Process, children, reap
from footplate_trainer.supervisor.stacks import Finding, Frame, parse_main_thread, state_of

TICK_SECONDS = 1.0
SETTLE_SECONDS = 1.0
"""How long survivors may take to notice by themselves that a peer is gone."""
TERMINATE_SECONDS = 2.0
"""From SIGTERM to SIGKILL, after a failure."""
REST_SECONDS = 0.1
"""How often is looked whether what a command has started has stopped too."""
DUMP_SECONDS = 1.0
"""How long a rank may take to write its stacks."""
HEAD_START_SECONDS = 10.0
"""How long ranks that only wait for those of other pods are left waiting after they count as hung."""

log = structlog.get_logger()


class Watch:
    """The watch over the processes of one attempt. `stop` is set when this pod was asked to stop."""

    def __init__(self, pod: Pod, processes: Sequence[Process], stop: asyncio.Event) -> None:
        self._pod = pod
        self._flights = flight_recorder.folder_in(pod.work_dir)
        self._processes = processes
        self._stop = stop
        self._exits: list[Exit] = []
        self._ended_by_us: set[int] = set()
        self._hang: Hang | None = None
        self._hang_time = 0.0
        self._late = False
        self._stopping = False
        """Somebody who was still at work has been asked to stop: whatever his exit code, he isn't done."""
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
            await self._rest_has_stopped()
        finally:
            loop.remove_signal_handler(signal.SIGCHLD)
            for helper in self._helpers:
                helper.cancel()
        if self._hang is None:
            await self._tell_recordings()  # of what NCCL's watchdog has ended
        return find_ending(self._story())

    @property
    def ended_by_themselves(self) -> bool:
        """True where no process was killed in the middle of what it did, as far as exit codes tell: each has come to
        its end, or, asked to stop, has left of its own.
        """
        codes = [exit_.returncode for exit_ in self._exits]
        left = all(code in (ExitCode.OK, ExitCode.STOPPED) or (self._stopping and 0 < code < 128) for code in codes)
        return left and not self._late and not self._ended_by_us

    def _story(self) -> Story:
        errors = {exit_.rank: read_error(self._pod.run_dir, exit_.rank) for exit_ in self._exits}
        return Story(
            exits=self._exits,
            errors={rank: error for rank, error in errors.items() if error is not None},
            unfinished=self._unfinished(),
            ended_by_us=frozenset(self._ended_by_us),
            stop_requested=self._stopping,
            late=self._late,
            hang=self._hang,
            hang_time=self._hang_time,
            nodes=self._pod.nodes,
            grace_seconds=self._pod.grace_seconds,
            hang_timeout=self._pod.spec.run_policy.hang_timeout_seconds,
        )

    def _unfinished(self) -> frozenset[int]:
        if self._is_command:  # whose own exit code is all there is
            return frozenset()
        ended_well = (exit_.rank for exit_ in self._exits if exit_.returncode == ExitCode.OK)
        return frozenset(rank for rank in ended_well if not has_finished(self._pod.run_dir, rank))

    @property
    def _is_command(self) -> bool:
        return self._pod.spec.trainer.command is not None

    @property
    def _running(self) -> list[Process]:
        ended = {exit_.rank for exit_ in self._exits}
        return [process for process in self._processes if process.rank not in ended]

    def _help(self, work: Coroutine[None, None, None]) -> None:
        self._helpers.append(asyncio.create_task(work))

    async def _pass_stop_on(self) -> None:
        await self._stop.wait()
        reap(self._processes)  # who has ended before this moment was done, though nobody has noticed yet
        self._stopping = any(not process.ended for process in self._processes)
        log.info("asked to stop", ranks=len(self._running), grace_seconds=self._pod.grace_seconds)
        if self._is_command:
            stopping.tell_to_stop(os.getpid())
        else:  # each is Python with our handler
            self._terminate()
        await asyncio.sleep(self._pod.working_grace)
        self._late = True
        self._kill()

    async def _rest_has_stopped(self) -> None:
        """A shell dies of SIGTERM at once, while what it has started still saves what it has."""
        while self._is_command and self._stopping and not self._late and children():  # noqa: ASYNC110 (it has no event)
            await asyncio.sleep(REST_SECONDS)

    async def _end_survivors(self) -> None:
        self._ended_by_us.update(process.rank for process in self._running)
        await asyncio.sleep(SETTLE_SECONDS)
        self._terminate()
        await asyncio.sleep(TERMINATE_SECONDS)
        self._kill()

    async def _look_regularly(self) -> None:
        detector = HangDetector(self._pod.spec.run_policy.hang_timeout_seconds)
        others_first_until: float | None = None
        while self._hang is None:
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            silences = detector.observe(_living(read_heartbeats(self._pod.run_dir)), now=now)
            if not silences or self._is_ending:
                others_first_until = None
            elif others_first_until is None or now >= others_first_until:
                hang = await self._examine(silences)
                if others_first_until is None and hang.finding.waits_for_others and self._pod.nodes > 1:
                    others_first_until = now + HEAD_START_SECONDS
                elif not self._is_ending:
                    self._end_hang(hang)

    @property
    def _is_ending(self) -> bool:
        return bool(self._ended_by_us) or self._stop.is_set()

    async def _examine(self, silences: Sequence[Silence]) -> Hang:
        log.error("no progress: the stacks of all ranks of this pod follow", ranks=[s.rank for s in silences])
        asked = flight_recorder.ask(self._flights, [process.rank for process in self._running])
        stacks = await _collect_stacks(self._running, self._pod.run_dir)
        if asked:
            await asyncio.sleep(flight_recorder.WRITE_SECONDS)
        recordings = await self._tell_recordings()
        on_device = (read_report(self._pod.run_dir) or RankReport()).device not in (None, "cpu")
        findings = {
            s.rank: Finding(
                stacks.get(s.rank, ()), state_of(s.pid), flight_recorder.waits(s.rank, recordings), on_device
            )
            for s in silences
        }
        return find_culprit(silences, findings)

    async def _tell_recordings(self) -> Mapping[int, flight_recorder.Recording]:
        recordings = await asyncio.to_thread(flight_recorder.read, self._flights)
        for rank, recording in recordings.items():
            log.error("by torch's Flight Recorder", rank=rank, found=str(recording))
        return recordings

    def _end_hang(self, hang: Hang) -> None:
        log.error("a rank hangs, and all are ended", rank=hang.culprit.rank, found=hang.finding.in_words)
        self._hang, self._hang_time = hang, time.time()
        self._ended_by_us.update(process.rank for process in self._running)
        self._kill()

    def _terminate(self) -> None:
        for process in self._running:
            process.send(signal.SIGTERM)

    def _kill(self) -> None:
        for process in self._running:
            process.kill()
        self._help(self._give_up())

    async def _give_up(self) -> None:
        await asyncio.sleep(KILL_SECONDS)
        for process in self._running:
            process.give_up()


def _living(beats: Mapping[int, Beat]) -> dict[int, Beat]:
    """Those whose process is there: a command may go on with others when one that has reported is gone."""
    return {rank: beat for rank, beat in beats.items() if Path(f"/proc/{beat.pid}").exists()}


async def _collect_stacks(processes: Sequence[Process], run_dir: Path) -> dict[int, tuple[Frame, ...]]:
    """Asks ranks for their stacks, copies those into the log, and returns the main threads' by rank, if they came.

    Ranks of ours write the stacks of all their threads into a file of their own on SIGUSR1 (faulthandler, which needs
    neither the interpreter's lock nor the process's cooperation). Other processes are never sent that signal.
    """
    asked = [process.rank for process in processes if clear_stacks(run_dir, process.rank)]
    for process in processes:
        if process.rank in asked:
            process.send(signal.SIGUSR1)
    await asyncio.sleep(DUMP_SECONDS)
    texts = {rank: read_stacks(run_dir, rank) for rank in asked}
    for rank, text in texts.items():
        lines = "".join(f"[rank {rank}] {line}\n" for line in text.splitlines() or ["no stack came"])
        logs.write(sys.stderr.buffer, lines.encode(errors="backslashreplace"))
    return {rank: parse_main_thread(text) for rank, text in texts.items()}
