"""What the overview of a job shows of its evaluation: values, and gates with what was asked."""

from page_jobs import ToldClient, job
from page_server import PageServer

HOSTILE = "<script>window.taken=1</script>"


def page_of(told: dict[str, object]) -> str:
    with PageServer(ToldClient(told)) as server:
        status, _, body = server.get("jobs/team/digits")
    assert status == 200, body
    return body.decode()


def test_values_and_gates_are_shown_and_escaped() -> None:
    gates = [
        {"metric": "testAccuracy", "atLeast": 0.9, "value": 0.89999, "passed": False},
        {"metric": HOSTILE, "atMost": 1, "passed": False, "why": HOSTILE},
    ]
    artifact = {"uri": "s3://models/digits/1/", "manifest": "m", "sha256": "a", "sizeBytes": 5, "accepted": False}
    evaluation = {"metrics": {"testAccuracy": 0.75, "testF1Macro": 0.7333}, "gates": gates}
    text = page_of(job(phase="Failed", reason="GateNotPassed", artifact=artifact, evaluation=evaluation))
    assert "verified, not accepted" in text
    assert "Not accepted: 2 of 2 gates are not passed" in text
    assert "<dt>testF1Macro</dt><dd>0.7333</dd>" in text
    assert "<td>at least 0.9</td>" in text
    assert "0.89999" in text, "0.9 would be enough"
    assert HOSTILE not in text
    assert "&lt;script&gt;" in text


def test_an_accepted_model_is_said_to_be_accepted() -> None:
    gates = [{"metric": "testAccuracy", "atLeast": 0.9, "value": 0.95, "passed": True}]
    text = page_of(job(phase="Succeeded", evaluation={"gates": gates}))
    assert "Accepted: its gate is passed" in text
    assert "not passed" not in text


def test_a_job_without_an_evaluation_has_nothing_of_it() -> None:
    assert "Gates" not in page_of(job())
    assert 'id="verdict"' not in page_of(job(evaluation={}))
