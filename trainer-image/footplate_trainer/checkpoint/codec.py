"""State as files: a tree of tensors and plain values is one safetensors file, never a pickle.

Tensors lie in the file under their path in the tree, so a model's file has the model's own names and any safetensors
reader can open it. The rest of the tree is JSON in the file's metadata, with `{"$tensor": name}` where a tensor was.
JSON has no tuples, bytes, non-text keys or NaN: they are written as `{"$tuple": [...]}` and the like.
"""

import base64
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from footplate_trainer.errors import ConfigError

STRUCTURE = "footplate"
"""Key of the tree in the file's metadata."""


def flatten(tree: Any) -> tuple[dict[str, Tensor], Any]:
    """Takes a tree apart into its tensors by name, and a JSON structure that refers to them.

    Raises:
        ConfigError: a value is neither a tensor nor plain; the message has its path.
    """
    tensors: dict[str, Tensor] = {}
    return tensors, _encode(tree, "", tensors)


def unflatten(tensors: Mapping[str, Tensor], structure: Any) -> Any:
    """Puts a tree together again."""
    if isinstance(structure, list):
        return [unflatten(tensors, item) for item in structure]
    if not isinstance(structure, dict):
        return structure
    if len(structure) == 1:
        kind, content = next(iter(structure.items()))
        if kind in _DECODERS:
            return _DECODERS[kind](tensors, content)
    return {key: unflatten(tensors, value) for key, value in structure.items()}


def write(path: Path, tensors: Mapping[str, Tensor], structure: Any) -> None:
    """Writes what `flatten` gave; tensors must be contiguous, on the CPU, and share no memory."""
    save_file(dict(tensors), path, metadata={"format": "pt", STRUCTURE: json.dumps(structure, allow_nan=False)})


def read(path: Path) -> Any:
    """Reads the tree of a file; its tensors are on the CPU.

    Raises:
        ValueError: the file isn't one that `write` wrote.
    """
    try:
        with safe_open(path, framework="pt") as file:
            structure = json.loads((file.metadata() or {})[STRUCTURE])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return unflatten(tensors, structure)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a checkpoint file: {error!r}") from error


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
    "$tuple": lambda tensors, items: tuple(unflatten(tensors, item) for item in items),
    "$dict": lambda tensors, items: {unflatten(tensors, key): unflatten(tensors, item) for key, item in items},
}
