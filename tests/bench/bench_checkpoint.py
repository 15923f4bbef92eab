"""How long training stands still for a checkpoint of some 530 MB written in the background, beside a synchronous
save of the same state, and what the writing does to the steps meanwhile. Prints JSON lines.

    python tests/bench/bench_checkpoint.py

To a real S3 server on loopback, which is the fastest storage that a user can have: a slower one makes the share
smaller. Background and synchronous saves take turns. Goal: at most 0.1. The first save also gets the memory for the
copies; it is printed, and left out of the medians.
"""

import asyncio
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from footplate.contract import Env, JobConfig
from footplate.devcluster.s3 import S3Server
from footplate_trainer.checkpoint.session import Session
from footplate_trainer.checkpoint.state import TrainState
from footplate_trainer.rank.environment import Context

LAYERS, WIDTH, ROUNDS = 42, 1024, 5


def place_in(folder: Path) -> Context:
    """A job of one rank whose checkpoints go to the server, saved at every step."""
    block = {"uri": "s3://checkpoints/bench/", "every": {"steps": 1}, "keep": 1}
    spec = {"trainer": {"image": "bench", "entrypoint": "bench.py"}, "checkpoint": block}
    config = JobConfig.model_validate({"metadata": {"name": "bench"}, "run": 1, "spec": spec})
    os.environ[Env.CONFIG] = str(folder / "job.json")
    (folder / "job.json").write_text(config.model_dump_json(by_alias=True))
    return Context(
        device=torch.device("cpu"),
        job="bench",
        config=config,
        checkpoint=config.spec.checkpoint,
        checkpoint_dir=folder / "staging",
    )


def make_state() -> TrainState:
    """A model and its Adam state: three times the weights."""
    model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS)))
    optimizer = torch.optim.AdamW(model.parameters())
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    return TrainState({"model": model, "optimizer": optimizer}, None)


def take_step(weights: torch.Tensor) -> float:
    """Seconds of some computing on one core, as a step of training."""
    began = time.perf_counter()
    for _ in range(4):
        weights @ weights
    return time.perf_counter() - began


def save_in_background(session: Session, state: TrainState, weights: torch.Tensor) -> dict[str, float]:
    """One save while steps go on: seconds of standstill, of the whole save, and of a step during it."""
    state.step += 1
    began = time.perf_counter()
    session.maybe_save(state)
    stall = time.perf_counter() - began
    steps = []
    while session._saves is not None and session._saves.busy:
        steps.append(take_step(weights))
    whole = time.perf_counter() - began
    session.finish()
    return {"stall_seconds": stall, "save_seconds": whole, "step_seconds": statistics.mean(steps)}


def save_synchronously(session: Session, state: TrainState) -> float:
    """Seconds of one save during which nothing else happens."""
    state.step += 1
    began = time.perf_counter()
    session.save(state)
    return time.perf_counter() - began


def measure(folder: Path) -> None:
    session = Session(place_in(folder))
    state = make_state()
    session.restore(state)
    weights = torch.randn(512, 512)
    idle = statistics.mean(take_step(weights) for _ in range(100))
    stalls, saves, steps = [], [], []
    for number in range(ROUNDS + 1):
        background = save_in_background(session, state, weights)
        synchronous = save_synchronously(session, state)
        say("first save" if number == 0 else "save", **background, synchronous_seconds=synchronous)
        if number > 0:
            stalls.append(background["stall_seconds"])
            steps.append(background["step_seconds"])
            saves.append(synchronous)
    say("stall / synchronous save, medians", share=statistics.median(stalls) / statistics.median(saves), goal=0.1)
    say("a step while saving / a step", ratio=statistics.median(steps) / idle)


def say(case: str, **figures: Any) -> None:
    rounded = {name: round(value, 3) for name, value in figures.items()}
    print(json.dumps({"bench": "checkpoint", "case": case, **rounded}), flush=True)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with S3Server(Path(folder) / "s3") as server:
            os.environ.update(server.environment)
            await asyncio.to_thread(measure, Path(folder))


if __name__ == "__main__":
    asyncio.run(main())
