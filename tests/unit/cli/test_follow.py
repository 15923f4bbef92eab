"""What a person reads of a job."""

import io
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console

from footplate.cli import follow as module
from footplate.cli.follow import describe_end, describe_progress, follow


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        pytest.param(None, "", id="unknown"),
        pytest.param({"step": 12}, "step 12", id="no-total"),
        pytest.param(
            {"step": 1200, "totalSteps": 9380, "epoch": 2, "epochs": 5}, "step 1,200/9,380  epoch 2/5", id="of"
        ),
        pytest.param({"metrics": {"loss": 0.41234567, "accuracy": 0.9}}, "loss 0.4123  accuracy 0.9", id="metrics"),
        pytest.param({"samplesPerSecond": 5310.2, "etaSeconds": 3721}, "5,310 samples/s  1h2m left", id="speed"),
        pytest.param({"etaSeconds": 0}, "0s left", id="at-the-end"),
    ],
)
def test_progress(progress: Mapping[str, Any] | None, line: str) -> None:
    assert describe_progress({"progress": progress}) == line


def test_a_success_shows_where_the_model_is() -> None:
    artifact = {
        "uri": "s3://models/a/1/",
        "manifest": "s3://models/a/1/manifest.json",
        "sha256": "0" * 64,
        "sizeBytes": 3_000_000,
        "metrics": {"testAccuracy": 0.98},
    }
    text = describe_end({"status": {"phase": "Succeeded", "artifact": artifact}})
    assert "s3://models/a/1/ (3.0 MB)" in text
    assert "s3://models/a/1/manifest.json" in text
    assert "testAccuracy 0.98" in text
    early = describe_end(
        {"status": {"phase": "Succeeded", "artifact": {**artifact, "epoch": 4, "ended": "earlyStopping"}}}
    )
    assert "s3://models/a/1/ (3.0 MB, of epoch 4, ended by earlyStopping)" in early


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_the_end_shows_each_gate(phase: str) -> None:
    gates = [
        {"metric": "testF1Macro", "atLeast": 0.7, "value": 0.76056, "passed": True},
        {"metric": "testLogLoss", "atMost": 0.4, "passed": False},
    ]
    assert describe_end({"status": {"phase": phase, "evaluation": {"gates": gates}}}).splitlines()[-2:] == [
        "Gate       testF1Macro 0.7606, at least 0.7 is asked: passed",
        "Gate       testLogLoss no value, at most 0.4 is asked: not passed",
    ]


def test_a_failure_shows_whose_where_and_the_traceback() -> None:
    failure = {"rank": 3, "node": "gpu-7", "exitCode": 70, "message": "ValueError: no", "traceback": "Traceback …\n"}
    status = {"phase": "Failed", "reason": "UserError", "message": "rank 3 failed", "failure": failure}
    assert describe_end({"status": status}).splitlines() == [
        "Failed: UserError (rank 3, node gpu-7, exit code 70)",
        "ValueError: no",
        "Traceback …",
    ]


async def test_following_prints_each_phase_once_and_plain_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0)
    monkeypatch.setattr(module, "LINE_SECONDS", -1)
    versions: list[dict[str, Any]] = [
        {},
        {"phase": "Running", "message": "1 of 1 [nodes]"},
        {"phase": "Running", "progress": {"step": 1}},
        {"phase": "Running", "progress": {"step": 1}},
        {"phase": "Failed"},
    ]

    async def read() -> Mapping[str, Any]:
        return {"status": versions.pop(0)}

    output = io.StringIO()
    job = await follow(read, Console(file=output), log=lambda status: ["[x]"] if status.get("progress") else [])
    assert job["status"]["phase"] == "Failed"
    words = [line.split("s  ", 1)[-1].strip() for line in output.getvalue().splitlines() if line]
    assert words == ["Running  1 of 1 [nodes]", "│ [x]", "step 1", "│ [x]", "Failed"]
