"""Whether a run's model is accepted, by the job's own gates: what a pod says of others doesn't count, nor that one is
passed whose bound its value doesn't keep. Pure.
"""

from footplate.api.evaluation import Gate
from footplate.api.reports import EvaluationStatus, GateStatus, keeps_bound
from footplate.api.status import TrainingJobStatus
from footplate.api.trainingjob import TrainingJobSpec
from footplate.text import clean


def held(status: TrainingJobStatus, spec: TrainingJobSpec) -> TrainingJobStatus:
    """The status with what its pods have said of gates, as far as these are the job's."""
    said, artifact, asked = status.evaluation, status.artifact, _gates(spec)
    if said is not None:
        said = said.model_copy(update={"gates": [gate for each in said.gates for gate in _held(each, asked)]})
    if artifact is not None and (not asked or (said is not None and said.accepted is False)):
        artifact = artifact.model_copy(update={"accepted": False if asked else None})
    return status.model_copy(update={"evaluation": said, "artifact": artifact})


def refusal(status: TrainingJobStatus, spec: TrainingJobSpec) -> str:
    """Why a run whose pods have all ended well has no model that is accepted; empty where it has, or nobody asks."""
    missed = _missed(status.evaluation)
    if missed:
        return clean(f"the model isn't accepted: {'; '.join(missed)}")
    if _gates(spec) and not _is_said(status, spec):
        return (
            "the model isn't accepted: its pod doesn't say that it passes the gates of spec.evaluation; use an image "
            "whose footplate_trainer knows them"
        )
    return ""


def _is_said(status: TrainingJobStatus, spec: TrainingJobSpec) -> bool:
    """Whether rank 0 has said so, of its model where it has one: where all are passed, it may have no room for them."""
    if spec.output is not None:
        return status.artifact is not None and status.artifact.accepted is True
    return status.evaluation is not None


def _gates(spec: TrainingJobSpec) -> list[Gate]:
    return spec.evaluation.gates if spec.evaluation is not None else []


def _held(said: GateStatus, asked: list[Gate]) -> list[GateStatus]:
    """The gate, if it is one of the job's."""
    bound = (said.metric, said.at_least, said.at_most)
    if bound not in [(gate.metric, gate.at_least, gate.at_most) for gate in asked]:
        return []
    passed = said.value is not None and keeps_bound(said.value, at_least=said.at_least, at_most=said.at_most)
    return [said.model_copy(update={"passed": passed})]


def _missed(evaluation: EvaluationStatus | None) -> list[str]:
    gates = evaluation.gates if evaluation is not None else []
    return [f"{gate.metric} is {gate.shown}, {gate.bound} is asked" for gate in gates if not gate.passed]
