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

CLUSTER_SCOPED = ("ClusterTrainingRuntime", "TrainingPolicy")
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
        metadata = {"name": self.name} | ({} if self.kind in CLUSTER_SCOPED else {"namespace": "default"})
        spec = self.spec if spec is None else spec
        return {"apiVersion": "footplate.dev/v1alpha1", "kind": self.kind, "metadata": metadata, "spec": dict(spec)}


def sound(**changes: Any) -> Json:
    """A sound spec with these fields set, or taken out where they are UNSET."""
    spec = {"trainer": TRAINER} | changes
    return {name: value for name, value in spec.items() if value is not UNSET}


def data(**block: Any) -> Json:
    """A sound spec with an input and this block of data."""
    return sound(inputs=[{"name": "train", "uri": "s3://datasets/train/"}], data=block)


def split(**fields: Any) -> Json:
    """The same with this split."""
    return data(split=fields)


def column(**fields: Any) -> Json:
    """The same with checks of one column."""
    return data(checks={"columns": [{"name": "age", **fields}]})


def trainer(**changes: Any) -> Json:
    """A sound spec with these fields of its trainer."""
    return sound(trainer={key: value for key, value in (TRAINER | changes).items() if value is not UNSET})


def uri(address: str) -> Json:
    """A sound spec with one input."""
    return sound(inputs=[{"name": "train", "uri": address}])


def volume(**source: Any) -> Json:
    """A sound spec with one volume."""
    return sound(podTemplate={"volumes": [{"name": "data", **source}]})


def pods(**template: Any) -> Json:
    """A sound spec with this podTemplate."""
    return sound(podTemplate=template)


def resources(requests: Mapping[str, Any] | None = None, limits: Mapping[str, Any] | None = None) -> Json:
    """A sound spec with these resources."""
    given = {"requests": requests, "limits": limits}
    return sound(resources={name: amounts for name, amounts in given.items() if amounts is not None})


def mounts(*paths: str, **mount: Any) -> Json:
    """A sound spec with one volume, mounted at these paths."""
    volumes = [{"name": "data", "emptyDir": {}}]
    return pods(volumes=volumes, volumeMounts=[{"name": "data", "mountPath": path, **mount} for path in paths])


REQUIRED, PREFERRED = (f"{how}DuringSchedulingIgnoredDuringExecution" for how in ("required", "preferred"))
REQUIREMENT = f"spec.podTemplate.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0].matchExpressions[0]"


def needs_node(**requirement: Any) -> Json:
    """A sound spec whose pods need a node that meets this."""
    term = {"matchExpressions": [requirement]}
    return pods(affinity={"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [term]}}})


PRICES = {"currency": "EUR", "perHour": {"nvidia.com/gpu": "2.50"}}
AFFINITY = {
    "nodeAffinity": {
        REQUIRED: {"nodeSelectorTerms": [{
            "matchExpressions": [{"key": "a", "operator": "Gt", "values": ["3"]}],
            "matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["node-1"]}],
        }]},
        PREFERRED: [{"weight": 100, "preference": {"matchExpressions": [{"key": "b", "operator": "Exists"}]}}],
    },
    "podAffinity": {REQUIRED: [{"topologyKey": "zone", "labelSelector": {"matchExpressions": [
        {"key": "app", "operator": "In", "values": ["x"]}]}, "namespaces": ["other"]}]},
}  # fmt: skip


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
RESUME = "must be latest, run or never: a job goes on from its own checkpoints alone; to begin with the weights of"

URI = "spec.inputs[0].uri"
SOURCE = "spec.trainer.source"
ENV = "spec.trainer.env[0]"
MOUNT = "spec.podTemplate.volumeMounts[0]"

POLICY = {
    "namespaceSelector": {"matchLabels": {"example.com/tenant": "true"},
                          "matchExpressions": [{"key": "team", "operator": "In", "values": ["a", "b"]}]},
    "runtimes": {"required": True, "allowed": [{"name": "torch"}], "useNeedsRights": True},
    "imagePrefixes": ["registry.example.com/{namespace}/", "ghcr.io/team/image@sha256:" + DIGEST],
    "uriPrefixes": ["s3://models/{namespace}/"],
    "gitPrefixes": ["https://git.example.com/{namespace}/"],
    "endpointPrefixes": ["http://minio.minio.svc:9000"],
    "trackerPrefixes": ["http://mlflow.{namespace}.svc:5000"],
    "pip": {"indexes": ["https://pypi.example.com/simple/"]},
    "maxNodes": 8,
    "maxAccelerators": {"nvidia.com/gpu": 64},
    "secrets": ["s3", "team-*", "{namespace}.s3"],
    "serviceAccounts": [],
    "priorityClasses": ["*"],
    "runtimeClasses": ["nvidia"],
    "resourceClaims": ["single-*"],
    "schedulers": ["volcano"],
    "csiDrivers": ["secrets-store.csi.k8s.io"],
    "tolerations": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}, {"key": ""}, {}],
    "nodeLabels": ["gpu", "example.com/pool=shared", "metadata.name"],
    "foreignPods": True,
    "podAnnotations": ["example.com/*", "team"],
    "podLabels": ["*"],
    "historyLimit": 0,
    "dataPodAbove": "100Mi",
    "quota": {"accelerators": {"nvidia.com/gpu": 8, "amd.com/gpu": 0},
              "borrowing": {"limit": {"nvidia.com/gpu": 4}}, "loanSeconds": 0},
}  # fmt: skip

