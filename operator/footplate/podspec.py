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
    MAX_HOSTS,
    METRICS_PORT,
    UID_DIGITS,
    Env,
    JobConfig,
    Label,
    MountPath,
    input_env_prefix,
    rendezvous_port,
)
from footplate.dialect_pods import dialect_variables, ml_mounts, place_in
from footplate.dialects import hyperparameter_arguments
from footplate.objects import Object
from footplate.placement import placement
from footplate.storage_volumes import storage_mounts, storage_variables, storage_volumes

SUPERVISOR = ("python", "-m", "footplate_trainer")
RUN_DIR_SIZE = "64Mi"
PROBE_SECONDS = 10
MIN_PROBES = 6
"""A pod has a minute to begin to answer, and to answer again, however short its hang timeout is."""
HANG_SHARE = 0.8
FS_GROUP = 10001
"""Owns the volumes, so that an image's own user may write to them."""


@dataclass(frozen=True, slots=True)
class AttemptSpec:
    """One attempt of a run: what differs from gang to gang of the same job."""

    config: JobConfig
    spec: TrainingJobSpec
    run_name: str
    """Name of the run's ConfigMap and Service."""
    attempt: int
    nodes: int
    avoid: Sequence[str] = ()
    """Kubernetes nodes to keep away from as long as there are others."""

    @property
    def hosts(self) -> list[str]:
        """Names of the pods in the run's headless Service, by rank."""
        return [f"{self.pod_name(rank)}.{self.run_name}" for rank in range(self.nodes)]

    def pod_name(self, rank: int) -> str:
        """Name of a pod."""
        return pod_name(self.config.metadata.name, run=self.config.run, attempt=self.attempt, rank=rank)


def run_name(job: str, run: int, *, uid: str) -> str:
    """Name of a new run's ConfigMap and of its Service, a DNS label. A run keeps the name that it began with.

    The UID is in it since a kubelet may mount its copy of an immutable ConfigMap, and a resolver answer with addresses,
    of a deleted job's that had the same name.
    """
    return f"{job}-run-{run}-{uid[:UID_DIGITS]}"


def attempt_name(job: str, *, run: int, attempt: int) -> str:
    """What the names of an attempt's pods have in common."""
    return f"{job}-{run}-{attempt}"


def pod_name(job: str, *, run: int, attempt: int, rank: int) -> str:
    """Name of a pod: the same for the same rank of the same attempt, always."""
    return f"{attempt_name(job, run=run, attempt=attempt)}-{rank}"


def build_config_map(config: JobConfig, text: str, *, name: str) -> Object:
    """The run's ConfigMap, which holds job.json and never changes."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(config, name, {}),
        "immutable": True,
        "data": {JOB_FILE: text},
    }


def build_service(config: JobConfig, *, name: str) -> Object:
    """The run's headless Service: gives each pod a name from the moment it has an address."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(config, name, {}),
        "spec": {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": _run_labels(config)},
    }


def build_pods(gang: AttemptSpec, ranks: Iterable[int]) -> list[Object]:
    """The pods of some ranks of one attempt. They share what is the same in all of them: don't write to it."""
    template = gang.spec.pod_template
    labels = {**template.labels, str(Label.ATTEMPT): str(gang.attempt)}
    annotations = {"annotations": dict(template.annotations)} if template.annotations else {}
    spec, container, environment = _pod_spec(gang), _container(gang), _environment(gang)
    hosts, processes, supervised = gang.hosts, processes_per_node(gang.spec), needs_supervisor(gang.spec)
    numbered = [str(Env.NODE_RANK), *(("RANK", "NODE_RANK") if _is_a_rank(gang) else ())]

    def build(rank: int) -> Object:
        name = gang.pod_name(rank)
        place = place_in(gang.config, gang.spec, attempt=gang.attempt, hosts=hosts, node_rank=rank, processes=processes)
        own = {name: str(rank) for name in numbered} | dialect_variables(place, supervised=supervised)
        of_rank = [{"name": variable, "value": value} for variable, value in own.items()]
        containers = [{**container, "env": of_rank + environment}]
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**_metadata(gang.config, name, {**labels, str(Label.RANK): str(rank)}), **annotations},
            "spec": {"hostname": name, **spec, "containers": containers},
        }

    return [build(rank) for rank in ranks]


