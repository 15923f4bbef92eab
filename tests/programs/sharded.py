"""A training whose model is sharded over the ranks, with all that isn't simple in one: parameters whose sizes the ranks
don't divide, tied weights, a frozen layer, buffers, dropout, clipped gradients; and that leaves behind what it ended
with, bit for bit."""

import hashlib
import json
import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from footplate_trainer import Context, checkpoint, context, data, export_model, prepare, report
from footplate_trainer.checkpoint.sharded import is_dtensor


class Block(nn.Module):
    """Seven rows, which neither two nor three ranks divide."""

    def __init__(self, *, chance: bool) -> None:
        super().__init__()
        norm = nn.BatchNorm1d(7) if chance else nn.LayerNorm(7)
        self.layers = nn.Sequential(nn.Linear(7, 7), norm, nn.Tanh(), nn.Dropout(0.2 if chance else 0.0))

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = inputs + self.layers(inputs)
        return outputs


class Tied(nn.Module):
    """The head's weight is the stem's; the scale has one row, so that most ranks have none of it."""

    def __init__(self, *, chance: bool) -> None:
        super().__init__()
        self.stem = nn.Linear(7, 7)
        self.blocks = nn.ModuleList([Block(chance=chance) for _ in range(2)])
        self.frozen = nn.Linear(7, 7).requires_grad_(False)
        self.scale = nn.Parameter(torch.ones(1, 7))
        self.head = nn.Linear(7, 7)
        self.head.weight = self.stem.weight

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.stem(inputs)
        for block in self.blocks:
            hidden = block(hidden)
        outputs: Tensor = self.head(self.frozen(hidden) * self.scale)
        return outputs


class Points(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Points to be told apart by their largest coordinate."""

    def __init__(self, samples: int) -> None:
        self.points = torch.randn(samples, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.points[index] + 0.1 * torch.randn(7), self.points[index].argmax()


class Losses:
    """The loss of every step, as a part of the checkpoint."""

    def __init__(self) -> None:
        self.values: list[list[float]] = []

    def state_dict(self) -> dict[str, Any]:
        return {"values": self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.values = state["values"]


def main(ctx: Context) -> None:
    settings = ctx.hyperparameters
    torch.manual_seed(ctx.rank)  # prepare has all ranks begin with rank 0's weights
    model = Tied(chance=settings["chance"]).double()
    if settings.get("before", True):
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        model, optimizer = prepare(model, optimizer, strategy=settings["strategy"])
    else:
        model = prepare(model, strategy=settings["strategy"])
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    loader = data.loader(Points(settings["samples"]), batch_size=settings["batchSize"], epochs=settings["epochs"])
    losses = Losses()
    state = checkpoint.restore(model=model, optimizer=optimizer, loader=loader, losses=losses)
    for points, labels in loader if settings.get("trains", True) else ():
        loss = nn.functional.cross_entropy(model(points), labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad()
        state.step += 1
        losses.values.append([state.step, loss.item()])
        report(step=state.step, loss=loss, epoch=loader.epoch)
        time.sleep(settings.get("stepSeconds", 0.0))
        if checkpoint.maybe_save(state) is checkpoint.STOP:
            return
    random = torch.rand(3).tolist()
    model.eval()
    export_model(model, torch.randn(4, 7), formats=["safetensors"])
    write_result(ctx, model, optimizer, losses, random)


def write_result(
    ctx: Context, model: nn.Module, optimizer: torch.optim.Optimizer, losses: Losses, random: list[float]
) -> None:
    digest = hashlib.sha256()
    tensors = [*model.state_dict().values()]
    tensors += [value for state in optimizer.state_dict()["state"].values() for value in state.values()]
    for tensor in tensors:
        digest.update((tensor.full_tensor() if is_dtensor(tensor) else tensor).numpy().tobytes())
    held = sum(tensor.to_local().numel() if isinstance(tensor, DTensor) else tensor.numel() for tensor in tensors)
    result = {
        "sha256": digest.hexdigest(),
        "losses": losses.values,
        "random": random,
        "share": held / sum(tensor.numel() for tensor in tensors),
        "optimizer": sorted({type(value).__name__ for value in optimizer.param_groups[0]["params"]}),
    }
    ctx.output_dir.mkdir(exist_ok=True)
    (ctx.output_dir / f"result-{ctx.rank}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(context())