TAKEN = (
    Case("policy", POLICY, kind="TrainingPolicy"),
    Case("policy for all that says nothing", {"namespaceSelector": {}}, kind="TrainingPolicy"),
    Case("a gang of Kueue's", sound(scheduling={"gang": "kueue", "queueName": "team-vision"})),
    Case("a queue alone", sound(scheduling={"queueName": "team.vision"})),
    Case("no queue, said", sound(scheduling={"gang": "native", "queueName": ""})),
    Case("a queue of Volcano's", sound(scheduling={"gang": "volcano", "queueName": "vision"},
                                       podTemplate={"schedulerName": "volcano"})),
    Case("a scheduler with the plugin", sound(scheduling={"gang": "coscheduling"},
                                              podTemplate={"schedulerName": "gangs"})),
    Case("a queue that a runtime may have", sound(runtimeRef={"name": "torch"}, scheduling={"gang": "kueue"})),
    Case("marks of one's own", sound(scheduling={"gang": "none"},
                                     podTemplate={"labels": {"kueue.x-k8s.io/queue-name": "q"}})),
    Case("a priority of Kueue's", sound(scheduling={"queueName": "q"},
                                        podTemplate={"labels": {"kueue.x-k8s.io/priority-class": "high"}})),
    Case("smallest", sound()),
    Case("null is absent", sound(nodes=None, checkpoint=None, trainer=TRAINER | {"args": None})),
    Case("runtime stands in for everything", {"runtimeRef": {"name": "torch"}, "checkpoint": {"keep": 2}}),
    Case("entrypoint", trainer(recipe=UNSET, entrypoint="package.module:main")),
    Case("command", trainer(recipe=UNSET, command=["python", "-m", "mine"])),
    Case("longest name", sound(), name="a" * MAX_NAME_LENGTH),
    Case("most nodes", sound(nodes=10_000)),
    Case("preflight", {"preflight": {"devices": True, "network": True, "timeoutSeconds": 30, "floors": {
        "deviceMemory": "75Gi", "teraflops": 500.5, "gigabitsPerSecond": 1200}}}, kind="ClusterTrainingRuntime"),
    Case("claims", sound(processesPerNode=8, podTemplate={"resourceClaims": [
        {"name": "gpus", "resourceClaimTemplateName": "h100-8"}, {"name": "net", "resourceClaimName": "shared"}]})),
    Case("tracking", sound(output={"uri": "s3://abc/"}, tracking={"tensorboard": {}, "wandb": {}, "comet": {
        "workspace": "team-vision", "project": "sentiment", "secretRef": {"name": "comet"}}, "mlflow": {
        "uri": "http://mlflow.ml:5000/base", "experiment": "/Users/a@b.c/Größe", "secretRef": {"name": "mlflow"},
        "registerAs": "my model.v2@champion"}})),
    Case("tracking of which a runtime says the rest", {"runtimeRef": {"name": "torch"}, "tracking": {
        "mlflow": {"registerAs": "sentiment"}, "tensorboard": {}}}),
    Case("tracking by default", {"tracking": {"mlflow": {"uri": "https://mlflow.example.com"}}},
         kind="ClusterTrainingRuntime"),
    Case("elastic", sound(elastic=ELASTIC, nodes=2)),
    Case("elastic of one size", sound(elastic={"minNodes": 2, "maxNodes": 2}, nodes=2)),
    Case("processes auto", sound(processesPerNode="auto")),
    Case("processes number", sound(processesPerNode=8)),
    Case("quantities", resources(limits={"nvidia.com/gpu": 8, "cpu": "500m", "memory": "1.5Gi"})),
    Case("requests within limits", resources({"cpu": 1, "memory": "1Gi"}, {"cpu": "1000m", "memory": "2Gi"})),
    Case("accelerators in both", resources({"nvidia.com/gpu": 8}, {"nvidia.com/gpu": "8"})),
    Case("accelerators in requests, limits by a runtime",
         resources({"nvidia.com/gpu": 8}) | {"runtimeRef": {"name": "torch"}}),
    Case("hugepages", resources(limits={"hugepages-2Mi": "4Mi", "cpu": 1})),
    Case("ephemeral-storage", resources({"ephemeral-storage": "100Gi"})),
    Case("security context", pods(securityContext={"runAsUser": 1000, "runAsGroup": 0, "fsGroup": 0})),
    Case("mount below /tmp", mounts("/tmp/cache")),
    Case("arguments as long as may be", trainer(recipe=UNSET, command=["x"] * 16 + ["y" * 4096] * 15)),
    Case("tolerations", pods(tolerations=[{"operator": "Exists"}, {"key": "a", "value": "b"},
                                          {"key": "a", "effect": "NoExecute", "tolerationSeconds": 5}])),
    Case("affinity", pods(affinity=AFFINITY)),
    Case("kinds of pods' affinity", pods(affinity={"podAntiAffinity": {PREFERRED: [
        {"weight": 1, "podAffinityTerm": {"topologyKey": "zone", "labelSelector": {"matchLabels": {"a": "b"}}}}]}})),
    Case("null in an affinity", pods(affinity={"nodeAffinity": None})),
    Case("ttl of a record", sound(runPolicy={"ttlSecondsAfterFinished": 0, "ttlKeepsJob": True})),
    Case("budget", sound(runPolicy={"budget": {"acceleratorHours": 500}})),
    Case("prices", {"prices": PRICES}, kind="ClusterTrainingRuntime"),
    Case("resume run", sound(checkpoint={"uri": "s3://checkpoints/", "resume": "run"})),
    Case("paths of a policy", {"policy": {"allowed": ["trainer.image", "resources", "nodes", "resources.limits.cpu",
                                                      "trainer.hyperparameters.epochs"]}}, kind="TrainingRuntime"),
    Case("hyperparameters as arguments", trainer(
        recipe=UNSET, entrypoint="train.py", hyperparameters={"batch-size": 64}, hyperparameterArgs=True)),
    Case("hyperparameters of any shape", trainer(hyperparameters={"a": {"b": [1, "x", None, 1.5]}, "c": None})),
    Case("metric definitions", trainer(metricDefinitions=[
        {"name": "validation:f1", "regex": r"f1=([-+.0-9eE]+)"}, {"name": "step", "regex": r"^step (?P<n>\d+)[()]"}])),
    Case("split", split(train=0.7, validation=0.2, test=0.1, by="stratified", column="label", seed=7)),
    Case("split of the third's", split(train=0.333333, validation=0.333333, test=0.333334)),
    Case("split whole", split(train=1)),
    Case("split as given", sound(
        inputs=[{"name": name, "uri": f"s3://datasets/{name}/"} for name in ("train", "test")],
        data={"split": {"by": "given"}})),
    Case("split as a column says", split(by="given", column="part")),
    Case("data of a runtime's inputs", {"runtimeRef": {"name": "torch"}, "data": {"profile": True}}),
    Case("checks", column(type="integer", constraints={"minimum": 0, "maximum": 130, "required": True, "unique": False,
                                                       "enum": ["1", "2"]})),
    Case("checks of a text", column(constraints={"minLength": 2, "maxLength": 2, "pattern": "[A-Z]{2}"})),
    Case("data with much memory", data(profile=True, resources={"requests": {"cpu": 8, "memory": "64Gi"}})),
    Case("checks of a time", column(
        type="datetime", constraints={"earliest": "2020-01-01", "latest": "2026-12-31T23:59:59Z"})),
    Case("checks of all rows", data(checks={"minRows": 1000, "maxDuplicates": 0})),
    Case("bucket", uri("s3://datasets")),
    Case("key with dots", uri("gs://datasets/a..b/.c/d...")),
    Case("file", uri("file:///data/train/")),
    Case("azure", uri("az://container/ü/train.csv")),
    Case("source ConfigMap", trainer(source={"configMap": {"name": "code"}})),
    Case("source URI with digest", trainer(source={"uri": "s3://code/a.tar.gz", "sha256": DIGEST})),
    Case("working directory in the source", trainer(source={"configMap": {"name": "code"}}, workingDir="src")),
    Case("working directory of the image", trainer(workingDir="/app")),
    Case("source git", trainer(source={"git": {"url": "https://git.example.com/a.git", "ref": "main"}})),
    Case("resume never", sound(checkpoint={"uri": "s3://checkpoints/", "resume": "never"})),
    Case("resume run", sound(checkpoint={"uri": "s3://checkpoints/", "resume": "run"})),
    Case("weights of another job", sound(checkpoint={"uri": "s3://checkpoints/", "initFrom": "s3://models/other/1/"})),
    Case("those that fit", sound(checkpoint={
        "uri": "s3://checkpoints/", "initFrom": "s3://models/other/1/", "initStrict": False})),
    Case("every steps", sound(checkpoint={"uri": "s3://checkpoints/", "every": {"steps": 500}})),
    Case("env value", env(name="A", value="")),
    Case("env secret", env(name="A", valueFrom={"secretKeyRef": SECRET_KEY})),
    *(
        Case(f"authorities in a {kind}", sound(storage={"caBundle": {kind: {"name": "ca", "key": "ca.crt"}}}))
        for kind in ("configMapKeyRef", "secretKeyRef")
    ),
    Case("envFrom", trainer(envFrom=[{"secretRef": {"name": "s3"}}, {"configMapRef": {"name": "c"}, "prefix": "P_"}])),
    Case("patterns to exclude", sound(output={"uri": "s3://models/", "exclude": ["optimizer.pt", "checkpoint-*/"]})),
    Case("signed", sound(output={"uri": "s3://models/", "sign": {"secretKeyRef": {"name": "s", "key": "key.pem"}}})),
    Case("gates", sound(evaluation={"metrics": ["accuracy", "f1"], "slices": ["country"], "gates": [
        {"metric": "testF1.neutral", "atLeast": 0.6}, {"metric": "loss", "atMost": 1}]})),
    Case("formats", sound(output={"uri": "s3://models/", "formats": ["safetensors", "onnx"]})),
    Case("claim", volume(persistentVolumeClaim={"claimName": "data"})),
    Case("mount", mounts("/footplates")),
    Case("two mounts of one volume", mounts("/a", "/b")),
    Case("mount of a runtime's volume", {"runtimeRef": {"name": "torch"}, "podTemplate": {
        "volumeMounts": [{"name": "theirs", "mountPath": "/data"}]}}),
    Case("labels", sound(podTemplate={"labels": {"team": "vision", "example.com/a": ""}})),
    Case("cluster runtime's host path", {"podTemplate": {"volumes": [{"name": "d", "hostPath": HOST_PATH}]}},
         kind="ClusterTrainingRuntime"),
    Case("runtime", {"trainer": {"image": IMAGE}, "policy": {"allowed": [], "uriPrefixes": ["s3://m/{namespace}/"]}},
         kind="TrainingRuntime"),
)  # fmt: skip

