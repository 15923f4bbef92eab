"""Kubernetes' quantities: the type, and what a text of it amounts to."""

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator

from footplate.api.types import Rule, Schema, keep

QUANTITY_PATTERN = r"^[+]?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]{1,2})?$"
QUANTITY_WORDS = "must be a Kubernetes quantity such as 500m, 4, 16Gi or 1e9"
MAX_QUANTITY_LENGTH = 32
_PARTS = re.compile(
    r"(?P<number>[+]?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2}(?=\Z))?)(?P<unit>[numkMGTPE]|[KMGTPE]i)?",
    re.ASCII,
)

_FACTORS = {None: Decimal(1), "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": Decimal(1000)} | {
    name + suffix: Decimal(base) ** power
    for power, name in enumerate("KMGTPE", 1)
    for suffix, base in (("", 1000), ("i", 1024))
}


def amount(quantity: object) -> Decimal:
    """What a quantity stands for.

    Raises:
        ValueError: it isn't one.
    """
    found = _PARTS.fullmatch(str(quantity))
    if found is None:
        raise ValueError(QUANTITY_WORDS)
    return Decimal(found["number"]) * _FACTORS[found["unit"]]


def _check(value: Any) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or len(text) > MAX_QUANTITY_LENGTH:
        raise ValueError(QUANTITY_WORDS)
    amount(text)
    return text


SCHEMA = {"x-kubernetes-int-or-string": True, "pattern": QUANTITY_PATTERN, "maxLength": MAX_QUANTITY_LENGTH}
RULE = Rule(
    f"string(self).matches('{QUANTITY_PATTERN}')".replace("\\", "\\\\"),
    QUANTITY_WORDS,
    lambda value: _check(value) is not None,
)
IN_BYTES = Rule(
    f"!({RULE.cel}) || quantity(string(self)).compareTo(quantity('1Mi')) >= 0",
    "is in bytes, at least 1Mi: 512m is half a byte; write 512Mi",
    lambda value: amount(value) >= 2**20,
)

Quantity = Annotated[str, BeforeValidator(_check), Schema(SCHEMA, rules=(RULE,))]
"""A Kubernetes resource quantity; integers are taken as they are."""

Bytes = Annotated[Quantity, keep(IN_BYTES), Schema(rules=(RULE, IN_BYTES))]
"""A quantity of memory or disk."""


def same(left: str, right: str) -> str:
    """CEL: two expressions are quantities of the same amount."""
    return f"quantity(string({left})).compareTo(quantity(string({right}))) == 0"
