"""What the TrainingPolicies of a job's namespace refuse. Pure.

- Each policy is held on its own, so that the strictest counts; none makes another one looser.
- What a ClusterTrainingRuntime sets and the job leaves as it is, is the platform's own word, and passes. What the job
  sets, and what a namespaced TrainingRuntime sets, which its tenants write, is held to the policies.
- What can't be read allows nothing: a policy that this version doesn't understand, and a namespace whose labels aren't
  known.
- It is asked whenever something begins: a run, another attempt, a resume, an edit. What runs, runs on.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations
from typing import Any

from pydantic import ValidationError

from footplate.api.errors import Problem, each_once, explain
from footplate.api.packages import PipPolicy
from footplate.api.policy import TrainingPolicy, TrainingPolicySpec
from footplate.api.quantities import amount
from footplate.api.trainingjob import TrainingJobSpec
from footplate.objects import OVERSIZE, Object, block, text, view_of
from footplate.policy.allowed import LIST_RULES, ListRule
from footplate.policy.places import PLACES
from footplate.policy.plan import Observed

MAX_SHOWN = 300
"""Characters of a list in a message."""


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy that is understood."""

    name: str
    spec: TrainingPolicySpec
    raw: Object
    """Its spec as it was written."""

    def listed(self, field: str) -> list[Any] | None:
        """One of its lists; None where it says nothing."""
        listed = self.raw.get(field)
        return listed if isinstance(listed, list) else None


def read(policy: Object) -> Policy | Problem:
    """A raw TrainingPolicy, or why it isn't understood. What a store keeps is read once."""
    return view_of(policy, _read)


def refused(observed: Observed, spec: TrainingJobSpec) -> list[Problem]:
    """What keeps a job from beginning anything.

    Args:
        observed: the job, and the policies.
        spec: the job over its runtime, with what counts of its edits.
    """
    if not observed.policies_known:
        return [_unknown(observed.job)]
    policies, not_understood = policies_of(observed)
    if not_understood or not policies:
        return not_understood
    asked = _Asked.of(observed, spec)
    return each_once(problem for rule in _RULES for problem in rule(asked, policies))


def policies_of(observed: Observed) -> tuple[list[Policy], list[Problem]]:
    """The policies that are understood, and why others aren't."""
    found = [read(each) for each in observed.policies]
    policies = [each for each in found if isinstance(each, Policy)]
    return policies, [each for each in found if isinstance(each, Problem)]


def _read(policy: Object) -> Policy | Problem:
    name = text(block(policy, "metadata"), "name")
    if OVERSIZE in policy:
        return _not_understood(name, "it is too large to be read")
    try:
        parts = {key: policy[key] for key in ("metadata", "spec") if key in policy}
        return Policy(name, TrainingPolicy.model_validate(parts, by_name=False).spec, block(policy, "spec"))
    except ValidationError as error:
        return _not_understood(name, "; ".join(map(str, explain(error, "", model=TrainingPolicy))))


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a job asks for, as far as it is the tenant's word."""

    namespace: str
    runtime: Object
    """Its runtimeRef."""
    own: Object
    """The fields of its spec that aren't the platform's word, raw."""
    spec: TrainingJobSpec
    """All of them."""
    labels: Sequence[str]
    """Keys of the job's own labels that go on to its pods."""

    @classmethod
    def of(cls, observed: Observed, spec: TrainingJobSpec) -> "_Asked":
        job, raw = observed.job, block(observed.job, "spec")
        runtime = block(raw, "runtimeRef")
        # Of a job that isn't kept whole nobody knows what is whose.
        is_whole = OVERSIZE not in job and text(runtime, "kind") != "TrainingRuntime"
        own = _with_edits(raw, spec) if is_whole else spec.to_json()
        return cls(text(block(job, "metadata"), "namespace"), runtime, own, spec, [*observed.labels])

    @property
    def sets_nodes(self) -> bool:
        """Whether it says itself on how many nodes it runs."""
        return any(self.own.get(field) is not None for field in ("nodes", "elastic"))

    @property
    def most_nodes(self) -> tuple[str, int]:
        """The field that says it, and how many nodes it may come to have."""
        most = self.spec.elastic.max_nodes if self.spec.elastic is not None else 0
        return ("spec.elastic.maxNodes", most) if most > self.spec.nodes else ("spec.nodes", self.spec.nodes)

    @property
    def accelerators(self) -> Mapping[str, int]:
        """Of each resource with a maker's domain that it says something of, how many on all nodes together."""
        resources, (_, nodes) = self.spec.resources, self.most_nodes
        own = {*block(self.own, "resources", "requests"), *block(self.own, "resources", "limits")}
        return {
            name: int(amount(many)) * nodes
            for name, many in {**resources.requests, **resources.limits}.items()
            if "/" in name and (self.sets_nodes or name in own)
        }


