"""Files that callbacks write, and their content as a part of checkpoints: a new pod begins with an empty folder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from footplate_trainer.rank.context import context


def in_output(path: str | Path) -> Path:
    """A path, which begins in `context().output_dir` where it is relative."""
    return context().output_dir / path


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Has a file written aside, and puts it in its place: it is there whole, old or new, at every moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.unfinished")
    try:
        write(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def read_bytes(path: Path) -> Tensor:
    """A file's content, uint8 [bytes]."""
    return torch.from_numpy(np.fromfile(path, dtype=np.uint8))


def write_bytes(path: Path, content: Tensor) -> None:
    """Writes what `read_bytes` gave."""
    replace(path, content.numpy().tofile)
