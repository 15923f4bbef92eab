"""What exported files are made of and compared with: a copy of the model in host memory, run where it can run.

Files hold float32 and are checked on the CPU, where whoever loads them may be. A model with kernels for GPUs alone is
checked on the device that it was trained on, if need be under bf16 autocast: a note says so. The device then holds one
more copy of the weights, and never more.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree  # the trees that torch.export takes

from footplate_trainer.checkpoint.state import unwrap
from footplate_trainer.rank.report import reporter

RELATIVE_TOLERANCE = 1e-3
ABSOLUTE_TOLERANCE = 1e-4
BF16_TOLERANCE = 2e-2


def host_copy(model: nn.Module) -> nn.Module:
    """A deep copy whose tensors are float32, or what they are if they aren't numbers of that kind, in host memory; the
    device gets no copy of them, not for a moment. Its forward pass is without the autocast of `prepare`.
    """
    memo: dict[int, Any] = {}
    for tensor in chain(model.parameters(), model.buffers()):
        if type(tensor) not in (nn.Parameter, Tensor):
            continue  # of a kind that knows how to copy itself
        kind = torch.float32 if tensor.is_floating_point() else tensor.dtype
        copied = tensor.detach().to("cpu", kind, copy=True)
        is_parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(copied, requires_grad=tensor.requires_grad) if is_parameter else copied
    copied_model: nn.Module = copy.deepcopy(model, memo)
    without_autocast(copied_model)
    return copied_model


def without_autocast(model: nn.Module) -> None:
    """Gives a model that `prepare` has put under autocast its own forward pass again: its class's, or the one that the
    user has put in its place.
    """
    forward: Any = vars(model).get("forward")
    while getattr(forward, "in_float32", False):  # a bound method has its function's attributes
        inner = forward.__wrapped__
        forward = MethodType(inner, model) if isinstance(forward, MethodType) else inner
        model.forward = forward
    if getattr(forward, "__func__", None) is type(model).forward:
        del model.forward


def without_compilers(model: nn.Module) -> nn.Module:
    """Puts modules that were compiled one by one back in their places: torch.compile wraps them, under other names."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if (inner := unwrap(child)) is not child:
                setattr(module, name, inner)
    return model


@contextmanager
def run_where_it_can(model: nn.Module, example: Any, device: torch.device) -> Iterator[tuple[Any, Any]]:
    """The example, where this host copy of a model runs, and its outputs; inside, the model stays there.

    Raises:
        Exception: what the model raises on the CPU, where it runs nowhere.
    """
    outputs, on_cpu = _try(model, example)
    if on_cpu is None:
        yield example, outputs
        return
    if device.type == "cpu":
        raise on_cpu
    with _moved(model, device):
        there = pytree.tree_map_only(Tensor, lambda tensor: tensor.to(device), example)
        for low, context in ((False, nullcontext()), (True, torch.autocast(device.type, dtype=torch.bfloat16))):
            with context:
                outputs, error = _try(model, there)
                if error is None:
                    _tell(on_cpu, device, low=low)
                    yield there, pytree.tree_map_only(Tensor, _in_bf16, outputs) if low else outputs
                    return
    raise on_cpu


def tensors(batch: Any) -> list[Tensor]:
    """Those of a batch: a tensor, or a list, tuple or dict of such."""
    return [leaf for leaf in pytree.tree_leaves(batch) if isinstance(leaf, Tensor)]


def shapes_of(several: Sequence[Tensor]) -> str:
    """The shapes of several tensors, for messages."""
    return ", ".join(str(tuple(tensor.shape)) for tensor in several) or "none"


def close(outputs: Tensor, expected: Tensor) -> bool:
    """True where outputs are the same but for rounding: that of bf16 where it was computed in."""
    low = torch.bfloat16 in (outputs.dtype, expected.dtype)
    relative, absolute = (BF16_TOLERANCE, BF16_TOLERANCE) if low else (RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE)
    outputs, expected = outputs.float().cpu(), expected.float().cpu()
    return outputs.shape == expected.shape and torch.allclose(
        outputs, expected, rtol=relative, atol=absolute, equal_nan=True
    )


def tell_of_one_size(apply: Callable[[Any], Any], model: nn.Module, example: Any, *, file: str) -> None:
    """A note where a file made of an example is right for its number of samples alone: a trace takes len(x), or
    a loop over samples, for a constant. Where the model itself takes no other number, nothing can be said.
    """
    size = next((len(tensor) for tensor in tensors(example) if tensor.ndim), None)
    more = pytree.tree_map_only(
        Tensor, lambda tensor: torch.cat([tensor, tensor]) if tensor.ndim and len(tensor) == size else tensor, example
    )
    expected, error = _try(model, more)
    if error is not None:
        return
    outputs, error = _try(apply, more)
    mine, others = tensors(expected), tensors(outputs)
    if error is None and len(mine) == len(others) and all(map(close, others, mine)):
        return
    reporter().note(
        f"{file} gives the model's outputs for {size} samples, as the example has, and fails or gives wrong ones for "
        "other numbers: where the model's forward pass has len(x) or goes through samples one by one, write x.shape[0] "
        "and operations on all of them at once"
    )


@contextmanager
def _moved(model: nn.Module, device: torch.device) -> Iterator[None]:
    torch.cuda.empty_cache()
    model.to(device)
    try:
        yield
    finally:
        model.cpu()


def _in_bf16(tensor: Tensor) -> Tensor:
    return tensor.bfloat16() if tensor.is_floating_point() else tensor


def _try(model: Callable[[Any], Any], example: Any) -> tuple[Any, Exception | None]:
    try:
        return model(example), None
    except Exception as error:  # whatever a kernel for GPUs alone raises
        return None, error


def _tell(on_cpu: Exception, device: torch.device, *, low: bool) -> None:
    how = " under bf16 autocast" if low else ""
    reporter().note(
        f"the model doesn't run on the CPU ({type(on_cpu).__name__}: {str(on_cpu).partition(chr(10))[0][:200]}): the "
        f"exported files are checked on {device}{how}, and may need one like it to be used"
    )
