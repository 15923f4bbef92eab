"""A training on samples that have numbers, and a witness of which ones each step of which gang was made of."""

import json
import time
from pathlib import Path

import torch
from torch import distributed

from footplate_trainer import Context, checkpoint, context, data, prepare, report


class Numbers(torch.utils.data.Dataset[torch.Tensor]):
    """Sample i is i."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([float(index)])


def main(ctx: Context) -> None:
    settings = ctx.hyperparameters
    witness = Path(settings["witness"])
    model = prepare(torch.nn.Linear(1, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)
    loader = data.loader(Numbers(settings["samples"]), batch_size=settings["batchSize"], epochs=settings["epochs"])
    state = checkpoint.restore(model=model, optimizer=optimizer, loader=loader)
    for batch in loader:
        model(batch).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        state.step += 1
        samples = gather(ctx, [int(number) for number in batch.flatten()])
        if ctx.is_main:
            line = {"attempt": ctx.attempt, "world": ctx.world_size, "step": state.step, "samples": samples}
            with witness.open("ab", buffering=0) as file:  # one write, which appends as a whole
                file.write(json.dumps({**line, "time": time.time()}).encode() + b"\n")
        report(step=state.step, epoch=loader.epoch)
        if not witness.with_suffix(".hurry").exists():
            time.sleep(settings["stepSeconds"])
        if checkpoint.maybe_save(state) is checkpoint.STOP:
            return


def gather(ctx: Context, samples: list[int]) -> list[int]:
    """The samples of all ranks, in their order."""
    if ctx.world_size == 1:
        return samples
    shares: list[list[int]] = [[] for _ in range(ctx.world_size)]
    distributed.all_gather_object(shares, samples)
    return [sample for share in shares for sample in share]


if __name__ == "__main__":
    main(context())
