"""What a hostile tenant tries against a TrainingPolicy: one table, held against the operator alone and against the API
server with the admission policy.

Each attempt is an honest job with one thing changed, in a namespace that is `TENANT` to the policy `STRICT`.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

NAMESPACE = "team"
POLICY = "tenants"
TENANT = {"example.com/tenant": "true"}
DIGEST = "a" * 64
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
GPU = "nvidia.com/gpu"

STRICT: Json = {
    "namespaceSelector": {"matchLabels": TENANT},
    "runtimes": {"allowed": [{"kind": "ClusterTrainingRuntime", "name": "torch"},
                             {"kind": "TrainingRuntime", "name": "mine"}]},
    "imagePrefixes": ["registry.example.com/{namespace}", "registry.example.com/footplate/trainer"],
    "uriPrefixes": ["s3://data/{namespace}", "s3://shared/"],
    "gitPrefixes": ["https://git.example.com/{namespace}/"],
    "endpointPrefixes": ["https://minio.example.com"],
    "trackerPrefixes": ["https://mlflow.example.com/{namespace}"],
    "pip": {"indexes": ["https://pypi.example.com/simple/"]},
    "maxNodes": 4,
    "maxAccelerators": {GPU: 16},
    "secrets": ["s3", "{namespace}.keys", "pull-*"],
    "serviceAccounts": ["trainer"],
    "priorityClasses": ["batch-low"],
    "runtimeClasses": [],
    "resourceClaims": [],
    "schedulers": [],
    "queues": ["{namespace}"],
    "csiDrivers": [],
    "tolerations": [{"key": GPU, "effect": "NoSchedule"}, {"key": "dedicated", "value": "shared"}],
    "nodeLabels": ["gpu", "example.com/pool=shared"],
    "podAnnotations": ["example.com/*", "yunikorn.apache.org/queue"],
    "podLabels": ["team", "example.com/*", "kai.scheduler/queue", "kueue.x-k8s.io/priority-class"],
}  # fmt: skip

PLATFORM: Json = {
    "trainer": {"image": "registry.example.com/platform/torch:1", "env": [
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "platform", "key": "token"}}},
    ]},
    "nodes": 8,
    "resources": {"limits": {GPU: 8}},
    "checkpoint": {"uri": "s3://platform/checkpoints/"},
    "storage": {"secretRef": {"name": "platform-s3"}, "endpoint": "https://s3.platform.example.com"},
    "scheduling": {"priorityClassName": "platform-high"},
    "podTemplate": {
        "serviceAccountName": "platform",
        "schedulerName": "platform-scheduler",
        "runtimeClassName": "nvidia",
        "tolerations": [{"operator": "Exists"}],
        "nodeSelector": {"platform.example.com/gpu": "h100"},
        "annotations": {"k8s.v1.cni.cncf.io/networks": "rdma"},
        "labels": {"platform.example.com/class": "gpu"},
        "imagePullSecrets": [{"name": "platform-pull"}],
        "volumes": [{"name": "fast", "hostPath": {"path": "/mnt/nvme"}}],
        "volumeMounts": [{"name": "fast", "mountPath": "/fast", "readOnly": True}],
    },
}  # fmt: skip
"""A ClusterTrainingRuntime, each word of which STRICT refuses to a tenant."""

HONEST: Json = {
    "trainer": {
        "image": "registry.example.com/team/mine:1",
        "command": ["python", "train.py"],
        "source": {"git": {"url": "https://git.example.com/team/code.git", "ref": "main"}},
        "requirements": ["transformers==4.57.1", "-r requirements.txt"],
        "env": [
            {"name": "AWS_ENDPOINT_URL", "value": "https://minio.example.com"},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "team.keys", "key": "token"}}},
        ],
        "envFrom": [{"secretRef": {"name": "s3"}}, {"configMapRef": {"name": "any"}}],
    },
    "nodes": 2,
    "resources": {"limits": {GPU: 8}},
    "inputs": [
        {"name": "train", "uri": "s3://data/team/train/", "secretRef": {"name": "s3"}},
        {"name": "wheels", "uri": "s3://shared/wheels/"},
    ],
    "checkpoint": {"uri": "s3://data/team/checkpoints/", "initFrom": "s3://shared/models/base/"},
    "output": {"uri": "s3://data/team", "sign": {"secretKeyRef": {"name": "team.keys", "key": "key.pem"}}},
    "tracking": {
        "mlflow": {"uri": "https://mlflow.example.com/team", "experiment": "any", "secretRef": {"name": "team.keys"}},
        "wandb": {"project": "any", "secretRef": {"name": "team.keys"}},
        "comet": {"workspace": "any", "project": "any", "secretRef": {"name": "team.keys"}},
        "tensorboard": {},
    },
    "storage": {"secretRef": {"name": "s3"}, "endpoint": "https://minio.example.com/"},
    "scheduling": {"priorityClassName": "batch-low"},
    "podTemplate": {
        "serviceAccountName": "trainer",
        "tolerations": [
            {"key": GPU, "operator": "Exists", "effect": "NoSchedule"},
            {"key": "dedicated", "value": "shared", "effect": "NoExecute"},
        ],
        "nodeSelector": {"gpu": "h100", "example.com/pool": "shared"},
        "affinity": {
            "nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "gpu", "operator": "NotIn", "values": ["a100"]},
                {"key": "example.com/pool", "operator": "In", "values": ["shared"]},
            ]}]}},
            "podAntiAffinity": {REQUIRED: [
                {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"team": "a"}}},
            ]},
        },
        "annotations": {"example.com/cost": "1", "yunikorn.apache.org/queue": "team"},
        "labels": {
            "team": "a", "example.com/project": "b",
            "kai.scheduler/queue": "team", "kueue.x-k8s.io/priority-class": "batch-low",
        },
        "imagePullSecrets": [{"name": "pull-registry"}],
        "volumes": [
            {"name": "keys", "secret": {"secretName": "s3"}},
            {"name": "config", "configMap": {"name": "any"}},
            {"name": "data", "persistentVolumeClaim": {"claimName": "any"}},
        ],
    },
}  # fmt: skip
"""All that STRICT rules over, within what it allows."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt, and the words with which it is refused."""

    id: str
    spec: Mapping[str, Any]
    """The job's."""
    problem: str
    unseen: str = ""
    """Why it can't be seen at admission; empty where it can."""
    of_the_api: bool = False
    """True where the API's own rules refuse it, whatever a policy says."""
    policies: Mapping[str, Json] = field(default_factory=lambda: {POLICY: STRICT})
    runtime: Mapping[str, Any] | None = None
    """Spec of the runtime that the job names, of the kind that it names."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Of the namespace that it is made in: some are made where the platform team hasn't set any."""
        return {} if "unlabelled" in self.policies else TENANT

    @property
    def name(self) -> str:
        """A name for its objects."""
        return "".join(char if char.isalnum() else "-" for char in self.id.lower()).strip("-")[:40].strip("-")


