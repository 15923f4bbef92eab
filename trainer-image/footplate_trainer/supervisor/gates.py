"""The gates of `spec.evaluation`: held once training is over, before the model's manifest, against what evaluation.json
says and what was reported.
"""

import time
from collections.abc import Mapping

from footplate.api.reports import ArtifactStatus, EvaluationStatus, GateStatus
from footplate.contract import Failure
from footplate_trainer.errors import UserError
from footplate_trainer.evaluation_file import EVALUATION_FILE, read_evaluation
from footplate_trainer.gates import hold
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
    return hold(pod.spec.evaluation.gates if pod.spec.evaluation is not None else (), found, reported)


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
