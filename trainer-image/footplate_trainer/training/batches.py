"""What `Trainer` takes for a batch: (inputs, targets), each a tensor, or a list, tuple or mapping of them; and perhaps,
third, the weights of its samples.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from footplate_trainer.errors import ConfigError, TrainerError, UserError

MOST_DESCRIBED = 8
"""Items of a list whose shapes are told."""


class Batch(NamedTuple):
    """What one is made of."""

    inputs: Any
    targets: Any
    weights: Tensor | None
    """Of its samples, [N] or [N, 1]; or of each of their losses, [N, ...]."""


def unpack(batch: Any) -> Batch:
    """The batch, which is (inputs, targets) or (inputs, targets, sample weights), as Keras takes it.

    Raises:
        UserError: it isn't.
    """
    if isinstance(batch, list | tuple) and len(batch) in (2, 3):
        inputs, targets, *weights = batch
        return Batch(inputs, targets, _weights(weights[0]) if weights else None)
    what = f"a {type(batch).__name__}"
    if isinstance(batch, Mapping):
        what += f" of {', '.join(map(str, batch))}"
    elif isinstance(batch, list | tuple):
        what += f" of {len(batch)}"
    raise UserError(
        f"a batch is {what}; Trainer takes (inputs, targets), or (inputs, targets, sample weights). Have the dataset "
        "return such for its samples, or make one of them by data.loader(…, collate=…); inputs and targets may each be "
        "a tensor, list, tuple or dict"
    )


@contextmanager
def telling(batch: Mapping[str, Any]) -> Iterator[None]:
    """Adds the shapes and types of a batch to an error of the model, the loss or torch. `batch`: inputs, outputs and
    targets by these names, as far as they are there yet.
    """
    try:
        yield
    except TrainerError:
        raise
    except Exception as error:
        known = ", ".join(f"{name} {_described(value)}" for name, value in batch.items())
        error.add_note(f"Trainer calls model(inputs), then loss(outputs, targets); of this batch it has {known}")
        raise


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_described(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple) and len(value) <= MOST_DESCRIBED:
        return f"({', '.join(map(_described, value))})"
    return type(value).__name__


def check_batches(data: Any, call: str, *, again: bool = False) -> None:
    """Refuses what hands out samples where batches are meant: a model takes the numbers of one sample for samples, and
    gives a loss or predictions of them. `again`: it is gone through more than once.

    Raises:
        ConfigError: the data are no batches.
    """
    kind = type(data).__name__
    if hasattr(data, "__getitem__") and not isinstance(data, list | tuple | IterableDataset):
        raise ConfigError(
            f"{call}: a {kind} hands out samples, and batches are needed; give footplate_trainer.data.loader(dataset, "
            "batch_size=…, shuffle=False), where dataset may be a TensorDataset of tensors. If its items are batches, "
            "give a list of them"
        )
    if again and isinstance(data, Iterator):
        raise ConfigError(
            f"{call}: a {kind} can be gone through only once, and each evaluation begins anew; give the data.loader, "
            "DataLoader or list that it comes from"
        )


def _weights(weights: Any) -> Tensor | None:
    if weights is None:
        return None
    if isinstance(weights, Tensor) and weights.ndim and not weights.is_complex():
        return weights if weights.is_floating_point() else weights.float()
    what = f"of shape {list(weights.shape)}" if isinstance(weights, Tensor) else f"a {type(weights).__name__}"
    raise UserError(
        f"a batch's third item is {what}; there Trainer takes the weights of its samples, one number each. What "
        "belongs to the inputs or targets goes into these, as a tuple or dict"
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


def parts_of(batch: Batch, size: int, parts: int) -> list[tuple[Batch, int]]:
    """The parts of a batch of `size` samples, and how many samples each has.

    Raises:
        UserError: it holds a tensor that hasn't a row a sample.
    """
    if parts == 1:
        return [(batch, size)]
    bounds = [(len(piece), int(piece[0])) for piece in torch.arange(size).tensor_split(parts)]
    return [
        (Batch(*(_rows(part, slice(start, start + some), size, parts) for part in batch)), some)
        for some, start in bounds
    ]


def _rows(value: Any, rows: slice, size: int, parts: int) -> Any:
    """These samples' part of a tree of tensors, and of lists that have an item a sample."""
    if isinstance(value, Tensor):
        if value.ndim == 0 or len(value) != size:
            raise UserError(
                f"Trainer(accumulate={parts}) can split tensors with a row a sample, not {list(value.shape)} of "
                f"{size} samples"
            )
        return value[rows]
    if isinstance(value, Mapping):
        return {name: _rows(item, rows, size, parts) for name, item in value.items()}
    if isinstance(value, list | tuple):
        if len(value) == size and next(_tensors(value), None) is None:
            return value[rows]
        return [_rows(item, rows, size, parts) for item in value]
    return value


def move(batch: Any, device: torch.device) -> Any:
    """Tensors, and lists, tuples and mappings of them, on the device."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {name: move(value, device) for name, value in batch.items()}
    if isinstance(batch, list | tuple):
        return [move(value, device) for value in batch]
    return batch
