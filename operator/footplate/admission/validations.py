"""The validations of one policy: for each place where a spec names what a TrainingPolicy rules over, whether it may,
and the operator's own words where it may not. Pure.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from footplate.admission.walk import Walk
from footplate.api.errors import MAX_VALUE_LENGTH
from footplate.api.packages import FROM_FILES
from footplate.policy.allowed import LIST_RULES, ListRule
from footplate.policy.boundary import MAX_SHOWN, RUNTIMES
from footplate.policy.places import Place

Json = dict[str, Any]

_SPEC = "params.spec"
_LABELS = "namespaceObject.metadata.?labels.orValue({})"
_ALLOWS = "'TrainingPolicy ' + params.metadata.name + ' allows namespace ' + request.namespace"
_ADDRESS = r"[A-Za-z][A-Za-z0-9+.-]{0,31}://[^\\s;,'\"]+"


def quote(words: str) -> str:
    """A text as CEL has it."""
    return json.dumps(words, ensure_ascii=False)


def shown(value: str) -> str:
    """A text as a problem shows its value."""
    mark, slash = quote('"'), quote("\\")
    escaped = f"{value}.replace({slash}, {slash} + {slash}).replace({mark}, {slash} + {mark})"
    cut = f"({mark} + s).substring(0, {MAX_VALUE_LENGTH}) + {quote('…')}"
    return f"[{escaped}].map(s, s.size() > {MAX_VALUE_LENGTH - 2} ? {cut} : {mark} + s + {mark})[0]"


def validation(holds: str, *words: str) -> Json:
    """One that holds wherever the policy isn't for the namespace; `words` are expressions of texts."""
    return {"expression": f"!variables.applies || {holds}", "messageExpression": " + ".join(words)}


def variables(lists: Iterable[str]) -> Iterator[Json]:
    """Whether the policy is for the namespace, and its lists as they are for it, with their words."""
    yield {"name": "applies", "expression": _selects()}
    for field in lists:
        rule = RUNTIMES if field == "runtimes" else LIST_RULES[field]
        listed = f"{_SPEC}.?runtimes.?allowed.orValue([])" if field == "runtimes" else f"{_SPEC}.?{field}.orValue([])"
        yield {"name": field, "expression": rule.cel_entries.replace("{list}", listed)}
        yield {"name": f"{field}Joined", "expression": f"variables.{field}.map(p, {rule.cel_show}).join(', ')"}
        joined = f"variables.{field}Joined"
        cut = f"({joined}.size() > {MAX_SHOWN} ? {joined}.substring(0, {MAX_SHOWN}) + {quote('…')} : {joined})"
        none = quote("it allows none: leave it out")
        words = f"variables.{field}.size() == 0 ? {none} : {quote('allowed are ')} + {cut}"
        yield {"name": f"{field}Words", "expression": words}


def of_list(place: Place) -> Json:
    """That what stands at a place is in the list of the policy."""
    rule = LIST_RULES[place.rule]
    walk = Walk(place, lambda said: f"[{said}].exists(v, !variables.{place.rule}.exists(p, {rule.cel}))")
    holds = f"!has({_SPEC}.{place.rule}) || !{walk.exists}"
    return validation(holds, *_refusal(place.where, shown(walk.first), rule, place.rule))


def of_foreign_pods(place: Place) -> Json:
    """That pods of other namespaces aren't looked at where that isn't allowed."""
    walk = Walk(place, lambda said: "true")
    words = quote(f"{place.where}: names pods of other namespaces, which isn't among what ")
    return validation(f"{_SPEC}.?foreignPods.orValue(false) || !{walk.exists}", words, _ALLOWS, quote("; leave it out"))


def of_runtimes() -> Iterator[Json]:
    """That a job starts from a runtime where it must, from one that it may, and by somebody who may use it."""
    has, reference = "has(object.spec.runtimeRef)", "object.spec.runtimeRef"
    said = f"({reference}.?kind.orValue('ClusterTrainingRuntime') + '/' + {reference}.name)"
    required = f"{_SPEC}.?runtimes.?required.orValue(false)"
    names = f"({_limits('runtimes')} ? 'name one of ' + variables.runtimesJoined : 'name one')"
    why = ("'spec.runtimeRef: is required by TrainingPolicy ' + params.metadata.name + ' in namespace '",)
    yield validation(f"!{required} || {has}", *why, "request.namespace", quote("; "), names)
    allowed = f"!{_limits('runtimes')} || !{has} || {said} in variables.runtimes"
    yield validation(allowed, *_refusal("spec.runtimeRef", shown(said), RUNTIMES, "runtimes"))
    may_use = f"authorizer.group('footplate.dev').resource('clustertrainingruntimes').name({reference}.name)"
    is_cluster = f"{reference}.?kind.orValue('ClusterTrainingRuntime') == 'ClusterTrainingRuntime'"
    yield validation(
        f"!{_SPEC}.?runtimes.?useNeedsRights.orValue(false) || request.operation != 'CREATE' || !{has} || "
        f"!({is_cluster}) || {may_use}.check('use').allowed()",
        quote("spec.runtimeRef = "), shown(said),
        quote(": isn't yours to use: TrainingPolicy "), "params.metadata.name",
        quote(" asks for the verb use on it; ask whoever runs the cluster for a role that has it"),
    )  # fmt: skip