@dataclass(frozen=True, slots=True)
class Edit:
    """An edit of a living job that was allowed when it began."""

    id: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    problem: str
    policies: Mapping[str, Json] = field(default_factory=lambda: {POLICY: STRICT})
    """Those that hold when it is edited."""

    @property
    def begins_a_run(self) -> bool:
        """True where it asks for another run, once the first is done."""
        return "restartNonce" in self.id


def with_(path: str, value: Any, *, base: Mapping[str, Any] = HONEST) -> Json:
    """A spec with this at a path such as `inputs.0.uri`; None takes it away."""
    spec = deepcopy(dict(base))
    *parents, last = (int(part) if part.isdigit() else part for part in path.split("/"))
    target: Any = spec
    for part in parents:
        target = target[part] if isinstance(part, int) else target.setdefault(part, {})
    if value is None:
        del target[last]
    else:
        target[last] = value
    return spec


def objects_of(policies: Mapping[str, Json]) -> list[Json]:
    """The policies as objects, by their names."""
    head = {"kind": "TrainingPolicy"}
    return [{**head, "metadata": {"name": name}, "spec": spec} for name, spec in sorted(policies.items())]


def only(**rules: Any) -> Mapping[str, Json]:
    """One policy for tenants that says this alone."""
    return {POLICY: {"namespaceSelector": {"matchLabels": TENANT}, **rules}}


