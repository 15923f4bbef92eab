"""A small GPT learns to add, character by character: "07+58=65". Plain PyTorch under torchrun; nothing here knows of
Footplate but the names of two folders.

`torchrun --standalone --nproc-per-node=2 train.py` runs it on a laptop.
"""

import argparse
import os
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.parallel import DistributedDataParallel

ALPHABET = "0123456789+="
LENGTH = len("07+58=065") - 1
"""Characters that the model sees: all but the last, which it is to foretell."""


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(self.before_attention(x)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        heard = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.project(heard.transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp(self.before_mlp(x))


class GPT(nn.Module):
    def __init__(self, width: int = 64, layers: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.letters, self.places = nn.Embedding(len(ALPHABET), width), nn.Embedding(LENGTH, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.last = nn.LayerNorm(width)
        self.head = nn.Linear(width, len(ALPHABET), bias=False)

    def forward(self, letters: torch.Tensor) -> torch.Tensor:
        """Logits [N, T, letters] of what follows each letter [N, T]."""
        x = self.letters(letters) + self.places(torch.arange(letters.shape[1], device=letters.device))
        return self.head(self.last(self.blocks(x)))


def sums(count: int, *, seed: int) -> torch.Tensor:
    """Sums as numbers of letters [N, T + 1], such as those of "07+58=065"."""
    pairs = torch.randint(0, 100, (count, 2), generator=torch.Generator().manual_seed(seed)).tolist()
    return torch.tensor([[ALPHABET.index(letter) for letter in f"{a:02}+{b:02}={a + b:03}"] for a, b in pairs])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--save-steps", type=int, default=100)
    options = parser.parse_args()

    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    rank, device = dist.get_rank(), torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    torch.manual_seed(0)
    model = DistributedDataParallel(GPT().to(device))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

    file = Path(os.environ.get("FOOTPLATE_CHECKPOINT_DIR", "checkpoints")) / "checkpoint.pt"
    step = 0
    if file.exists():
        saved = torch.load(file, map_location=device)
        model.module.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        step = saved["step"]
    if rank == 0:
        print(f"begins at step {step}", flush=True)

    while step < options.steps:
        letters = sums(64, seed=step * dist.get_world_size() + rank).to(device)
        logits = model(letters[:, :-1])
        answers = slice(LENGTH - 3, None)  # only what comes after "=" can be foretold
        loss = F.cross_entropy(logits[:, answers].flatten(0, 1), letters[:, 1:][:, answers].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if rank == 0 and step % 10 == 0:
            print(f"step {step}/{options.steps}: loss {loss.item():.4f}", flush=True)
        if rank == 0 and step % options.save_steps == 0:
            file.parent.mkdir(parents=True, exist_ok=True)
            state = {"model": model.module.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
            torch.save(state, file.with_suffix(".new"))
            file.with_suffix(".new").replace(file)
            print(f"saved step {step}", flush=True)
    if rank == 0:
        folder = Path(os.environ.get("FOOTPLATE_OUTPUT_DIR", "output"))
        folder.mkdir(parents=True, exist_ok=True)
        save_file(model.module.state_dict(), folder / "gpt.safetensors")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
