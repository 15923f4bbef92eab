"""A loop of one's own with accelerate: a network learns to read the time from pictures of a clock.

`python train.py` runs it on a laptop. In a job of several nodes the same loop trains on all of them.
"""

import argparse
import os
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from footplate_trainer.integrations.accelerate import FootplateTracker, stop_if_asked


def clocks(samples: int, *, seed: int) -> TensorDataset:
    """Pictures [N, 1, 24, 24] of a dial with one hand, and the hour that it points at."""
    generator = torch.Generator().manual_seed(seed)
    hours = torch.randint(0, 12, (samples,), generator=generator)
    angle = (hours / 12 * 2 * torch.pi).view(-1, 1, 1)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 24), torch.linspace(-1, 1, 24), indexing="ij")
    along, across = x * angle.sin() - y * angle.cos(), x * angle.cos() + y * angle.sin()
    pictures = ((across.abs() < 0.15) & (along > 0) & (along < 0.8)).float()
    return TensorDataset((pictures + 0.3 * torch.randn(pictures.shape, generator=generator)).unsqueeze(1), hours)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--save-steps", type=int, default=100)
    options = parser.parse_args()

    accelerator = Accelerator(cpu=not torch.cuda.is_available(), log_with=[FootplateTracker(options.steps)])
    accelerator.init_trackers("clocks")
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2),
        nn.ReLU(),
        nn.Conv2d(8, 16, 5, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(144, 12),
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    loader = DataLoader(clocks(4000, seed=0), batch_size=32, shuffle=True)
    model, optimizer, loader = accelerator.prepare(network, optimizer, loader)

    checkpoints = Path(os.environ.get("FOOTPLATE_CHECKPOINT_DIR", "checkpoints"))
    whole = [path.parent for path in checkpoints.glob("step_*/model.safetensors")]
    newest = max(whole, key=lambda path: int(path.name.removeprefix("step_")), default=None)
    step = 0
    if newest is not None:
        accelerator.load_state(str(newest))
        step = int(newest.name.removeprefix("step_"))
    accelerator.print(f"begins at step {step}", flush=True)

    while step < options.steps:
        for pictures, hours in loader:
            outputs = model(pictures)
            loss = nn.functional.cross_entropy(outputs, hours)
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
            step += 1
            accuracy = (outputs.argmax(1) == hours).float().mean()
            accelerator.log({"loss": loss.detach(), "accuracy": accuracy}, step=step)
            stop_if_asked(accelerator, step=step)
            if step % options.save_steps == 0:
                accelerator.save_state(str(checkpoints / f"step_{step}"))
            if step == options.steps:
                break
    accelerator.save_model(model, os.environ.get("FOOTPLATE_OUTPUT_DIR", "output"))
    accelerator.end_training()


if __name__ == "__main__":
    main()
