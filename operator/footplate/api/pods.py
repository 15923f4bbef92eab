"""What a job may say of its pods, in Kubernetes' own words: an allow-list, never a whole PodSpec."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from footplate.api.references import LocalRef
from footplate.api.types import (
    ByName,
    DnsLabel,
    DnsSubdomain,
    FreeForm,
    LabelKey,
    LabelValue,
    Model,
    MountPath,
    Quantity,
    Rule,
)

Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=64)]
Annotations = Annotated[dict[LabelKey, Annotated[str, Field(max_length=4096)]], Field(max_length=64)]


class Toleration(Model):
    """A pod's toleration, as in Kubernetes."""

    key: Annotated[str, Field(max_length=317)] | None = Field(None, description="Taint key; empty matches all.")
    operator: Literal["Exists", "Equal"] | None = Field(None, description="Default: Equal.")
    value: Annotated[str, Field(max_length=63)] | None = Field(None, description="Taint value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="Taint effect; empty matches all."
    )
    toleration_seconds: int | None = Field(None, description="Seconds a NoExecute taint is tolerated.")


class PersistentVolumeClaimSource(Model):
    """A claim in the job's namespace."""

    claim_name: DnsSubdomain = Field(description="Name of the claim.", examples=["datasets"])
    read_only: bool | None = Field(None, description="Default: false.")


class EmptyDirSource(Model):
    """A folder that lives as long as the pod."""

    medium: Literal["", "Memory"] | None = Field(None, description="Memory for tmpfs. Default: disk.")
    size_limit: Quantity | None = Field(None, description="Most bytes.", examples=["10Gi"])


class KeyToPath(Model):
    """Puts one key into one file."""

    key: Annotated[str, Field(min_length=1, max_length=253)] = Field(description="Key.")
    path: Annotated[str, Field(min_length=1, max_length=253)] = Field(description="Relative path of the file.")


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
    volume_attributes: Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=64)] | None = (
        Field(None, description="What the driver takes.")
    )


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
        ),
        Rule(
            "!self.name.startsWith('footplate-')",
            "volume names that begin with footplate- are the operator's; choose another name",
        ),
    )

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        sources = (
            self.persistent_volume_claim, self.empty_dir, self.config_map, self.secret, self.csi, self.host_path,
        )  # fmt: skip
        if sum(source is not None for source in sources) != 1:
            raise self.rules[0].broken()
        if self.name.startswith("footplate-"):
            raise self.rules[1].broken()
        return self


class VolumeMount(Model):
    """Where a volume appears in the container."""

    name: DnsLabel = Field(description="Name of the volume.", examples=["datasets"])
    mount_path: MountPath = Field(description="Absolute path.", examples=["/data"])
    sub_path: Annotated[str, Field(max_length=1024)] | None = Field(None, description="Folder inside the volume.")
    read_only: bool | None = Field(None, description="Default: false.")

    rules = (
        Rule(
            "self.mountPath != '/' && self.mountPath != '/footplate' && !self.mountPath.startsWith('/footplate/') "
            "&& !self.mountPath.contains('..')",
            "mountPath must not be / nor lie in /footplate, which belongs to the trainer, and has no '..'",
        ),
    )

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        path = self.mount_path
        if path in ("/", "/footplate") or path.startswith("/footplate/") or ".." in path:
            raise self.rules[0].broken()
        return self


NO_HOST_PATH = Rule(
    "!has(self.spec.podTemplate) || !has(self.spec.podTemplate.volumes) || "
    "self.spec.podTemplate.volumes.all(volume, !has(volume.hostPath))",
    "only a ClusterTrainingRuntime may name a hostPath volume; use a persistentVolumeClaim, or ask whoever runs the "
    "cluster for a runtime that has the volume",
    "spec.podTemplate.volumes",
)
"""For jobs and namespaced runtimes as users write them; a resolved job may hold a cluster runtime's hostPath."""


class PodTemplate(Model):
    """What a job may say of its pods: an allow-list, never a whole PodSpec."""

    labels: Labels = Field(default={}, description="Labels of the pods; footplate.dev/ is the operator's.")
    annotations: Annotations = Field(default={}, description="Annotations of the pods.")
    node_selector: Labels = Field(default={}, description="Labels a node must have.", examples=[{"gpu": "h100"}])
    tolerations: Annotated[list[Toleration], Field(max_length=64)] = Field(
        default=[], description="Taints the pods tolerate."
    )
    affinity: FreeForm | None = Field(None, description="core/v1 Affinity; checked when the pods are created.")
    service_account_name: Annotated[str, Field(max_length=253)] = Field(
        default="", description="ServiceAccount of the pods, for workload identity. Its token isn't mounted."
    )
    image_pull_secrets: Annotated[list[LocalRef], Field(max_length=16)] = Field(
        default=[], description="Secrets for private registries."
    )
    runtime_class_name: Annotated[str, Field(max_length=253)] = Field(default="", description="RuntimeClass.")
    scheduler_name: Annotated[str, Field(max_length=253)] = Field(
        default="", description="Scheduler of the pods. Default: the cluster's."
    )
    volumes: Annotated[ByName[Volume], Field(max_length=32)] = Field(default=[], description="Volumes of the pods.")
    volume_mounts: Annotated[list[VolumeMount], Field(max_length=32)] = Field(
        default=[], description="Where the volumes appear in the trainer's container."
    )
    shared_memory: Quantity = Field(
        default="2Gi",
        description="Size of /dev/shm, for data workers; counts against the memory limit.",
    )

    rules = (
        Rule(
            "!has(self.labels) || self.labels.all(key, !key.startsWith('footplate.dev/'))",
            "label keys that begin with footplate.dev/ are the operator's; choose another prefix",
        ),
    )

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        if any(key.startswith("footplate.dev/") for key in self.labels):
            raise self.rules[0].broken()
        return self

    def names_host_path(self) -> bool:
        """True where a volume is a folder of the node."""
        return any(volume.host_path is not None for volume in self.volumes)
