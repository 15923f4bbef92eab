"""What a job will create and take, in words, before it is submitted. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from footplate.api.trainingjob import TrainingJobSpec
from footplate.attempt_spec import processes_per_node
from footplate.client.quotas import QuotaShare, format_amount, share_of_quotas, total
from footplate.client.rendering import settle
from footplate.objects import Object, block, text

_SHOWN = ("cpu", "memory")
"""Resources that are told besides accelerators."""
NO_QUOTAS = "whether a quota has room wasn't looked at: you may not list resourcequotas"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A job before it is submitted. `str(plan)` is the summary for people."""

    namespace: str
    name: str
    runs: str
    """The recipe, entrypoint or command."""
    image: str
    runtime: str
    """Kind and name, empty where the job names none."""
    creates: Sequence[str]
    """Objects of the first attempt."""
    nodes: int
    least_nodes: int
    """Fewer than `nodes` where the gang is elastic."""
    ranks: int
    accelerators: Mapping[str, int]
    """Of all nodes together, by resource name."""
    takes: Mapping[str, Decimal]
    """What all pods ask for together, by resource name; memory and disk in bytes, CPUs in cores."""
    quotas: Sequence[QuotaShare]
    """What the namespace's quotas have left of it."""
    inputs: Mapping[str, str]
    """URI by channel."""
    checkpoint: str
    output: str
    """Folder of the first run's model; empty where none is kept, as `checkpoint`."""
    budget: Sequence[str]
    suspended: bool
    notes: Sequence[str]
    """What the user may not expect."""

    def __str__(self) -> str:
        return "\n".join(f"{label:<12}{line}" for label, line in _lines(self))


def make_plan(job: Object, runtime: Object | None, quotas: Sequence[Object] | None) -> Plan:
    """The plan of a job over its runtime.

    Args:
        job: the raw manifest.
        runtime: what its runtimeRef names, None where it names none.
        quotas: the raw ResourceQuotas of its namespace, None where they may not be read.

    Raises:
        InvalidJob: the job, its runtime or both together break rules of the API.
        RuntimeRefuses: the job sets what the runtime's policy doesn't allow.
    """
    settled = settle(job, runtime)
    spec, metadata = settled.spec, settled.config.metadata
    trainer, nodes = spec.trainer, spec.nodes
    shares = share_of_quotas(spec, quotas or ())
    return Plan(
        namespace=metadata.namespace,
        name=metadata.name,
        runs=_runs(spec),
        image=trainer.image or "",
        runtime=f"{text(runtime, 'kind')} {text(block(runtime, 'metadata'), 'name')}" if runtime is not None else "",
        creates=("1 ConfigMap", "1 Service", f"{nodes} Pod{'' if nodes == 1 else 's'}"),
        nodes=nodes,
        least_nodes=spec.elastic.min_nodes if spec.elastic is not None else nodes,
        ranks=nodes * processes_per_node(spec),
        accelerators={name: each * nodes for name, each in settled.config.devices.items()},
        takes=total(spec),
        quotas=shares,
        inputs={channel.name: channel.uri for channel in spec.inputs},
        checkpoint=(spec.checkpoint.uri or "") if spec.checkpoint is not None else "",
        output=f"{spec.output.uri.rstrip('/')}/{metadata.name}/1/" if spec.output is not None else "",
        budget=tuple(_budget(spec)),
        suspended=spec.run_policy.suspend,
        notes=(*_notes(spec, shares), *((NO_QUOTAS,) if quotas is None else ())),
    )  # fmt: skip


def _runs(spec: TrainingJobSpec) -> str:
    trainer = spec.trainer
    if trainer.recipe is not None:
        return f"recipe {trainer.recipe}"
    if trainer.entrypoint is not None:
        return " ".join([trainer.entrypoint, *trainer.args])
    return " ".join([*(trainer.command or ()), *trainer.args])


def _budget(spec: TrainingJobSpec) -> Iterator[str]:
    policy = spec.run_policy
    yield f"{policy.max_restarts} restarts, {policy.max_disruptions} disruptions"
    if policy.active_deadline_seconds is not None:
        yield f"at most {policy.active_deadline_seconds:,} s of running time"
    if policy.queue_deadline_seconds is not None:
        yield f"waits at most {policy.queue_deadline_seconds:,} s for nodes"


def _notes(spec: TrainingJobSpec, shares: Sequence[QuotaShare]) -> Iterator[str]:
    if spec.output is None:
        yield "no output: no model is kept; set output.uri to keep one"
    if spec.checkpoint is None:
        yield "no checkpoint: each restart begins anew; set checkpoint.uri to go on"
    if spec.run_policy.suspend:
        yield "runPolicy.suspend is true: nothing starts until the job is resumed"
    yield from (share.problem for share in shares if share.problem)


def _lines(plan: Plan) -> Iterator[tuple[str, str]]:
    yield "job", f"{plan.namespace}/{plan.name}" + (f" over {plan.runtime}" if plan.runtime else "")
    yield "runs", f"{plan.runs} in {plan.image}"
    yield "creates", ", ".join(plan.creates)
    yield "takes", _takes(plan)
    yield from (("quota", str(share)) for share in plan.quotas)
    yield from (("reads", f"{name} from {uri}") for name, uri in plan.inputs.items())
    if plan.checkpoint:
        yield "saves", f"checkpoints to {plan.checkpoint}"
    if plan.output:
        yield "writes", f"the model to {plan.output}"
    yield "budget", ", ".join(plan.budget)
    yield from (("note", note) for note in plan.notes)


def _takes(plan: Plan) -> str:
    few = f"{plan.least_nodes} to " if plan.least_nodes < plan.nodes else ""
    nodes = f"{few}{plan.nodes} node{'' if plan.nodes == 1 else 's'}"
    parts = [nodes, f"{plan.ranks} rank{'' if plan.ranks == 1 else 's'}"]
    parts += [f"{count} {name}" for name, count in plan.accelerators.items()]
    parts += [f"{format_amount(name, plan.takes[name])} {name}" for name in _SHOWN if name in plan.takes]
    return ", ".join(parts)
