"""A training loop of one's own that survives anything: six names of footplate_trainer make it distributed, resumable
and visible. Outside a job, `python train.py` runs it as it is.
"""

import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import TensorDataset

from footplate_trainer import checkpoint, context, data, prepare, report


def two_spirals(samples: int) -> TensorDataset:
    """Points [N, 2] on two intertwined spirals, and which of them each lies on."""
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(samples) % 2
    turn = 3 * torch.pi * torch.rand(samples, generator=generator).sqrt()
    angle = turn + torch.pi * label
    points = torch.stack([turn * angle.cos(), turn * angle.sin()], dim=1) / 10
    return TensorDataset(points + 0.01 * torch.randn(samples, 2, generator=generator), label)


def main() -> None:
    ctx = context()
    epochs = ctx.hyperparameters.get("epochs", 20)
    network = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
    optimizer = torch.optim.AdamW(network.parameters(), lr=ctx.hyperparameters.get("learningRate", 0.01))
    model, optimizer = prepare(network, optimizer)
    loader = data.loader(two_spirals(4000), batch_size=100, epochs=epochs)
    state = checkpoint.restore(model=model, optimizer=optimizer, loader=loader)
    for points, labels in loader:
        points, labels = points.to(ctx.device), labels.to(ctx.device)
        outputs = model(points)
        loss = nn.functional.cross_entropy(outputs, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        state.step += 1
        accuracy = (outputs.argmax(1) == labels).float().mean()
        report(step=state.step, loss=loss.detach(), accuracy=accuracy, epoch=loader.epoch)
        if checkpoint.maybe_save(state) is checkpoint.STOP:
            return
    if ctx.is_main:
        ctx.output_dir.mkdir(parents=True, exist_ok=True)
        save_file(network.state_dict(), ctx.output_dir / "spirals.safetensors")


if __name__ == "__main__":
    main()
