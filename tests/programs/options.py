"""Trains with one option after the other, from the same beginning, and leaves behind what each ended with."""

import json
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from footplate_trainer import Context, Trainer, callbacks, context, data
from footplate_trainer.checkpoint.sharded import is_dtensor
from footplate_trainer.errors import UserError

SAMPLES, BATCH = 101, 24


class Network(nn.Module):
    """Has a layer that no output needs."""

    def __init__(self, *, unused: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))
        if unused:
            self.unused = nn.Linear(8, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layers(inputs)
        return outputs


class Overflow(callbacks.Callback):
    """Makes the gradient of a batch of the first epoch infinite, on the last rank."""

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: callbacks.Logs | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: callbacks.Logs | None = None) -> None:
        if (self._epoch, batch) == (0, self._batch) and context().rank == context().world_size - 1:
            layer = self.trainer.module.layers[2]  # type: ignore[index,union-attr]
            handle = layer.register_full_backward_hook(lambda module, inputs, outputs: spoilt(inputs, handle))


def spoilt(inputs: Any, handle: Any) -> Any:
    handle.remove()
    return tuple(None if gradient is None else gradient * float("inf") for gradient in inputs)


def counted(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The sum over what counts, and how much that is: very different on each rank."""
    weights = (targets != 0) * (1 + 10 * (targets == 2))
    return (cross_entropy(outputs, targets, reduction="none") * weights).sum(), weights.sum()


CASES: dict[str, dict[str, Any]] = {
    "counted": {"loss": counted, "accumulate": 3},
    "weighted": {"weights": True, "accumulate": 2, "class_weight": {0: 0.1, 2: 3.0}},
    "clipped": {"clip_norm": 0.05, "accumulate": 2},
    "unused": {"unused": True, "ddp_options": {"find_unused_parameters": True}},
    "static": {"ddp_options": {"static_graph": True, "gradient_as_bucket_view": True, "bucket_cap_mb": 1}},
    "recomputed": {"activation_checkpointing": "Linear", "clip_norm": 0.05},
    "sharded": {"strategy": "fsdp", "loss": counted, "clip_norm": 0.05, "activation_checkpointing": "Linear"},
    "half": {"precision": "fp16", "clip_norm": 0.5, "overflow": 2},
    "sharded half": {"precision": "fp16", "strategy": "fsdp", "clip_norm": 0.5, "overflow": 2},
}


def train(
    *,
    loss: Any = cross_entropy,
    weights: bool = False,
    unused: bool = False,
    class_weight: dict[int, float] | None = None,
    overflow: int = 0,
    **options: Any,
) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 3, (SAMPLES,), generator=generator)
    points = torch.randn(SAMPLES, 8, generator=generator, dtype=torch.float64) + labels[:, None]
    more = [torch.rand(SAMPLES, generator=generator, dtype=torch.float64)] if weights else []
    torch.manual_seed(7)
    model = Network(unused=unused).double()
    if options.get("precision") == "fp16":
        model, points = model.float(), points.float()
    trainer = Trainer(model, loss, torch.optim.SGD(model.parameters(), lr=0.3), **options)
    history = trainer.fit(
        data.loader(TensorDataset(points, labels, *more), batch_size=BATCH),
        validation=data.loader(TensorDataset(points, labels, *more), batch_size=10, shuffle=False),
        epochs=3,
        class_weight=class_weight,
        callbacks=[Overflow(overflow)] if overflow else [],
    )
    values = [weight.detach() for weight in model.parameters()]
    flat = torch.cat([(weight.full_tensor() if is_dtensor(weight) else weight).flatten() for weight in values])
    scaler = trainer._step.scaler
    return {"weights": flat.tolist(), "history": history.history, "skipped": scaler.skipped if scaler else 0}


def main(ctx: Context) -> None:
    results = {name: train(**case) for name, case in CASES.items()}
    try:
        train(unused=True)
    except UserError as error:
        results["refused"] = {"said": str(error).partition(" torch says")[0]}
    ctx.output_dir.mkdir(exist_ok=True)
    (ctx.output_dir / f"result-{ctx.rank}.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(context())
