"""`python -m footplate_trainer.preflight.probe`: measures one device of a pod and, with those of all other pods, the
network. It computes nothing of the user's, and tells the supervisor by its file alone.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from footplate.api.preflight import Preflight
from footplate.contract import Env, JobConfig
from footplate_trainer.errors import BrokenDevice, ConfigError, TrainerError, words_of
from footplate_trainer.preflight import reading as readings
from footplate_trainer.preflight.judging import shortfalls
from footplate_trainer.preflight.reading import Link, Reading

if TYPE_CHECKING:
    import torch

    from footplate_trainer.rank.environment import Context


class Recorder:
    """The reading so far, and its file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.reading = Reading()

    def add(self, **changes: Any) -> None:
        """Writes it with these changes."""
        self.reading = self.reading.model_copy(update=changes)
        readings.write(self._path, self.reading)


def main() -> None:
    """Measures, and ends with 0 whatever it has found: that is in the reading."""
    local = int(os.environ["LOCAL_RANK"])
    recorder = Recorder(readings.path_of(Path(os.environ[Env.RUN_DIR]), local))
    try:
        _measure(recorder, local)
    except (ConfigError, ImportError) as error:
        recorder.add(mistake=words_of(error))
    except BrokenDevice as error:
        recorder.add(unfit=words_of(error))
    except Exception as error:
        text = words_of(error) if isinstance(error, TrainerError) else f"{type(error).__name__}: {words_of(error)}"
        if recorder.reading.stage == "device":
            recorder.add(unfit=f"device {local} fails: {text[:400]}")
        else:
            recorder.add(lost=f"the network's check failed: {text[:400]}")
    sys.stdout.flush()
    os._exit(0)  # no library's threads, and no peer, hold it up


def _measure(recorder: Recorder, local: int) -> None:
    from footplate_trainer.rank.environment import here

    ctx = here()
    if ctx.config is None or (preflight := ctx.config.preflight) is None:
        raise ConfigError("job.json names no preflight; the supervisor starts this program where it does")
    if preflight.devices:
        recorder.add(stage="device")
        _measure_device(recorder, ctx.device, ctx.config, processes=ctx.local_world_size)
    if preflight.network and ctx.world_size > 1 and not shortfalls(local, recorder.reading, preflight.floors):
        recorder.add(stage="waiting")
        _measure_network(recorder, ctx, preflight)
    recorder.add(stage="done")


def _measure_device(recorder: Recorder, device: "torch.device", config: JobConfig, *, processes: int) -> None:
    import torch

    from footplate_trainer.preflight.devices import compute, free_memory
    from footplate_trainer.rank import devices

    named = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    recorder.add(device=named)
    problem = devices.problem(processes, devices.asked_for(config), devices.look(), one_each=devices.has_own())
    if problem is not None:
        raise problem
    devices.take(device)
    recorder.add(memory_bytes=free_memory(device))
    teraflops, wrong = compute(device)
    recorder.add(teraflops=teraflops, unfit=f"device {os.environ['LOCAL_RANK']} ({named}): {wrong}" if wrong else "")


def _measure_network(recorder: Recorder, ctx: "Context", preflight: Preflight) -> None:
    from footplate_trainer.preflight import network
    from footplate_trainer.rank import gang

    gang.join(ctx)
    recorder.add(stage="network")
    place = network.Place(ctx.rank, ctx.world_size, ctx.local_world_size, ctx.device)
    try:
        rate = network.sum_all(place)
    except network.WrongSum as error:
        recorder.add(unfit=f"the network of this node: {error}")
        return
    memory, teraflops = recorder.reading.memory_bytes, recorder.reading.teraflops
    recorder.add(
        gigabits_per_second=rate,
        least_memory_bytes=int(min(network.gather(place, memory))) if memory is not None else None,
        least_teraflops=min(network.gather(place, teraflops)) if teraflops is not None else None,
    )
    floor = preflight.floors.gigabits_per_second
    if floor is None or place.nodes < 2 or rate >= floor:
        return
    measured = network.measure_links(place, floor, lambda partner: recorder.add(exchanges_with=partner))
    recorder.add(links=tuple(Link(nodes=pair, gigabits_per_second=each) for pair, each in measured))


if __name__ == "__main__":
    main()
