"""The life of one pod, from its environment to its verdict: fetch, start, watch, finish.

Training itself happens in other processes: this one computes nothing, imports no torch, and answers signals at once.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Coroutine
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog

from footplate.api.reports import ArtifactStatus, EvaluationStatus
from footplate.contract import KEEPING_SECONDS, MAX_NOTES, ExitCode, Failure, Verdict
from footplate_trainer import exchange
from footplate_trainer.errors import NoModel, TrainerError, words_of
from footplate_trainer.rank import devices
from footplate_trainer.recipes import find_recipe
from footplate_trainer.storage import contact
from footplate_trainer.storage.authorities import check_authorities
from footplate_trainer.storage.fetch import Fetched
from footplate_trainer.storage.proving import keys_may_come
from footplate_trainer.storage.runs import checkpoints_uri, mark_finished
from footplate_trainer.supervisor import (
    artifact,
    flight_recorder,
    logs,
    preflight,
    preparing,
    processes,
    signing,
    telemetry,
)
from footplate_trainer.supervisor.belongings import Belongings
from footplate_trainer.supervisor.device_readings import DeviceReadings
from footplate_trainer.supervisor.dialect import gather, lay_out, place_of
from footplate_trainer.supervisor.ending import Ending
from footplate_trainer.supervisor.fetching import fetch_all
from footplate_trainer.supervisor.gates import failure_of, hold_gates
from footplate_trainer.supervisor.history.history import History
from footplate_trainer.supervisor.keeping import keep_trying
from footplate_trainer.supervisor.launch import plan_launches
from footplate_trainer.supervisor.listening import Listening
from footplate_trainer.supervisor.model_places import ModelPlace
from footplate_trainer.supervisor.pod import Pod
from footplate_trainer.supervisor.processes import end_leftovers
from footplate_trainer.supervisor.snapshots import beginning as snapshots
from footplate_trainer.supervisor.snapshots.closing import save_last
from footplate_trainer.supervisor.snapshots.keeper import Keeper
from footplate_trainer.supervisor.source import Code
from footplate_trainer.supervisor.stop_request import StopRequest
from footplate_trainer.supervisor.tracking.tracker import End, outcome_of
from footplate_trainer.supervisor.tracking.tracking import Tracking
from footplate_trainer.supervisor.verdict import judge
from footplate_trainer.supervisor.watch import Watch

T = TypeVar("T")
SUCCESS_SECONDS = 1800.0
"""How long a pod that is done takes at most to send what it leaves besides its model."""
TRACKING_SECONDS = 20.0
"""How long a pod that is done waits at most for its trackers."""
LAST_SECONDS = 1.0
"""What is left of the grace for the way out."""
log = structlog.get_logger()


class Supervisor:
    """Runs one pod. `stop` may be called at any moment, from a signal handler."""

    def __init__(self, pod: Pod) -> None:
        self._pod = pod
        self._devices = DeviceReadings()
        self._telemetry = telemetry.Telemetry(pod, devices=self._devices)
        self._stop = StopRequest()
        self._belongings: Belongings | None = None
        self._history = History(pod, self._telemetry.report, self._note)
        self._tracking = Tracking(pod, self._history.metrics, self._note)
        self._telemetry.tracked = self._tracking.runs
        self._keeper: Keeper | None = None
        self._evaluation: EvaluationStatus | None = None
        """What was measured of the model, and how the gates are met."""
        self._place: ModelPlace | None = None
        """Where the model goes, once this pod has claimed it, or that it is there already."""

    def stop(self) -> None:
        """Asks the pod to stop: at once before training, with a checkpoint in it, within the grace after it."""
        self._stop.make()

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
        self._tracking.begin()
        try:
            ending, model = await self._live()
            try:
                await asyncio.to_thread(processes.kill_all_children)  # nobody writes to it any more
                await asyncio.gather(self._keep_belongings(ending.exit_code), self._end_tracking(ending, model))
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
            if self._pod.stage:
                await self._unless_stopped(
                    preparing.alone(self._pod, note=self._note, tell=self._telemetry.tell_data), grace=0.0
                )
                return Ending(ExitCode.OK), None
            if (asked := self._pod.config.preflight) is not None:
                self._telemetry.preflight = await self._unless_stopped(preflight.check(self._pod, asked), grace=0.0)
            code, inputs = await self._unless_stopped(asyncio.to_thread(self._fetch), grace=0.0)
            self._tracking.inputs = inputs
            await self._unless_stopped(
                preparing.prepare(self._pod, inputs, note=self._note, tell=self._telemetry.tell_data), grace=0.0
            )
            ending = await self._train(code)
            if ending.exit_code != ExitCode.OK:
                return ending, None
            if self._pod.node_rank == 0:
                reported = self._telemetry.report().final_metrics
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
                # Whoever finds its model says so each time that the job is created anew: nothing grows by that.
                if not done:
                    self._keep_log()
                return
            goes_on = exit_code in (ExitCode.STOPPED, ExitCode.PEER_LOST)  # in another attempt
            self._belongings.keep(unclaimed=not goes_on, output=not done)

        limit = SUCCESS_SECONDS if done else KEEPING_SECONDS
        if not await self._for_a_while(asyncio.to_thread(keep), limit):
            self._note(f"there was no time to keep all that node {self._pod.node_rank} has left")

    async def _end_tracking(self, ending: Ending, model: ArtifactStatus | None) -> None:
        """Tells the trackers how the pod ends, for as long as there is time; then it ends without."""
        outcome = outcome_of(ending.exit_code)
        seconds = TRACKING_SECONDS if outcome == "succeeded" else KEEPING_SECONDS
        end = End(outcome, ending.error.message if ending.error is not None else "", model)
        telling = asyncio.to_thread(self._tracking.finish, end, seconds=seconds)
        if not await self._for_a_while(telling, seconds + 1.0):  # it says itself who was too slow, if there is time
            self._note("trackers may lack the end of this run: there was no time left")

    async def _for_a_while(self, work: Coroutine[Any, Any, None], limit: float) -> bool:
        """Waits for work to be done, for `limit` seconds at most, and no longer than the grace is; False where it goes
        on without anybody.
        """
        working, waiting = (
            asyncio.create_task(work),
            asyncio.create_task(self._stop.over(self._pod.grace_seconds - LAST_SECONDS)),
        )
        await asyncio.wait({working, waiting}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if working.done() and (error := working.exception()) is not None:
            log.error("the end of the pod isn't told in full", exc_info=error)
        return working.done()

    def _keep_log(self) -> None:
        try:
            self._history.finish()
        except Exception as error:  # what went wrong before it is the verdict
            self._note(f"the log of node {self._pod.node_rank} could not be kept: {words_of(error)}")

    def _find_model(self) -> ArtifactStatus | None:
        """The model, where it is there already: before data is fetched, as accelerators are idle meanwhile."""
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
            code, inputs = fetch_all(self._pod, self._note)
            self._keeper, self._telemetry.resumed_from = snapshots.begin(
                self._pod, note=self._note, safe=self._telemetry.safe
            )
            return code, inputs

    async def _train(self, code: Code) -> Ending:
        pod = self._pod
        processes_here = pod.processes if pod.spec.trainer.command is None else 1
        instances = await asyncio.to_thread(devices.mig_instances, devices.asked_for(pod.config), processes_here)
        flight_recorder.make_folder(pod.work_dir)
        lay_out(pod, place_of(pod, code.folder))
        if code.installed is not None:
            self._tracking.python = code.installed.python
        tracked = await self._unless_stopped(asyncio.to_thread(self._tracking.environment), grace=0.0)
        listening = Listening(pod, self._telemetry.heard, self._note)
        environ = {**listening.environment, **os.environ, **preparing.variables(pod)}
        launches = plan_launches(pod, code.folder, environ, instances=instances, installed=code.installed)
        launches[0] = replace(launches[0], env={**tracked, **launches[0].env})  # a tracker's run has one writer
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
        watch = Watch(self._pod, started, self._stop.made)
        if self._keeper is None:
            return await watch.run()
        keeping = asyncio.create_task(asyncio.to_thread(self._keeper.run))
        ending = await watch.run()
        self._keeper.close()
        self._telemetry.activity = "stopping"
        await save_last(
            self._keeper, keeping, self._pod, self._stop,
            whole=watch.ended_by_themselves, done=ending.exit_code == ExitCode.OK, note=self._note,
        )  # fmt: skip
        return ending

    async def _finish(self, code: Code, inputs: dict[str, Fetched]) -> ArtifactStatus | None:
        if not self._owns_output:
            return None
        self._telemetry.activity = "exporting"
        await asyncio.to_thread(end_leftovers, self._note)
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
        return await self._stop.unless_over(work, grace=grace, doing=lambda: self._telemetry.activity)

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
            data=self._telemetry.data,
            already_complete=found and exit_code == ExitCode.OK,
            tracking=self._tracking.runs(),
        )


async def supervise(pod: Pod) -> Verdict:
    """Runs a pod, taking SIGTERM and SIGINT as requests to stop."""
    supervisor = Supervisor(pod)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, supervisor.stop)
    return await supervisor.run()
