"""From a resolved job to the objects that run it: ConfigMap, headless Service and pods. Pure.

The pods keep the Pod Security Standard `restricted`: no root, no capabilities, no service account token. Trainers of
ours also get a read-only root file system; a user's own `command` doesn't, since its image may write anywhere.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from footplate.api.trainingjob import TrainingJobSpec
from footplate.contract import (
    CONTAINER_NAME,
    JOB_FILE,
    MANAGED_BY,
    METRICS_PORT,
    Env,
    JobConfig,
    Label,
    MountPath,
    input_env_prefix,
    rendezvous_port,
)

ACCELERATORS = (
    "nvidia.com/gpu",
    "nvidia.com/mig-",
    "amd.com/gpu",
    "gpu.intel.com/",
    "habana.ai/gaudi",
    "aws.amazon.com/neuron",
    "google.com/tpu",
)
"""Names, or beginnings of names, of resources that get a process each."""

SUPERVISOR = ("python", "-m", "footplate_trainer")
RUN_DIR_SIZE = "64Mi"

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class GangOf:
    """One attempt of a run: what differs from gang to gang of the same job."""

    config: JobConfig
    spec: TrainingJobSpec
    attempt: int
    nodes: int
    avoid: Sequence[str] = ()
    """Kubernetes nodes to keep away from."""

    @property
    def run_name(self) -> str:
        """Name of the run's ConfigMap and Service."""
        return f"{self.config.metadata.name}-run-{self.config.run}"

    def pod_name(self, rank: int) -> str:
        """Name of a pod: the same for the same rank of the same attempt, always."""
        return f"{self.config.metadata.name}-{self.config.run}-{self.attempt}-{rank}"


def build_config_map(config: JobConfig, text: str) -> Object:
    """The run's ConfigMap, which holds job.json and never changes."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(config, f"{config.metadata.name}-run-{config.run}", {}),
        "immutable": True,
        "data": {JOB_FILE: text},
    }


def build_service(config: JobConfig) -> Object:
    """The run's headless Service: gives each pod a name from the moment it has an address."""
    labels = {Label.JOB: config.metadata.name, Label.RUN: str(config.run)}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(config, f"{config.metadata.name}-run-{config.run}", {}),
        "spec": {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": labels},
    }


def build_pod(gang: GangOf, rank: int) -> Object:
    """The pod of one rank of one attempt."""
    template = gang.spec.pod_template
    name = gang.pod_name(rank)
    labels = {**template.labels, Label.ATTEMPT: str(gang.attempt), Label.RANK: str(rank)}
    metadata = _metadata(gang.config, name, labels)
    if template.annotations:
        metadata["annotations"] = dict(template.annotations)
    spec: Object = {
        "hostname": name,
        "subdomain": gang.run_name,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": gang.spec.run_policy.termination_grace_period_seconds,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(gang, rank)],
        "volumes": _volumes(gang),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {**spec, **_placement(gang)},
    }


def processes_per_node(spec: TrainingJobSpec) -> int:
    """Ranks in each pod: as the job says, else one an accelerator, else one."""
    if spec.processes_per_node != "auto":
        return spec.processes_per_node
    limits = spec.resources.limits.items()
    found = [int(count) for name, count in limits if name.startswith(ACCELERATORS) and count.isdigit()]
    return max(1, sum(found))


def needs_supervisor(spec: TrainingJobSpec) -> bool:
    """False for a bare command, which then needs nothing of ours in its image."""
    code_to_fetch = spec.trainer.source is not None and spec.trainer.source.config_map is None
    return spec.trainer.command is None or bool(spec.inputs) or spec.output is not None or code_to_fetch


