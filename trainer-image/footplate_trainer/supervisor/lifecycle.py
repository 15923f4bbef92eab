"""The life of one pod, from its environment to its verdict: fetch, start, watch, finish.

Training itself happens in other processes: this one computes nothing, imports no torch, and answers signals at once.
"""

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import structlog

from footplate.api.packages import WHEELS
from footplate.api.status import ArtifactStatus
from footplate.contract import MAX_NOTES, ExitCode, Failure, Verdict
from footplate_trainer import exchange
from footplate_trainer.errors import Stopped, TrainerError, words_of
from footplate_trainer.exchange import read_report
from footplate_trainer.rank import devices
from footplate_trainer.recipes import find_recipe
from footplate_trainer.storage import contact
from footplate_trainer.storage.authorities import check_authorities
from footplate_trainer.storage.fetch import Fetched, fetch_inputs
from footplate_trainer.storage.proving import keys_may_come
from footplate_trainer.storage.runs import checkpoints_uri, mark_finished
from footplate_trainer.supervisor import artifact, flight_recorder, packages, processes, telemetry
from footplate_trainer.supervisor.ending import Ending
from footplate_trainer.supervisor.keeping import keep_trying
from footplate_trainer.supervisor.launch import plan_launches
from footplate_trainer.supervisor.pod import Pod
from footplate_trainer.supervisor.source import Code, fetch_source
from footplate_trainer.supervisor.verdict import judge
from footplate_trainer.supervisor.watch import Watch

T = TypeVar("T")
log = structlog.get_logger()


class Supervisor:
    """Runs one pod. `stop` may be called at any moment, from a signal handler."""

    def __init__(self, pod: Pod) -> None:
        self._pod = pod
        self._telemetry = telemetry.Telemetry(pod)
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Asks the pod to stop: at once before training, with a checkpoint in it, within the grace after it."""
        self._stop.set()

    async def run(self) -> Verdict:
        """Runs the pod to its end. Raises nothing: whatever happens is in the verdict."""
        try:
            with contact.telling(self._telemetry.note):
                return await self._run()
        except TrainerError as error:
            log.error("the pod ends", error=str(error))
            # Where in our own code it was raised is no news to the user.
            return self._judge(error.exit_code, error=exchange.describe_error(error.with_traceback(None), rank=None))
        except Exception as error:
            log.exception("the supervisor itself failed")
            return self._judge(ExitCode.USER_ERROR, error=exchange.describe_error(error, rank=None))

    async def _run(self) -> Verdict:
        self._pod.make_folders()
        exchange.clear(self._pod.run_dir)
        server = telemetry.serve(self._telemetry, self._pod.metrics_address)
        pulse = asyncio.create_task(self._telemetry.pulse())
        try:
            code, inputs = await self._unless_stopped(asyncio.to_thread(self._fetch), grace=0.0)
            ending = await self._train(code)
            if ending.exit_code != ExitCode.OK:
                return self._judge(ending.exit_code, error=ending.error)
            model = await self._finish(code, inputs)
            await asyncio.to_thread(self._mark_finished)
            return self._judge(ExitCode.OK, model=model)
        finally:
            pulse.cancel()
            if server is not None:
                with contextlib.suppress(Exception):  # nobody is asked any more
                    server.shutdown()
                    server.server_close()

    def _fetch(self) -> tuple[Code, dict[str, Fetched]]:
        with keys_may_come(self._pod.attempt):
            return self._fetch_all()

    def _fetch_all(self) -> tuple[Code, dict[str, Fetched]]:
        pod, endpoint = self._pod, self._pod.spec.storage.endpoint
        if pod.spec.trainer.recipe is not None:  # a mistake in it shows before hours of download, not after
            find_recipe(pod.spec.trainer.recipe).check(pod.spec.trainer.hyperparameters)
        check_authorities(pod.spec.storage)
        if self._owns_output:
            artifact.check_output(pod)
        code = fetch_source(
            pod.spec.trainer.source, config_map_dir=pod.source_dir, work_dir=pod.work_dir, endpoint=endpoint
        )
        wheels = [channel for channel in pod.spec.inputs if channel.name == WHEELS]
        data = [channel for channel in pod.spec.inputs if channel.name != WHEELS]
        fetched = fetch_inputs(wheels, pod.input_dir, endpoint=endpoint)
        code = replace(code, installed=packages.install(pod, code.folder, tell=self._note))
        return code, fetched | fetch_inputs(data, pod.input_dir, endpoint=endpoint)

    async def _train(self, code: Code) -> Ending:
        pod = self._pod
        processes_here = pod.processes if pod.spec.trainer.command is None else 1
        instances = await asyncio.to_thread(devices.mig_instances, devices.asked_for(pod.spec), processes_here)
        flight_recorder.make_folder(pod.work_dir)
        started = await processes.start(plan_launches(pod, code.folder, instances=instances, installed=code.installed))
        log.info("training starts", ranks=[process.rank for process in started])
        self._telemetry.activity = None
        return await Watch(self._pod, started, self._stop).run()

    async def _finish(self, code: Code, inputs: dict[str, Fetched]) -> ArtifactStatus | None:
        if not self._owns_output:
            return None
        self._telemetry.activity = "exporting"
        if left := await asyncio.to_thread(processes.end_leftovers):
            self._note(
                "the program has ended, but what it had started hadn't, and was ended before the model was stored: "
                f"{', '.join(left)}. What it was writing is as far as it got; wait for it in the program"
            )
        report = read_report(self._pod.run_dir) or exchange.RankReport()
        publish = partial(artifact.publish, self._pod, report=report, code=code, inputs=inputs, note=self._note)
        has_checkpoint = report.checkpoint is not None
        publishing = asyncio.to_thread(keep_trying, publish, has_checkpoint=has_checkpoint, note=self._note)
        return await self._unless_stopped(publishing, grace=self._pod.working_grace)

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
            await asyncio.sleep(grace)

        working, stopping = asyncio.create_task(work), asyncio.create_task(stopped())
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if working.done():
            return working.result()
        raise Stopped(f"asked to stop while {self._telemetry.activity}")

    def _judge(self, exit_code: int, *, error: Failure | None = None, model: ArtifactStatus | None = None) -> Verdict:
        report = read_report(self._pod.run_dir) or exchange.RankReport()
        report = report.model_copy(update={"notes": (*self._telemetry.notes, *report.notes)[-MAX_NOTES:]})
        return judge(exit_code, report=report, error=error, artifact=model)


async def supervise(pod: Pod) -> Verdict:
    """Runs a pod, taking SIGTERM and SIGINT as requests to stop."""
    supervisor = Supervisor(pod)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, supervisor.stop)
    return await supervisor.run()