def _images() -> Sequence[Attempt]:
    refused = "isn't among the images that TrainingPolicy tenants allows namespace team"
    images = {
        "another registry": "evil.net/x:1",
        "the registry's name goes on": "registry.example.com.evil.net/team/mine:1",
        "a port": "registry.example.com:5000/team/mine:1",
        "the namespace's name goes on": "registry.example.com/team-a/mine:1",
        "another namespace": "registry.example.com/other/mine:1",
        "dots in the path": "registry.example.com/team/../other/mine:1",
        "an empty segment": "registry.example.com/team//evil.net/mine:1",
        "upper case": "Registry.Example.com/team/mine:1",
        "a repository whose name goes on": "registry.example.com/footplate/trainer-evil:1",
        "a default registry": "team/mine:1",
        "user and host": "registry.example.com@evil.net/team/mine:1",
        "a digest elsewhere": f"evil.net/registry.example.com/team/mine@sha256:{DIGEST}",
    }
    return [Attempt(f"image: {what}", with_("trainer/image", image), refused) for what, image in images.items()]


def _addresses() -> Sequence[Attempt]:
    uris = "isn't among the URIs that TrainingPolicy tenants allows namespace team"
    git = "isn't among the git repositories that TrainingPolicy tenants allows namespace team"
    endpoints = "isn't among the storage endpoints that TrainingPolicy tenants allows namespace team"
    trackers = "isn't among the addresses of trackers that TrainingPolicy tenants allows namespace team"
    source = {"uri": "s3://data/other/code.tar.gz"}
    return [
        *(
            Attempt(f"{path}: {what}", with_(path, uri), uris)
            for path, what, uri in (
                ("inputs/0/uri", "another namespace", "s3://data/other/train/"),
                ("inputs/0/uri", "the namespace's name goes on", "s3://data/team-a/train/"),
                ("inputs/0/uri", "another scheme", "gs://data/team/train/"),
                ("inputs/0/uri", "a file of the node", "file:///data/team/"),
                ("inputs/1/uri", "wheels from elsewhere", "s3://evil/wheels/"),
                ("checkpoint/uri", "another namespace", "s3://data/other/checkpoints/"),
                ("checkpoint/initFrom", "another team's weights", "s3://data/other/models/secret/"),
                ("output/uri", "another bucket", "s3://database/team/"),
                ("trainer/source", "another team's code", source),
            )
        ),
        Attempt("URI with dots", with_("inputs/0/uri", "s3://data/team/../other/"), "'.' or '..' as a path segment",
                of_the_api=True),
        *(
            Attempt(f"git: {what}", with_("trainer/source/git/url", url), git)
            for what, url in (
                ("another host", "https://evil.net/team/code.git"),
                ("the host's name goes on", "https://git.example.com.evil.net/team/code.git"),
                ("dots in the path", "https://git.example.com/team/../other/code.git"),
                ("encoded dots in the path", "https://git.example.com/team/%2e%2e/other/code.git"),
                ("another port", "https://git.example.com:8443/team/code.git"),
                ("upper case", "https://GIT.example.com/team/code.git"),
                ("a backslash", "https://git.example.com/team/..\\other/code.git"),
            )
        ),
        *(
            Attempt(f"endpoint: {what}", with_("storage/endpoint", url), endpoints)
            for what, url in (
                ("another host", "https://evil.net"),
                ("the host's name goes on", "https://minio.example.com.evil.net"),
                ("without TLS", "http://minio.example.com"),
                ("another port", "https://minio.example.com:9000"),
            )
        ),
        *(
            Attempt(f"tracker: {what}", with_("tracking/mlflow/uri", url), trackers)
            for what, url in (
                ("another team's", "https://mlflow.example.com/other"),
                ("the namespace's name goes on", "https://mlflow.example.com/team-a"),
                ("dots in the path", "https://mlflow.example.com/team/../other"),
                ("dots with a parameter, as Java's servers cut off", "https://mlflow.example.com/team/..;/other"),
                ("without TLS", "http://mlflow.example.com/team"),
                ("another host", "http://169.254.169.254"),
            )
        ),
        Attempt("endpoint in a variable", with_("trainer/env/0/value", "https://evil.net"), endpoints),
        Attempt("endpoint in a variable of another case",
                with_("trainer/env", [{"name": "AWS_Endpoint_url", "value": "https://evil.net"}]), endpoints),
        Attempt("endpoint in a variable from a ConfigMap",
                with_("trainer/env", [{"name": "AWS_ENDPOINT_URL_S3", "valueFrom": {
                    "configMapKeyRef": {"name": "mine", "key": "url"}}}]), endpoints),
    ]  # fmt: skip


