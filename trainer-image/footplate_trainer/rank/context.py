"""`context()`: where this process stands, once all ranks are there.

It reads the environment once. In a gang of several ranks it also joins them (`gang.join`), so the first call waits for
all others; and it seeds torch, random and numpy, alike on every rank, so that a model built after it is the same in
every attempt.
"""

from functools import cache

import torch

from footplate_trainer.rank import devices, gang, stopping
from footplate_trainer.rank.environment import Context, here
from footplate_trainer.rank.report import reporter
from footplate_trainer.rank.seeds import seed_everything


@cache
def context() -> Context:
    """This rank's place in its job; the same object each time. The first call waits until all ranks are there.

    Raises:
        ConfigError: job.json or the environment isn't what the operator writes, or torch drives none of the
            accelerators that the job asks for.
        WrongJob: job.json is another job's or run's.
        BrokenDevice: the node has given fewer accelerators than were asked for.
        PeerLost: another rank went away meanwhile.
    """
    ctx = here()
    if ctx.config is not None:
        stopping.install(ctx.grace_seconds)
        if (note := check_devices(ctx)) is not None:
            reporter().note(note)
        seed_everything(ctx.seed)
        reporter().add_facts(seed=ctx.seed, device=_device_name(ctx.device))
    gang.join(ctx)
    return ctx


def check_devices(ctx: Context) -> str | None:
    """Refuses to compute on the CPU what was to be computed on accelerators.

    Returns:
        What to tell the user of a `command`, whose devices are its own business: this library alone would compute on
        the CPU.

    Raises:
        ConfigError: torch drives none of what the pod asks for, or there are more ranks than devices.
        BrokenDevice: the node has given fewer devices than were asked for.
    """
    asked = devices.asked_for(ctx.config)
    if ctx.config is None or not asked:
        return None
    error = devices.problem(ctx.local_world_size, asked, devices.look(), one_each=devices.has_own())
    if error is None:
        return None
    if ctx.config.spec.trainer.command is None:
        raise error
    return f"context().device is the CPU: {error}" if ctx.device.type == "cpu" else None


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
