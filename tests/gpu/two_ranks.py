"""Two ranks of one job on two devices, or on two MIG instances of one: DDP over what `join` has chosen."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from footplate_trainer import context, prepare
from footplate_trainer.rank import devices, gang
from gpu.setting import Setting


def check(setting: Setting) -> dict[str, Any]:
    """Skipped, and says so, where there is one device and no MIG."""
    environments: list[dict[str, str]] = [{}, {}]
    if setting.on_gpu and torch.cuda.device_count() < 2:
        instances = devices._LISTED_MIG.findall(devices._list_devices())
        if len(instances) < 2:
            return {"skipped": "one device without two MIG instances: NCCL takes two ranks of it for a mistake"}
        environments = [{"CUDA_VISIBLE_DEVICES": instance} for instance in instances[:2]]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2",
              "LOCAL_WORLD_SIZE": "2", "PYTHONPATH": str(Path(__file__).parents[1])}  # fmt: skip
    if not setting.on_gpu:
        shared["CUDA_VISIBLE_DEVICES"] = ""
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "gpu.two_ranks"],
            env={**shared, **environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank, environment in enumerate(environments)
    ]
    try:
        said = [rank.communicate(timeout=240)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0]
    assert said[0] == said[1], "ranks have other weights"
    return {"ranks": 2, "said": said[0].strip()}


def main() -> None:
    """One rank: its gradients are those of all."""
    place = context()
    torch.manual_seed(0)
    model = prepare(torch.nn.Linear(8, 1), precision="fp32")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(4):
        rows = torch.full((2, 8), float(place.rank + step), device=place.device)
        optimizer.zero_grad()
        model(rows).sum().backward()
        optimizer.step()
    weights = model.module.weight.detach().cpu().flatten().tolist()
    print(torch.distributed.get_backend_config(), [round(weight, 4) for weight in weights])
    gang.leave(clean=True)


if __name__ == "__main__":
    main()
