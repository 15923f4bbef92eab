"""From a resolved job to the objects that run it: ConfigMap, headless Service and pods. Pure.

The pods keep the Pod Security Standard `restricted`: no root, no capabilities, no service account token. Trainers of
ours also get a read-only root file system; a user's own `command` doesn't, since its image may write anywhere.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from footplate.api.trainingjob import TrainingJobSpec
from footplate.attempt_spec import AttemptSpec, needs_supervisor, processes_per_node
from footplate.bare_command import bare_folders, bare_start
from footplate.contract import (
    CONTAINER_NAME,
    JOB_FILE,
    MANAGED_BY,
    METRICS_PORT,
    JobConfig,
    Label,
    MountPath,
)
from footplate.dialect_pods import dialect_variables, ml_mounts, place_in
from footplate.dialects import hyperparameter_arguments
from footplate.objects import Object
from footplate.placement import placement
from footplate.pod_environment import rank_variables, variables, variables_from
from footplate.storage_volumes import storage_mounts, storage_volumes

SUPERVISOR = ("python", "-m", "footplate_trainer")
RUN_DIR_SIZE = "64Mi"
PROBE_SECONDS = 10
MIN_PROBES = 6
"""A pod has a minute to begin to answer, and to answer again, however short its hang timeout is."""
HANG_SHARE = 0.8
NO_LABELS: Mapping[str, str] = {}
FS_GROUP = 10001
"""Owns the volumes, so that an image's own user may write to them."""


def build_config_map(config: JobConfig, text: str, *, name: str, labels: Mapping[str, str] = NO_LABELS) -> Object:
    """The run's ConfigMap, which holds job.json and never changes; `labels` are those that go on from the job."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(config, name, labels),
        "immutable": True,
        "data": {JOB_FILE: text},
    }


def build_service(config: JobConfig, *, name: str, labels: Mapping[str, str] = NO_LABELS) -> Object:
    """The run's headless Service: gives each pod a name from the moment it has an address."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(config, name, labels),
        "spec": {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": _run_labels(config)},
    }


def build_pods(gang: AttemptSpec, ranks: Iterable[int]) -> list[Object]:
    """The pods of some ranks of one attempt. They share what is the same in all of them: don't write to it."""
    template = gang.spec.pod_template
    labels = {**gang.labels, **template.labels, str(Label.ATTEMPT): str(gang.attempt)}
    annotations = {"annotations": dict(template.annotations)} if template.annotations else {}
    spec, container, environment = _pod_spec(gang), _container(gang), variables(gang)
    hosts, processes, supervised = gang.hosts, processes_per_node(gang.spec), needs_supervisor(gang.spec)
    numbered = rank_variables(gang)

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
        "envFrom": list(variables_from(spec)),
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
        words = [*(spec.trainer.command or ()), *arguments]
        return {**container, "command": list(SUPERVISOR), "args": words, "livenessProbe": _liveness(spec)}
    return {**container, **bare_start(spec.trainer, arguments)}


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


def _mounts(spec: TrainingJobSpec) -> list[Object]:
    supervised = needs_supervisor(spec)
    mounts: list[Object] = [
        {"name": "footplate-config", "mountPath": str(MountPath.CONFIG), "readOnly": True},
        {"name": "footplate-source", "mountPath": str(MountPath.SOURCE), "readOnly": True},
        *([{"name": "footplate-scratch", "mountPath": str(MountPath.SCRATCH)}] if supervised else bare_folders()),
        {"name": "footplate-run", "mountPath": str(MountPath.RUN)},
        {"name": "footplate-shm", "mountPath": "/dev/shm"},  # noqa: S108
        {"name": "footplate-tmp", "mountPath": "/tmp"},  # noqa: S108
        *storage_mounts(spec.storage, supervised=supervised),
        *(ml_mounts(spec, scratch="footplate-scratch") if supervised else ()),
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
