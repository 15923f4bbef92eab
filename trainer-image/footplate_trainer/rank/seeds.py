"""Random numbers that depend on nothing but what they are for."""

import hashlib
import random
import sys
from collections.abc import Collection
from typing import Any

import torch

GENERATORS = frozenset({"torch", "random", "numpy"})
"""The process's own random numbers, on the CPU."""


def derive_seed(*parts: int | str) -> int:
    """A seed in 0–2^63-1 that is a pure function of its parts, and unrelated for different ones."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def seed_everything(seed: int) -> None:
    """Seeds torch on all devices, random and, where it is loaded, numpy."""
    seed_host(seed)
    torch.cuda.manual_seed_all(seed)


def seed_host(seed: int, generators: Collection[str] = GENERATORS) -> None:
    """Seeds the same on the CPU alone, in some 6 µs: torch.manual_seed, which asks every kind of device, takes 120."""
    if "torch" in generators:
        torch.default_generator.manual_seed(seed)
    if "random" in generators:
        random.seed(seed)
    if "numpy" in generators and (numpy := sys.modules.get("numpy")):
        numpy.random.seed(seed % 2**32)


def random_state() -> dict[str, Any]:
    """The state of every generator that `seed_everything` seeds, as a tree of tensors and plain values."""
    state: dict[str, Any] = {"torch": torch.get_rng_state(), "random": random.getstate()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    if numpy := sys.modules.get("numpy"):
        name, keys, *rest = numpy.random.get_state()
        state["numpy"] = (name, torch.from_numpy(keys.astype("int64")), *rest)
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Sets what `random_state` gave."""
    torch.set_rng_state(state["torch"])
    random.setstate(state["random"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    if "numpy" in state:
        import numpy as np

        name, keys, *rest = state["numpy"]
        np.random.set_state((name, keys.numpy().astype("uint32"), *rest))
