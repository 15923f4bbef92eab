"""A script as `srun torchrun` starts it: ranks from torchrun, its newest checkpoint in a folder, a stop on SIGTERM."""

import argparse
import gzip
import signal
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

asked_to_stop = False


def stop(*_: object) -> None:
    global asked_to_stop
    asked_to_stop = True


def read_digits(folder: Path) -> TensorDataset:
    images = np.frombuffer(gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((folder / "train-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    pixels = torch.from_numpy(images.reshape(len(labels), -1) / np.float32(255))
    return TensorDataset(pixels, torch.from_numpy(labels.astype("int64")))


def any_rank_was_asked() -> bool:
    asked: Tensor = torch.tensor(int(asked_to_stop))
    dist.all_reduce(asked, dist.ReduceOp.MAX)
    return bool(asked)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--checkpoint-dir", type=Path, required=True)
    parser.add_argument("--model-dir", type=Path, required=True)
    options = parser.parse_args()

    signal.signal(signal.SIGTERM, stop)
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    data = read_digits(options.data_dir)
    sampler: DistributedSampler = DistributedSampler(data)
    network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    begun, newest = 0, options.checkpoint_dir / "newest.pt"
    if newest.exists():
        saved = torch.load(newest)
        network.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        begun = saved["epoch"]
    if dist.get_rank() == 0:
        print(f"{dist.get_world_size()} ranks begin after epoch {begun}", flush=True)
    model = DistributedDataParallel(network)
    for epoch in range(begun + 1, options.epochs + 1):
        sampler.set_epoch(epoch)
        for images, labels in DataLoader(data, batch_size=64, sampler=sampler):
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if dist.get_rank() == 0:
            print(f"epoch {epoch}: loss={loss.item():.4f}", flush=True)
            state = {"epoch": epoch, "model": network.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state, newest.with_suffix(".part"))
            newest.with_suffix(".part").rename(newest)
        if any_rank_was_asked():
            break
    else:
        if dist.get_rank() == 0:
            torch.save(network.state_dict(), options.model_dir / "digits.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