def _with_edits(raw: Object, spec: TrainingJobSpec) -> Object:
    """A job's own spec, with what counts of its edits in the place of what it says."""
    edited = dict(raw)
    if raw.get("nodes") is not None:
        edited["nodes"] = spec.nodes
    if text(block(raw, "scheduling"), "priorityClassName"):
        edited["scheduling"] = {**block(raw, "scheduling"), "priorityClassName": spec.scheduling.priority_class_name}
    return edited


def _unknown(job: Object) -> Problem:
    namespace = text(block(job, "metadata"), "namespace")
    return Problem(
        "metadata.namespace", namespace, "has labels that aren't known, so neither are the TrainingPolicies that hold",
        "it goes on by itself once they are; if that takes long, see whether the operator may list namespaces",
    )  # fmt: skip


def _not_understood(name: str, why: str) -> Problem:
    return Problem(
        "", None, f"TrainingPolicy {name} isn't understood, so it allows nothing: {why}",
        "whoever runs the cluster must correct it, or run the operator that knows it",
    )  # fmt: skip


def _who(policy: Policy, asked: _Asked) -> str:
    return f"TrainingPolicy {policy.name} allows namespace {asked.namespace}"


def _join(entries: Iterable[str]) -> str:
    shown = ", ".join(entries)
    return shown if len(shown) <= MAX_SHOWN else f"{shown[:MAX_SHOWN]}…"


def _runtime(asked: _Asked, policies: Sequence[Policy]) -> Iterator[Problem]:
    if asked.runtime:
        lists = [(policy, allowed) for policy in policies if (allowed := _runtimes_of(policy)) is not None]
        kind = text(asked.runtime, "kind") or "ClusterTrainingRuntime"
        yield from _of_list("spec.runtimeRef", f"{kind}/{text(asked.runtime, 'name')}", RUNTIMES, lists, asked)
        return
    for policy in policies:
        if policy.spec.runtimes.required:
            names = _runtimes_of(policy)
            why = f"is required by TrainingPolicy {policy.name} in namespace {asked.namespace}"
            yield Problem("spec.runtimeRef", None, why, f"name one of {_join(names)}" if names else "name one")


def _runtimes_of(policy: Policy) -> list[str] | None:
    allowed = policy.spec.runtimes.allowed
    return None if allowed is None else [f"{each.kind}/{each.name}" for each in allowed]


def _lists(asked: _Asked, policies: Sequence[Policy]) -> Iterator[Problem]:
    for place in PLACES:
        rule = LIST_RULES.get(place.rule)
        lists = [(policy, listed) for policy in policies if (listed := policy.listed(place.rule)) is not None]
        if rule is None or not lists:
            continue
        held = [(policy, rule.entries(listed, namespace=asked.namespace)) for policy, listed in lists]
        for said in dict.fromkeys(place.texts(asked.own)):
            yield from _of_list(place.where, said, rule, held, asked)
        for key in asked.labels if place.rule == "podLabels" else ():
            yield from _of_list("metadata.labels", key, rule, held, asked)


def _of_list(
    where: str, said: str, rule: ListRule, lists: Sequence[tuple[Policy, list[Any]]], asked: _Asked
) -> Iterator[Problem]:
    """What is wrong with a text at a place: one problem for each list that hasn't it; or only that two of them have
    nothing in common, where that is so.
    """
    broken = [(policy, entries) for policy, entries in lists if not any(rule.allows(said, each) for each in entries)]
    contradiction = _contradiction(rule, lists, asked) if broken else None
    if contradiction is not None:
        yield Problem(where, said, contradiction, "whoever runs the cluster must change one of them")
        return
    for policy, entries in broken:
        allowed = f"allowed are {_join(map(rule.show, entries))}" if entries else "it allows none: leave it out"
        yield Problem(where, said, f"isn't among the {rule.noun} that {_who(policy, asked)}", allowed)


