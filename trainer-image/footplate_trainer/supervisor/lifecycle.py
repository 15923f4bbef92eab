"""The life of one pod, from its environment to its verdict: fetch, start, watch, finish.

Training itself happens in other processes: this one computes nothing, imports no torch, and answers signals at once.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog

from footplate.api.packages import WHEELS
from footplate.api.status import ArtifactStatus, EvaluationStatus
from footplate.contract import KEEPING_SECONDS, MAX_NOTES, ExitCode, Failure, Verdict
from footplate_trainer import exchange
from footplate_trainer.errors import NoModel, Stopped, TrainerError, words_of
from footplate_trainer.rank import devices
from footplate_trainer.recipes import find_recipe
from footplate_trainer.storage import contact
from footplate_trainer.storage.authorities import check_authorities
from footplate_trainer.storage.fetch import Fetched, fetch_inputs
from footplate_trainer.storage.proving import keys_may_come
from footplate_trainer.storage.runs import checkpoints_uri, mark_finished
from footplate_trainer.supervisor import (
    artifact,
    flight_recorder,
    logs,
    packages,
    preflight,
    processes,
    signing,
    telemetry,
)
from footplate_trainer.supervisor.belongings import Belongings
from footplate_trainer.supervisor.device_readings import DeviceReadings
from footplate_trainer.supervisor.dialect import gather, lay_out, place_of
from footplate_trainer.supervisor.ending import Ending
from footplate_trainer.supervisor.gates import failure_of, hold_gates
from footplate_trainer.supervisor.held import held_files
from footplate_trainer.supervisor.history.history import History
from footplate_trainer.supervisor.keeping import keep_trying
from footplate_trainer.supervisor.launch import plan_launches
from footplate_trainer.supervisor.listening import Listening
from footplate_trainer.supervisor.places import Place
from footplate_trainer.supervisor.pod import Pod
from footplate_trainer.supervisor.snapshots import beginning as snapshots
from footplate_trainer.supervisor.snapshots.keeper import Keeper
from footplate_trainer.supervisor.source import Code, fetch_source
from footplate_trainer.supervisor.verdict import judge
from footplate_trainer.supervisor.watch import Watch

T = TypeVar("T")
SUCCESS_SECONDS = 1800.0
"""How long a pod that is done takes at most to send what it leaves besides its model."""
LAST_SECONDS = 1.0
"""What is left of the grace for the way out."""
log = structlog.get_logger()

_NO_TIME = "there was no time left; raise runPolicy.terminationGracePeriodSeconds"


class Supervisor:
    """Runs one pod. `stop` may be called at any moment, from a signal handler."""

    def __init__(self, pod: Pod) -> None:
        self._pod = pod
        self._devices = DeviceReadings()
        self._telemetry = telemetry.Telemetry(pod, devices=self._devices)
        self._stop = asyncio.Event()
        self._stopped_at = 0.0
        self._belongings: Belongings | None = None
        self._history = History(pod, self._telemetry.report, self._note)
        self._keeper: Keeper | None = None
        self._evaluation: EvaluationStatus | None = None
        """What was measured of the model, and how the gates are met."""
        self._place: Place | None = None
        """Where the model goes, once this pod has claimed it, or that it is there already."""

    def stop(self) -> None:
        """Asks the pod to stop: at once before training, with a checkpoint in it, within the grace after it."""
        if not self._stop.is_set():
            self._stopped_at = time.monotonic()
        self._stop.set()

    async def run(self) -> Verdict:
        """Runs the pod to its end. Raises nothing: whatever happens is in the verdict."""
        with contact.telling(self._telemetry.note):
            return await self._serve()

    async def _serve(self) -> Verdict:
        try:
            self._pod.make_folders()
            logs.keep(self._history.log)
            exchange.clear(self._pod.run_dir)
            server = telemetry.serve(self._telemetry, self._pod.metrics_address)
        except Exception as error:
            ending = self._failed(error)
            return self._judge(ending.exit_code, error=ending.error)
        pulse = asyncio.create_task(self._telemetry.pulse())
        self._devices.begin()
        try:
            ending, model = await self._live()
            try:
                await self._keep_belongings(ending.exit_code)
            except Exception:  # it costs neither the verdict nor the model
                log.exception("what the pod leaves could not be kept")
            return self._judge(ending.exit_code, error=ending.error, model=model)
        finally:
            pulse.cancel()
            self._devices.end()
            if server is not None:
                with contextlib.suppress(Exception):  # nobody is asked any more
                    server.shutdown()
                    server.server_close()

    async def _live(self) -> tuple[Ending, ArtifactStatus | None]:
        try:
            model = await self._unless_stopped(asyncio.to_thread(self._find_model), grace=0.0)
            if model is not None:
                return self._ending(model), model
            if (asked := self._pod.config.preflight) is not None:
                self._telemetry.preflight = await self._unless_stopped(preflight.check(self._pod, asked), grace=0.0)
            code, inputs = await self._unless_stopped(asyncio.to_thread(self._fetch), grace=0.0)
            ending = await self._train(code)
            if ending.exit_code != ExitCode.OK:
                return ending, None
            if self._pod.node_rank == 0:
                reported = self._telemetry.report().progress.metrics
                self._evaluation = await asyncio.to_thread(hold_gates, self._pod, reported)
            model = await self._finish(code, inputs)
            await asyncio.to_thread(self._mark_finished)
            return self._ending(model), model
        except Exception as error:
            return self._failed(error), None

    def _ending(self, model: ArtifactStatus | None) -> Ending:
        """How a run ends that has its model: one that its gates don't accept is no success."""
        failure = failure_of(self._evaluation, model)
        return Ending(ExitCode.OK) if failure is None else Ending(ExitCode.GATE_NOT_PASSED, failure)

    def _failed(self, error: Exception) -> Ending:
        if isinstance(error, TrainerError):
            log.error("the pod ends", error=str(error))
            # Where in our own code it was raised is no news to the user.
            return Ending(error.exit_code, exchange.describe_error(error.with_traceback(None), rank=None))
        log.exception("the supervisor itself failed")
        return Ending(ExitCode.USER_ERROR, exchange.describe_error(error, rank=None))

    async def _keep_belongings(self, exit_code: int) -> None:
        """Sends what the pod leaves besides its model, for as long as there is time; then it ends without."""
        done = exit_code in (ExitCode.OK, ExitCode.GATE_NOT_PASSED)

        def keep() -> None:
            if self._belongings is None:  # it came to no training
                self._keep_log()
                return
            goes_on = exit_code in (ExitCode.STOPPED, ExitCode.PEER_LOST)  # in another attempt
            self._belongings.keep(unclaimed=not goes_on, output=not done)

        async def out_of_time() -> None:
            await self._stop.wait()
            await asyncio.sleep(self._stopped_at + self._pod.grace_seconds - LAST_SECONDS - time.monotonic())

        await asyncio.to_thread(processes.kill_all_children)  # nobody writes to it any more
        keeping, waiting = asyncio.create_task(asyncio.to_thread(keep)), asyncio.create_task(out_of_time())
        limit = SUCCESS_SECONDS if done else KEEPING_SECONDS
        await asyncio.wait({keeping, waiting}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not keeping.done():
            self._note(f"there was no time to keep all that node {self._pod.node_rank} has left")

    def _keep_log(self) -> None:
        try:
            self._history.finish()
        except Exception as error:  # what went wrong before it is the verdict
            self._note(f"the log of node {self._pod.node_rank} could not be kept: {words_of(error)}")

    def _find_model(self) -> ArtifactStatus | None:
        """The model, where it is there already: before anything is fetched, as accelerators are idle meanwhile."""
        pod = self._pod
        if pod.spec.trainer.recipe is not None:  # a mistake in it shows before hours of download, not after
            find_recipe(pod.spec.trainer.recipe).check(pod.spec.trainer.hyperparameters)
        check_authorities(pod.spec.storage)
        if not self._owns_output:
            return None
        signing.check_key(pod)
        with keys_may_come(pod.attempt):
            self._place = artifact.check_output(pod)
        self._evaluation = self._place.evaluation
        return self._place.model

    def _fetch(self) -> tuple[Code, dict[str, Fetched]]:
        with keys_may_come(self._pod.attempt):
            return self._fetch_all()

    def _fetch_all(self) -> tuple[Code, dict[str, Fetched]]:
        pod, endpoint = self._pod, self._pod.spec.storage.endpoint
        code = fetch_source(
            pod.spec.trainer.source, config_map_dir=pod.source_dir, work_dir=pod.work_dir, endpoint=endpoint
        )
        wheels = [channel for channel in pod.spec.inputs if channel.name == WHEELS]
        data = [channel for channel in pod.spec.inputs if channel.name != WHEELS]
        fetched = fetch_inputs(wheels, pod.input_dir, endpoint=endpoint)
        code = replace(code, installed=packages.install(pod, code.folder, tell=self._note))
        fetched |= fetch_inputs(data, pod.input_dir, endpoint=endpoint)
        self._keeper, self._telemetry.resumed_from = snapshots.begin(pod, note=self._note, safe=self._telemetry.safe)
        return code, fetched

    async def _train(self, code: Code) -> Ending:
        pod = self._pod
        processes_here = pod.processes if pod.spec.trainer.command is None else 1
        instances = await asyncio.to_thread(devices.mig_instances, devices.asked_for(pod.config), processes_here)
        flight_recorder.make_folder(pod.work_dir)
        lay_out(pod, place_of(pod, code.folder))
        listening = Listening(pod, self._telemetry.heard, self._note)
        environ = {**listening.environment, **os.environ}
        launches = plan_launches(pod, code.folder, environ, instances=instances, installed=code.installed)
        history = self._history
        self._telemetry.recorder = history.recorder
        self._belongings = await asyncio.to_thread(Belongings, pod, launches[0].folder, history, self._note)
        started = await processes.start(launches, hear=listening.add_lines)
        log.info("training starts", ranks=[process.rank for process in started])
        self._telemetry.activity = None
        looking = asyncio.create_task(listening.go_on())
        recording = asyncio.create_task(history.go_on())
        try:
            return await self._watch(started)
        finally:
            looking.cancel()
            recording.cancel()
            await listening.close()
            await asyncio.to_thread(history.look, last=True)

    async def _watch(self, started: list[processes.Process]) -> Ending:
        watch = Watch(self._pod, started, self._stop)
        if self._keeper is None:
            return await watch.run()
        keeping = asyncio.create_task(asyncio.to_thread(self._keeper.run))
        ending = await watch.run()
        self._keeper.close()
        self._telemetry.activity = "stopping"
        await self._keep_last(self._keeper, keeping, whole=watch.ended_by_themselves, done=ending.exit_code == 0)
        return ending

    async def _keep_last(self, keeper: Keeper, keeping: asyncio.Task[None], *, whole: bool, done: bool) -> None:
        """Saves what lies in the checkpoint folder at the end. Where that is all that a job leaves, which has come to
        its end, it must be safe.
        """

        held: set[str] = set()

        def look() -> None:
            held.update(held_files(self._pod.checkpoint_dir, os.getpid()))

        async def keep() -> None:
            await keeping
            if done:
                await asyncio.to_thread(self._end_leftovers, look)
            else:
                await asyncio.to_thread(look)
                await asyncio.to_thread(processes.kill_all_children)
            await asyncio.to_thread(keeper.last, whole=whole, prune=not self._stop.is_set(), held=held)

        try:
            await self._unless_stopped(keep(), grace=self._pod.working_grace)
        except Exception as error:  # a model is yet to be stored
            if not isinstance(error, TrainerError):
                log.exception("the last snapshot failed")
            why = _NO_TIME if isinstance(error, Stopped) else words_of(error)
            self._note(f"what lay in $FOOTPLATE_CHECKPOINT_DIR at the end may not all be saved: {why}")
            if done and self._pod.spec.output is None and keeper.holds_files:
                raise

    async def _finish(self, code: Code, inputs: dict[str, Fetched]) -> ArtifactStatus | None:
        if not self._owns_output:
            return None
        self._telemetry.activity = "exporting"
        await asyncio.to_thread(self._end_leftovers)
        try:
            gather(self._pod)
        except OSError as error:
            self._note(f"what lies in $SM_OUTPUT_DATA_DIR is not in the model: {error}")
        report = self._telemetry.report()

        def publish(history: Path | None) -> ArtifactStatus:
            try:
                return artifact.publish(
                    self._pod,
                    report=report,
                    code=code,
                    inputs=inputs,
                    number=self._place.number if self._place is not None else None,
                    history=history,
                    evaluation=self._evaluation,
                    note=self._note,
                )
            except NoModel as error:  # success would promise a model; but what was trained is kept
                if self._belongings is None or not self._belongings.keep_unclaimed():
                    raise
                raise NoModel(f"{error}. What it has saved elsewhere is kept: a note says where") from None

        def finish() -> ArtifactStatus:
            history = self._history.make_table()
            has_checkpoint = report.checkpoint is not None
            return keep_trying(partial(publish, history), has_checkpoint=has_checkpoint, note=self._note)

        return await self._unless_stopped(asyncio.to_thread(finish), grace=self._pod.working_grace)

    def _end_leftovers(self, look: Callable[[], object] = lambda: None) -> None:
        if left := processes.end_leftovers(look):
            self._note(
                "the program has ended, but what it had started hadn't, and was ended before what it left was stored: "
                f"{', '.join(left)}. What it was writing is as far as it got; wait for it in the program"
            )

    def _mark_finished(self) -> None:
        """What fails here takes nothing away from a run that has succeeded."""
        pod, block = self._pod, self._pod.spec.checkpoint
        if pod.node_rank != 0 or block is None or block.uri is None:
            return
        try:
            folder = checkpoints_uri(block.uri, job=pod.job, run=pod.run, uid=pod.uid)
            mark_finished(folder, endpoint=pod.spec.storage.endpoint)
        except Exception as error:
            self._note(f"the run could not be marked as finished, so another would go on from it: {words_of(error)}")

    def _note(self, text: str) -> None:
        if text not in self._telemetry.notes:  # what is tried again says it again
            log.warning(text)
            self._telemetry.note(text)

    @property
    def _owns_output(self) -> bool:
        return self._pod.spec.output is not None and self._pod.node_rank == 0

    async def _unless_stopped(self, work: Coroutine[Any, Any, T], *, grace: float) -> T:
        """The result of work, or Stopped when `grace` seconds have gone by since this pod was asked to stop."""

        async def stopped() -> None:
            await self._stop.wait()
            await asyncio.sleep(self._stopped_at + grace - time.monotonic())

        working, stopping = asyncio.create_task(work), asyncio.create_task(stopped())
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if working.done():
            return working.result()
        raise Stopped(f"asked to stop while {self._telemetry.activity}")

    def _judge(self, exit_code: int, *, error: Failure | None = None, model: ArtifactStatus | None = None) -> Verdict:
        report = self._telemetry.report()
        report = report.model_copy(update={"notes": (*self._telemetry.notes, *report.notes)[-MAX_NOTES:]})
        found = model is not None and self._place is not None and self._place.model == model
        return judge(
            exit_code,
            report=report,
            error=error,
            artifact=model,
            evaluation=self._evaluation,
            already_complete=found and exit_code == ExitCode.OK,
        )


async def supervise(pod: Pod) -> Verdict:
    """Runs a pod, taking SIGTERM and SIGINT as requests to stop."""
    supervisor = Supervisor(pod)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, supervisor.stop)
    return await supervisor.run()