def processes_per_node(spec: TrainingJobSpec) -> int:
    """Ranks in each pod: as the job says, else one an accelerator, else one."""
    if spec.processes_per_node != "auto":
        return spec.processes_per_node
    return max(1, sum(accelerators(spec).values()))


def accelerators(spec: TrainingJobSpec) -> dict[str, int]:
    """Accelerators of each node, by resource name."""
    return spec.resources.accelerators


def needs_supervisor(spec: TrainingJobSpec) -> bool:
    """False for a bare command, which then needs nothing of ours in its image."""
    code_to_fetch = spec.trainer.source is not None and spec.trainer.source.config_map is None
    keeps_folder = spec.checkpoint is not None and spec.checkpoint.uri is not None
    to_be_done = spec.inputs or spec.output or keeps_folder or spec.trainer.metric_definitions
    return spec.trainer.command is None or bool(to_be_done) or code_to_fetch


def mounted_objects(spec: TrainingJobSpec) -> list[str]:
    """What the pods' volumes need, besides what is ours: a pod waits for ever for one that isn't there."""
    source = spec.trainer.source
    named = []
    if source is not None and source.config_map is not None and not needs_supervisor(spec):
        named.append(f"ConfigMap {source.config_map.name}")
    authorities = spec.storage.ca_bundle
    if authorities is not None and not needs_supervisor(spec):
        named.append(f"{authorities.kind} {authorities.reference.name}")
    for volume in spec.pod_template.volumes:
        if volume.persistent_volume_claim is not None:
            named.append(f"PersistentVolumeClaim {volume.persistent_volume_claim.claim_name}")
        if volume.config_map is not None and not volume.config_map.optional:
            named.append(f"ConfigMap {volume.config_map.name}")
        if volume.secret is not None and not volume.secret.optional:
            named.append(f"Secret {volume.secret.secret_name}")
    return named


def _run_labels(config: JobConfig) -> dict[str, str]:
    """What only this run's objects have: pods of a deleted job of the same name may still be there."""
    job = config.metadata
    return {str(Label.JOB): job.name, str(Label.UID): job.uid, str(Label.RUN): str(config.run)}


