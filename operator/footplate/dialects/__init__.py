"""The dialects of other platforms, which training code reads: one table of variables, for the operator and the trainer.

Part of the contract between the two: where a bare command runs, the operator sets what it can know; where our
supervisor runs, that does, and knows more. `docs/trainer.md` has the table, which a test holds against this one.
"""

from collections.abc import Iterable

from footplate.dialects import clouds, launchers, sagemaker
from footplate.dialects.arguments import hyperparameter_arguments
from footplate.dialects.place import Place
from footplate.dialects.variable import Setter, Variable

__all__ = ["MAX_VALUE_BYTES", "VARIABLES", "Place", "Setter", "Variable", "environment", "hyperparameter_arguments"]

VARIABLES: tuple[Variable, ...] = (*launchers.VARIABLES, *sagemaker.VARIABLES, *clouds.VARIABLES)

MAX_VALUE_BYTES = 100_000
"""Linux starts no program that has a variable of more than 128 KiB."""


def environment(
    place: Place, variables: Iterable[Variable] = VARIABLES, *, most: int = MAX_VALUE_BYTES
) -> dict[str, str]:
    """What a program at this place is told, by name.

    What `trainer.env` sets itself isn't there, nor what can't be a variable: a value of more than `most` bytes, a
    family of more than that together, a text with a NUL or half a character in it.
    """
    own = {variable.name for variable in place.spec.trainer.env}
    said: dict[str, str] = {}
    for variable in variables:
        values = variable.values(place)
        if sum(map(_size, values.values())) <= most:
            said |= {name: value for name, value in values.items() if name not in own and _can_be_set(value)}
    return said


def _size(value: str) -> int:
    return len(value.encode(errors="replace"))


def _can_be_set(value: str) -> bool:
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False
