"""The gates of `spec.evaluation`: held once training is over, before the model's manifest, against what evaluation.json
says and what was reported. A gate is passed only by a number that keeps its bound.
"""

import time
from collections.abc import Mapping
from itertools import islice

from footplate.api.errors import nearest
from footplate.api.evaluation import Gate
from footplate.api.reports import (
    MAX_HEADLINES,
    MAX_METRIC_NAME,
    ArtifactStatus,
    EvaluationStatus,
    GateStatus,
    keeps_bound,
)
from footplate.contract import Failure
from footplate_trainer.errors import UserError
from footplate_trainer.evaluation_file import EVALUATION_FILE, read_evaluation
from footplate_trainer.supervisor.pod import Pod


def hold_gates(pod: Pod, reported: Mapping[str, float]) -> EvaluationStatus | None:
    """What was measured, and how the gates are met; None where nothing was, and there are no gates. `reported` is the
    newest value of each metric.

    Raises:
        UserError: evaluation.json can't be read.
    """
    try:
        found = read_evaluation(pod.output_dir)
    except OSError as error:
        raise UserError(f"{EVALUATION_FILE} in $FOOTPLATE_OUTPUT_DIR can't be read: {error.strerror}") from error
    gates = pod.spec.evaluation.gates if pod.spec.evaluation is not None else []
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


def failure_of(evaluation: EvaluationStatus | None, model: ArtifactStatus | None = None) -> Failure | None:
    """What to say of gates that weren't passed; None where all were, or there are none. The `model` that is stored may
    be that of an attempt which has come to other values.
    """
    missed = [gate for gate in evaluation.gates if not gate.passed] if evaluation is not None else []
    words = "; ".join(map(describe, missed))
    if not missed and model is not None and model.accepted is False:
        words = "an earlier attempt has stored it so, and its manifest says for which gate"
    return Failure(message=f"the model isn't accepted: {words}"[:1024], time=time.time()) if words else None


def describe(gate: GateStatus) -> str:
    """A gate that wasn't passed: `testAccuracy is 0.62, at least 0.9 is asked`."""
    if gate.value is None:
        return f"{gate.metric} has no value ({gate.why}), {gate.bound} is asked"
    return f"{gate.metric} is {gate.shown}, {gate.bound} is asked"
