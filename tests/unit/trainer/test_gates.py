"""Gates: what passes them, and what is said where something doesn't."""

from pathlib import Path
from typing import Any

import pytest

from footplate.api.evaluation import Gate
from footplate.api.reports import EvaluationStatus, GateStatus
from footplate.contract import MAX_VERDICT_BYTES, ExitCode, parse_verdict
from footplate_trainer.evaluation_file import DataEvaluation, add_evaluation
from footplate_trainer.exchange import RankReport
from footplate_trainer.supervisor.gates import failure_of, hold_gates
from footplate_trainer.supervisor.heard import Heard
from footplate_trainer.supervisor.pod import Pod, read_pod
from footplate_trainer.supervisor.verdict import encode, judge
from trainer_pods import pod_environment

FOUND = DataEvaluation(
    task="classification",
    samples=4,
    values={"accuracy": 0.75, "f1.no": 0.5},
    undefined={"rocAuc": "class 'yes' does not occur among the targets"},
)


def pod(root: Path, *gates: dict[str, Any], found: DataEvaluation | None = FOUND) -> Pod:
    made = read_pod(pod_environment(root, {"trainer": {"command": ["x"]}, "evaluation": {"gates": [*gates]}}))
    made.make_folders()
    if found is not None:
        add_evaluation(made.output_dir, {"test": found})
    return made


@pytest.mark.parametrize(
    ("gate", "passed"),
    [
        ({"metric": "testAccuracy", "atLeast": 0.75}, True),
        ({"metric": "testAccuracy", "atLeast": 0.7500001}, False),
        ({"metric": "testAccuracy", "atMost": 0.75}, True),
        ({"metric": "testAccuracy", "atMost": 0.7}, False),
        ({"metric": "testF1.no", "atLeast": 0.5}, True),
        ({"metric": "score", "atLeast": 0.9}, True),
        ({"metric": "testRocAuc", "atLeast": 0.1}, False),
        ({"metric": "testRocAuc", "atMost": 1}, False),
        ({"metric": "nothing", "atMost": 1e9}, False),
    ],
)
def test_a_gate_is_passed_by_a_number_that_keeps_its_bound(tmp_path: Path, gate: dict[str, Any], passed: bool) -> None:
    """What was evaluated goes first, also where it has no value; then what was reported."""
    reported = {"score": 0.9, "testAccuracy": 0.0, "testRocAuc": 0.5}
    held = hold_gates(pod(tmp_path, gate), reported)
    assert held is not None
    assert held.gates[0].passed is held.accepted is passed
    assert (failure_of(held) is None) is passed


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ({"metric": "testAccuracy", "atLeast": 0.9}, "testAccuracy is 0.75, at least 0.9 is asked"),
        ({"metric": "testAccuracy", "atLeast": 0.75000000001}, "testAccuracy is 0.75, at least 0.75000000001 is asked"),
        ({"metric": "testRocAuc", "atLeast": 0.9}, "testRocAuc has no value (class 'yes' does not occur"),
        ({"metric": "testacuracy", "atLeast": 0.9}, "did you mean testAccuracy?"),
        ({"metric": "zzz", "atLeast": 0.9}, "there are testAccuracy, testF1.no"),
    ],
)
def test_the_message_has_metric_value_and_bound(tmp_path: Path, gate: dict[str, Any], words: str) -> None:
    failure = failure_of(hold_gates(pod(tmp_path, gate), {}))
    assert failure is not None
    assert failure.message.startswith("the model isn't accepted: ")
    assert words in failure.message


@pytest.mark.parametrize(
    ("bound", "value", "words"),
    [
        ({"at_least": 0.9}, 0.89999, "is 0.89999, at least 0.9 is asked"),
        ({"at_least": 0.89999}, 0.899986, "is 0.899986, at least 0.89999 is asked"),
        ({"at_most": 0.10001}, 0.100014, "is 0.100014, at most 0.10001 is asked"),
        ({"at_most": 0.1}, 0.123456, "is 0.1235, at most 0.1 is asked"),
    ],
)
def test_a_value_that_only_seems_to_keep_its_bound_is_shown_in_full(
    bound: dict[str, float], value: float, words: str
) -> None:
    gate = GateStatus(metric="testAccuracy", value=value, passed=False, **bound)
    failure = failure_of(EvaluationStatus(gates=[gate]))
    assert failure is not None
    assert words in failure.message


def test_a_value_that_passes_is_not_shown_as_one_that_does_not() -> None:
    assert GateStatus(metric="m", at_least=0.90001, value=0.900014, passed=True).shown == "0.900014"
    assert GateStatus(metric="m", at_least=0.5, value=0.912345, passed=True).shown == "0.9123"


def test_without_an_evaluation_no_gate_is_passed(tmp_path: Path) -> None:
    held = hold_gates(pod(tmp_path, {"metric": "testAccuracy", "atLeast": 0.0}, found=None), {})
    assert held is not None
    assert held.accepted is False
    assert "call footplate_trainer.evaluate" in (held.gates[0].why or "")


def test_without_gates_nothing_is_accepted_or_refused(tmp_path: Path) -> None:
    held = hold_gates(pod(tmp_path), {})
    assert held is not None
    assert (held.accepted, held.metrics) == (None, {"testAccuracy": 0.75})
    assert hold_gates(pod(tmp_path / "other", found=None), {}) is None


def test_a_metric_that_was_heard_as_no_number_is_not_passed_by_an_older_one() -> None:
    heard = Heard()
    heard.hear({"score": 0.9})
    assert heard.complete(RankReport()).progress.metrics == {"score": 0.9}
    heard.hear({"score": "nan", "loss": 1})
    assert heard.complete(RankReport()).progress.metrics == {"loss": 1}


def test_a_verdict_keeps_what_failed_longest() -> None:
    passed = [GateStatus(metric="ü" * 160, at_least=0.5, value=0.75, passed=True)] * 15
    missed = GateStatus(metric="testAccuracy", at_least=0.9, value=0.75, passed=False, why="w" * 256)
    evaluation = EvaluationStatus(gates=[*passed, missed])
    text = encode(judge(ExitCode.GATE_NOT_PASSED, evaluation=evaluation, error=failure_of(evaluation)))
    assert len(text) <= MAX_VERDICT_BYTES
    read = parse_verdict(text.decode())
    assert read is not None
    assert read.evaluation is not None
    assert [gate.metric for gate in read.evaluation.gates] == ["testAccuracy"]
    assert read.error is not None


def test_a_bound_has_all_its_digits() -> None:
    assert Gate(metric="m", at_least=0.123456789).at_least == 0.123456789
    assert GateStatus(metric="m", at_most=0.0, passed=False).bound == "at most 0"
