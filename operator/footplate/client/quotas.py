"""What a namespace's ResourceQuotas leave of what a job asks for. Pure.

A quota is judged for a job whose pods are all there at once, as a gang's must be. One with scopes holds for some pods
only, and whether a job's are among them the API server decides: such a quota isn't judged.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from footplate.api.quantities import amount
from footplate.api.resources import IN_BYTES, NATIVE
from footplate.api.trainingjob import TrainingJobSpec
from footplate.objects import Object, block, text

_ONE_EACH = ("configmaps", "count/configmaps", "services", "count/services", "count/trainingjobs.footplate.dev")
_PODS = ("pods", "count/pods")


@dataclass(frozen=True, slots=True)
class QuotaShare:
    """One line of a quota that the job's objects count to."""

    quota: str
    resource: str
    """As the quota has it, such as `requests.nvidia.com/gpu`."""
    asked: Decimal | None
    """None where the quota wants a number of every pod, and the job says none."""
    left: Decimal
    hard: Decimal

    @property
    def problem(self) -> str:
        """Why the job won't get it now, and the way out; empty where it will."""
        if self.asked is None:
            field = self.resource if "." in self.resource else f"requests.{self.resource}"
            return (
                f"quota {self.quota} wants {self.resource} of every pod, and the job says none: its pods are refused "
                f"unless a LimitRange says it for them; set resources.{field}"
            )
        if self.asked <= self.left:
            return ""
        way_out = "ask for less, or for a larger quota" if self.asked > self.hard else "they wait until there is room"
        return f"{self}: not all of the job's pods fit; {way_out}"

    def __str__(self) -> str:
        left, hard = (format_amount(self.resource, value) for value in (self.left, self.hard))
        asked = "nothing" if self.asked is None else format_amount(self.resource, self.asked)
        return f"{self.quota} has {left} of {hard} {self.resource} left, the job asks for {asked}"


def total(spec: TrainingJobSpec) -> dict[str, Decimal]:
    """What all pods of the gang ask for together, by resource name: cores, bytes, or pieces."""
    return {name: each * spec.nodes for name, each in _requests(spec).items()}


def share_of_quotas(spec: TrainingJobSpec, quotas: Sequence[Object]) -> list[QuotaShare]:
    """The lines of these raw quotas that the job counts to."""
    return [share for quota in quotas if not _has_scopes(quota) for share in _shares(spec, quota)]


def format_amount(resource: str, value: Decimal) -> str:
    """A number of cores, bytes or pieces, as Kubernetes writes it."""
    if resource.removeprefix("requests.").removeprefix("limits.") in IN_BYTES:
        unit = next((power for power in (4, 3, 2, 1) if abs(value) >= 1024**power), 0)
        return f"{float(value / 1024**unit):.4g}{('', 'Ki', 'Mi', 'Gi', 'Ti')[unit]}"
    return f"{value.normalize():f}"


def _has_scopes(quota: Object) -> bool:
    spec = block(quota, "spec")
    return bool(spec.get("scopes") or spec.get("scopeSelector"))


def _shares(spec: TrainingJobSpec, quota: Object) -> Iterator[QuotaShare]:
    hard, used, name = block(quota, "status", "hard"), block(quota, "status", "used"), block(quota, "metadata")
    for resource, most in hard.items():
        if not _counts(resource, spec):
            continue
        try:
            bound, taken = amount(most), amount(used.get(resource, "0"))
        except ValueError:
            continue
        yield QuotaShare(text(name, "name"), resource, _asked(resource, spec), bound - taken, bound)


def _counts(resource: str, spec: TrainingJobSpec) -> bool:
    """Whether the job's objects count to this line: to one of an accelerator that it doesn't ask for they don't."""
    bare = resource.removeprefix("requests.").removeprefix("limits.")
    return bare in (*_ONE_EACH, *_PODS, *NATIVE) or bare in _requests(spec)


def _asked(resource: str, spec: TrainingJobSpec) -> Decimal | None:
    if resource in _ONE_EACH:
        return Decimal(1)
    if resource in _PODS:
        return Decimal(spec.nodes)
    if resource.startswith("limits."):
        each = _amounts(spec.resources.limits).get(resource.removeprefix("limits."))
    else:
        each = _requests(spec).get(resource.removeprefix("requests."))
    return None if each is None else each * spec.nodes


def _requests(spec: TrainingJobSpec) -> dict[str, Decimal]:
    """Of one pod; what has a limit alone is requested in full."""
    return {**_amounts(spec.resources.limits), **_amounts(spec.resources.requests)}


def _amounts(quantities: Mapping[str, str]) -> dict[str, Decimal]:
    return {name: amount(quantity) for name, quantity in quantities.items()}