def of_nodes(nodes: str, where: str) -> Json:
    """That there are no more than the policy allows; `where` is an expression too."""
    most = f"{_SPEC}.maxNodes"
    return validation(
        f"!has({most}) || {nodes} <= {most}",
        where, quote(" = "), f"string({nodes})", quote(": is more than the "), f"string({most})",
        quote(" nodes that "), _ALLOWS, quote("; ask for fewer"),
    )  # fmt: skip


def of_accelerators(field: str, nodes: str) -> Json:
    """That there are no more on all nodes together than the policy allows, as far as a job says both."""
    listed, most = f"object.spec.?resources.?{field}.orValue({{}})", f"{_SPEC}.maxAccelerators"
    asked = f"quantity(string({listed}[k])).asInteger() * {nodes}"
    allowed = f"(k in {most} ? {most}[k] : 0)"
    bad = f"{listed}.filter(k, k.contains('/') && {asked} > {allowed})"
    words = (
        quote("spec.resources.limits["), "k", quote("] = "), f"string({asked})",
        quote(": on all nodes together is more than the "), f"string({allowed})", quote(" that "), _ALLOWS,
        quote("; ask for fewer, or for fewer nodes"),
    )  # fmt: skip
    return validation(f"!has({most}) || {bad}.size() == 0", f"{bad}.map(k, {' + '.join(words)})[0]")


def of_packages() -> Iterator[Json]:
    """That packages come from where they may."""
    pip, lines = f"{_SPEC}.?pip", "object.spec.?trainer.?requirements.orValue([])"
    install, indexes = f"{pip}.?install.orValue('fromIndex')", f"{pip}.?indexes.orValue([])"
    where = (quote("spec.trainer.requirements["), "string(variables.requirement)", quote("] = "))
    among = (quote(", which isn't among what "), _ALLOWS)
    line = f"{lines}[variables.requirement]"
    first = "[0].map(i, " + " + ".join((where[0], "'0'", where[2], shown(f"{lines}[i]"))) + ")[0]"
    yield validation(
        f"{install} != 'never' || {lines}.size() == 0", first, quote(": would have a package installed"), *among,
        quote("; leave it out, and take an image that has it"),
    )  # fmt: skip
    files = quote(FROM_FILES)
    places = f"({indexes}.size() == 0 ? {files} : {indexes}.join(', ') + ', or ' + {files})"
    yield validation(
        f"variables.requirement < 0 || {install} == 'never'",
        *where, shown(line), quote(": leads to "), f"{line}.findAll({_pattern()}).filter(a, {_leads_elsewhere()})[0]",
        *among, quote("; take it from "), places,
    )  # fmt: skip


def requirement() -> Json:
    """The variable that holds the index of the first line of requirements which leads elsewhere than it may, or -1."""
    lines = "object.spec.?trainer.?requirements.orValue([])"
    closed = (
        f"({_SPEC}.?pip.?install.orValue('fromIndex') != 'fromIndex' || {_SPEC}.?pip.?indexes.orValue([]).size() > 0)"
    )
    bad = f"{lines}.map(r, r.findAll({_pattern()}).exists(a, {_leads_elsewhere()}))"
    return {"name": "requirement", "expression": f"{closed} ? {bad}.indexOf(true) : -1"}


def _pattern() -> str:
    return f'"{_ADDRESS}"'


def _leads_elsewhere() -> str:
    """Of an address with credentials, which the operator takes off, it alone says."""
    below = "(a.endsWith('/') ? a : a + '/').startsWith(p.endsWith('/') ? p : p + '/') && !a.contains('/../')"
    indexes = f"{_SPEC}.?pip.?indexes.orValue([])"
    return f"!(a.startsWith('file:///') || a.matches('//[^/@]*@') || {indexes}.exists(p, {below}))"


def _limits(field: str) -> str:
    return f"{_SPEC}.?runtimes.?allowed.hasValue()" if field == "runtimes" else f"has({_SPEC}.{field})"


def _refusal(where: str, said: str, rule: ListRule, field: str) -> tuple[str, ...]:
    start, what = quote(f"{where} = "), quote(f": isn't among the {rule.noun} that ")
    return start, said, what, _ALLOWS, quote("; "), f"variables.{field}Words"


def _selects() -> str:
    """By Kubernetes' rules of label selectors."""
    selector = f"{_SPEC}.namespaceSelector"
    among = f"(e.key in {_LABELS} && {_LABELS}[e.key] in e.?values.orValue([]))"
    return (
        f"{selector}.?matchLabels.orValue({{}}).all(k, k in {_LABELS} && {_LABELS}[k] == {selector}.matchLabels[k]) && "
        f"{selector}.?matchExpressions.orValue([]).all(e, e.operator == 'In' ? {among} : e.operator == 'NotIn' ? "
        f"!{among} : e.operator == 'Exists' ? e.key in {_LABELS} : !(e.key in {_LABELS}))"
    )
