"""What a job may say of its pods, in Kubernetes' own words: an allow-list, never a whole PodSpec."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from footplate.api.affinity import Affinity, Labels
from footplate.api.patterns import TAINT_KEY_PATTERN
from footplate.api.quantities import Bytes
from footplate.api.references import LocalRef
from footplate.api.types import (
    MAX_TEXT_BYTES,
    ByMountPath,
    ByName,
    DnsLabel,
    DnsSubdomain,
    LabelKey,
    Model,
    MountPath,
    Rule,
    Schema,
    at,
    count,
    keep,
    size_of,
)

Annotations = Annotated[dict[LabelKey, Annotated[str, Field(max_length=4096)]], Field(max_length=64)]
NodeLabels = Annotated[Labels, Schema({"x-kubernetes-map-type": "atomic"})]


class Toleration(Model):
    """A pod's toleration, as in Kubernetes."""

    key: Annotated[str, Field(max_length=317, pattern=TAINT_KEY_PATTERN)] | None = Field(
        None, description="Taint key; empty matches all."
    )
    operator: Literal["Exists", "Equal"] | None = Field(None, description="Default: Equal.")
    value: Annotated[str, Field(max_length=63)] | None = Field(None, description="Taint value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="Taint effect; empty matches all."
    )
    toleration_seconds: Annotated[int, Field(ge=-(2**53), le=2**53)] | None = Field(
        None, description="Seconds a NoExecute taint is tolerated."
    )

    rules = (
        Rule(
            "!has(self.operator) || self.operator != 'Exists' || !has(self.value) || self.value == ''",
            "the operator Exists takes no value",
            lambda it: at(it, "operator") != "Exists" or not at(it, "value"),
            "value",
        ),
        Rule(
            "(has(self.key) && self.key != '') || (has(self.operator) && self.operator == 'Exists')",
            "without a key, which tolerates all taints, the operator must be Exists",
            lambda it: bool(at(it, "key")) or at(it, "operator") == "Exists",
            "operator",
        ),
        Rule(
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            "tolerationSeconds goes with the effect NoExecute",
            lambda it: at(it, "tolerationSeconds") is None or at(it, "effect") == "NoExecute",
            "tolerationSeconds",
        ),
    )


class PersistentVolumeClaimSource(Model):
    """A claim in the job's namespace."""

    claim_name: DnsSubdomain = Field(description="Name of the claim.", examples=["datasets"])
    read_only: bool | None = Field(None, description="Default: false.")


class EmptyDirSource(Model):
    """A folder that lives as long as the pod."""

    medium: Literal["", "Memory"] | None = Field(None, description="Memory for tmpfs. Default: disk.")
    size_limit: Bytes | None = Field(None, description="Most bytes.", examples=["10Gi"])


INSIDE = Rule(
    "!self.startsWith('/') && !self.matches('(^|/)[.][.](/|$)')",
    "must be a relative path without '..'",
    lambda path: not path.startswith("/") and ".." not in path.split("/"),
)


class KeyToPath(Model):
    """Puts one key into one file."""

    key: Annotated[str, Field(min_length=1, max_length=253)] = Field(description="Key.")
    path: Annotated[str, Field(min_length=1, max_length=253), keep(INSIDE), Schema(rules=(INSIDE,))] = Field(
        description="Relative path of the file."
    )


class ConfigMapVolumeSource(Model):
    """A ConfigMap's keys as files."""

    name: DnsSubdomain = Field(description="Name of the ConfigMap.")
    items: Annotated[list[KeyToPath], Field(max_length=64)] | None = Field(None, description="Default: all keys.")
    optional: bool | None = Field(None, description="Default: false.")


class SecretVolumeSource(Model):
    """A Secret's keys as files."""

    secret_name: DnsSubdomain = Field(description="Name of the Secret.")
    items: Annotated[list[KeyToPath], Field(max_length=64)] | None = Field(None, description="Default: all keys.")
    optional: bool | None = Field(None, description="Default: false.")


class CsiVolumeSource(Model):
    """An ephemeral volume of a CSI driver."""

    driver: DnsSubdomain = Field(description="Name of the driver.")
    read_only: bool | None = Field(None, description="Default: false.")
    volume_attributes: (
        Annotated[
            dict[Annotated[str, Field(max_length=253)], Annotated[str, Field(max_length=1024)]], Field(max_length=16)
        ]
        | None
    ) = Field(None, description="What the driver takes.")


