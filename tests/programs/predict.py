"""`Trainer.predict` on data that doesn't divide: of the last batch some ranks have no share."""

import json

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from footplate_trainer import Context, Trainer, context, data


class Parts(nn.Module):
    """Gives more than one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 2)

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        return {"inputs": inputs, "logits": self.linear(inputs)}


def main(ctx: Context) -> None:
    model = Parts()
    trainer = Trainer(
        model,
        nn.functional.cross_entropy,
        torch.optim.SGD(model.parameters(), lr=0.1),
        strategy=ctx.hyperparameters["strategy"],
    )
    rows = torch.arange(13.0)[:, None]
    loader = data.loader(TensorDataset(rows), batch_size=ctx.hyperparameters["batchSize"], shuffle=False)
    shared = trainer.predict(loader)
    alone = trainer.predict(list(rows.split(5)))
    result = {
        "inputs": shared["inputs"].flatten().tolist(),
        "same": torch.allclose(shared["logits"], alone["logits"]),
        "rows": len(alone["logits"]),
    }
    ctx.output_dir.mkdir(exist_ok=True)
    (ctx.output_dir / f"result-{ctx.rank}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(context())
