"""How long training stands still for a checkpoint of some 530 MB that is written in the background, beside the whole
save. Prints JSON lines.

    python tests/bench/bench_checkpoint.py

Goal: at most 0.1. The first save also gets the memory for the copies; it is printed, and left out of the median.
"""

import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

from footplate.contract import Env, JobConfig
from footplate_trainer.checkpoint.session import Session
from footplate_trainer.checkpoint.state import TrainState
from footplate_trainer.context import Context

LAYERS, WIDTH, SAVES = 42, 1024, 6


def place_in(folder: Path) -> Context:
    """A job of one rank whose checkpoints go to `folder`, saved at every step."""
    block = {"uri": f"file://{folder}/checkpoints", "every": {"steps": 1}, "keep": 1}
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


def make_state(session: Session) -> TrainState:
    """A model and its Adam state: three times the weights."""
    model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS)))
    optimizer = torch.optim.AdamW(model.parameters())
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    return TrainState(session, {"model": model, "optimizer": optimizer}, None)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        session = Session(place_in(Path(folder)))
        state = make_state(session)
        session.restore(state)
        shares = []
        for number in range(SAVES):
            state.step += 1
            began = time.perf_counter()
            session.maybe_save(state)
            stall = time.perf_counter() - began
            session.finish()
            whole = time.perf_counter() - began
            shares.append(stall / whole)
            case = "first save" if number == 0 else "save"
            line = {"case": case, "stall_seconds": round(stall, 3), "save_seconds": round(whole, 3)}
            print(json.dumps({"bench": "checkpoint", **line}), flush=True)
        share = round(statistics.median(shares[1:]), 3)
        print(json.dumps({"bench": "checkpoint", "case": "stall / save, median", "share": share, "goal": 0.1}))


if __name__ == "__main__":
    main()