class HostPathSource(Model):
    """A folder of the node; only a ClusterTrainingRuntime may name one."""

    path: MountPath = Field(description="Path on the node.")
    type: Literal["Directory", "DirectoryOrCreate", "File", "FileOrCreate"] | None = Field(
        None, description="Default: no check."
    )


class Volume(Model):
    """A volume of the pods: a name and exactly one source."""

    name: DnsLabel = Field(description="Name that volumeMounts refer to.", examples=["datasets"])
    persistent_volume_claim: PersistentVolumeClaimSource | None = Field(None, description="A claim.")
    empty_dir: EmptyDirSource | None = Field(None, description="Scratch space.")
    config_map: ConfigMapVolumeSource | None = Field(None, description="A ConfigMap's files.")
    secret: SecretVolumeSource | None = Field(None, description="A Secret's files.")
    csi: CsiVolumeSource | None = Field(None, description="A CSI driver's ephemeral volume.")
    host_path: HostPathSource | None = Field(
        None, description="A node's folder; only a ClusterTrainingRuntime may name one."
    )

    rules = (
        Rule(
            "[has(self.persistentVolumeClaim), has(self.emptyDir), has(self.configMap), has(self.secret), "
            "has(self.csi), has(self.hostPath)].exists_one(x, x)",
            "set exactly one of persistentVolumeClaim, emptyDir, configMap, secret, csi and hostPath",
            lambda it: count(it, "persistentVolumeClaim", "emptyDir", "configMap", "secret", "csi", "hostPath") == 1,
        ),
        Rule(
            "!self.name.startsWith('footplate-')",
            "volume names that begin with footplate- are the operator's; choose another name",
            lambda it: not it["name"].startswith("footplate-"),
            "name",
        ),
    )


TAKEN_PATHS = "^/+(footplate(/.*)?|tmp/*|dev/*|dev/+shm/*)?$"


class VolumeMount(Model):
    """Where a volume appears in the container."""

    name: DnsLabel = Field(description="Name of the volume.", examples=["datasets"])
    mount_path: MountPath = Field(description="Absolute path.", examples=["/data"])
    sub_path: Annotated[str, Field(max_length=1024), keep(INSIDE), Schema(rules=(INSIDE,))] | None = Field(
        None, description="Folder inside the volume."
    )
    read_only: bool | None = Field(None, description="Default: false.")

    rules = (
        Rule(
            f"!self.mountPath.matches('{TAKEN_PATHS}') && !self.mountPath.matches('/[.]{{1,2}}(/|$)')",
            "mountPath must not be /, /tmp, /dev or /dev/shm, nor lie in /footplate, all of which the pod has already, "
            "and has no '.' or '..'; choose another path (podTemplate.sharedMemory is the size of /dev/shm)",
            lambda it: not re.search(rf"{TAKEN_PATHS}|/[.]{{1,2}}(/|$)", it["mountPath"]),
            "mountPath",
        ),
    )


NO_HOST_PATH = Rule(
    "!has(self.spec.podTemplate) || !has(self.spec.podTemplate.volumes) || "
    "self.spec.podTemplate.volumes.all(volume, !has(volume.hostPath))",
    "only a ClusterTrainingRuntime may name a hostPath volume; use a persistentVolumeClaim, or ask whoever runs the "
    "cluster for a runtime that has the volume",
    lambda it: all(at(volume, "hostPath") is None for volume in at(it, "spec", "podTemplate", "volumes") or ()),
    "spec.podTemplate.volumes",
)
"""For jobs and namespaced runtimes as users write them; a resolved job may hold a cluster runtime's hostPath."""


Id = Annotated[int, Field(ge=0, le=2**31 - 1)]
NOT_ROOT = Rule(
    "self != 0",
    "must not be 0: the pods keep the Pod Security Standard restricted, under which nobody is root; name the user that "
    "the image's files are for, or build the image for one",
    lambda user: user != 0,
)


