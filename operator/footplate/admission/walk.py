"""CEL over one place of a raw spec: whether something bad stands there, and what the first of it is. Pure."""

import re
from collections.abc import Callable, Sequence

from footplate.policy.places import Place

Condition = Callable[[str], str]
"""Whether a text, given as an expression, is bad, as an expression."""


class Walk:
    """The expressions of one place: whether something bad stands there, and what the first of it is."""

    def __init__(self, place: Place, bad: Condition) -> None:
        self._place = place
        self._bad = bad
        self._is_map = place.path.endswith("{}")

    @property
    def exists(self) -> str:
        """Whether something bad stands there."""
        return self._exists("object.spec", self._place.groups, depth=0)

    @property
    def first(self) -> str:
        """The text of the first, where there is one."""
        return self._first("object.spec", self._place.groups, depth=0)

    def _exists(self, root: str, groups: Sequence[Sequence[str]], *, depth: int) -> str:
        found, path, name = _optional(root, groups[0]), _plain(root, groups[0]), f"x{depth}"
        if len(groups) > 1:
            return f"{found}.orValue([]).exists({name}, {self._exists(name, groups[1:], depth=depth + 1)})"
        if self._is_map:
            return f"{found}.orValue({{}}).exists(k, {self._is_bad('k', path)})"
        return f"({found}.hasValue() && {self._is_bad(path)})" if groups[0] else self._is_bad(root)

    def _first(self, root: str, groups: Sequence[Sequence[str]], *, depth: int) -> str:
        path, name = _plain(root, groups[0]), f"x{depth}"
        if len(groups) > 1:
            bad = self._exists(name, groups[1:], depth=depth + 1)
            return f"[{path}.filter({name}, {bad})[0]].map({name}, {self._first(name, groups[1:], depth=depth + 1)})[0]"
        if self._is_map:
            return f"[{path}.filter(k, {self._is_bad('k', path)})[0]].map(k, {self._text('k', path)})[0]"
        return self._text(path if groups[0] else root)

    def _is_bad(self, value: str, holder: str = "") -> str:
        reading = self._place.reading
        concerns = "" if reading.cel_if == "true" else f"{_with(reading.cel_if, value, holder)} && "
        return f"({concerns}{self._bad(self._text(value, holder))})"

    def _text(self, value: str, holder: str = "") -> str:
        return f"({_with(self._place.reading.cel, value, holder)})" if self._place.reading.cel != "x" else value


def _with(expression: str, value: str, holder: str) -> str:
    """A reading's expression for one value, and for the map that holds it. Literals stay as they are."""
    names = {"x": value, "m": holder}
    return re.sub(r"'[^']*'|\b[xm]\b", lambda found: names.get(found[0], found[0]), expression)


def _optional(root: str, names: Sequence[str]) -> str:
    return root + "".join(f".?{name}" for name in names)


def _plain(root: str, names: Sequence[str]) -> str:
    return ".".join((root, *names))
