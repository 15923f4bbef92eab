"""How a model meets the gates of `spec.evaluation`: a gate is passed only by a number that keeps its bound. Pure."""

from collections.abc import Mapping, Sequence
from itertools import islice

from footplate.api.errors import nearest
from footplate.api.evaluation import Gate
from footplate.api.reports import MAX_HEADLINES, MAX_METRIC_NAME, EvaluationStatus, GateStatus, keeps_bound
from footplate_trainer.evaluation_file import EvaluationFile


def hold(gates: Sequence[Gate], found: EvaluationFile | None, reported: Mapping[str, float]) -> EvaluationStatus | None:
    """What was measured, and how the gates are met; None where nothing was, and there are no gates.

    Args:
        gates: what is asked.
        found: what evaluation.json says, which goes first.
        reported: the newest value of each metric.
    """
    if found is None:
        return EvaluationStatus(gates=[_hold(gate, reported, {}) for gate in gates]) if gates else None
    short = {name: value for name, value in found.headlines().items() if len(name) <= MAX_METRIC_NAME}
    undefined = found.undefined()
    # What was evaluated and has no value has none, whatever was reported before.
    values = {name: value for name, value in {**reported, **found.values()}.items() if name not in undefined}
    return EvaluationStatus(
        metrics=dict(islice(short.items(), MAX_HEADLINES)), gates=[_hold(gate, values, undefined) for gate in gates]
    )


def _hold(gate: Gate, values: Mapping[str, float], undefined: Mapping[str, str]) -> GateStatus:
    value = values.get(gate.metric)
    return GateStatus(
        metric=gate.metric,
        at_least=gate.at_least,
        at_most=gate.at_most,
        value=value,
        passed=value is not None and keeps_bound(value, at_least=gate.at_least, at_most=gate.at_most),
        why=_why_none(gate.metric, values, undefined) if value is None else None,
    )


def _why_none(metric: str, values: Mapping[str, float], undefined: Mapping[str, str]) -> str:
    if metric in undefined:
        return undefined[metric][:256]
    if not values:
        return (
            "nothing was evaluated or reported: call footplate_trainer.evaluate(predictions, targets) in the code, or "
            "report it"
        )
    hint = nearest(metric, [*values, *undefined]) or f"there are {', '.join(sorted(values)[:8])}"
    return f"nothing of that name was evaluated or reported; {hint}"[:256]