def _metadata(config: JobConfig, name: str, labels: Mapping[str, str]) -> Object:
    job = config.metadata
    return {
        "name": name,
        "namespace": job.namespace,
        "labels": {**labels, str(Label.MANAGED_BY): MANAGED_BY, **_run_labels(config)},
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


def _pod_spec(gang: AttemptSpec) -> Object:
    """What is the same in all pods of a gang, but for the container."""
    return {
        "subdomain": gang.run_name,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": gang.spec.run_policy.termination_grace_period_seconds,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": _security_context(gang.spec),
        "volumes": _volumes(gang),
        **placement(gang.spec, gang_labels=_run_labels(gang.config), avoid=gang.avoid),
    }


def _security_context(spec: TrainingJobSpec) -> Object:
    own = spec.pod_template.security_context
    return {
        "runAsNonRoot": True,
        "fsGroup": FS_GROUP,
        "seccompProfile": {"type": "RuntimeDefault"},
        **(own.to_json() if own is not None else {}),
    }


def _container(gang: AttemptSpec) -> Object:
    spec = gang.spec
    supervised = needs_supervisor(spec)
    container: dict[str, Any] = {
        "name": CONTAINER_NAME,
        "image": spec.trainer.image,
        "command": list(SUPERVISOR) if supervised else list(spec.trainer.command or ()),
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
    # What hyperparameters say isn't for the kubelet to expand.
    said = [word.replace("$", "$$") for word in hyperparameter_arguments(spec.trainer)]
    arguments = [*spec.trainer.args, *said]
    if supervised:
        # The user's words are arguments of ours, so that the kubelet expands $(NAME) in them as in a bare command.
        container["args"] = [*(spec.trainer.command or ()), *arguments]
        container["livenessProbe"] = _liveness(spec)
    else:
        container["args"] = arguments
        if spec.trainer.source is not None:
            container["workingDir"] = str(MountPath.SOURCE)
    return container


def _liveness(spec: TrainingJobSpec) -> Object:
    """Ends a container whose supervisor is frozen: nothing in it would ever notice.

    Somewhat sooner than the other pods' ranks, which wait for it, count as hung: the frozen pod is the one to blame. A
    supervisor that hasn't answered for so long won't save anything either, so its grace is short.
    """
    patience = HANG_SHARE * spec.run_policy.hang_timeout_seconds
    return {
        "httpGet": {"path": "/healthz", "port": "metrics"},
        "initialDelaySeconds": PROBE_SECONDS,  # else each start is a Warning event, as nothing listens yet
        "periodSeconds": PROBE_SECONDS,
        "timeoutSeconds": PROBE_SECONDS,
        "failureThreshold": max(MIN_PROBES, int(patience / PROBE_SECONDS)),
        "terminationGracePeriodSeconds": PROBE_SECONDS,
    }


def _environment(gang: AttemptSpec) -> list[Object]:
    """The contract's variables first, so that the user's may refer to them as $(NAME)."""
    config, scratch, processes = gang.config, MountPath.SCRATCH, processes_per_node(gang.spec)
    port = str(rendezvous_port(config.metadata.uid, config.run, gang.attempt))
    rendezvous = {"MASTER_ADDR": f"{gang.pod_name(0)}.{gang.run_name}", "MASTER_PORT": port}
    fixed: dict[str, str] = {
        Env.CONFIG: f"{MountPath.CONFIG}/{JOB_FILE}",
        Env.JOB: config.metadata.name,
        Env.NAMESPACE: config.metadata.namespace,
        Env.UID: config.metadata.uid,
        Env.RUN: str(config.run),
        Env.ATTEMPT: str(gang.attempt),
        Env.NODES: str(gang.nodes),
        Env.HOSTS: ",".join(gang.hosts) if gang.nodes <= MAX_HOSTS else "",
        Env.PROCESSES_PER_NODE: str(processes),
        Env.GRACE_SECONDS: str(gang.spec.run_policy.termination_grace_period_seconds),
        Env.METRICS_ADDRESS: f"$(POD_IP):{METRICS_PORT}",
        Env.INPUT_DIR: f"{scratch}/input",
        Env.CHECKPOINT_DIR: f"{scratch}/checkpoint",
        Env.OUTPUT_DIR: f"{scratch}/output",
        Env.LOGS_DIR: f"{scratch}/logs",
        Env.WORK_DIR: f"{scratch}/work",
        Env.SOURCE_DIR: MountPath.SOURCE,
        Env.RUN_DIR: MountPath.RUN,
        Env.TERMINATION_LOG: MountPath.TERMINATION_LOG,
        **_place(gang, rendezvous, processes=processes),
        **storage_variables(gang.spec.storage, supervised=needs_supervisor(gang.spec)),
    }
    defaults = {"HOME": "/tmp", "AWS_ENDPOINT_URL": gang.spec.storage.endpoint}  # noqa: S108
    own = {variable.name: variable.to_json() for variable in gang.spec.trainer.env}
    fixed |= {name: value for name, value in defaults.items() if value is not None and name not in own}
    pod_ip = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    return [pod_ip, *({"name": str(name), "value": str(value)} for name, value in fixed.items()), *own.values()]


def _place(gang: AttemptSpec, rendezvous: Mapping[str, str], *, processes: int) -> Mapping[str, str]:
    """What libraries take for the sign that they are distributed, so that one rank alone has none of it. A command is
    one rank: what it starts is its own affair.
    """
    if _is_a_rank(gang):
        return {"WORLD_SIZE": str(gang.nodes), **rendezvous}
    distributed = gang.spec.trainer.command is None and gang.nodes * processes > 1
    return rendezvous if distributed else {}


def _is_a_rank(gang: AttemptSpec) -> bool:
    """True where each pod is a rank among others: a command's. Those of a recipe or entrypoint are its processes."""
    return gang.spec.trainer.command is not None and gang.nodes > 1


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
        *storage_mounts(spec.storage, supervised=needs_supervisor(spec)),
        *(ml_mounts(spec, scratch="footplate-scratch") if needs_supervisor(spec) else ()),
    ]
    return mounts + [mount.to_json() for mount in spec.pod_template.volume_mounts]


def _volumes(gang: AttemptSpec) -> list[Object]:
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
        *storage_volumes(spec.storage, supervised=needs_supervisor(spec)),
    ]
    return volumes + [volume.to_json() for volume in spec.pod_template.volumes]
