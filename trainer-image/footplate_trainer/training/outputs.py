"""A model's outputs as `prepare` gives them: in float32, also where it computes in fewer bits, whose three digits are
too few for a loss.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

FEWER_BITS = (torch.bfloat16, torch.float16)


def in_float32(autocast: torch.autocast) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """What puts a forward pass under autocast, and its outputs in float32."""

    def wrap(forward: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(forward)
        def run(*inputs: Any, **named: Any) -> Any:
            with autocast:
                outputs = forward(*inputs, **named)
            return _in_float32(outputs)

        run.in_float32 = True  # type: ignore[attr-defined]  # by which an export finds the user's own again
        return run

    return wrap


def forward(model: nn.Module, inputs: Any) -> Any:
    """The model's outputs; a tensor in float32 also where the model's own weights have fewer bits."""
    outputs = model(inputs)
    return _in_float32(outputs) if isinstance(outputs, Tensor) else outputs


def _in_float32(outputs: Any) -> Any:
    """A tensor, or those in a tuple, list or mapping of any class; others stay as they are."""
    if isinstance(outputs, Tensor):
        return outputs.float() if outputs.dtype in FEWER_BITS else outputs
    if isinstance(outputs, Mapping):
        return type(outputs)({name: _in_float32(value) for name, value in outputs.items()})  # type: ignore[call-arg]
    if isinstance(outputs, tuple) and hasattr(outputs, "_fields"):
        return type(outputs)(*map(_in_float32, outputs))
    if isinstance(outputs, list | tuple):
        return type(outputs)(map(_in_float32, outputs))
    return outputs
