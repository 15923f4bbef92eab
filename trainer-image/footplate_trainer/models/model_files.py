"""The files of a pretrained model's folder, looked at before anything is made of them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from footplate_trainer.checkpoint.names import WEIGHTS_FILE
from footplate_trainer.errors import DataError

INDEX_FILE = "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".pkl")
LARGEST_SETTINGS = 2**24
"""Bytes of a file of settings; one with the names of 20,000 classes has a tenth of it."""
ANEW = "write it anew by save_pretrained"


def read_settings(path: Path) -> dict[str, Any]:
    """A file of settings.

    Raises:
        DataError: it is no JSON object, or a huge one.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_SETTINGS + 1)
        if len(content) > LARGEST_SETTINGS:
            raise DataError(f"{path} has more than {LARGEST_SETTINGS:,} bytes, as no settings have; {ANEW}")
        settings = json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} can't be read ({error}); {ANEW}") from None
    if not isinstance(settings, dict):
        raise DataError(f"{path} holds no settings; {ANEW}")
    return settings


def weights_files(folder: Path) -> list[Path]:
    """The files that hold a model's weights: one, or those that an index names.

    Raises:
        DataError: there are none, only pickles, or not all that the index names.
    """
    if (folder / WEIGHTS_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    index = folder / INDEX_FILE
    if not index.is_file():
        pickles = [path.name for path in sorted(folder.iterdir()) if path.suffix in PICKLES]
        raise DataError(
            f"input model: {folder} has no {WEIGHTS_FILE}"
            + (f", only {', '.join(pickles[:3])}, which may run code when it is loaded" if pickles else "")
            + "; where you trust the model, AutoModel.from_pretrained(folder).save_pretrained(other) writes it"
        )
    places = read_settings(index).get("weight_map")
    names = sorted({*map(str, places.values())}) if isinstance(places, dict) else []
    if not names or any(Path(name).name != name for name in names):
        raise DataError(f"input model: {index} names no files beside it; {ANEW}")
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise DataError(
            f"input model: {index} names {len(names):,} files, of which {len(missing):,} aren't there, such as "
            f"{missing[0]}; upload the whole folder"
        )
    return [folder / name for name in names]


def check_weights(folder: Path) -> None:
    """Looks at every number of a model's weights, tensor by tensor.

    Raises:
        DataError: as `weights_files`; a file can't be read, or holds NaN or infinite numbers.
    """
    for path in weights_files(folder):
        with told(path), safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  # it is no mapping
                tensor = file.get_tensor(name)
                if wrong := _count_wrong(tensor):
                    raise DataError(
                        f"input model: {path} has {wrong:,} of {tensor.numel():,} numbers of {name} NaN or infinite: "
                        "no training comes back from them; take the model from before it diverged"
                    )


def _count_wrong(tensor: Tensor) -> int:
    """How many numbers are NaN or infinite. Such show in the extremes, which are found at a fraction of the cost."""
    if not tensor.is_floating_point() or not tensor.numel():
        return 0
    numbers = tensor.float()
    if torch.isfinite(torch.stack(torch.aminmax(numbers))).all():
        return 0
    return int((~torch.isfinite(numbers)).sum())


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Names what can't be read, of which safetensors, tokenizers and transformers raise anything."""
    try:
        yield
    except (
        SafetensorError,
        ImportError,
        OSError,
        ValueError,
        RuntimeError,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:
        raise DataError(f"{path} can't be read ({type(error).__name__}: {error}); {ANEW}") from error
    except Exception as error:
        if type(error) is not Exception:  # tokenizers raises that very class
            raise
        raise DataError(f"{path} can't be read ({error}); {ANEW}") from error
