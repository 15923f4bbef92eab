"""Lightning: a small network learns which of two spirals a point lies on.

`python train.py` runs it on a laptop. In a job of several nodes the same Trainer trains on all of them.
"""

import argparse
import os
from pathlib import Path

import lightning as L  # noqa: N812 (as everybody does)
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from footplate_trainer.integrations.lightning import FootplateCallback, last_checkpoint


def two_spirals(samples: int, *, seed: int) -> TensorDataset:
    """Points [N, 2] on two intertwined spirals, and which of them each lies on."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(samples) % 2
    turn = 3 * torch.pi * torch.rand(samples, generator=generator).sqrt()
    angle = turn + torch.pi * label
    points = torch.stack([turn * angle.cos(), turn * angle.sin()], dim=1) / 10
    return TensorDataset(points, label)


class Spirals(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _index: int) -> torch.Tensor:
        points, labels = batch
        loss = nn.functional.cross_entropy(self.network(points), labels)
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], _index: int) -> None:
        points, labels = batch
        self.log("val_accuracy", (self.network(points).argmax(1) == labels).float().mean(), sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.01)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--save-epochs", type=int, default=5)
    options = parser.parse_args()

    L.seed_everything(0)
    trainer = L.Trainer(
        max_epochs=options.epochs,
        num_nodes=int(os.environ.get("FOOTPLATE_NODES", "1")),
        devices=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        callbacks=[
            ModelCheckpoint(os.environ.get("FOOTPLATE_CHECKPOINT_DIR"), every_n_epochs=options.save_epochs),
            FootplateCallback(),
        ],
        logger=False,
        enable_progress_bar=False,
    )
    model = Spirals()
    train, test = (DataLoader(two_spirals(4000, seed=seed), batch_size=100, shuffle=seed == 0) for seed in (0, 1))
    checkpoint = last_checkpoint()
    print(f"begins at {checkpoint or 'step=0'}", flush=True)
    trainer.fit(model, train, test, ckpt_path=checkpoint)
    if trainer.is_global_zero:
        output = Path(os.environ.get("FOOTPLATE_OUTPUT_DIR", "output"))
        output.mkdir(parents=True, exist_ok=True)
        save_file(model.network.state_dict(), output / "spirals.safetensors")


if __name__ == "__main__":
    main()
