"""What the lists of a TrainingPolicy allow, entry by entry: in Python for the operator and, with the same result, in
CEL for the API server. Pure.

A prefix ends where a part of what it begins does, and a name is whole unless it ends with `*`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from footplate.objects import text

NAMESPACE = "{namespace}"


@dataclass(frozen=True, slots=True)
class ListRule:
    """One list of a policy's spec. The expression speaks of `v`, a text, and of `p`, an entry."""

    noun: str
    """What stands in the list, as a message has it."""
    allows: Callable[[str, Any], bool]
    """Whether an entry allows a text."""
    cel: str
    meet: Callable[[Any, Any], bool]
    """Whether two policies' entries have anything in common."""
    show: Callable[[Any], str] = str
    cel_show: str = "p"
    cel_entries: str = f"{{list}}.map(p, p.replace('{NAMESPACE}', request.namespace))"

    def entries(self, listed: Sequence[Any], *, namespace: str) -> list[Any]:
        """A policy's list as it is for one namespace."""
        return [each.replace(NAMESPACE, namespace) if isinstance(each, str) else each for each in listed]


def _is_image(image: str, prefix: str) -> bool:
    """What follows a registry isn't another one's name or port."""
    if not image.startswith(prefix) or ".." in image or "//" in image:
        return False
    rest = image[len(prefix) :]
    is_registry = "/" not in prefix and (prefix == "localhost" or "." in prefix or ":" in prefix)
    return not rest or prefix[-1] in "/:@" or rest[0] in ("/" if is_registry else "/:@")


_CEL_IS_IMAGE = (
    "v.startsWith(p) && !v.contains('..') && !v.contains('//') && (v == p || p.matches('[/:@]$') || "
    "(!p.contains('/') && (p == 'localhost' || p.contains('.') || p.contains(':')) ? v.startsWith(p + '/') : "
    "v.substring(p.size()).matches('^[/:@]')))"
)

_READ_OTHERWISE = r"/[.]{1,2}([/;]|$)|[%?#\\]"
"""Of an address: what a client takes out of its path, or decodes; some servers cut parameters off each of its parts."""


def _is_below(address: str, prefix: str) -> bool:
    """A prefix ends where a path segment does: a team's folder doesn't open that of another whose name goes on."""
    folder = prefix if prefix.endswith("/") else f"{prefix}/"
    return f"{address}/".startswith(folder) and re.search(_READ_OTHERWISE, address) is None


_CEL_IS_BELOW = (
    "(v + '/').startsWith(p.endsWith('/') ? p : p + '/') && "
    f"!v.matches('{_READ_OTHERWISE.replace(chr(92), chr(92) * 2)}')"
)


def _prefixes_meet(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def is_named(name: str, entry: str) -> bool:
    """Whether a name, or names that begin so, are the entry's."""
    return name.startswith(entry[:-1]) if entry.endswith("*") else name == entry


_CEL_IS_NAMED = "p.endsWith('*') ? v.startsWith(p.substring(0, p.size() - 1)) : v == p"


def _names_meet(one: str, other: str) -> bool:
    stems = one.removesuffix("*"), other.removesuffix("*")
    return is_named(stems[0], other) or is_named(stems[1], one)


def _is_label(choice: str, entry: str) -> bool:
    return entry in (choice, choice.partition("=")[0])


_CEL_IS_LABEL = "v == p || v.startsWith(p + '=')"


def _labels_meet(one: str, other: str) -> bool:
    return _is_label(one, other) or _is_label(other, one)


def _is_tolerated(toleration: str, allowed: Any) -> bool:
    what, _, effect = toleration.rpartition(":")
    key, value = text(allowed, "key"), allowed.get("value")
    return (
        (not key or what.partition("=")[0] == key)
        and (value is None or what == f"{key or '*'}={value}")
        and allowed.get("effect") in (None, effect)
    )


_CEL_IS_TOLERATED = (
    "(p.?key.orValue('') == '' || v.startsWith(p.key + '=') || v.startsWith(p.key + ':')) && "
    "(!has(p.value) || v.substring(0, v.lastIndexOf(':')) == (p.?key.orValue('') == '' ? '*' : p.key) + '=' + p.value)"
    " && (!has(p.effect) || v.endsWith(':' + p.effect))"
)


def _show_toleration(allowed: Any) -> str:
    value = "" if allowed.get("value") is None else f"={allowed['value']}"
    return f"{text(allowed, 'key') or '*'}{value}:{text(allowed, 'effect') or '*'}"


def _tolerations_meet(one: Any, other: Any) -> bool:
    pairs = [(one.get(field) or None, other.get(field) or None) for field in ("key", "value", "effect")]
    return all(mine == theirs or None in (mine, theirs) for mine, theirs in pairs)


def _images(noun: str) -> ListRule:
    return ListRule(noun, _is_image, _CEL_IS_IMAGE, _prefixes_meet)


def _addresses(noun: str) -> ListRule:
    return ListRule(noun, _is_below, _CEL_IS_BELOW, _prefixes_meet)


def _names(noun: str) -> ListRule:
    return ListRule(noun, is_named, _CEL_IS_NAMED, _names_meet)


LIST_RULES: Mapping[str, ListRule] = {
    "imagePrefixes": _images("images"),
    "uriPrefixes": _addresses("URIs"),
    "gitPrefixes": _addresses("git repositories"),
    "endpointPrefixes": _addresses("storage endpoints"),
    "trackerPrefixes": _addresses("addresses of trackers"),
    "secrets": _names("Secrets"),
    "serviceAccounts": _names("ServiceAccounts"),
    "priorityClasses": _names("PriorityClasses"),
    "runtimeClasses": _names("RuntimeClasses"),
    "resourceClaims": _names("ResourceClaims and ResourceClaimTemplates"),
    "schedulers": _names("schedulers"),
    "queues": _names("queues"),
    "csiDrivers": _names("CSI drivers"),
    "podAnnotations": _names("annotations"),
    "podLabels": _names("labels"),
    "nodeLabels": ListRule("node labels", _is_label, _CEL_IS_LABEL, _labels_meet),
    "tolerations": ListRule(
        "tolerations", _is_tolerated, _CEL_IS_TOLERATED, _tolerations_meet,
        show=_show_toleration,
        cel_show="(p.?key.orValue('') == '' ? '*' : p.key) + (has(p.value) ? '=' + p.value : '') + ':' + "
        "p.?effect.orValue('*')",
        cel_entries="{list}",
    ),
}  # fmt: skip
"""By the field of a policy's spec."""
