"""What the operator will make of a job: the merged spec, and the objects of its first attempt. Pure.

The same functions as the operator's own, so nothing here can say otherwise than what happens. Only the job's UID isn't
known yet: `UNKNOWN_UID` stands for it, in names too.
"""

from dataclasses import dataclass

from footplate.api.trainingjob import TrainingJobSpec
from footplate.attempt_spec import AttemptSpec, run_name
from footplate.contract import JobConfig
from footplate.manifests.validation import with_name
from footplate.objects import Object, block, uid_of
from footplate.podspec import build_config_map, build_pods, build_service
from footplate.policy.mutable import with_live_fields
from footplate.policy.resolve import encode, resolve, spec_digest
from footplate.policy.run import nonce_digest, restart_nonce

UNKNOWN_UID = "00000000-0000-0000-0000-000000000000"
_FIRST_RUN = 1


@dataclass(frozen=True, slots=True)
class Settled:
    """A job over its runtime: what is fixed when its first run begins, and with what may change while it lives."""

    config: JobConfig
    spec: TrainingJobSpec

    @property
    def run_name(self) -> str:
        """Name of the run's ConfigMap and Service."""
        job = self.config.metadata
        return run_name(job.name, self.config.run, uid=job.uid)


def settle(job: Object, runtime: Object | None) -> Settled:
    """The job as its first run will have it.

    Raises:
        InvalidJob: the job, its runtime or both together break rules of the API.
        RuntimeRefuses: the job sets what the runtime's policy doesn't allow.
    """
    named = with_name(job)
    metadata = {"uid": UNKNOWN_UID, **block(named, "metadata")} if not uid_of(named) else block(named, "metadata")
    whole = {**named, "metadata": metadata}
    config = resolve(whole, runtime, run=_FIRST_RUN)
    return Settled(config, with_live_fields(config, whole, runtime).spec)


def render(job: Object, runtime: Object | None = None) -> list[Object]:
    """ConfigMap, Service and pods of the job's first attempt, in the order in which the operator creates them; without
    those labels of the job that its `--propagate-label` lets go on.

    The pods share what is the same in all of them: don't write to it. Raises what `settle` raises.
    """
    settled = settle(job, runtime)
    config, name = settled.config, settled.run_name
    nonce = restart_nonce(job)
    gang = AttemptSpec(
        config,
        settled.spec,
        name,
        attempt=0,
        nodes=settled.spec.nodes,
        spec_sha256=spec_digest(job),
        nonce=nonce_digest(nonce) if nonce else "",
    )
    return [
        build_config_map(config, encode(config), name=name),
        build_service(config, name=name),
        *build_pods(gang, range(settled.spec.nodes)),
    ]