def _metadata(config: JobConfig, name: str, labels: Mapping[str, str]) -> Object:
    job = config.metadata
    return {
        "name": name,
        "namespace": job.namespace,
        "labels": {
            **labels,
            Label.MANAGED_BY: MANAGED_BY,
            Label.JOB: job.name,
            Label.RUN: str(config.run),
        },
        "ownerReferences": [
            {
                "apiVersion": "footplate.dev/v1alpha1",
                "kind": "TrainingJob",
                "name": job.name,
                "uid": job.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }


def _container(gang: GangOf, rank: int) -> Object:
    spec = gang.spec
    supervised = needs_supervisor(spec)
    container: Object = {
        "name": CONTAINER_NAME,
        "image": spec.trainer.image,
        "command": list(SUPERVISOR) if supervised else list(spec.trainer.command or ()),
        "env": _environment(gang, rank),
        "envFrom": list(_environment_from(spec)),
        "resources": {"requests": dict(spec.resources.requests), "limits": dict(spec.resources.limits)},
        "volumeMounts": _mounts(spec),
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT}],
        "terminationMessagePath": str(MountPath.TERMINATION_LOG),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": spec.trainer.command is None,
        },
    }
    if not supervised:
        container["args"] = list(spec.trainer.args)
        if spec.trainer.source is not None:
            container["workingDir"] = str(MountPath.SOURCE)
    return container


def _environment(gang: GangOf, rank: int) -> list[Object]:
    """The contract's variables first, so that the user's may refer to them as $(NAME)."""
    config, scratch = gang.config, MountPath.SCRATCH
    address = f"{gang.pod_name(0)}.{gang.run_name}"
    processes = processes_per_node(gang.spec)
    port = str(rendezvous_port(config.metadata.uid, config.run, gang.attempt))
    fixed: dict[str, str] = {
        Env.CONFIG: f"{MountPath.CONFIG}/{JOB_FILE}",
        Env.JOB: config.metadata.name,
        Env.NAMESPACE: config.metadata.namespace,
        Env.UID: config.metadata.uid,
        Env.RUN: str(config.run),
        Env.ATTEMPT: str(gang.attempt),
        Env.NODE_RANK: str(rank),
        Env.NODES: str(gang.nodes),
        Env.PROCESSES_PER_NODE: str(processes),
        Env.GRACE_SECONDS: str(gang.spec.run_policy.termination_grace_period_seconds),
        Env.METRICS_ADDRESS: f"$(POD_IP):{METRICS_PORT}",
        Env.INPUT_DIR: f"{scratch}/input",
        Env.CHECKPOINT_DIR: f"{scratch}/checkpoint",
        Env.OUTPUT_DIR: f"{scratch}/output",
        Env.WORK_DIR: f"{scratch}/work",
        Env.SOURCE_DIR: MountPath.SOURCE,
        Env.RUN_DIR: MountPath.RUN,
        Env.TERMINATION_LOG: MountPath.TERMINATION_LOG,
        "MASTER_ADDR": address,
        "MASTER_PORT": port,
        "PET_NNODES": str(gang.nodes),
        "PET_NPROC_PER_NODE": str(processes),
        "PET_NODE_RANK": str(rank),
        "PET_MASTER_ADDR": address,
        "PET_MASTER_PORT": port,
        "PET_MAX_RESTARTS": "0",
        "HOME": "/tmp",  # noqa: S108
    }
    if gang.spec.storage.endpoint is not None:
        fixed["AWS_ENDPOINT_URL"] = gang.spec.storage.endpoint
    pod_ip = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    own = [variable.to_json() for variable in gang.spec.trainer.env]
    return [pod_ip, *({"name": str(name), "value": str(value)} for name, value in fixed.items()), *own]


def _environment_from(spec: TrainingJobSpec) -> Iterable[Object]:
    if spec.storage.secret_ref is not None:
        yield {"secretRef": {"name": spec.storage.secret_ref.name}}
    for channel in spec.inputs:
        if channel.secret_ref is not None:
            yield {"prefix": input_env_prefix(channel.name), "secretRef": {"name": channel.secret_ref.name}}
    yield from (source.to_json() for source in spec.trainer.env_from)


