"""What each pod asks of its node, and the rules that Kubernetes has for it, said before there is a pod."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from footplate.api import accelerators
from footplate.api.quantities import Quantity, amount, same
from footplate.api.types import LabelKey, Model, Rule, Schema, at, keep

NATIVE = ("cpu", "memory", "ephemeral-storage")
IN_BYTES = ("memory", "ephemeral-storage")
COUNT_PATTERN = r"^[0-9]+(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"


def _is_known(name: str) -> bool:
    return name in NATIVE or name.startswith("hugepages-") or ("/" in name and "kubernetes.io/" not in name)


def _is_counted(name: str) -> bool:
    """Resources of which a pod gets what it asks for, no more and no less."""
    return "/" in name or name.startswith("hugepages-")


_COUNTED = "(k.contains('/') || k.startsWith('hugepages-'))"

MAP_RULES = (
    Rule(
        f"self.all(k, k in {list(NATIVE)} || k.startsWith('hugepages-') || "
        "(k.contains('/') && !k.contains('kubernetes.io/')))",
        "a resource is cpu, memory, ephemeral-storage, hugepages-<size>, or has its maker's domain, such as "
        "nvidia.com/gpu; correct the name",
        lambda amounts: all(_is_known(name) for name in amounts),
    ),
    Rule(
        f"{list(IN_BYTES)}.all(k, !(k in self) || quantity(string(self[k])).compareTo(quantity('1Mi')) >= 0)",
        "memory and ephemeral-storage are in bytes, at least 1Mi; 512m is half a byte: write 512Mi",
        lambda amounts: all(amount(amounts[name]) >= 2**20 for name in IN_BYTES if name in amounts),
    ),
    Rule(
        f"self.all(k, !k.contains('/') || string(self[k]).matches('{COUNT_PATTERN}'))",
        "accelerators and other resources with a domain come in whole numbers; write 1, not 0.5, 500m or 1.0",
        lambda amounts: all(re.search(COUNT_PATTERN, str(amounts[name])) for name in amounts if "/" in name),
    ),
)

Amounts = Annotated[dict[LabelKey, Quantity], Field(max_length=32), keep(*MAP_RULES), Schema(rules=MAP_RULES)]


class Resources(Model):
    """Resources of each pod, as in Kubernetes."""

    requests: Amounts = Field(
        default={},
        description="What the scheduler reserves, per node.",
        examples=[{"cpu": "4", "memory": "16Gi"}],
    )
    limits: Amounts = Field(
        default={},
        description="The most a pod may use; accelerators belong here.",
        examples=[{"nvidia.com/gpu": 8}],
    )

    rules = (
        Rule(
            "!has(self.requests) || !has(self.limits) || self.requests.all(k, !(k in self.limits) || "
            "quantity(string(self.requests[k])).compareTo(quantity(string(self.limits[k]))) <= 0)",
            "requests must not be more than limits; raise the limit, or lower the request",
            lambda it: all(amount(asked) <= amount(most) for _, asked, most in _both(it)),
        ),
        Rule(
            "!has(self.requests) || !has(self.limits) || self.requests.all(k, !(k in self.limits) || "
            f"!{_COUNTED} || {same('self.requests[k]', 'self.limits[k]')})",
            "requests and limits must be the same for hugepages, accelerators and other resources with a domain; "
            "name them in limits alone",
            lambda it: all(amount(asked) == amount(most) for name, asked, most in _both(it) if _is_counted(name)),
        ),
    )

    @property
    def accelerators(self) -> dict[str, int]:
        """Accelerators of each node, by resource name, where the operator names no others than `ACCELERATORS`."""
        return accelerators.count(self.limits)

    @property
    def cpus(self) -> int | None:
        """Whole cores that each pod may use, or at least has; never 0, and None where nothing is said."""
        quantity = self.limits.get("cpu", self.requests.get("cpu"))
        return None if quantity is None else max(1, int(amount(quantity)))


def _both(resources: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    requests, limits = at(resources, "requests") or {}, at(resources, "limits") or {}
    return [(name, asked, limits[name]) for name, asked in requests.items() if name in limits]


def _is_limited(spec: Mapping[str, Any]) -> bool:
    requests, limits = at(spec, "resources", "requests") or {}, at(spec, "resources", "limits") or {}
    return all(name in limits for name in requests if _is_counted(name))


def _has_base(spec: Mapping[str, Any]) -> bool:
    asked = {**(at(spec, "resources", "requests") or {}), **(at(spec, "resources", "limits") or {})}
    return not any(name.startswith("hugepages-") for name in asked) or "cpu" in asked or "memory" in asked


SPEC_RULES = (
    Rule(
        "has(self.runtimeRef) || !has(self.resources) || !has(self.resources.requests) || "
        f"self.resources.requests.all(k, !{_COUNTED} || (has(self.resources.limits) && k in self.resources.limits))",
        "accelerators, other resources with a domain and hugepages belong into limits; requests alone don't do",
        lambda spec: at(spec, "runtimeRef") is not None or _is_limited(spec),
        "resources.requests",
    ),
    Rule(
        "has(self.runtimeRef) || !has(self.resources) || ("
        + " && ".join(
            f"(!has(self.resources.{kind}) || !self.resources.{kind}.exists(k, k.startsWith('hugepages-')))"
            for kind in ("requests", "limits")
        )
        + ") || "
        + " || ".join(
            f"(has(self.resources.{kind}) && ('cpu' in self.resources.{kind} || 'memory' in self.resources.{kind}))"
            for kind in ("requests", "limits")
        ),
        "hugepages go with cpu or memory; ask for some of these too",
        lambda spec: at(spec, "runtimeRef") is not None or _has_base(spec),
        "resources",
    ),
)
"""Of a job without runtime, or merged over it: the one may say in requests what the other says in limits."""
