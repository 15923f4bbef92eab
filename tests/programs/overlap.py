"""When each bucket of gradients is sent, in how many layers' gradients, of a model that computes from its last layer to
its first."""

import json

import torch
import torch.distributed as dist
from torch import Tensor, nn

from footplate_trainer import Context, context, prepare

LAYERS = 8


class LastFirst(nn.Module):
    """Its layers are as large as DDP's first bucket."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(512, 512) for _ in range(LAYERS))

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        for layer in reversed(self.layers):
            inputs = torch.tanh(layer(inputs))
        return {"outputs": inputs}


class Lookup(nn.Module):
    """Gives sparse gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(8, 4, sparse=True)
        self.head = nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.words(inputs))
        return outputs


def main(ctx: Context) -> None:
    model = prepare(LastFirst())
    layers = list(model.module.layers)
    done: list[int] = []
    sent: list[list[int]] = []
    for number, layer in enumerate(layers):
        layer.weight.register_post_accumulate_grad_hook(lambda _, number=number: done.append(number))

    def send(_: object, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
        sent.append([bucket.index(), len(done)])
        handle = dist.all_reduce(bucket.buffer().div_(ctx.world_size), async_op=True)
        future: torch.futures.Future[Tensor] = handle.get_future().then(lambda all_sent: all_sent.value()[0])
        return future

    model.register_comm_hook(None, send)
    steps = []
    for accumulated in (True, False, False):
        if accumulated:
            with model.no_sync():
                model(torch.ones(2, 512))["outputs"].sum().backward()
        before = layers[0].weight.grad.clone() if accumulated else torch.zeros(())
        outputs = model(torch.ones(2, 512))["outputs"]
        kept = not accumulated or torch.equal(layers[0].weight.grad, before)
        done.clear()
        sent.clear()
        outputs.sum().backward()
        steps.append({"sent": list(sent), "order": list(done), "kept": kept})
        model.zero_grad()
    sparse = prepare(Lookup())
    sparse(torch.tensor([ctx.rank])).sum().backward()
    rows = sparse.module.words.weight.grad.coalesce().indices().flatten().tolist()
    ctx.output_dir.mkdir(exist_ok=True)
    (ctx.output_dir / f"result-{ctx.rank}.json").write_text(json.dumps({"steps": steps, "rows": rows}))


if __name__ == "__main__":
    main(context())
