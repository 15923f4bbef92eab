"""State as files: a tree of tensors and plain values is one safetensors file, never a pickle.

Tensors lie in the file under their path in the tree, so a model's file has the model's own names and any safetensors
reader can open it. The rest of the tree is JSON in the file's metadata, with `{"$tensor": name}` where a tensor was.
JSON has no tuples, bytes, counters, non-text keys or NaN: they are written as `{"$tuple": [...]}` and the like.

Of a tensor that is sharded, which lie in other files (`sharded.py`), the metadata tells how.
"""

import base64
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from footplate_trainer.errors import ConfigError

STRUCTURE = "footplate"
"""Key of the tree in the file's metadata."""
SHARDINGS = "footplate.splits"
"""Key of what is known of tensors whose shards are elsewhere."""

Region = tuple[slice, ...]
"""A part of a tensor: start and stop along each dimension."""


@dataclass(frozen=True, slots=True)
class Sharding:
    """A sharded tensor along one dimension, sized as `torch.chunk` does: the last ones may be smaller, or empty."""

    shape: tuple[int, ...]
    dtype: str
    dim: int
    shards: int

    def region(self, shard: int) -> Region:
        """Where a shard lies in the whole."""
        region = list(whole(self.shape))
        if self.shards > 1:
            size = self.shape[self.dim]
            region[self.dim] = slice(min(shard * self._each, size), min((shard + 1) * self._each, size))
        return tuple(region)

    def shards_of(self, region: Region) -> range:
        """The shards that a part of the whole is made of."""
        if self.shards == 1:
            return range(1)
        start, stop = region[self.dim].start, region[self.dim].stop
        return range(start // self._each, -(-stop // self._each)) if start < stop else range(0)

    def said(self) -> dict[str, Any]:
        """As files say it."""
        return {"shape": self.shape, "dtype": self.dtype, "dim": self.dim, "pieces": self.shards}

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> "Sharding":
        """What a file says; raises KeyError or TypeError where that is something else."""
        return cls(tuple(said["shape"]), said["dtype"], said["dim"], said["pieces"])

    @property
    def _each(self) -> int:
        return -(-self.shape[self.dim] // self.shards)


@dataclass(frozen=True, slots=True)
class Packed:
    """A tree taken apart: its tensors by name, and a JSON structure that refers to them."""

    tensors: Mapping[str, Tensor]
    structure: Any
    shardings: Mapping[str, Sharding] = field(default_factory=dict)
    """Tensors of the structure that aren't among `tensors`, since they are sharded."""

    def tree(self) -> Any:
        """Puts the tree together again; none of its tensors may be sharded."""
        return _decode(self.tensors, self.structure)


def whole(shape: Iterable[int]) -> Region:
    """All of a tensor."""
    return tuple(slice(0, size) for size in shape)


def flatten(tree: Any) -> Packed:
    """Takes a tree apart.

    Raises:
        ConfigError: a value is neither a tensor nor plain; the message has its path.
    """
    tensors: dict[str, Tensor] = {}
    return Packed(tensors, _encode(tree, "", tensors))


def write(path: Path, packed: Packed) -> None:
    """Writes a tree to a file; its tensors must be contiguous, on the CPU, and share no memory."""
    metadata = {"format": "pt", STRUCTURE: json.dumps(packed.structure, allow_nan=False)}
    if packed.shardings:
        metadata[SHARDINGS] = json.dumps({name: sharding.said() for name, sharding in packed.shardings.items()})
    save_file(dict(packed.tensors), path, metadata=metadata)


def read(path: Path) -> Packed:
    """Reads a file; its tensors are on the CPU.

    Raises:
        ValueError: the file isn't one that `write` wrote.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            structure = json.loads(metadata[STRUCTURE])
            shardings = {
                name: Sharding.read(found) for name, found in json.loads(metadata.get(SHARDINGS, "{}")).items()
            }
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a checkpoint file: {error!r}") from error
    return Packed(tensors, structure, shardings)


def read_weights(path: Path) -> Packed:
    """Reads tensors by name of any safetensors file. A tensor that has several names is in the file under one of them,
    and the metadata tell of the others, where `safetensors.torch.save_model` has written it.

    Raises:
        ValueError: it is no such file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            same = file.metadata() or {}
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"not a safetensors file: {error!r}") from error
    names = {name: name for name in tensors} | {name: kept for name, kept in same.items() if kept in tensors}
    return Packed(tensors, {name: {"$tensor": kept} for name, kept in names.items()})


def _decode(tensors: Mapping[str, Tensor], structure: Any) -> Any:
    if isinstance(structure, list):
        return [_decode(tensors, item) for item in structure]
    if not isinstance(structure, dict):
        return structure
    if len(structure) == 1:
        kind, content = next(iter(structure.items()))
        if kind in _DECODERS:
            return _DECODERS[kind](tensors, content)
    return {key: _decode(tensors, value) for key, value in structure.items()}


def _encode(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        return {"$tensor": _store(value, path, tensors)}
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": str(value)}
    if isinstance(value, (bytes, bytearray)):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        return _encode_mapping(value, path, tensors)
    if isinstance(value, (list, tuple)):
        items = [_encode(item, _join(path, index), tensors) for index, item in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    if type(value).__module__ == "numpy" and hasattr(value, "item") and not getattr(value, "shape", ()):
        return _encode(value.item(), path, tensors)
    raise ConfigError(
        f"checkpoint: {path} is a {type(value).__name__}; state_dict() must hold tensors, numbers, text, bytes, lists, "
        "tuples and dicts only"
    )


def _encode_mapping(value: Mapping[Any, Any], path: str, tensors: dict[str, Tensor]) -> Any:
    encoded = [(key, _encode(item, _join(path, key), tensors)) for key, item in value.items()]
    if isinstance(value, Counter):  # such as the milestones of torch's MultiStepLR
        return {"$counter": [[_encode(key, path, tensors), item] for key, item in encoded]}
    if all(isinstance(key, str) and not key.startswith("$") for key, _ in encoded):
        return dict(encoded)
    return {"$dict": [[_encode(key, path, tensors), item] for key, item in encoded]}


def _store(tensor: Tensor, path: str, tensors: dict[str, Tensor]) -> str:
    name = path or "tensor"
    while name in tensors:
        name += "'"
    tensors[name] = tensor
    return name


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


_DECODERS: Mapping[str, Any] = {
    "$tensor": lambda tensors, name: tensors[name],
    "$float": lambda _, text: float(text),
    "$bytes": lambda _, text: base64.b64decode(text),
    "$tuple": lambda tensors, items: tuple(_decode(tensors, item) for item in items),
    "$dict": lambda tensors, items: {_decode(tensors, key): _decode(tensors, item) for key, item in items},
    "$counter": lambda tensors, items: Counter({_decode(tensors, key): _decode(tensors, item) for key, item in items}),
}
