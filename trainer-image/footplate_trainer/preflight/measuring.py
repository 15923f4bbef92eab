"""What a probe measures: one device of a pod and, with all other probes, the network. Whatever that takes is imported
with this module: how fast a node reads its image is no part of what is measured.
"""

import os

import torch

from footplate.api.preflight import Preflight
from footplate.contract import JobConfig
from footplate_trainer.errors import ConfigError
from footplate_trainer.preflight import network
from footplate_trainer.preflight.devices import compute, free_memory
from footplate_trainer.preflight.judging import shortfalls
from footplate_trainer.preflight.reading import Link, Recorder
from footplate_trainer.rank import devices, gang
from footplate_trainer.rank.environment import Context, here


def measure(recorder: Recorder, local: int) -> None:
    """Measures what the runtime asks for, and says so stage by stage.

    Raises:
        ConfigError: it can't be measured.
        BrokenDevice: a device isn't what was promised.
    """
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


def _measure_device(recorder: Recorder, device: torch.device, config: JobConfig, *, processes: int) -> None:
    named = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    recorder.add(device=named)
    problem = devices.problem(processes, devices.asked_for(config), devices.look(), one_each=devices.has_own())
    if problem is not None:
        raise problem
    devices.take(device)
    recorder.add(memory_bytes=free_memory(device))
    teraflops, wrong = compute(device)
    recorder.add(teraflops=teraflops, unfit=f"device {os.environ['LOCAL_RANK']} ({named}): {wrong}" if wrong else "")


def _measure_network(recorder: Recorder, ctx: Context, preflight: Preflight) -> None:
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
