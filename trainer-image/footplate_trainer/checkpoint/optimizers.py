"""A saved state, beside the object that is to go on with it; above all an optimizer's.

torch loads what was saved for other parameters, or by another kind of optimizer, as long as there are as many
parameters; the first step then fails in the middle of its arithmetic, or goes wrong.
"""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from footplate_trainer.checkpoint.sharded import is_dtensor, weights_of

PER_WEIGHT = (
    *("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf"),
    *("momentum_buffer", "square_avg", "grad_avg", "acc_delta", "sum"),
)
"""What torch's own optimizers remember of each single weight: tensors of the parameter's shape."""


def load(part: Any, saved: Any) -> None:
    """Has an object go on from its saved state.

    What keeps the very tensors that it is given, as optimizers do, gets copies. Tensors that were read lie in a mapped
    file, at any address, and sums over them differ in the last bits from those over memory that torch has aligned.

    Raises:
        ValueError: an optimizer's state is of another kind of optimizer, or of parameters of other shapes.
    """
    if not isinstance(part, Optimizer):
        part.load_state_dict(saved if isinstance(part, nn.Module) else _copied(saved))
        return
    _check_shapes(part, saved)
    settings = set(part.defaults)
    on_cpu = all(weight.device.type == "cpu" for weight in weights_of(part))
    part.load_state_dict(_copied(saved) if on_cpu else saved)
    # By now torch has filled in what its older versions didn't have.
    missing = sorted({name for group in part.param_groups for name in settings - group.keys()})
    if missing:
        raise ValueError(f"another kind of optimizer has saved it, which has no {', '.join(missing)}")


def _check_shapes(optimizer: Optimizer, saved: Any) -> None:
    if not type(optimizer).__module__.startswith("torch.optim"):
        return  # others may remember of a parameter what they like
    shapes = list(_other_shapes(optimizer, saved))
    if shapes:
        more = f" and {len(shapes) - 1} more" if len(shapes) > 1 else ""
        raise ValueError(
            f"its state is of other parameters, or of the same in another order: {shapes[0]}{more}; make the optimizer "
            "of the same parameters, in the same order and groups, as when it was saved"
        )


def _copied(tree: Any) -> Any:
    if isinstance(tree, Tensor):
        return tree if is_dtensor(tree) else tree.clone()
    if isinstance(tree, dict):
        return type(tree)({key: _copied(value) for key, value in tree.items()})
    if isinstance(tree, list | tuple):
        return type(tree)(_copied(value) for value in tree)
    return tree


def _other_shapes(optimizer: Optimizer, saved: Mapping[str, Any]) -> Iterator[str]:
    theirs = chain.from_iterable(group["params"] for group in saved["param_groups"])
    # Where groups differ in size torch itself says so.
    for number, weight in zip(theirs, weights_of(optimizer), strict=False):
        state = saved["state"].get(number)
        for name in PER_WEIGHT if isinstance(state, Mapping) else ():
            value = state.get(name)
            if isinstance(value, Tensor) and value.shape != weight.shape:
                yield f"{name} of parameter {number} is {list(value.shape)}, the parameter {list(weight.shape)}"
                break