def _secrets() -> Sequence[Attempt]:
    refused = "isn't among the Secrets that TrainingPolicy tenants allows namespace team"
    volumes = "podTemplate/volumes"
    csi = {"name": "files", "csi": {"driver": "file.csi.azure.com", "volumeAttributes": {"secretName": "admin"}}}
    return [
        *(
            Attempt(f"Secret in {path}", with_(path, value), refused)
            for path, value in (
                ("storage/secretRef", {"name": "admin"}),
                ("storage/caBundle", {"secretKeyRef": {"name": "admin", "key": "ca.crt"}}),
                ("inputs/0/secretRef", {"name": "admin"}),
                ("output/sign", {"secretKeyRef": {"name": "admin", "key": "key"}}),
                ("tracking/mlflow/secretRef", {"name": "admin"}),
                ("tracking/wandb/secretRef", {"name": "admin"}),
                ("tracking/comet/secretRef", {"name": "admin"}),
                ("trainer/env/1/valueFrom/secretKeyRef/name", "admin"),
                ("trainer/envFrom/0/secretRef/name", "admin"),
                ("podTemplate/imagePullSecrets", [{"name": "admin"}]),
                (volumes, [{"name": "keys", "secret": {"secretName": "admin", "optional": True}}]),
            )
        ),
        Attempt("Secret of another namespace's name", with_("storage/secretRef", {"name": "other.keys"}), refused),
        Attempt("Secret whose name goes on", with_("storage/secretRef", {"name": "s3-admin"}), refused),
        Attempt("Secret that a CSI driver reads", with_(volumes, [csi]), refused,
                policies=only(secrets=["s3"])),
        Attempt("Secret in a projected volume",
                with_(volumes, [{"name": "p", "projected": {"sources": [{"secret": {"name": "admin"}}]}}]),
                "set exactly one of persistentVolumeClaim", of_the_api=True),
    ]  # fmt: skip


