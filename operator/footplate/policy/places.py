"""Where a job's spec names something that a TrainingPolicy rules over: one table for the operator, which reads a spec
by it, and for the admission policy, whose expressions are made from it (`footplate.admission`).

A path is written as in `spec.inputs[].uri`: `[]` is each item of a list, and `{}` at its end each key of a map. Every
other field of a spec is in `FREE`; `tests/unit/policy/test_places.py` fails where a new one is in neither.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from footplate.gangs.kinds import COSCHEDULING_SCHEDULER, VOLCANO_SCHEDULER, GangKind
from footplate.objects import Object, block, text

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_AFFINITY = "podTemplate.affinity"
_NODES = f"{_AFFINITY}.nodeAffinity"


@dataclass(frozen=True, slots=True)
class Reading:
    """How what stands at a place is made a text that a policy's entries are held against.

    The expressions speak of `x`, a value, an item or a map's key, and of `m`, that map.
    """

    text: Callable[[Any], str | None]
    """Of a value, an item, or a key with its value; None where the rule isn't for such a one."""
    cel: str = "x"
    cel_if: str = "true"
    """Whether the rule is for such a one."""


def _requirement(raw: Any) -> str:
    values = raw.get("values") if text(raw, "operator") == "In" else None
    one = f"={values[0]}" if isinstance(values, list) and len(values) == 1 else ""
    return f"{text(raw, 'key')}{one}"


def _toleration(raw: Any) -> str:
    value = "" if text(raw, "operator") == "Exists" else f"={text(raw, 'value')}"
    return f"{text(raw, 'key') or '*'}{value}:{text(raw, 'effect') or '*'}"


TEXT = Reading(lambda value: value or None, cel_if="x != ''")
KEY = Reading(lambda entry: entry[0])
PAIR = Reading(lambda entry: f"{entry[0]}={entry[1]}", "x + '=' + m[x]")
ATTRIBUTE = Reading(
    lambda entry: str(entry[1]) if "secretname" in entry[0].lower() else None,
    "m[x]",
    "x.lowerAscii().contains('secretname')",
)
"""Of a CSI volume: drivers for files take the name of a Secret in one."""
VARIABLE = Reading(
    lambda raw: text(raw, "value") or "valueFrom" if "endpoint" in text(raw, "name").lower() else None,
    "x.?value.orValue('') == '' ? 'valueFrom' : x.value",
    "x.name.lowerAscii().contains('endpoint')",
)
"""Clients of storage take its address from one, in any case; what comes from elsewhere can't be seen, and is none."""
REQUIREMENT = Reading(
    _requirement,
    "x.key + (x.operator == 'In' && x.?values.orValue([]).size() == 1 ? '=' + x.values[0] : '')",
)
TOLERATION = Reading(
    _toleration,
    "(x.?key.orValue('') == '' ? '*' : x.key) + (x.?operator.orValue('Equal') == 'Exists' ? '' : '=' + "
    "x.?value.orValue('')) + ':' + (x.?effect.orValue('') == '' ? '*' : x.effect)",
)
"""As `kubectl taint` writes taints: key=value:effect; without value where any is tolerated, * for all."""
_BY_GANG = {GangKind.VOLCANO: VOLCANO_SCHEDULER, GangKind.COSCHEDULING: COSCHEDULING_SCHEDULER}
GANG = Reading(
    _BY_GANG.get,
    f"x == '{GangKind.VOLCANO}' ? '{VOLCANO_SCHEDULER}' : '{COSCHEDULING_SCHEDULER}'",
    f"x in {[*map(str, _BY_GANG)]}",
)
"""The scheduler that a kind of gang goes to without being named."""


def _of_keys(keys: Sequence[str]) -> Reading:
    """The value of each of these keys of a map."""
    return Reading(lambda entry: str(entry[1]) if entry[0] in keys else None, "m[x]", f"x in {[*keys]} && m[x] != ''")


QUEUE = _of_keys(
    (
        "kueue.x-k8s.io/queue-name",
        "scheduling.volcano.sh/queue-name",
        "volcano.sh/queue-name",
        "yunikorn.apache.org/queue",
        "kai.scheduler/queue",
        "runai/queue",
        "queue",
    )
)
"""Queues read a pod's labels and annotations, whatever `scheduling.queueName` says; the last is YuniKorn's."""
PRIORITY = _of_keys(("kueue.x-k8s.io/priority-class",))
"""So does Kueue, of a class of its own kind."""
LISTED = Reading(lambda value: "there" if value else None, cel_if="x.size() > 0")
PRESENT = Reading(lambda value: "there")


