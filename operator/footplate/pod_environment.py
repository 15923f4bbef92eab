"""Environment of a pod's container: variables of the contract, of libraries and storage, and the job's own. Pure."""

from collections.abc import Iterator, Mapping

from footplate.api.tracking import tracker_secrets
from footplate.api.trainingjob import TrainingJobSpec
from footplate.attempt_spec import AttemptSpec, processes_per_node
from footplate.contract import (
    JOB_FILE,
    MAX_HOSTS,
    METRICS_PORT,
    SCRATCH_FOLDERS,
    Env,
    MountPath,
    StageEnv,
    TokenEnv,
    input_env_prefix,
    rendezvous_port,
)
from footplate.objects import Object
from footplate.storage_volumes import storage_variables


def variables(gang: AttemptSpec) -> list[Object]:
    """The contract's variables first, so that the user's may refer to them as $(NAME)."""
    config, processes = gang.config, processes_per_node(gang.spec)
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
        **{name: f"{MountPath.SCRATCH}/{folder}" for name, folder in SCRATCH_FOLDERS.items()},
        **_token(gang),
        **({StageEnv.STAGE: gang.stage} if gang.stage else {}),
        Env.SOURCE_DIR: MountPath.SOURCE,
        Env.RUN_DIR: MountPath.RUN,
        Env.TERMINATION_LOG: MountPath.TERMINATION_LOG,
        Env.SPEC_SHA256: gang.spec_sha256,
        Env.NONCE: gang.nonce,
        **_place(gang, rendezvous, processes=processes),
        **storage_variables(gang.spec.storage, supervised=gang.supervised),
    }
    defaults = {
        "HOME": "/tmp",  # noqa: S108
        "USER": "footplate",  # whom getpass asks where the image has no entry for the pod's user
        "PYTHONUNBUFFERED": "1",
        "AWS_ENDPOINT_URL": gang.spec.storage.endpoint,
    }
    own = {variable.name: variable.to_json() for variable in gang.spec.trainer.env}
    fixed |= {name: value for name, value in defaults.items() if value is not None and name not in own}
    pod_ip = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    return [pod_ip, *({"name": str(name), "value": str(value)} for name, value in fixed.items()), *own.values()]


def _token(gang: AttemptSpec) -> Mapping[str, str]:
    """A bare command serves no pages of ours."""
    if not gang.token or not gang.supervised:
        return {}
    return {TokenEnv.TOKEN: gang.token, **({TokenEnv.OPEN_METRICS: "true"} if gang.open_metrics else {})}


def rank_variables(gang: AttemptSpec) -> list[str]:
    """Names of the variables that hold a pod's own rank."""
    return [str(Env.NODE_RANK), *(("RANK", "NODE_RANK") if _is_a_rank(gang) else ())]


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


def variables_from(spec: TrainingJobSpec) -> Iterator[Object]:
    """The job's Secrets and ConfigMaps whose keys are variables."""
    if spec.storage.secret_ref is not None:
        yield {"secretRef": {"name": spec.storage.secret_ref.name}}
    yield from ({"secretRef": {"name": reference.name}} for reference in tracker_secrets(spec.tracking))
    for channel in spec.inputs:
        if channel.secret_ref is not None:
            yield {"prefix": input_env_prefix(channel.name), "secretRef": {"name": channel.secret_ref.name}}
    yield from (source.to_json() for source in spec.trainer.env_from)
