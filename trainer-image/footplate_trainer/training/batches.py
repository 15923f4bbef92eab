"""What `Trainer` takes for a batch: (inputs, targets), each a tensor, or a list, tuple or mapping of them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from footplate_trainer.errors import UserError


def pair(batch: Any) -> Any:
    """The batch, which is (inputs, targets).

    Raises:
        UserError: it isn't.
    """
    if isinstance(batch, list | tuple) and len(batch) == 2:
        return batch
    what = f"a {type(batch).__name__}"
    if isinstance(batch, Mapping):
        what += f" of {', '.join(map(str, batch))}"
    elif isinstance(batch, list | tuple):
        what += f" of {len(batch)}"
    raise UserError(
        f"a batch is {what}; Trainer takes (inputs, targets). Have the dataset return such pairs for its samples, or "
        "make one of them by data.loader(…, collate=…); inputs and targets may each be a tensor, list, tuple or dict"
    )


def batch_size(inputs: Any, targets: Any) -> int:
    """Samples of a batch whose loader doesn't tell: the length of all tensors of its targets or, else, inputs."""
    for part in (targets, inputs):
        if isinstance(part, Tensor) and part.ndim:
            return len(part)
    for part in (targets, inputs):
        lengths = {len(tensor) if tensor.ndim else 0 for tensor in _tensors(part)}
        if len(lengths) == 1 and (length := lengths.pop()):
            return length
    raise UserError(
        "the number of samples in a batch can't be told: the tensors of its targets differ in length, and so do those "
        "of its inputs; give batches of data.loader, which knows it"
    )


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


def split(inputs: Any, targets: Any, size: int, parts: int) -> Iterable[tuple[Any, Any, int]]:
    """(inputs, targets, samples) of each part of a batch of `size` samples."""
    if parts == 1:
        return [(inputs, targets, size)]
    for name, value in (("inputs", inputs), ("targets", targets)):
        if not isinstance(value, Tensor):
            raise UserError(
                f"Trainer(accumulate={parts}) can split {name} that are one tensor, not a {type(value).__name__}"
            )
        if value.ndim == 0 or len(value) != size:
            raise UserError(
                f"Trainer(accumulate={parts}) can split {name} with a row a sample, not {list(value.shape)} of "
                f"{size} samples"
            )
    pieces = zip(inputs.tensor_split(parts), targets.tensor_split(parts), strict=True)
    return [(some_inputs, some_targets, len(some_targets)) for some_inputs, some_targets in pieces]


def move(batch: Any, device: torch.device) -> Any:
    """Tensors, and lists, tuples and mappings of them, on the device."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {name: move(value, device) for name, value in batch.items()}
    if isinstance(batch, list | tuple):
        return [move(value, device) for value in batch]
    return batch