@dataclass(frozen=True, slots=True)
class Place:
    """A path below spec, and the field of a policy's spec that rules over what stands there."""

    path: str
    rule: str
    reading: Reading = TEXT

    @property
    def where(self) -> str:
        """The path as a message has it."""
        return f"spec.{self.path.removesuffix('{}')}"

    @property
    def groups(self) -> Sequence[Sequence[str]]:
        """The names of the path, in groups that end at a list."""
        return [[name for name in part.split(".") if name] for part in self.path.removesuffix("{}").split("[]")]

    def texts(self, spec: Object) -> Iterator[str]:
        """What stands there, of which the rule is for."""
        for raw in _read(spec, self.groups, is_map=self.path.endswith("{}")):
            if said := self.reading.text(raw):
                yield said


def _places(rule: str, *paths: str, reading: Reading = TEXT) -> Iterator[Place]:
    return (Place(path, rule, reading) for path in paths)


_TERMS = (
    f"{_NODES}.{_REQUIRED}.nodeSelectorTerms[]",
    f"{_NODES}.{_PREFERRED}[].preference",
)
_PODS = tuple(
    f"{_AFFINITY}.{kind}.{path}"
    for kind in ("podAffinity", "podAntiAffinity")
    for path in (f"{_REQUIRED}[]", f"{_PREFERRED}[].podAffinityTerm")
)

PLACES: Sequence[Place] = (
    *_places("imagePrefixes", "trainer.image"),
    *_places(
        "uriPrefixes", "trainer.source.uri", "inputs[].uri", "checkpoint.uri", "checkpoint.initFrom", "output.uri"
    ),
    *_places("gitPrefixes", "trainer.source.git.url"),
    *_places("endpointPrefixes", "storage.endpoint"),
    *_places("endpointPrefixes", "trainer.env[]", reading=VARIABLE),
    *_places("trackerPrefixes", "tracking.mlflow.uri"),
    *_places(
        "secrets",
        "storage.secretRef.name",
        "storage.caBundle.secretKeyRef.name",
        "inputs[].secretRef.name",
        "trainer.env[].valueFrom.secretKeyRef.name",
        "trainer.envFrom[].secretRef.name",
        "podTemplate.imagePullSecrets[].name",
        "podTemplate.volumes[].secret.secretName",
        "output.sign.secretKeyRef.name",
        "tracking.mlflow.secretRef.name",
        "tracking.wandb.secretRef.name",
        "tracking.comet.secretRef.name",
    ),
    *_places("secrets", "podTemplate.volumes[].csi.volumeAttributes{}", reading=ATTRIBUTE),
    *_places("serviceAccounts", "podTemplate.serviceAccountName"),
    *_places("priorityClasses", "scheduling.priorityClassName"),
    *_places("priorityClasses", "podTemplate.labels{}", reading=PRIORITY),
    *_places("runtimeClasses", "podTemplate.runtimeClassName"),
    *_places(
        "resourceClaims",
        "podTemplate.resourceClaims[].resourceClaimName",
        "podTemplate.resourceClaims[].resourceClaimTemplateName",
    ),
    *_places("schedulers", "podTemplate.schedulerName"),
    *_places("schedulers", "scheduling.gang", reading=GANG),
    *_places("queues", "scheduling.queueName"),
    *_places("queues", "podTemplate.labels{}", "podTemplate.annotations{}", reading=QUEUE),
    *_places("csiDrivers", "podTemplate.volumes[].csi.driver"),
    *_places("tolerations", "podTemplate.tolerations[]", reading=TOLERATION),
    *_places("nodeLabels", "podTemplate.nodeSelector{}", reading=PAIR),
    *_places(
        "nodeLabels",
        *(f"{term}.{field}[]" for term in _TERMS for field in ("matchExpressions", "matchFields")),
        reading=REQUIREMENT,
    ),
    *_places("foreignPods", *(f"{term}.namespaces" for term in _PODS), reading=LISTED),
    *_places("foreignPods", *(f"{term}.namespaceSelector" for term in _PODS), reading=PRESENT),
    *_places("podAnnotations", "podTemplate.annotations{}", reading=KEY),
    *_places("podLabels", "podTemplate.labels{}", reading=KEY),
)
"""All but those that are ruled over together: `runtimeRef`, `nodes`, `elastic.maxNodes`, `resources` and
`trainer.requirements`.
"""

TOGETHER = ("runtimeRef", "nodes", "elastic.maxNodes", "resources", "trainer.requirements")