def _pods() -> Sequence[Attempt]:
    def refused(noun: str) -> str:
        return f"isn't among the {noun} that TrainingPolicy tenants allows namespace team"

    terms = f"podTemplate/affinity/nodeAffinity/{REQUIRED}/nodeSelectorTerms"
    anti = f"podTemplate/affinity/podAntiAffinity/{REQUIRED}/0"
    near = {"topologyKey": "kubernetes.io/hostname"}
    foreign = "names pods of other namespaces, which isn't among what TrainingPolicy tenants allows namespace team"
    return [
        Attempt("ServiceAccount", with_("podTemplate/serviceAccountName", "admin"), refused("ServiceAccounts")),
        Attempt("ServiceAccount default", with_("podTemplate/serviceAccountName", "default"),
                refused("ServiceAccounts")),
        Attempt("PriorityClass", with_("scheduling/priorityClassName", "system-node-critical"),
                refused("PriorityClasses")),
        Attempt("RuntimeClass", with_("podTemplate/runtimeClassName", "privileged"), refused("RuntimeClasses")),
        *(
            Attempt(f"claim by {field}", with_("podTemplate/resourceClaims", [{"name": "gpu", field: "eight-gpus"}]),
                    refused("ResourceClaims and ResourceClaimTemplates"))
            for field in ("resourceClaimName", "resourceClaimTemplateName")
        ),
        Attempt("scheduler", with_("podTemplate/schedulerName", "mine"), refused("schedulers")),
        Attempt("Volcano's scheduler by the gang", with_("scheduling/gang", "volcano"), refused("schedulers")),
        Attempt("another scheduler by the gang", with_("scheduling/gang", "coscheduling"), refused("schedulers")),
        Attempt("another team's queue", with_("scheduling/queueName", "other"), refused("queues")),
        *(
            Attempt(f"a queue by {field} {key}", with_(f"podTemplate/{field}", {key: "other"}), refused("queues"),
                    policies=only(queues=["{namespace}"]))
            for field, key in (("labels", "kueue.x-k8s.io/queue-name"), ("labels", "queue"),
                               ("labels", "kai.scheduler/queue"), ("annotations", "scheduling.volcano.sh/queue-name"),
                               ("annotations", "yunikorn.apache.org/queue"))
        ),
        Attempt("Kueue's priority by a label", with_("podTemplate/labels", {"kueue.x-k8s.io/priority-class": "high"}),
                refused("PriorityClasses"), policies=only(priorityClasses=["batch-low"])),
        Attempt("CSI driver", with_("podTemplate/volumes",
                [{"name": "host", "csi": {"driver": "hostpath.csi.k8s.io"}}]), refused("CSI drivers")),
        Attempt("hostPath", with_("podTemplate/volumes", [{"name": "host", "hostPath": {"path": "/"}}]),
                "only a ClusterTrainingRuntime may name a hostPath volume", of_the_api=True),
        Attempt("ephemeral volume", with_("podTemplate/volumes", [{"name": "e", "ephemeral": {}}]),
                "set exactly one of persistentVolumeClaim", of_the_api=True),
        Attempt("root", with_("podTemplate/securityContext", {"runAsUser": 0}), "must not be 0", of_the_api=True),
        *(
            Attempt(f"toleration: {what}", with_("podTemplate/tolerations", [toleration]), refused("tolerations"))
            for what, toleration in (
                ("everything", {"operator": "Exists"}),
                ("everything, empty key", {"key": "", "operator": "Exists"}),
                ("another taint", {"key": "dedicated-to-others", "operator": "Exists"}),
                ("any effect", {"key": GPU, "operator": "Exists"}),
                ("NoExecute", {"key": GPU, "operator": "Exists", "effect": "NoExecute"}),
                ("another value", {"key": "dedicated", "value": "others"}),
                ("any value", {"key": "dedicated", "operator": "Exists"}),
                ("the control plane", {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}),
            )
        ),
        Attempt("nodeSelector: another label", with_("podTemplate/nodeSelector", {"kubernetes.io/hostname": "a"}),
                refused("node labels")),
        Attempt("nodeSelector: another value", with_("podTemplate/nodeSelector", {"example.com/pool": "others"}),
                refused("node labels")),
        *(
            Attempt(f"node affinity: {what}", with_(terms, [term]), refused("node labels"))
            for what, term in (
                ("another label", {"matchExpressions": [{"key": "pool", "operator": "Exists"}]}),
                ("a node's name", {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}),
                ("another value",
                 {"matchExpressions": [{"key": "example.com/pool", "operator": "In", "values": ["others"]}]}),
                ("one value more",
                 {"matchExpressions": [{"key": "example.com/pool", "operator": "In", "values": ["shared", "others"]}]}),
                ("all but one value",
                 {"matchExpressions": [{"key": "example.com/pool", "operator": "NotIn", "values": ["shared"]}]}),
            )
        ),
        Attempt("node affinity: preferred", with_("podTemplate/affinity", {"nodeAffinity": {PREFERRED: [
            {"weight": 1, "preference": {"matchExpressions": [{"key": "pool", "operator": "Exists"}]}}]}}),
            refused("node labels")),
        Attempt("anti-affinity to a namespace", with_(anti, {**near, "namespaces": ["other"]}), foreign),
        Attempt("anti-affinity to all namespaces", with_(anti, {**near, "namespaceSelector": {}}), foreign),
        Attempt("affinity to all namespaces", with_("podTemplate/affinity", {"podAffinity": {PREFERRED: [
            {"weight": 1, "podAffinityTerm": {**near, "namespaceSelector": {}}}]}}), foreign),
        *(
            Attempt(f"annotation {key}", with_("podTemplate/annotations", {key: "x"}), refused("annotations"))
            for key in ("iam.amazonaws.com/role", "k8s.v1.cni.cncf.io/networks", "example.com.evil.net/x",
                        "example.com")
        ),
        *(
            Attempt(f"label {key}", with_("podTemplate/labels", {key: "x"}), refused("labels"))
            for key in ("scheduling.x-k8s.io/pod-group", "azure.workload.identity/use", "teams")
        ),
    ]  # fmt: skip


