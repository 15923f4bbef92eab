"""A script in SageMaker's script mode: hyperparameters as arguments, folders and hosts from SM_*."""

import argparse
import gzip
import json
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
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--backend", default="gloo")
    parser.add_argument("--hosts", type=json.loads, default=os.environ["SM_HOSTS"])
    parser.add_argument("--current-host", default=os.environ["SM_CURRENT_HOST"])
    parser.add_argument("--model-dir", type=Path, default=os.environ["SM_MODEL_DIR"])
    parser.add_argument("--output-data-dir", type=Path, default=os.environ["SM_OUTPUT_DATA_DIR"])
    parser.add_argument("--data-dir", type=Path, default=os.environ["SM_CHANNEL_TRAINING"])
    parser.add_argument("--checkpoint-dir", type=Path, default="/opt/ml/checkpoints")
    parser.add_argument("--num-gpus", type=int, default=os.environ["SM_NUM_GPUS"])
    options = parser.parse_args()

    rank = options.hosts.index(options.current_host)
    dist.init_process_group(options.backend, rank=rank, world_size=len(options.hosts))
    torch.manual_seed(0)
    data = read_digits(options.data_dir)
    sampler: DistributedSampler = DistributedSampler(data)
    network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(network.parameters(), lr=options.lr)
    begun, newest = 0, options.checkpoint_dir / "checkpoint.pth"
    if newest.exists():
        saved = torch.load(newest)
        network.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        begun = saved["epoch"]
    print(f"host {rank} of {len(options.hosts)}, {options.num_gpus} GPUs, begins after epoch {begun}", flush=True)
    model = DistributedDataParallel(network)
    losses = []
    for epoch in range(begun + 1, options.epochs + 1):
        sampler.set_epoch(epoch)
        for images, labels in DataLoader(data, batch_size=options.batch_size, sampler=sampler):
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
        if rank == 0:
            print(f"epoch={epoch} train_loss={losses[-1]:.4f};", flush=True)
            state = {"epoch": epoch, "model": network.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state, newest.with_suffix(".part"))
            newest.with_suffix(".part").rename(newest)
    if rank == 0:
        torch.save(network.state_dict(), options.model_dir / "model.pth")
        (options.output_data_dir / "losses.json").write_text(json.dumps(losses))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