def _contradiction(rule: ListRule, lists: Sequence[tuple[Policy, list[Any]]], asked: _Asked) -> str | None:
    for (one, mine), (other, theirs) in combinations(lists, 2):
        if mine and theirs and not any(rule.meet(each, its) for each in mine for its in theirs):
            return (
                f"can't be among the {rule.noun} that namespace {asked.namespace} is allowed: TrainingPolicy "
                f"{one.name} allows {_join(map(rule.show, mine))} alone, and TrainingPolicy {other.name} "
                f"{_join(map(rule.show, theirs))}, which have nothing in common"
            )
    return None


def _foreign_pods(asked: _Asked, policies: Sequence[Policy]) -> Iterator[Problem]:
    places = [place for place in PLACES if place.rule == "foreignPods" and any(place.texts(asked.own))]
    for policy in policies:
        for place in places if not policy.spec.foreign_pods else ():
            why = f"names pods of other namespaces, which isn't among what {_who(policy, asked)}"
            yield Problem(place.where, None, why, "leave it out")


def _size(asked: _Asked, policies: Sequence[Policy]) -> Iterator[Problem]:
    where, nodes = asked.most_nodes
    for policy in policies:
        most, limits = policy.spec.max_nodes, policy.spec.max_accelerators
        if most is not None and nodes > most and asked.sets_nodes:
            yield Problem(where, nodes, f"is more than the {most} nodes that {_who(policy, asked)}", "ask for fewer")
        for name, many in asked.accelerators.items() if limits is not None else ():
            allowed = (limits or {}).get(name, 0)
            if many > allowed:
                why = f"on all nodes together is more than the {allowed} that {_who(policy, asked)}"
                yield Problem(f"spec.resources.limits[{name}]", many, why, "ask for fewer, or for fewer nodes")


def _packages(asked: _Asked, policies: Sequence[Policy]) -> Iterator[Problem]:
    """Those that the source requires are the trainer's to refuse, by what `packages_of` says."""
    lines = block(asked.own, "trainer").get("requirements")
    for index, line in enumerate(lines if isinstance(lines, list) else ()):
        for policy in policies:
            if (refusal := _refused_line(line, policy.spec.pip)) is not None:
                rule, way_out = refusal
                why = f"{rule}, which isn't among what {_who(policy, asked)}"
                yield Problem(f"spec.trainer.requirements[{index}]", line, why, way_out)


def _refused_line(line: str, pip: PipPolicy | None) -> tuple[str, str] | None:
    if pip is not None and pip.install == "never":
        return "would have a package installed", "leave it out, and take an image that has it"
    if pip is not None and (address := pip.refused_address(line)):
        return f"leads to {address}", f"take it from {pip.places}"
    return None


def packages_of(observed: Observed, runtimes: PipPolicy | None) -> PipPolicy | None:
    """Where a job's packages may come from, by all who say something of it; None where nobody does."""
    policies, _ = policies_of(observed)
    said = [pip for pip in (runtimes, *(policy.spec.pip for policy in policies)) if pip is not None and pip.is_closed]
    if not said:
        return None
    for install in ("never", "fromFiles"):
        if any(pip.install == install for pip in said):
            return PipPolicy(install=install)
    first, *others = [[index.rstrip("/") + "/" for index in pip.indexes] for pip in said]
    common = [index for index in first if all(index in other for other in others)]
    return PipPolicy(indexes=common) if common else PipPolicy(install="fromFiles")


def data_pod_above(observed: Observed) -> Decimal | None:
    """Bytes of data up to which a job has no pod of its own for them, by the strictest policy; None: it has one."""
    policies, _ = policies_of(observed)
    named = (policy.spec.data_pod_above for policy in policies)
    return min((amount(size) for size in named if size is not None), default=None)


RUNTIMES = ListRule(
    "runtimes",
    lambda said, entry: said == entry,
    "v == p",
    lambda one, other: bool(one == other),
    cel_entries="{list}.map(p, p.?kind.orValue('ClusterTrainingRuntime') + '/' + p.name)",
)
_RULES = (_runtime, _lists, _foreign_pods, _size, _packages)
