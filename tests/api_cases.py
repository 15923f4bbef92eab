"""What the API takes and refuses: one table, held against the models, against the devcluster and against Kubernetes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from footplate.api.trainingjob import MAX_NAME_LENGTH

Json = dict[str, Any]

IMAGE = "registry.example.com/trainer:1"
TRAINER = {"image": IMAGE, "recipe": "image-classification"}
DIGEST = "a" * 64
ELASTIC = {"minNodes": 2, "maxNodes": 4}
UNSET = object()
"""Takes a field out of the sound spec."""

UNCHANGEABLE = "field is immutable"


@dataclass(frozen=True, slots=True)
class Case:
    """A manifest, and what is said of it; `problem` is empty where it is taken.

    `old` is the spec of the stored object for a change, None for a create. `server` is what Kubernetes says where
    its own words differ from the models', as they do for everything but CEL rules.
    """

    id: str
    spec: Mapping[str, Any]
    problem: str = ""
    path: str = "spec"
    old: Mapping[str, Any] | None = None
    server: str = ""
    name: str = "job"
    kind: str = "TrainingJob"

    def manifest(self, *, spec: Mapping[str, Any] | None = None) -> Json:
        """The object, with the new spec or the one given."""
        metadata = {"name": self.name} | ({} if self.kind.startswith("Cluster") else {"namespace": "default"})
        spec = self.spec if spec is None else spec
        return {"apiVersion": "footplate.dev/v1alpha1", "kind": self.kind, "metadata": metadata, "spec": dict(spec)}


def sound(**changes: Any) -> Json:
    """A sound spec with these fields set, or taken out where they are UNSET."""
    spec = {"trainer": TRAINER} | changes
    return {name: value for name, value in spec.items() if value is not UNSET}


def trainer(**changes: Any) -> Json:
    """A sound spec with these fields of its trainer."""
    return sound(trainer={key: value for key, value in (TRAINER | changes).items() if value is not UNSET})


def uri(address: str) -> Json:
    """A sound spec with one input."""
    return sound(inputs=[{"name": "train", "uri": address}])


def volume(**source: Any) -> Json:
    """A sound spec with one volume."""
    return sound(podTemplate={"volumes": [{"name": "data", **source}]})


def env(**variable: Any) -> Json:
    """A sound spec with one environment variable."""
    return trainer(env=[variable])


NO_ENTRY = "set one of trainer.recipe, trainer.entrypoint and trainer.command"
TWO_ENTRIES = "set only one of recipe, entrypoint and command"
BAD_SCHEME = "the scheme must be s3://, gs://, az:// or file://"
BAD_PARENT = "a URI must not contain '.' or '..' as a path segment"
ENCODED = "a URI is not percent-decoded and has no query or fragment"
CREDENTIALS = "a URI must not carry credentials or '@'"
BAD_SHAPE = "a URI must be scheme://bucket/path"
BAD_NAME = f"metadata.name must be a DNS label of at most {MAX_NAME_LENGTH} characters"
HOST_PATH = {"path": "/data"}
SECRET_KEY = {"name": "s3", "key": "token"}
RESUME = "must be latest, run, never or a checkpoint's URI: "

URI = "spec.inputs[0].uri"
SOURCE = "spec.trainer.source"
ENV = "spec.trainer.env[0]"
MOUNT = "spec.podTemplate.volumeMounts[0]"

TAKEN = (
    Case("smallest", sound()),
    Case("null is absent", sound(nodes=None, checkpoint=None, trainer=TRAINER | {"args": None})),
    Case("runtime stands in for everything", {"runtimeRef": {"name": "torch"}, "checkpoint": {"keep": 2}}),
    Case("entrypoint", trainer(recipe=UNSET, entrypoint="package.module:main")),
    Case("command", trainer(recipe=UNSET, command=["python", "-m", "mine"])),
    Case("longest name", sound(), name="a" * MAX_NAME_LENGTH),
    Case("most nodes", sound(nodes=10_000)),
    Case("elastic", sound(elastic=ELASTIC, nodes=2)),
    Case("elastic of one size", sound(elastic={"minNodes": 2, "maxNodes": 2}, nodes=2)),
    Case("processes auto", sound(processesPerNode="auto")),
    Case("processes number", sound(processesPerNode=8)),
    Case("quantities", sound(resources={"limits": {"nvidia.com/gpu": 8, "cpu": "500m", "memory": "1.5Gi"}})),
    Case("hyperparameters of any shape", trainer(hyperparameters={"a": {"b": [1, "x", None, 1.5]}, "c": None})),
    Case("bucket", uri("s3://datasets")),
    Case("key with dots", uri("gs://datasets/a..b/.c/d...")),
    Case("file", uri("file:///data/train/")),
    Case("azure", uri("az://container/ü/train.csv")),
    Case("source ConfigMap", trainer(source={"configMap": {"name": "code"}})),
    Case("source URI with digest", trainer(source={"uri": "s3://code/a.tar.gz", "sha256": DIGEST})),
    Case("source git", trainer(source={"git": {"url": "https://git.example.com/a.git", "ref": "main"}})),
    Case("resume never", sound(checkpoint={"uri": "s3://checkpoints/", "resume": "never"})),
    Case("resume run", sound(checkpoint={"uri": "s3://checkpoints/", "resume": "run"})),
    Case("resume URI", sound(checkpoint={"uri": "s3://checkpoints/", "resume": "s3://checkpoints/other/step-1/"})),
    Case("every steps", sound(checkpoint={"uri": "s3://checkpoints/", "every": {"steps": 500}})),
    Case("env value", env(name="A", value="")),
    Case("env secret", env(name="A", valueFrom={"secretKeyRef": SECRET_KEY})),
    Case("envFrom", trainer(envFrom=[{"secretRef": {"name": "s3"}}, {"configMapRef": {"name": "c"}, "prefix": "P_"}])),
    Case("formats", sound(output={"uri": "s3://models/", "formats": ["safetensors", "onnx"]})),
    Case("claim", volume(persistentVolumeClaim={"claimName": "data"})),
    Case("mount", sound(podTemplate={"volumeMounts": [{"name": "data", "mountPath": "/footplates"}]})),
    Case("labels", sound(podTemplate={"labels": {"team": "vision", "example.com/a": ""}})),
    Case("cluster runtime's host path", {"podTemplate": {"volumes": [{"name": "d", "hostPath": HOST_PATH}]}},
         kind="ClusterTrainingRuntime"),
    Case("runtime", {"trainer": {"image": IMAGE}, "policy": {"allowed": [], "uriPrefixes": ["s3://m/{namespace}/"]}},
         kind="TrainingRuntime"),
)  # fmt: skip

REFUSED = (
    Case("unknown field", sound(nodez=2), "unknown field; did you mean nodes?", "spec.nodez",
         server='unknown field "spec.nodez"'),
    Case("snake case", sound(run_policy={}), "unknown field; did you mean runPolicy?", "spec.run_policy",
         server='unknown field "spec.run_policy"'),
    Case("text for a number", sound(nodes="4"), "must be a whole number, not text; write 4 without quotes",
         "spec.nodes", server='must be of type integer: "string"'),
    Case("text for true", sound(runPolicy={"suspend": "yes"}), "must be true or false, not text",
         "spec.runPolicy.suspend", server='must be of type boolean: "string"'),
    Case("text for a list", sound(inputs="s3://datasets/"), "must be a list, not text", "spec.inputs",
         server='must be of type array: "string"'),
    Case("no nodes", sound(nodes=0), "must be at least 1", "spec.nodes",
         server="should be greater than or equal to 1"),
    Case("too many nodes", sound(nodes=10_001), "must be at most 10,000", "spec.nodes",
         server="should be less than or equal to 10000"),
    Case("unknown word", sound(runPolicy={"cleanPods": "onsucess"}),
         "must be onSuccess, always or never; did you mean onSuccess?", "spec.runPolicy.cleanPods",
         server='Unsupported value: "onsucess": supported values: "onSuccess", "always", "never"'),
    Case("no processes", sound(processesPerNode=0), "must be auto or a whole number from 1 to 1024",
         "spec.processesPerNode", server="should be greater than or equal to 1"),
    Case("processes in words", sound(processesPerNode="four"), "must be auto or a whole number from 1 to 1024",
         "spec.processesPerNode", server="should match '^(auto)$'"),
    Case("no quantity", sound(resources={"limits": {"cpu": "four"}}), "must be a Kubernetes quantity such as 500m",
         "spec.resources.limits.cpu", server="should match"),
    Case("digest", trainer(source={"uri": "s3://code/a.tar", "sha256": "B" * 64}),
         "must be 64 lower-case hexadecimal digits", f"{SOURCE}.sha256", server="should match '^[0-9a-f]{64}$'"),
    Case("recipe", trainer(recipe="Image Classification"), "must be lower-case letters, digits and '-'",
         "spec.trainer.recipe", server="should match"),
    Case("missing URI", sound(inputs=[{"name": "train"}]), "is required", URI, server="Required value"),
    Case("same input twice", sound(inputs=[{"name": "a", "uri": "s3://abc/"}, {"name": "a", "uri": "s3://abd/"}]),
         "the name a comes twice", "spec.inputs", server='Duplicate value: {"name":"a"}'),
    Case("name of 41", sound(), BAD_NAME, "metadata.name", name="a" * (MAX_NAME_LENGTH + 1)),
    Case("name with dots", sound(), BAD_NAME, "metadata.name", name="a.b"),
    Case("name that begins with a digit", sound(), BAD_NAME, "metadata.name", name="1a"),
    Case("nothing to run", trainer(recipe=UNSET), NO_ENTRY),
    Case("two things to run", trainer(entrypoint="train.py"), TWO_ENTRIES, "spec.trainer"),
    Case("three things to run", trainer(entrypoint="train.py", command=["a"]), TWO_ENTRIES, "spec.trainer"),
    Case("no image", trainer(image=UNSET), "trainer.image is required"),
    Case("no trainer", {}, "trainer.image is required"),
    Case("checkpoint without URI", sound(checkpoint={"keep": 2}), "checkpoint.uri is required"),
    Case("elastic without nodes", sound(elastic=ELASTIC), "an elastic job needs nodes", "spec.nodes"),
    Case("fewer nodes than elastic", sound(elastic=ELASTIC, nodes=1), "an elastic job needs nodes", "spec.nodes"),
    Case("more nodes than elastic", sound(elastic=ELASTIC, nodes=5), "an elastic job needs nodes", "spec.nodes"),
    Case("elastic upside down", sound(elastic={"minNodes": 4, "maxNodes": 2}, nodes=3),
         "minNodes must not be greater than maxNodes", "spec.elastic"),
    Case("unknown scheme", uri("ftp://datasets/train"), BAD_SCHEME, URI),
    Case("path without scheme", uri("/data/train"), BAD_SCHEME, URI),
    Case("scheme in capitals", uri("S3://datasets/train"), BAD_SCHEME, URI),
    Case("userinfo", uri("s3://key:secret@datasets/train"), CREDENTIALS, URI),
    Case("parent folder", uri("s3://datasets/../other/train"), BAD_PARENT, URI),
    Case("parent folder at the end", uri("s3://datasets/train/.."), BAD_PARENT, URI),
    Case("same folder", uri("file:///data/./train"), BAD_PARENT, URI),
    Case("encoded parent folder", uri("s3://datasets/%2e%2e/other"), ENCODED, URI),
    Case("query", uri("s3://datasets/train?versionId=1"), ENCODED, URI),
    Case("fragment", uri("s3://datasets/train#1"), ENCODED, URI),
    Case("backslash", uri("s3://datasets\\train"), ENCODED, URI),
    Case("bucket in capitals", uri("s3://Datasets/train"), BAD_SHAPE, URI),
    Case("no bucket", uri("s3:///train"), BAD_SHAPE, URI),
    Case("empty segment", uri("s3://datasets//train"), BAD_SHAPE, URI),
    Case("blank", uri("s3://datasets/a b"), BAD_SHAPE, URI),
    Case("line break", uri("s3://datasets/a\n"), BAD_SHAPE, URI),
    Case("host in a file URI", uri("file://host/data"), BAD_SHAPE, URI),
    *(
        Case(f"resume: {problem}", sound(checkpoint={"uri": "s3://checkpoints/", "resume": address}),
             RESUME + problem, "spec.checkpoint.resume")
        for address, problem in (
            ("lates", BAD_SCHEME),
            ("s3://k:s@checkpoints/", CREDENTIALS),
            ("s3://checkpoints/%2e%2e/", ENCODED),
            ("s3://checkpoints/../a/", BAD_PARENT),
            ("s3://c/", BAD_SHAPE),
        )
    ),
    Case("two intervals", sound(checkpoint={"uri": "s3://checkpoints/", "every": {"steps": 1, "seconds": 1}}),
         "set exactly one of steps and seconds", "spec.checkpoint.every"),
    Case("every 0 steps", sound(checkpoint={"uri": "s3://checkpoints/", "every": {"steps": 0}}),
         "must be at least 1; for example 500", "spec.checkpoint.every.steps",
         server="should be greater than or equal to 1"),
    Case("every 0 seconds", sound(checkpoint={"uri": "s3://checkpoints/", "every": {"seconds": 0}}),
         "must be at least 1; for example 600", "spec.checkpoint.every.seconds",
         server="should be greater than or equal to 1"),
    Case("no interval", sound(checkpoint={"uri": "s3://checkpoints/", "every": {}}),
         "set exactly one of steps and seconds", "spec.checkpoint.every"),
    Case("no source", trainer(source={}), "set exactly one of configMap, uri and git", SOURCE),
    Case("two sources", trainer(source={"uri": "s3://code/a.tar", "configMap": {"name": "code"}}),
         "set exactly one of configMap, uri and git", SOURCE),
    Case("digest of a ConfigMap", trainer(source={"configMap": {"name": "code"}, "sha256": DIGEST}),
         "sha256 goes with uri", SOURCE),
    Case("env value and source", env(name="A", value="1", valueFrom={"secretKeyRef": SECRET_KEY}),
         "set value or valueFrom, not both", ENV),
    Case("env of the operator", env(name="FOOTPLATE_RANK", value="1"), "names that begin with FOOTPLATE_", ENV),
    Case("env from nowhere", env(name="A", valueFrom={}), "set exactly one of secretKeyRef", f"{ENV}.valueFrom"),
    Case("envFrom nowhere", trainer(envFrom=[{"prefix": "A"}]), "set exactly one of secretRef and configMapRef",
         "spec.trainer.envFrom[0]"),
    Case("same format twice", sound(output={"uri": "s3://models/", "formats": ["onnx", "onnx"]}),
         "formats must differ", "spec.output"),
    Case("label of the operator", sound(podTemplate={"labels": {"footplate.dev/job": "a"}}),
         "label keys that begin with footplate.dev/", "spec.podTemplate"),
    Case("volume without source", volume(), "set exactly one of persistentVolumeClaim",
         "spec.podTemplate.volumes[0]"),
    Case("volume with two sources", volume(emptyDir={}, configMap={"name": "a"}),
         "set exactly one of persistentVolumeClaim", "spec.podTemplate.volumes[0]"),
    Case("volume of the operator", sound(podTemplate={"volumes": [{"name": "footplate-run", "emptyDir": {}}]}),
         "volume names that begin with footplate-", "spec.podTemplate.volumes[0]"),
    Case("job's host path", volume(hostPath=HOST_PATH), "only a ClusterTrainingRuntime may name a hostPath volume",
         "spec.podTemplate.volumes"),
    Case("runtime's host path", {"podTemplate": {"volumes": [{"name": "d", "hostPath": HOST_PATH}]}},
         "only a ClusterTrainingRuntime may name a hostPath volume", "spec.podTemplate.volumes",
         kind="TrainingRuntime"),
    *(
        Case(f"mount at {path}", sound(podTemplate={"volumeMounts": [{"name": "data", "mountPath": path}]}),
             "mountPath must not be / nor lie in /footplate", MOUNT)
        for path in ("/", "/footplate", "/footplate/run", "/a/../footplate")
    ),
)  # fmt: skip

FIXED: Mapping[str, tuple[Any, Any]] = {
    "runtimeRef": ({"name": "a"}, {"name": "b"}),
    "trainer": (TRAINER, TRAINER | {"args": ["--depth"]}),
    "processesPerNode": ("auto", 1),
    "elastic": (ELASTIC, {"minNodes": 2, "maxNodes": 5}),
    "resources": ({"limits": {"cpu": "1"}}, {"limits": {"cpu": "2"}}),
    "inputs": ([{"name": "a", "uri": "s3://abc/"}], [{"name": "b", "uri": "s3://abc/"}]),
    "checkpoint": ({"uri": "s3://abc/"}, {"uri": "s3://abc/", "keep": 3}),
    "output": ({"uri": "s3://abc/"}, {"uri": "s3://abd/"}),
    "storage": ({"secretRef": {"name": "a"}}, {"endpoint": "http://s3.example.com"}),
    "podTemplate": ({"labels": {"a": "1"}}, {"labels": {"a": "1", "b": "2"}}),
}
"""Two values for each field that never changes."""

BLOCKS: Mapping[str, Mapping[str, tuple[Any, Any]]] = {
    "runPolicy": {
        "maxRestarts": (3, 4),
        "ttlKeepsJob": (False, True),
        "maxDisruptions": (50, 51),
        "restartBackoffSeconds": (10, 11),
        "queueDeadlineSeconds": (10, 11),
        "schedulingTimeoutSeconds": (10, 11),
        "hangTimeoutSeconds": (10, 11),
        "terminationGracePeriodSeconds": (10, 11),
        "cleanPods": ("never", "always"),
    },
    "scheduling": {"gang": ("none", "auto"), "queueName": ("a", "b"), "topologyKey": ("a", "b")},
}
"""The same for the fixed fields of blocks that have mutable ones."""

MUTABLE: Mapping[str, Mapping[str, tuple[Any, Any]]] = {
    "runPolicy": {
        "suspend": (False, True),
        "restartNonce": ("1", "2"),
        "activeDeadlineSeconds": (10, 20),
        "ttlSecondsAfterFinished": (10, 20),
    },
    "scheduling": {"priorityClassName": ("a", "b")},
}


def _change(id: str, old: Json, new: Json, problem: str = "", path: str = "spec") -> Case:  # noqa: A002
    return Case(id, new, problem, path, old=old)


def _steps(first: Any, second: Any) -> tuple[tuple[str, Any, Any], ...]:
    return (("changed", first, second), ("added", UNSET, first), ("removed", first, UNSET))


_NODES = {"elastic": {"nodes": 2}}

CHANGES_REFUSED = (
    *(
        _change(f"{field} {step}", sound(**_NODES.get(field, {}), **{field: old}),
                sound(**_NODES.get(field, {}), **{field: new}), f"{UNCHANGEABLE}: {field} ", f"spec.{field}")
        for field, values in FIXED.items()
        for step, old, new in (_steps(*values) if field != "trainer" else _steps(*values)[:1])
    ),
    *(
        _change(f"{block}.{field} {step}", sound(**{block: {} if old is UNSET else {field: old}}),
                sound(**{block: {} if new is UNSET else {field: new}}), f"{UNCHANGEABLE}: {block} ", f"spec.{block}")
        for block, fields in BLOCKS.items()
        for field, values in fields.items()
        for step, old, new in _steps(*values)
    ),
    _change("block with a fixed field added", sound(), sound(runPolicy={"maxRestarts": 3}), UNCHANGEABLE,
            "spec.runPolicy"),
    _change("block with a fixed field removed", sound(runPolicy={"maxRestarts": 3}), sound(), UNCHANGEABLE,
            "spec.runPolicy"),
    _change("trainer removed", sound(runtimeRef={"name": "a"}), {"runtimeRef": {"name": "a"}},
            f"{UNCHANGEABLE}: trainer ", "spec.trainer"),
    _change("hyperparameter changed", trainer(hyperparameters={"a": {"b": 1}}),
            trainer(hyperparameters={"a": {"b": 2}}), f"{UNCHANGEABLE}: trainer ", "spec.trainer"),
    _change("hyperparameter renamed", trainer(hyperparameters={"a": 1}), trainer(hyperparameters={"b": 1}),
            f"{UNCHANGEABLE}: trainer ", "spec.trainer"),
    _change("affinity changed", sound(podTemplate={"affinity": {"nodeAffinity": {"a": 1}}}),
            sound(podTemplate={"affinity": {"nodeAffinity": {"a": 2}}}), UNCHANGEABLE, "spec.podTemplate"),
    _change("nodes changed", sound(nodes=2), sound(nodes=3), f"{UNCHANGEABLE}: nodes ", "spec.nodes"),
    _change("nodes added", sound(), sound(nodes=1), f"{UNCHANGEABLE}: nodes ", "spec.nodes"),
    _change("nodes removed", sound(nodes=1), sound(), f"{UNCHANGEABLE}: nodes ", "spec.nodes"),
    _change("nodes and elastic added", sound(), sound(elastic=ELASTIC, nodes=3), f"{UNCHANGEABLE}: elastic ",
            "spec.elastic"),
    _change("nodes out of elastic", sound(elastic=ELASTIC, nodes=2), sound(elastic=ELASTIC, nodes=5),
            "an elastic job needs nodes", "spec.nodes"),
)  # fmt: skip

CHANGES_TAKEN = (
    _change("nothing", sound(), sound()),
    _change("nodes within elastic", sound(elastic=ELASTIC, nodes=2), sound(elastic=ELASTIC, nodes=4)),
    _change("block with a mutable field added", sound(), sound(runPolicy={"suspend": True})),
    _change("block with a mutable field removed", sound(runPolicy={"suspend": True}), sound()),
    *(
        _change(f"{block}.{field} {step}", sound(**{block: {} if old is UNSET else {field: old}}),
                sound(**{block: {} if new is UNSET else {field: new}}))
        for block, fields in MUTABLE.items()
        for field, values in fields.items()
        for step, old, new in _steps(*values)
    ),
)  # fmt: skip

CREATES = TAKEN + REFUSED
CHANGES = CHANGES_TAKEN + CHANGES_REFUSED