def _mounts(spec: TrainingJobSpec) -> list[Object]:
    mounts: list[Object] = [
        {"name": "footplate-config", "mountPath": str(MountPath.CONFIG), "readOnly": True},
        {"name": "footplate-source", "mountPath": str(MountPath.SOURCE), "readOnly": True},
        {"name": "footplate-scratch", "mountPath": str(MountPath.SCRATCH)},
        {"name": "footplate-run", "mountPath": str(MountPath.RUN)},
        {"name": "footplate-shm", "mountPath": "/dev/shm"},  # noqa: S108
        {"name": "footplate-tmp", "mountPath": "/tmp"},  # noqa: S108
    ]
    return mounts + [mount.to_json() for mount in spec.pod_template.volume_mounts]


def _volumes(gang: GangOf) -> list[Object]:
    spec = gang.spec
    source = spec.trainer.source
    code: Object = {"emptyDir": {}}
    if source is not None and source.config_map is not None:
        # Optional where our supervisor runs: it names a missing ConfigMap better than a pod that waits for ever.
        code = {"configMap": {"name": source.config_map.name, "optional": needs_supervisor(spec)}}
    volumes: list[Object] = [
        {"name": "footplate-config", "configMap": {"name": gang.run_name}},
        {"name": "footplate-source", **code},
        {"name": "footplate-scratch", "emptyDir": {}},
        {"name": "footplate-run", "emptyDir": {"medium": "Memory", "sizeLimit": RUN_DIR_SIZE}},
        {"name": "footplate-shm", "emptyDir": {"medium": "Memory", "sizeLimit": spec.pod_template.shared_memory}},
        {"name": "footplate-tmp", "emptyDir": {}},
    ]
    return volumes + [volume.to_json() for volume in spec.pod_template.volumes]


def _placement(gang: GangOf) -> Object:
    """Where the pods may and should run; unset fields are left out, so that the cluster's defaults hold."""
    template, scheduling = gang.spec.pod_template, gang.spec.scheduling
    placement: Object = {
        "nodeSelector": dict(template.node_selector),
        "tolerations": [toleration.to_json() for toleration in template.tolerations],
        "affinity": _affinity(gang),
        "serviceAccountName": template.service_account_name,
        "imagePullSecrets": [secret.to_json() for secret in template.image_pull_secrets],
        "runtimeClassName": template.runtime_class_name,
        "schedulerName": template.scheduler_name,
        "priorityClassName": scheduling.priority_class_name,
    }
    return {key: value for key, value in placement.items() if value}


def _affinity(gang: GangOf) -> Object:
    """The user's affinity, away from `avoid`, and with the gang together in one topology domain where asked."""
    affinity: Object = {**(gang.spec.pod_template.affinity or {})}
    if gang.avoid:
        affinity["nodeAffinity"] = _avoiding(affinity.get("nodeAffinity") or {}, gang.avoid)
    key = gang.spec.scheduling.topology_key
    if key:
        labels = {Label.JOB: gang.config.metadata.name, Label.RUN: str(gang.config.run)}
        term = {"weight": 100, "podAffinityTerm": {"topologyKey": key, "labelSelector": {"matchLabels": labels}}}
        own = affinity.get("podAffinity") or {}
        preferred = own.get("preferredDuringSchedulingIgnoredDuringExecution") or []
        affinity["podAffinity"] = {**own, "preferredDuringSchedulingIgnoredDuringExecution": [*preferred, term]}
    return affinity


def _avoiding(affinity: Mapping[str, Any], nodes: Sequence[str]) -> Object:
    """Node terms are alternatives, so each of them gets the exclusions; Kubernetes wants one value in each."""
    away = [{"key": "metadata.name", "operator": "NotIn", "values": [node]} for node in sorted(nodes)]
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = required.get("nodeSelectorTerms") or [{}]
    excluded = [{**term, "matchFields": [*(term.get("matchFields") or ()), *away]} for term in terms]
    return {**affinity, "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": excluded}}
