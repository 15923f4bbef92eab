"""A script as a PyTorchJob starts it: a process a replica, which finds the others in RANK, WORLD_SIZE and MASTER_*."""

import argparse
import gzip
import os
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler


def read_digits(folder: Path) -> TensorDataset:
    images = np.frombuffer(gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((folder / "train-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    pixels = torch.from_numpy(images.reshape(len(labels), -1) / np.float32(255))
    return TensorDataset(pixels, torch.from_numpy(labels.astype("int64")))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--model-dir", type=Path, required=True)
    options = parser.parse_args()

    dist.init_process_group(os.environ.get("BACKEND", "gloo"))
    torch.manual_seed(0)
    data = read_digits(options.data_dir)
    sampler: DistributedSampler = DistributedSampler(data)
    model = DistributedDataParallel(nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for epoch in range(1, options.epochs + 1):
        sampler.set_epoch(epoch)
        for images, labels in DataLoader(data, batch_size=64, sampler=sampler):
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if dist.get_rank() == 0:
            print(f"epoch {epoch} of {dist.get_world_size()} processes: loss={loss.item():.4f}", flush=True)
    if dist.get_rank() == 0:
        torch.save(model.module.state_dict(), options.model_dir / "digits.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
