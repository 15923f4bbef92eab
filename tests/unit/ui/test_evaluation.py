"""What the page of a job shows of its evaluation: values, and gates with what was asked."""

import http.client

from page_jobs import ToldClient, job
from page_server import PageServer

HOSTILE = "<script>window.taken=1</script>"


def page_of(told: dict[str, object]) -> str:
    with PageServer(ToldClient(told)) as server:
        host, _, path = server.session.first_address.removeprefix("http://").partition("/")
        connection = http.client.HTTPConnection(host, timeout=10)
        connection.request("GET", f"/{path}")
        entered = connection.getresponse()
        entered.read()
        cookie = (entered.headers["Set-Cookie"] or "").partition(";")[0]
        connection.request("GET", f"{server.session.place}/jobs/team/digits", headers={"Cookie": cookie})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        assert answer.status == 200, text
        return text


def test_values_and_gates_are_shown_and_escaped() -> None:
    gates = [
        {"metric": "testAccuracy", "atLeast": 0.9, "value": 0.89999, "passed": False},
        {"metric": HOSTILE, "atMost": 1, "passed": False, "why": HOSTILE},
    ]
    artifact = {"uri": "s3://models/digits/1/", "manifest": "m", "sha256": "a", "sizeBytes": 5, "accepted": False}
    evaluation = {"metrics": {"testAccuracy": 0.75, "testF1Macro": 0.7333}, "gates": gates}
    text = page_of(job(phase="Failed", reason="GateNotPassed", artifact=artifact, evaluation=evaluation))
    assert "verified, not accepted" in text
    assert "testF1Macro 0.7333" in text
    assert '<td>at least 0.9</td><td class="right">0.89999</td>' in text, "0.9 would be enough"
    assert HOSTILE not in text
    assert "&lt;script&gt;" in text


def test_a_job_without_an_evaluation_has_nothing_of_it() -> None:
    assert "Gates" not in page_of(job())