FREE: Mapping[str, str] = {
    "trainer.recipe": "what runs in the image",
    "trainer.entrypoint": "what runs in the image",
    "trainer.command": "what runs in the image",
    "trainer.args": "what runs in the image",
    "trainer.workingDir": "a folder of the pod",
    "trainer.source.configMap": "an object of the namespace that is no secret",
    "trainer.source.sha256": "a checksum",
    "trainer.source.git.ref": "a commit of a repository that is ruled over",
    "trainer.hyperparameters": "reach the code alone",
    "trainer.hyperparameterArgs": "how they reach it",
    "trainer.metricDefinitions": "read the job's own log",
    "trainer.env[].valueFrom.configMapKeyRef": "an object of the namespace that is no secret",
    "trainer.env[].valueFrom.fieldRef": "a field of the pod's own",
    "trainer.env[].valueFrom.secretKeyRef.key": "which key of a Secret that is ruled over",
    "trainer.env[].valueFrom.secretKeyRef.optional": "whether it must be there",
    "trainer.envFrom[].configMapRef": "an object of the namespace that is no secret",
    "trainer.envFrom[].prefix": "names of variables",
    "processesPerNode": "ranks in a pod, whatever it has",
    "elastic.minNodes": "no more than nodes",
    "inputs[].name": "a folder of the pod",
    "inputs[].mode": "how it is fetched",
    "inputs[].sha256": "a checksum",
    "inputs[].version": "which state of a table that is ruled over",
    "inputs[].maxSize": "the job's own bound on what it fetches",
    "data": "what is made of inputs that are ruled over",
    "checkpoint.every": "how often",
    "checkpoint.keep": "how many",
    "checkpoint.resume": "of the job's own",
    "checkpoint.initStrict": "how weights are taken",
    "output.formats": "of the model",
    "evaluation": "what is measured of the model",
    "output.exclude": "of the model",
    "output.sign.secretKeyRef.key": "which key of a Secret that is ruled over",
    "tracking.mlflow.experiment": "a name in a tracker that is ruled over",
    "tracking.mlflow.registerAs": "a name in a tracker that is ruled over",
    "tracking.wandb.project": "a name; nothing is sent anywhere",
    "tracking.wandb.entity": "a name; nothing is sent anywhere",
    "tracking.comet.workspace": "a name; nothing is sent anywhere",
    "tracking.comet.project": "a name; nothing is sent anywhere",
    "storage.caBundle.configMapKeyRef": "an object of the namespace that is no secret",
    "storage.caBundle.secretKeyRef.key": "which key of a Secret that is ruled over",
    "runPolicy": "how long, and how often again: nodes and accelerators bound what it takes at a time",
    "scheduling.topologyKey": "a preference among the nodes that the job may have",
    **{
        f"{term}.{field}": "whose pods these may be is ruled over"
        for term in _PODS
        for field in ("topologyKey", "labelSelector", "matchLabelKeys", "mismatchLabelKeys")
    },
    **{
        f"{_AFFINITY}.{kind}.{_PREFERRED}[].weight": "how much it is preferred"
        for kind in ("nodeAffinity", "podAffinity", "podAntiAffinity")
    },
    "podTemplate.securityContext": "never root: the pods keep the Pod Security Standard restricted",
    "podTemplate.resourceClaims[].name": "a name in the pod",
    "podTemplate.volumes[].name": "a name in the pod",
    "podTemplate.volumes[].persistentVolumeClaim": "a claim of the namespace",
    "podTemplate.volumes[].emptyDir": "the pod's own scratch space",
    "podTemplate.volumes[].configMap": "an object of the namespace that is no secret",
    "podTemplate.volumes[].secret.items": "which keys of a Secret that is ruled over, and where",
    "podTemplate.volumes[].secret.optional": "whether it must be there",
    "podTemplate.volumes[].csi.readOnly": "how it is mounted",
    "podTemplate.volumes[].hostPath": "refused by the API itself, but in a ClusterTrainingRuntime",
    "podTemplate.volumeMounts": "where in the pod",
    "podTemplate.sharedMemory": "counts against the memory limit",
}
"""Fields, or whole blocks, that no policy rules over, each with the reason."""


def _read(raw: Any, groups: Sequence[Sequence[str]], *, is_map: bool) -> Iterator[Any]:
    *fields, last = groups[0] or [""]
    found = block(raw, *fields).get(last) if last else raw
    if len(groups) > 1:
        for item in found if isinstance(found, list) else ():
            yield from _read(item, groups[1:], is_map=is_map)
    elif is_map:
        yield from found.items() if isinstance(found, Mapping) else ()
    elif found is not None:
        yield found