REFUSED = (
    *(
        Case(f"a gate with {name}", sound(evaluation={"gates": [{"metric": "testAccuracy", **bounds}]}),
             "a gate has one bound: set either atLeast or atMost", "spec.evaluation.gates[0]")
        for name, bounds in {"no bound": {}, "two bounds": {"atLeast": 0.5, "atMost": 0.9}}.items()
    ),
    Case("no such metric", sound(evaluation={"metrics": ["f1_macro"]}), "must be", "spec.evaluation.metrics[0]",
         server="Unsupported value"),
    Case("two budgets", sound(runPolicy={"budget": {"acceleratorHours": 5, "cost": 5}}),
         "set exactly one of acceleratorHours and cost", "spec.runPolicy.budget"),
    Case("no hours", sound(runPolicy={"budget": {"acceleratorHours": 0}}), "must be at least 1",
         "spec.runPolicy.budget.acceleratorHours", server="should be greater than or equal to 1"),
    Case("prices of a team", {"prices": PRICES}, "spec.prices are the platform's to say", "spec.prices",
         kind="TrainingRuntime"),
    Case("no such gang", sound(scheduling={"gang": "slurm"}), "must be", "spec.scheduling.gang",
         server="Unsupported value"),
    Case("a queue's bad name", sound(scheduling={"queueName": "Team"}), "must be lower-case",
         "spec.scheduling.queueName", server="should match"),
    Case("kueue without a queue", sound(scheduling={"gang": "kueue"}), "gang: kueue needs scheduling.queueName",
         "spec.scheduling.queueName"),
    *(
        Case(f"a queue of {gang}", sound(scheduling={"gang": gang, "queueName": "q"}), "queueName goes with gang",
             "spec.scheduling.queueName")
        for gang in ("none", "coscheduling", "native")
    ),
    *(
        Case(f"{gang} by {name}", sound(scheduling={"gang": gang}, podTemplate={"schedulerName": name}),
             "schedulerName contradicts scheduling.gang", "spec.podTemplate.schedulerName")
        for gang, name in (("volcano", "bin-packing"), ("coscheduling", "volcano"), ("native", "volcano"))
    ),
    *(
        Case(f"{next(iter(marks))} and {next(iter(scheduling))}",
             sound(scheduling=scheduling, podTemplate={field: marks}), "are the operator's where", "spec.podTemplate")
        for scheduling, field, marks in (
            ({"queueName": "q"}, "labels", {"kueue.x-k8s.io/queue-name": "other"}),
            ({"gang": "coscheduling"}, "labels", {"scheduling.x-k8s.io/pod-group": "mine"}),
            ({"gang": "volcano"}, "annotations", {"scheduling.k8s.io/group-name": "mine"}),
        )
    ),
    Case("unknown field", sound(nodez=2), "unknown field; did you mean nodes?", "spec.nodez",
         server='unknown field "spec.nodez"'),
    Case("requirements", trainer(requirements=[
        "torch", "a[b, c] ~= 1.0, !=1.1", "a==1.*; python_version < '3.12'", "a @ https://example.com/a.whl",
        "a==1 --hash=sha256:00", "./a.whl", "-r more.txt", "--no-index", "git+https://example.com/a.git@v1",
        "${FOOTPLATE_INPUT_DIR}/more/a.whl"])),
    Case("no requirements", trainer(requirements=[])),
    Case("runtime with an index", {"policy": {"pip": {"indexes": ["https://pypi.example.com/simple/"]}}},
         kind="ClusterTrainingRuntime"),
    Case("runtime without requirements", {"policy": {"pip": {"install": "never", "indexes": []}}},
         kind="TrainingRuntime"),
    Case("index where none is asked",
         {"policy": {"pip": {"install": "fromFiles", "indexes": ["https://pypi.example.com/simple/"]}}},
         "indexes go with install: fromIndex", "spec.policy.pip.indexes", kind="TrainingRuntime"),
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
    *(
        Case(f"no quantity: {text}", resources(limits={"cpu": text}), "must be a Kubernetes quantity such as 500m",
             "spec.resources.limits", server=server)
        for text, server in (("four", ""), ("16GB", ""), ("1e9Ki", ""), (-1, ""), ("", ""), (1.5, "must be of type"))
    ),
    *(
        Case(f"resource {name}", resources(limits={name: 1}), "a resource is cpu, memory, ephemeral-storage",
             "spec.resources.limits")
        for name in ("gpu", "cpus", "nvidia-gpu", "kubernetes.io/batteries")
    ),
    *(
        Case(f"{name}: {size}", resources({name: size}), "are in bytes, at least 1Mi; 512m is half a byte",
             "spec.resources.requests")
        for name, size in (("memory", "512m"), ("memory", 16), ("memory", 0), ("ephemeral-storage", "100k"))
    ),
    *(
        Case(f"{size} of a GPU", resources(limits={"nvidia.com/gpu": size}), "come in whole numbers; write 1",
             "spec.resources.limits")
        for size in ("0.5", "500m", "8.0", "1e1")
    ),
    Case("requests over limits", resources({"memory": "4Gi"}, {"memory": "2Gi"}),
         "requests must not be more than limits", "spec.resources"),
    Case("requests over limits in other units", resources({"cpu": "1001m"}, {"cpu": 1}),
         "requests must not be more than limits", "spec.resources"),
    Case("fewer GPUs asked for than used", resources({"nvidia.com/gpu": 1}, {"nvidia.com/gpu": 2}),
         "requests and limits must be the same for hugepages, accelerators", "spec.resources"),
    Case("GPUs in requests", resources({"nvidia.com/gpu": 1}), "belong into limits; requests alone don't do",
         "spec.resources.requests"),
    Case("hugepages alone", resources(limits={"hugepages-2Mi": "4Mi"}), "hugepages go with cpu or memory",
         "spec.resources"),
    Case("bytes of an input", sound(inputs=[{"name": "a", "uri": "s3://abc/", "maxSize": "512m"}]),
         "is in bytes, at least 1Mi: 512m is half a byte", "spec.inputs[0].maxSize"),
    *(
        Case(f"bytes of {name}", pods(**fields), "is in bytes, at least 1Mi: 512m is half a byte", path)
        for name, fields, path in (
            ("shared memory", {"sharedMemory": "512m"}, "spec.podTemplate.sharedMemory"),
            ("a folder", {"volumes": [{"name": "a", "emptyDir": {"sizeLimit": 10}}]},
             "spec.podTemplate.volumes[0].emptyDir.sizeLimit"),
        )
    ),
    *(
        Case(f"{field}: 0", sound(runPolicy={field: 0}), "must be at least 1", f"spec.runPolicy.{field}",
             server="should be greater than or equal to 1")
        for field in ("activeDeadlineSeconds", "queueDeadlineSeconds", "schedulingTimeoutSeconds", "hangTimeoutSeconds",
                      "terminationGracePeriodSeconds")
    ),
    Case("root", pods(securityContext={"runAsUser": 0}), "must not be 0: the pods keep the Pod Security Standard",
         "spec.podTemplate.securityContext.runAsUser"),
    Case("no user", pods(securityContext={"runAsUser": -1}), "must be at least 0",
         "spec.podTemplate.securityContext.runAsUser", server="should be greater than or equal to 0"),
    Case("two metric definitions of one name", trainer(metricDefinitions=[{"name": "a", "regex": "(x)"}] * 2),
         "comes twice", "spec.trainer.metricDefinitions", server="Duplicate value"),
    Case("giant text among the hyperparameters", trainer(hyperparameters={"a": "x" * 70_000}),
         "hyperparameters are more than 65,536 bytes of JSON", "spec.trainer.hyperparameters",
         server="Too long: may not be more than 65536"),
    Case("a recipe's hyperparameters as arguments", trainer(hyperparameterArgs=True),
         "hyperparameterArgs goes with entrypoint or command, not with recipe",
         "spec.trainer.hyperparameterArgs"),
    Case("too many hyperparameters", trainer(hyperparameters={f"a{n}": 1 for n in range(257)}),
         "must have at most 256 items", "spec.trainer.hyperparameters", server="must have at most 256 items"),
    Case("giant arguments", trainer(recipe=UNSET, command=["x"], args=["y" * 4096] * 16),
         "command and args are more than 65,536 bytes together", "spec.trainer"),
    Case("giant arguments, in bytes", trainer(recipe=UNSET, command=["x"], args=["ü" * 4096] * 8),
         "command and args are more than 65,536 bytes together", "spec.trainer"),
    Case("giant environment", trainer(env=[{"name": f"A{n}", "value": "x" * 32_768} for n in range(2)]),
         "env is more than 65,536 bytes", "spec.trainer.env"),
    Case("giant annotations", pods(annotations={f"a{n}": "x" * 4096 for n in range(16)}),
         "annotations are more than 65,536 bytes together", "spec.podTemplate.annotations"),
    Case("same variable twice", trainer(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]),
         "name A comes twice", "spec.trainer.env", server='Duplicate value: {"name":"A"}'),
    *(
        Case(f"claim of {len(source)} kinds", pods(resourceClaims=[{"name": "gpus", **source}]),
             "set exactly one of resourceClaimName and resourceClaimTemplateName",
             "spec.podTemplate.resourceClaims[0]")
        for source in ({}, {"resourceClaimName": "a", "resourceClaimTemplateName": "b"})
    ),
    *(
        Case(f"preflight: {words}", {"preflight": preflight}, words, f"spec.preflight{path}", kind="TrainingRuntime")
        for words, path, preflight in (
            ("checks nothing: set devices or network to true", "", {}),
            ("checks nothing: set devices or network to true", "", {"devices": False, "timeoutSeconds": 30}),
            ("floors.deviceMemory and floors.teraflops go with devices: true", ".floors",
             {"network": True, "floors": {"teraflops": 1}}),
            ("floors.gigabitsPerSecond goes with network: true", ".floors.gigabitsPerSecond",
             {"devices": True, "floors": {"gigabitsPerSecond": 1}}),
        )
    ),
    Case("preflight of a second", {"preflight": {"devices": True, "timeoutSeconds": 1}}, "must be at least 5",
         "spec.preflight.timeoutSeconds", kind="ClusterTrainingRuntime", server="should be greater than or equal to 5"),
    Case("preflight of a job", sound(preflight={"devices": True}), "unknown field", "spec.preflight",
         server='unknown field "spec.preflight"'),
    Case("same claim twice", pods(resourceClaims=[{"name": "a", "resourceClaimName": "b"}] * 2), "name a comes twice",
         "spec.podTemplate.resourceClaims", server='Duplicate value: {"name":"a"}'),
    Case("claim's name", pods(resourceClaims=[{"name": "a b", "resourceClaimName": "b"}]), "must be lower-case letters",
         "spec.podTemplate.resourceClaims[0].name", server="should match"),
    Case("same mount path twice", mounts("/a", "/a"), "mountPath /a comes twice", "spec.podTemplate.volumeMounts",
         server='Duplicate value: {"mountPath":"/a"}'),
    Case("mount of no volume", pods(volumeMounts=[{"name": "data", "mountPath": "/a"}]),
         "each of volumeMounts must name one of podTemplate.volumes", "spec.podTemplate.volumeMounts"),
    Case("mount of another volume", pods(volumes=[{"name": "dat", "emptyDir": {}}],
                                         volumeMounts=[{"name": "data", "mountPath": "/a"}]),
         "each of volumeMounts must name one of podTemplate.volumes", "spec.podTemplate.volumeMounts"),
    *(
        Case(f"folder {path}", mounts("/a", subPath=path), "must be a relative path without '..'",
             f"{MOUNT}.subPath")
        for path in ("/abs", "../up", "a/..", "a/../b")
    ),
    Case("file outside of its volume", volume(configMap={"name": "c", "items": [{"key": "k", "path": "../x"}]}),
         "must be a relative path without '..'", "spec.podTemplate.volumes[0].configMap.items[0].path"),
    *(
        Case(f"toleration: {words}", pods(tolerations=[toleration]), words, f"spec.podTemplate.tolerations[0]{path}")
        for words, path, toleration in (
            ("the operator Exists takes no value", ".value", {"key": "a", "operator": "Exists", "value": "x"}),
            ("without a key, which tolerates all taints, the operator must be Exists", ".operator", {"value": "x"}),
            ("tolerationSeconds goes with the effect NoExecute", ".tolerationSeconds",
             {"key": "a", "effect": "NoSchedule", "tolerationSeconds": 5}),
        )
    ),
    Case("taint key", pods(tolerations=[{"key": "a b", "operator": "Exists"}]), "must be a name such as team",
         "spec.podTemplate.tolerations[0].key"),
    Case("affinity's typo", pods(affinity={"nodeAfinity": {}}), "unknown field; did you mean nodeAffinity?",
         "spec.podTemplate.affinity.nodeAfinity", server='unknown field "spec.podTemplate.affinity.nodeAfinity"'),
    Case("affinity of another shape", pods(affinity={"nodeAffinity": {REQUIRED: []}}), "must be an object, not a list",
         f"spec.podTemplate.affinity.nodeAffinity.{REQUIRED}", server='must be of type object: "array"'),
    *(
        Case(f"affinity: {words}", needs_node(**requirement), words, f"{REQUIREMENT}{path}", server=server)
        for words, path, requirement, server in (
            ("the operators In and NotIn need values", ".values", {"key": "a", "operator": "In"}, ""),
            ("the operators Exists and DoesNotExist take no values", ".values",
             {"key": "a", "operator": "Exists", "values": ["x"]}, ""),
            ("the operators Gt and Lt need one value", ".values", {"key": "a", "operator": "Gt", "values": ["x"]}, ""),
            ("must be In, NotIn, Exists, DoesNotExist, Gt or Lt", ".operator",
             {"key": "a", "operator": "Is", "values": ["x"]}, "Unsupported value"),
            ("must be a name such as team", ".key", {"key": "a b", "operator": "Exists"}, ""),
        )
    ),
    Case("affinity without terms", pods(affinity={"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": []}}}),
         "must have at least 1 item", "nodeSelectorTerms", server="should have at least 1 items"),
    Case("weight", pods(affinity={"nodeAffinity": {PREFERRED: [{"weight": 101, "preference": {}}]}}),
         "must be at most 100", "weight", server="should be less than or equal to 100"),
    *(
        Case(f"path of a policy: {path}", {"policy": {"allowed": [path]}},
             "is no field of a job's spec, so it would allow nothing", "spec.policy.allowed[0]",
             kind="ClusterTrainingRuntime")
        for path in ("trainer.imgae", "resource", "spec.nodes", "nodes.x", "", "trainer.", "Trainer")
    ),
    Case("empty image prefix", {"policy": {"imagePrefixes": [""]}}, "must have at least 1 character",
         "spec.policy.imagePrefixes[0]", kind="TrainingRuntime", server="should be at least 1 chars long"),
    Case("digest", trainer(source={"uri": "s3://code/a.tar", "sha256": "B" * 64}),
         "must be 64 lower-case hexadecimal digits", f"{SOURCE}.sha256"),
    Case("recipe", trainer(recipe="image-clasification"),
          "must be image-classification, tabular-classification, tabular-regression, text-classification, "
          "language-model or evaluate; "
          "did you mean image-classification?",
         "spec.trainer.recipe", server="Unsupported value"),
    *(
        Case(f"pattern of {path}", spec, words, path, kind=kind)
        for words, path, spec, kind in (
            ("must be an image's name without blanks", "spec.trainer.image", trainer(image="a b"), "TrainingJob"),
            ("must be a path without ':' and '$'", "spec.trainer.workingDir",
             trainer(workingDir="$(HOME)"), "TrainingJob"),
            ("must be a script, module or function", "spec.trainer.entrypoint",
             trainer(recipe=UNSET, entrypoint="./a"), "TrainingJob"),
            ("must be a line of a requirements file", "spec.trainer.requirements[0]",
             trainer(requirements=["torch=2.13"]), "TrainingJob"),
            ("must be a line of a requirements file", "spec.trainer.requirements[1]",
             trainer(requirements=["a", "# why"]), "TrainingJob"),
            ("must be an http:// or https:// address", "spec.policy.pip.indexes[0]",
             {"policy": {"pip": {"indexes": ["https://user:word@pypi.example.com/"]}}}, "TrainingRuntime"),
            ("must be a commit, tag or branch", f"{SOURCE}.git.ref",
             trainer(source={"git": {"url": "https://git.example.com/a.git", "ref": "-x"}}), "TrainingJob"),
            ("must be an https:// address", f"{SOURCE}.git.url",
             trainer(source={"git": {"url": "git@example.com:a.git", "ref": "x"}}), "TrainingJob"),
            ("must be an http:// or https:// address", "spec.storage.endpoint",
             sound(storage={"endpoint": "minio:9000"}), "TrainingJob"),
            ("credentials belong into the Secret of secretRef", "spec.tracking.mlflow.uri",
             sound(tracking={"mlflow": {"uri": "https://user:word@mlflow.example.com"}}), "TrainingJob"),
            ("credentials belong into the Secret of secretRef", "spec.tracking.mlflow.uri",
             sound(tracking={"mlflow": {"uri": "https://mlflow.example.com/?token=word"}}), "TrainingJob"),
            ("must have no control characters", "spec.tracking.mlflow.experiment",
             sound(tracking={"mlflow": {"uri": "http://a", "experiment": "a\nb"}}), "TrainingJob"),
            ("must be a name such as sentiment, or one with an alias", "spec.tracking.mlflow.registerAs",
             sound(tracking={"mlflow": {"uri": "http://a", "registerAs": "models:/a"}}), "TrainingJob"),
            ("must be letters, digits, '_', '-' or '.', and not begin", "spec.trainer.env[0].name",
             env(name="1A", value=""), "TrainingJob"),
            ("must be lower-case letters, digits and '-' or '.'", "spec.storage.secretRef.name",
             sound(storage={"secretRef": {"name": "S3"}}), "TrainingJob"),
            ("must be lower-case letters, digits and '-', and begin and end", "spec.podTemplate.volumes[0].name",
             pods(volumes=[{"name": "A", "emptyDir": {}}]), "TrainingJob"),
            ("must be lower-case letters, digits and '-', and begin with a letter", "spec.inputs[0].name",
             sound(inputs=[{"name": "1", "uri": "s3://abc/"}]), "TrainingJob"),
            ("must be letters, digits, '-', '_' or '.'", "spec.podTemplate.labels", pods(labels={"a": "b c"}),
             "TrainingJob"),
            ("must be an absolute path without ':'", f"{MOUNT}.mountPath", mounts("a"), "TrainingJob"),
            ("must begin with s3://, gs://, az:// or file://", "spec.policy.uriPrefixes[0]",
             {"policy": {"uriPrefixes": ["http://x"]}}, "TrainingRuntime"),
            ("must be a name such as team", "spec.policy.requiredLabels[0]", {"policy": {"requiredLabels": ["a b"]}},
             "TrainingRuntime"),
        )
    ),
    Case("version of a table", sound(inputs=[{"name": "train", "uri": "s3://lake/tweets/", "version": 0}])),
    Case("version of an object", sound(inputs=[{"name": "train", "uri": "s3://lake/tweets", "version": 3}]),
         "version is for a Delta Lake table, which is a folder", "spec.inputs[0].version"),
    Case("missing URI", sound(inputs=[{"name": "train"}]), "is required", URI, server="Required value"),
    Case("same input twice", sound(inputs=[{"name": "a", "uri": "s3://abc/"}, {"name": "a", "uri": "s3://abd/"}]),
         "name a comes twice", "spec.inputs", server='Duplicate value: {"name":"a"}'),
    Case("name of 41", sound(), BAD_NAME, "metadata.name", name="a" * (MAX_NAME_LENGTH + 1)),
    Case("name with dots", sound(), BAD_NAME, "metadata.name", name="a.b"),
    Case("name that begins with a digit", sound(), BAD_NAME, "metadata.name", name="1a"),
    Case("nothing to run", trainer(recipe=UNSET), NO_ENTRY),
    Case("two things to run", trainer(entrypoint="train.py"), TWO_ENTRIES, "spec.trainer"),
    Case("three things to run", trainer(entrypoint="train.py", command=["a"]), TWO_ENTRIES, "spec.trainer"),
    Case("no image", trainer(image=UNSET), "trainer.image is required"),
    Case("no trainer", {}, "trainer.image is required"),
    Case("MLflow without address", sound(tracking={"mlflow": {}}), "tracking.mlflow.uri is required"),
    *(
        Case(f"{tracker} without a place", sound(tracking={tracker: {}}), "need output or checkpoint", "spec.tracking")
        for tracker in ("tensorboard", "wandb", "comet")
    ),
    *(
        Case(f"alias {alias}", sound(tracking={"mlflow": {"uri": "http://a", "registerAs": f"sentiment@{alias}"}}),
             "MLflow keeps the aliases latest and v1", "spec.tracking.mlflow.registerAs")
        for alias in ("latest", "Latest", "v2")
    ),
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
        Case(f"resume: {word}", sound(checkpoint={"uri": "s3://checkpoints/", "resume": word}),
             RESUME, "spec.checkpoint.resume")
        for word in ("lates", "s3://checkpoints/other/step-1/")
    ),
    Case("initStrict alone", sound(checkpoint={"uri": "s3://checkpoints/", "initStrict": False}),
         "initStrict goes with initFrom", "spec.checkpoint"),
    *(
        Case(f"initFrom: {problem}", sound(checkpoint={"uri": "s3://checkpoints/", "initFrom": address}),
             problem, "spec.checkpoint.initFrom")
        for address, problem in (
            ("models/other", BAD_SCHEME),
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
    Case("source in a folder", trainer(source={"uri": "s3://code/train/"}),
         "uri names a folder; name one archive", SOURCE),
    Case("digest of a ConfigMap", trainer(source={"configMap": {"name": "code"}, "sha256": DIGEST}),
         "sha256 goes with uri", SOURCE),
    Case("env value and source", env(name="A", value="1", valueFrom={"secretKeyRef": SECRET_KEY}),
         "set value or valueFrom, not both", ENV),
    Case("env of the operator", env(name="FOOTPLATE_RANK", value="1"), "are set by the operator; choose another", ENV),
    Case("env of the rendezvous", env(name="MASTER_ADDR", value="1"), "are set by the operator; choose another", ENV),
    Case("env of a rank", env(name="WORLD_SIZE", value="1"), "are set by the operator; choose another", ENV),
    Case("env from nowhere", env(name="A", valueFrom={}), "set exactly one of secretKeyRef", f"{ENV}.valueFrom"),
    Case("authorities nowhere", sound(storage={"caBundle": {}}), "set exactly one of configMapKeyRef and secretKeyRef",
         "spec.storage.caBundle"),
    Case("authorities in two places", sound(storage={"caBundle": {
        "configMapKeyRef": {"name": "ca", "key": "a"}, "secretKeyRef": {"name": "ca", "key": "a"}}}),
         "set exactly one of configMapKeyRef and secretKeyRef", "spec.storage.caBundle"),
    Case("authorities without a key", sound(storage={"caBundle": {"secretKeyRef": {"name": "ca"}}}),
         "is required", "spec.storage.caBundle.secretKeyRef.key", server="Required value"),
    Case("authorities that may be missing", sound(storage={"caBundle": {
        "secretKeyRef": {"name": "ca", "key": "a", "optional": True}}}), "optional",
         "spec.storage.caBundle.secretKeyRef.optional"),
    Case("envFrom nowhere", trainer(envFrom=[{"prefix": "A"}]), "set exactly one of secretRef and configMapRef",
         "spec.trainer.envFrom[0]"),
    Case("nothing to exclude by", sound(output={"uri": "s3://models/", "exclude": [""]}),
         "must be a name such as optimizer.pt", "spec.output.exclude[0]"),
    Case("absolute path to exclude", sound(output={"uri": "s3://models/", "exclude": ["/optimizer.pt"]}),
         "must be a name such as optimizer.pt, or a path in the output folder such as logs/*.tmp",
         "spec.output.exclude[0]"),
    Case("data of nothing", sound(data={"profile": True}), "data prepares what inputs bring", "spec.data"),
    Case("data by a GPU", data(profile=True, resources={"limits": {"nvidia.com/gpu": 1}}), "has no accelerators",
         "spec.data"),
    Case("data by a GPU that is requested", data(profile=True, resources={"requests": {"nvidia.com/gpu": 1}}),
         "has no accelerators", "spec.data"),
    Case("data that does nothing", data(profile=False), "does nothing: set split", "spec.data"),
    Case("checks of nothing", data(checks={}), "checks nothing: set minRows", "spec.data.checks"),
    Case("split of parts that are brought", sound(
        inputs=[{"name": name, "uri": f"s3://datasets/{name}/"} for name in ("train", "test")],
        data={"split": {"train": 0.9, "test": 0.1}}), "an input named validation or test", "spec.data.split"),
    Case("split that doesn't add up", split(train=0.7, validation=0.2, test=0.2), "must add up to 1",
         "spec.data.split"),
    Case("split that says no share", split(by="stratified", column="label"), "must add up to 1", "spec.data.split"),
    Case("split without training data", split(validation=0.5, test=0.5), "must add up to 1", "spec.data.split"),
    Case("split given, with shares", split(by="given", train=1), "takes the parts as they are", "spec.data.split"),
    Case("split by no column", split(by="group", train=1), "go by a column", "spec.data.split"),
    Case("random split by a column", split(train=1, column="label"), "goes by no column", "spec.data.split"),
    Case("minimum above maximum", column(constraints={"minimum": 2, "maximum": 1}),
         "minimum must not be greater than maximum", "spec.data.checks.columns[0].constraints"),
    Case("minLength above maxLength", column(constraints={"minLength": 2, "maxLength": 1}),
         "minLength must not be greater than maxLength", "spec.data.checks.columns[0].constraints"),
    Case("earliest after latest", column(constraints={"earliest": "2026-02-01T00:00:00Z", "latest": "2026-01-31"}),
         "earliest must not be later than latest", "spec.data.checks.columns[0].constraints"),
    Case("times' words for numbers", column(type="integer", constraints={"earliest": "2026-02-01"}),
         "earliest, latest are for columns of type date or datetime", "spec.data.checks.columns[0]"),
    Case("numbers' words for texts", column(type="string", constraints={"minimum": 2}),
         "minimum, maximum are for columns of type integer or number", "spec.data.checks.columns[0]"),
    Case("texts' words for numbers", column(type="number", constraints={"pattern": "a"}),
         "minLength, maxLength, pattern are for columns of type string", "spec.data.checks.columns[0]"),
    Case("enum of nothing", column(constraints={"enum": []}), "must have at least 1 item",
         "spec.data.checks.columns[0].constraints.enum", server="should have at least 1 items"),
    Case("column checked twice", data(checks={"columns": [{"name": "age"}, {"name": "age"}]}), "comes twice",
         "spec.data.checks.columns", server="Duplicate value"),
    Case("signed with nothing", sound(output={"uri": "s3://models/", "sign": {}}), "is required",
         "spec.output.sign.secretKeyRef", server="Required value"),
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
    Case("policy without namespaces", {"maxNodes": 4}, "is required", "spec.namespaceSelector", kind="TrainingPolicy",
         server="Required value"),
    *(
        Case(f"policy's {field}: {value}", {"namespaceSelector": {}, field: [value]}, problem, f"spec.{field}[0]",
             kind="TrainingPolicy")
        for field, value, problem in (
            ("secrets", "{namespace}-*", "a name with {namespace} must be whole"),
            ("secrets", "a*b", "must be a name such as s3"),
            ("priorityClasses", "High", "must be a name such as s3"),
            ("imagePrefixes", "Registry.example.com/", "must be a registry, a repository or an image in lower case"),
            ("gitPrefixes", "http://git.example.com/", "must begin with https://"),
            ("gitPrefixes", "https://me@git.example.com/", "must begin with https://"),
            ("trackerPrefixes", "https://me@mlflow.example.com", "must begin with http:// or https://"),
            ("endpointPrefixes", "s3.example.com", "must begin with http:// or https://"),
            ("uriPrefixes", "models/", "must begin with s3://"),
            ("podAnnotations", "example.com/*/x", "must be a key such as example.com/team"),
            ("nodeLabels", "gpu=*", "must be a node's label such as gpu"),
        )
    ),
    *(
        Case(f"quota {name}", {"namespaceSelector": {}, "quota": quota}, problem, f"spec.quota{path}",
             kind="TrainingPolicy", server=server)
        for name, quota, problem, path, server in (
            ("without accelerators", {}, "is required", ".accelerators", "Required value"),
            ("of nothing", {"accelerators": {}}, "must have at least 1 item", ".accelerators",
             "should have at least 1 properties"),
            ("below zero", {"accelerators": {"nvidia.com/gpu": -1}}, "must be at least 0", ".accelerators",
             "should be greater than or equal to 0"),
            ("that lends what it doesn't name",
             {"accelerators": {"nvidia.com/gpu": 8}, "borrowing": {"limit": {"nvidia.com/gpus": 1}}},
             "borrowing.limit must name resources of accelerators", ".borrowing.limit", ""),
            ("whose loans last too long", {"accelerators": {"nvidia.com/gpu": 8}, "loanSeconds": 100_000},
             "must be at most 86,400", ".loanSeconds", "should be less than or equal to 86400"),
        )
    ),
    Case("policy's accelerators", {"namespaceSelector": {}, "maxAccelerators": {"nvidia.com/gpu": -1}},
         "must be at least 0", "spec.maxAccelerators", kind="TrainingPolicy",
         server="should be greater than or equal to 0"),
    *(
        Case(f"mount at {path}", mounts(path), "mountPath must not be /, /tmp, /dev or /dev/shm", MOUNT)
        for path in ("/", "//", "/footplate", "/footplate/run", "//footplate/", "/a/../footplate", "/./tmp", "/tmp",
                     "/tmp/", "/dev", "/dev/shm", "/dev//shm/")
    ),
)  # fmt: skip

FIXED: Mapping[str, tuple[Any, Any]] = {
    "runtimeRef": ({"name": "a"}, {"name": "b"}),
    "trainer": (TRAINER, TRAINER | {"args": ["--depth"]}),
    "processesPerNode": (2, 1),
    "elastic": (ELASTIC, {"minNodes": 2, "maxNodes": 5}),
    "resources": ({"limits": {"cpu": "1"}}, {"limits": {"cpu": "2"}}),
    "inputs": ([{"name": "a", "uri": "s3://abc/"}], [{"name": "b", "uri": "s3://abc/"}]),
    "data": ({"profile": True}, {"checks": {"minRows": 1}}),
    "checkpoint": ({"uri": "s3://abc/"}, {"uri": "s3://abc/", "keep": 4}),
    "output": ({"uri": "s3://abc/"}, {"uri": "s3://abd/"}),
    "evaluation": ({"slices": ["country"]}, {"slices": ["age"]}),
    "tracking": ({"mlflow": {"uri": "http://a"}}, {"mlflow": {"uri": "http://a", "registerAs": "b"}}),
    "storage": ({"secretRef": {"name": "a"}}, {"endpoint": "http://s3.example.com"}),
    "podTemplate": ({"labels": {"a": "1"}}, {"labels": {"a": "1", "b": "2"}}),
}
"""Two values for each field that never changes."""

BLOCKS: Mapping[str, Mapping[str, tuple[Any, Any]]] = {
    "runPolicy": {
        "restartBackoffSeconds": (20, 21),
        "queueDeadlineSeconds": (10, 11),
        "schedulingTimeoutSeconds": (10, 11),
        "hangTimeoutSeconds": (10, 11),
        "terminationGracePeriodSeconds": (10, 11),
        "cleanPods": ("onSuccess", "always"),
    },
    "scheduling": {"topologyKey": ("a", "b"), "gang": ("none", "native"), "queueName": ("a", "b")},
}
"""The same for the fixed fields of blocks that have mutable ones."""

MUTABLE: Mapping[str, Mapping[str, tuple[Any, Any]]] = {
    "runPolicy": {
        "suspend": (False, True),
        "restartNonce": ("1", "2"),
        "activeDeadlineSeconds": (10, 20),
        "ttlSecondsAfterFinished": (10, 20),
        "ttlKeepsJob": (False, True),
        "maxRestarts": (3, 4),
        "maxDisruptions": (50, 51),
        "budget": ({"acceleratorHours": 5}, {"cost": 7}),
    },
    "scheduling": {"priorityClassName": ("a", "b")},
}


def _change(id: str, old: Json, new: Json, problem: str = "", path: str = "spec") -> Case:  # noqa: A002
    return Case(id, new, problem, path, old=old)


def _steps(first: Any, second: Any) -> tuple[tuple[str, Any, Any], ...]:
    return (("changed", first, second), ("added", UNSET, first), ("removed", first, UNSET))


ON_RUNTIME = sound(runtimeRef={"name": "torch"})
CHANNEL = {"name": "a", "uri": "s3://abc/"}
_NEEDED: Mapping[str, Any] = {"elastic": {"nodes": 2}, "data": {"inputs": [CHANNEL]}}
"""What else a spec with this field must have."""

CHANGES_REFUSED = (
    *(
        _change(f"{field} {step}", sound(**_NEEDED.get(field, {}), **{field: old}),
                sound(**_NEEDED.get(field, {}), **{field: new}), f"{UNCHANGEABLE}: {field}", f"spec.{field}")
        for field, values in FIXED.items()
        for step, old, new in (_steps(*values) if field != "trainer" else _steps(*values)[:1])
    ),
    *(
        _change(f"{block}.{field} {step}", sound(**{block: {} if old is UNSET else {field: old}}),
                sound(**{block: {} if new is UNSET else {field: new}}), f"{UNCHANGEABLE}: {block}.{field} ",
                f"spec.{block}.{field}")
        for block, fields in BLOCKS.items()
        for field, values in fields.items()
        for step, old, new in _steps(*values)
    ),
    _change("block with a fixed field added", sound(), sound(runPolicy={"cleanPods": "always"}), UNCHANGEABLE,
            "spec.runPolicy.cleanPods"),
    _change("block with a fixed field removed", sound(runPolicy={"cleanPods": "always"}), sound(), UNCHANGEABLE,
            "spec.runPolicy.cleanPods"),
    _change("default written out beside a runtime", ON_RUNTIME, ON_RUNTIME | {"runPolicy": {"cleanPods": "never"}},
            UNCHANGEABLE, "spec.runPolicy.cleanPods"),
    _change("empty list beside a runtime", ON_RUNTIME, ON_RUNTIME | {"podTemplate": {"tolerations": []}},
            UNCHANGEABLE, "spec.podTemplate.tolerations"),
    *(
        _change(f"input {way}", sound(inputs=old), sound(inputs=new), f"{UNCHANGEABLE}: inputs ", "spec.inputs")
        for way, old, new in (
            ("renamed", [CHANNEL], [CHANNEL | {"name": "b"}]),
            ("moved", [CHANNEL], [CHANNEL | {"uri": "s3://abd/"}]),
            ("added", [CHANNEL], [CHANNEL, CHANNEL | {"name": "b"}]),
            ("removed", [CHANNEL, CHANNEL | {"name": "b"}], [CHANNEL]),
            ("with a Secret", [CHANNEL], [CHANNEL | {"secretRef": {"name": "s3"}}]),
            ("with another Secret", [CHANNEL | {"secretRef": {"name": "a"}}],
             [CHANNEL | {"secretRef": {"name": "b"}}]),
            ("without its digest", [CHANNEL | {"sha256": "0" * 64}], [CHANNEL]),
            ("with another bound", [CHANNEL | {"maxSize": "1Gi"}], [CHANNEL | {"maxSize": "2Gi"}]),
            ("with another digest", [CHANNEL | {"sha256": "0" * 64}], [CHANNEL | {"sha256": "1" * 64}]),
        )
    ),
    _change("quantity changed", pods(sharedMemory="1Gi"), pods(sharedMemory="1G"), UNCHANGEABLE,
            "spec.podTemplate.sharedMemory"),
    _change("quantity of a map changed", resources({"cpu": 1}), resources({"cpu": "1001m"}), UNCHANGEABLE,
            "spec.resources.requests"),
    _change("quantity moved to another name", resources({"cpu": 1}), resources({"ephemeral-storage": "1Gi"}),
            UNCHANGEABLE, "spec.resources.requests"),
    _change("trainer removed", sound(runtimeRef={"name": "a"}), {"runtimeRef": {"name": "a"}},
            f"{UNCHANGEABLE}: trainer ", "spec.trainer"),
    _change("hyperparameter changed", trainer(hyperparameters={"a": {"b": 1}}),
            trainer(hyperparameters={"a": {"b": 2}}), f"{UNCHANGEABLE}: trainer ", "spec.trainer"),
    _change("hyperparameter renamed", trainer(hyperparameters={"a": 1}), trainer(hyperparameters={"b": 1}),
            f"{UNCHANGEABLE}: trainer ", "spec.trainer"),
    _change("affinity changed", needs_node(key="a", operator="Exists"), needs_node(key="b", operator="Exists"),
            UNCHANGEABLE, "spec.podTemplate.affinity.nodeAffinity"),
    _change("nodes changed", sound(nodes=2), sound(nodes=3), f"{UNCHANGEABLE}: nodes ", "spec.nodes"),
    _change("nodes added", sound(), sound(nodes=2), f"{UNCHANGEABLE}: nodes ", "spec.nodes"),
    _change("nodes removed", sound(nodes=2), sound(), f"{UNCHANGEABLE}: nodes ", "spec.nodes"),
    _change("nodes and elastic added", sound(), sound(elastic=ELASTIC, nodes=3), f"{UNCHANGEABLE}: elastic.minNodes ",
            "spec.elastic"),
    _change("nodes out of elastic", sound(elastic=ELASTIC, nodes=2), sound(elastic=ELASTIC, nodes=5),
            "an elastic job needs nodes", "spec.nodes"),
)  # fmt: skip

CHANGES_TAKEN = (
    _change("nothing", sound(), sound()),
    _change("nodes within elastic", sound(elastic=ELASTIC, nodes=2), sound(elastic=ELASTIC, nodes=4)),
    *(
        _change(f"equal: {name} {way}", old, new)
        for name, one, other in (
            ("quantities", resources({"cpu": 1, "memory": "1Gi"}, {"cpu": 2}),
             resources({"cpu": "1000m", "memory": "1024Mi"}, {"cpu": "2"})),
            ("size of shared memory", pods(sharedMemory="2Gi"), pods(sharedMemory="2048Mi")),
            ("default of a quantity", pods(), pods(sharedMemory="2048Mi")),
            ("null", sound(), sound(processesPerNode=None, resources=None, podTemplate={"affinity": None})),
            ("empty block", sound(), sound(resources={}, podTemplate={})),
            ("empty maps and lists", sound(), sound(inputs=[], resources={"limits": {}},
                                                    podTemplate={"tolerations": [], "labels": {}})),
            ("defaults", sound(), sound(nodes=1, processesPerNode="auto",
                                        runPolicy={"cleanPods": "never", "hangTimeoutSeconds": 1800})),
            ("default of a checkpoint", sound(checkpoint={"uri": "s3://abc/"}),
             sound(checkpoint={"uri": "s3://abc/", "keep": 3, "resume": "latest"})),
            ("default in a list", sound(inputs=[CHANNEL]), sound(inputs=[CHANNEL | {"mode": "download"}])),
            ("order of a list with keys", sound(inputs=[{"name": "a", "uri": "s3://abc/"}, {"name": "b", "uri": "s3://abd/"}]),
             sound(inputs=[{"name": "b", "uri": "s3://abd/"}, {"name": "a", "uri": "s3://abc/"}])),
        )
        for way, old, new in (("there", one, other), ("and back", other, one))
    ),
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