class SecurityContext(Model):
    """As whom the pods run, within the Pod Security Standard restricted."""

    run_as_user: Annotated[Id, keep(NOT_ROOT), Schema(rules=(NOT_ROOT,))] | None = Field(
        None, description="User ID of the container, not 0. Default: the image's own.", examples=[1000]
    )
    run_as_group: Id | None = Field(None, description="Group ID of the container. Default: the image's own.")
    fs_group: Id | None = Field(
        None, description="Group ID that owns the volumes, and that the container has too. Default: 10001."
    )


class ResourceClaim(Model):
    """Devices of Dynamic Resource Allocation: a claim that all pods share, or a template that gives each its own."""

    name: DnsLabel = Field(description="Name of the claim in the pods.", examples=["gpus"])
    resource_claim_name: DnsSubdomain | None = Field(None, description="A ResourceClaim, which the pods share.")
    resource_claim_template_name: DnsSubdomain | None = Field(
        None, description="A ResourceClaimTemplate, of which each pod gets a claim of its own.", examples=["h100-8"]
    )

    rules = (
        Rule(
            "has(self.resourceClaimName) != has(self.resourceClaimTemplateName)",
            "set exactly one of resourceClaimName and resourceClaimTemplateName",
            lambda it: count(it, "resourceClaimName", "resourceClaimTemplateName") == 1,
        ),
    )


def _annotation_texts(template: Mapping[str, Any]) -> list[Any]:
    return [text for pair in (at(template, "annotations") or {}).items() for text in pair]


class PodTemplate(Model):
    """What a job may say of its pods: an allow-list, never a whole PodSpec."""

    labels: Labels = Field(default={}, description="Labels of the pods; footplate.dev/ is the operator's.")
    annotations: Annotations = Field(default={}, description="Annotations of the pods; 65,536 bytes at most together.")
    node_selector: NodeLabels = Field(default={}, description="Labels a node must have.", examples=[{"gpu": "h100"}])
    tolerations: Annotated[list[Toleration], Field(max_length=64)] = Field(
        default=[], description="Taints the pods tolerate."
    )
    affinity: Affinity | None = Field(None, description="core/v1 Affinity: nodes and pods to be near to or far from.")
    security_context: SecurityContext | None = Field(None, description="As whom the pods run.")
    service_account_name: Annotated[str, Field(max_length=253)] = Field(
        default="", description="ServiceAccount of the pods, for workload identity. Its token isn't mounted."
    )
    image_pull_secrets: Annotated[ByName[LocalRef], Field(max_length=16)] = Field(
        default=[], description="Secrets for private registries."
    )
    runtime_class_name: Annotated[str, Field(max_length=253)] = Field(default="", description="RuntimeClass.")
    scheduler_name: Annotated[str, Field(max_length=253)] = Field(
        default="", description="Scheduler of the pods. Default: the cluster's."
    )
    volumes: Annotated[ByName[Volume], Field(max_length=32)] = Field(default=[], description="Volumes of the pods.")
    volume_mounts: Annotated[ByMountPath[VolumeMount], Field(max_length=32)] = Field(
        default=[], description="Where the volumes appear in the trainer's container."
    )
    resource_claims: Annotated[ByName[ResourceClaim], Field(max_length=16)] | None = Field(
        None,
        description="Devices that the pods get through resource.k8s.io/v1, all of them in the trainer's container. "
        "What a claim holds isn't known beforehand, so processesPerNode must be a number where resources.limits has no "
        "accelerators.",
        examples=[[{"name": "gpus", "resourceClaimTemplateName": "h100-8"}]],
    )
    shared_memory: Bytes = Field(
        default="2Gi",
        description="Size of /dev/shm, for data workers; counts against the memory limit.",
    )

    rules = (
        Rule(
            "!has(self.labels) || self.labels.all(key, !key.startsWith('footplate.dev/'))",
            "label keys that begin with footplate.dev/ are the operator's; choose another prefix",
            lambda it: not any(key.startswith("footplate.dev/") for key in at(it, "labels") or ()),
            "labels",
        ),
        Rule(
            "!has(self.annotations) || self.annotations.map(k, k.size() + bytes(self.annotations[k]).size()).sum() "
            f"<= {MAX_TEXT_BYTES}",
            f"annotations are more than {MAX_TEXT_BYTES:,} bytes together; keep large values elsewhere",
            lambda it: size_of(_annotation_texts(it)) <= MAX_TEXT_BYTES,
            "annotations",
        ),
    )
