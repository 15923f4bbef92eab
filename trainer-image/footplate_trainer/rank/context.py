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
        if (note := devices.check(ctx)) is not None:
            reporter().note(note)
        seed_everything(ctx.seed)
        reporter().add_facts(seed=ctx.seed, device=_device_name(ctx.device))
    gang.join(ctx)
    return ctx


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