def _size() -> Sequence[Attempt]:
    nodes = "is more than the 4 nodes that TrainingPolicy tenants allows namespace team"
    gpus = "on all nodes together is more than the {} that TrainingPolicy tenants allows namespace team"
    torch = {"runtimeRef": {"name": "torch"}, "trainer": {"command": ["true"]}}
    return [
        Attempt("nodes", with_("nodes", 5), nodes),
        Attempt("nodes that an elastic job may come to have",
                with_("nodes", 2) | {"elastic": {"minNodes": 1, "maxNodes": 10_000}}, nodes),
        Attempt("accelerators", with_("nodes", 4), gpus.format(16)),
        Attempt("accelerators, written otherwise", with_("resources", {"limits": {GPU: "1k"}}), gpus.format(16)),
        Attempt("accelerators of another name", with_("resources", {"limits": {"nvidia.com/mig-7g.80gb": 1}}),
                gpus.format(0)),
        Attempt("accelerators over the runtime's", {**torch, "nodes": 1, "resources": {"limits": {GPU: 32}}},
                gpus.format(16), runtime={"trainer": {"image": "registry.example.com/platform/torch:1"}}),
        Attempt("nodes of the runtime's size", {**torch, "nodes": 4}, gpus.format(16), runtime=PLATFORM,
                unseen="how many accelerators a node has, the runtime says"),
    ]  # fmt: skip


def _packages() -> Sequence[Attempt]:
    refused = "which isn't among what TrainingPolicy tenants allows namespace team"
    return [
        *(
            Attempt(f"requirement {line}", with_("trainer/requirements", [line]), refused)
            for line in ("--index-url https://evil.net/simple/", "mine @ https://evil.net/mine.whl",
                         "mine @ git+https://evil.net/mine.git", "--extra-index-url https://pypi.example.com.evil.net/")
        ),
        Attempt("requirement where none is installed", with_("trainer/requirements", ["transformers"]), refused,
                policies=only(pip={"install": "never"})),
    ]  # fmt: skip


def _runtimes() -> Sequence[Attempt]:
    mine = {"runtimeRef": {"kind": "TrainingRuntime", "name": "mine"}, "trainer": {"command": ["true"]}}
    images = "isn't among the images that TrainingPolicy tenants allows namespace team"
    image = {"trainer": {"image": "registry.example.com/team/mine:1"}}
    return [
        Attempt("no runtime", HONEST, "is required by TrainingPolicy tenants in namespace team",
                policies=only(runtimes={"required": True})),
        Attempt("another runtime", {"runtimeRef": {"name": "admin"}},
                "isn't among the runtimes that TrainingPolicy tenants allows namespace team",
                runtime={"trainer": {"image": "any", "command": ["true"]}}),
        Attempt("a runtime of one's own of an allowed name",
                {"runtimeRef": {"kind": "TrainingRuntime", "name": "torch"}},
                "isn't among the runtimes that TrainingPolicy tenants allows namespace team",
                runtime={"trainer": {"image": "any", "command": ["true"]}}),
        Attempt("an image of one's own runtime", mine, images, runtime={"trainer": {"image": "evil.net/x"}}),
        Attempt("a policy of one's own runtime that grants all", mine, images,
                runtime={"trainer": {"image": "evil.net/x"}, "policy": {"imagePrefixes": ["evil.net/"]}}),
        Attempt("a ServiceAccount of one's own runtime", mine, "isn't among the ServiceAccounts",
                runtime={**image, "podTemplate": {"serviceAccountName": "admin"}}),
        Attempt("tolerations of one's own runtime", mine, "isn't among the tolerations",
                runtime={**image, "podTemplate": {"tolerations": [{"operator": "Exists"}]}}),
        Attempt("a Secret of one's own runtime", mine, "isn't among the Secrets",
                runtime={**image, "storage": {"secretRef": {"name": "admin"}}}),
        Attempt("nodes of one's own runtime", mine, "is more than the 4 nodes", runtime={**image, "nodes": 5}),
        Attempt("accelerators of one's own runtime", {**mine, "nodes": 4}, "on all nodes together is more than the 16",
                runtime={**image, "resources": {"limits": {GPU: 8}}},
                unseen="how many nodes there are the job says, and what one has the runtime"),
        Attempt("a hostPath of one's own runtime", mine, "only a ClusterTrainingRuntime may name a hostPath volume",
                runtime={**image, "podTemplate": {"volumes": [{"name": "h", "hostPath": {"path": "/"}}]}},
                of_the_api=True),
        Attempt("the platform's Secret in another place",
                {"runtimeRef": {"name": "torch"},
                 "trainer": {"command": ["env"], "envFrom": [{"secretRef": {"name": "platform-s3"}}]}},
                "isn't among the Secrets", runtime=PLATFORM),
        Attempt("an endpoint for the platform's Secret",
                {"runtimeRef": {"name": "torch"}, "trainer": {"command": ["env"]},
                 "storage": {"endpoint": "https://evil.net"}},
                "isn't among the storage endpoints", runtime=PLATFORM),
    ]  # fmt: skip


def _policies() -> Sequence[Attempt]:
    team = {"namespaceSelector": {"matchLabels": TENANT}}
    return [
        Attempt("a looser policy beside a stricter one", with_("trainer/image", "evil.net/x"),
                "isn't among the images that TrainingPolicy tenants",
                policies={POLICY: STRICT, "loose": {"namespaceSelector": {},
                          "imagePrefixes": ["evil.net/", "registry.example.com/"]}}),
        Attempt("two policies that contradict", HONEST, "TrainingPolicy b",
                policies={"a": {**team, "imagePrefixes": ["registry.example.com/"]},
                          "b": {**team, "imagePrefixes": ["ghcr.io/"]}}),
        Attempt("a namespace without the label", with_("trainer/image", "evil.net/x"),
                "isn't among the images that TrainingPolicy unlabelled",
                policies={"unlabelled": {"imagePrefixes": ["registry.example.com/"], "namespaceSelector": {
                    "matchExpressions": [{"key": "example.com/trusted", "operator": "DoesNotExist"}]}}}),
        Attempt("empty list", with_("podTemplate/serviceAccountName", "trainer"), "it allows none: leave it out",
                policies=only(serviceAccounts=[])),
    ]  # fmt: skip


ATTEMPTS: Sequence[Attempt] = (
    *_images(), *_addresses(), *_secrets(), *_pods(), *_size(), *_packages(), *_runtimes(), *_policies(),
)  # fmt: skip

_ELASTIC: Json = {**with_("resources", {"limits": {GPU: 1}}), "elastic": {"minNodes": 1, "maxNodes": 4}, "nodes": 2}
_TIGHTER = only(imagePrefixes=["registry.example.com/other/"])
_HELD = "isn't among the images that TrainingPolicy tenants allows namespace team"

EDITS: Sequence[Edit] = (
    Edit("priorityClassName", HONEST, with_("scheduling/priorityClassName", "system-node-critical"),
         "isn't among the PriorityClasses that TrainingPolicy tenants allows namespace team"),
    Edit("nodes, once the policy is tighter", _ELASTIC, {**_ELASTIC, "nodes": 4},
         "is more than the 3 nodes that TrainingPolicy tenants allows namespace team", policies=only(maxNodes=3)),
    Edit("resume, once the policy is tighter", with_("runPolicy/suspend", True), with_("runPolicy/suspend", False),
         _HELD, policies=_TIGHTER),
    Edit("restartNonce, once the policy is tighter", HONEST, with_("runPolicy/restartNonce", "again"), _HELD,
         policies=_TIGHTER),
)  # fmt: skip
