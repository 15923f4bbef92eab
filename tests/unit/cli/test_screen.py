"""What `footplate status` shows."""

import io
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from footplate.cli.screen import View, job_screen
from job_views import EVIL, NOW, at, job_view, rank_view

TRANSITIONS = [
    {"phase": "Queued", "time": at(700)},
    {"phase": "Starting", "time": at(690)},
    {"phase": "Running", "time": at(660)},
    {"phase": "Restarting", "time": at(60)},
    {"phase": "Running", "time": at(45)},
]
RUNNING = {
    "phase": "Running",
    "run": 1,
    "attempt": 1,
    "message": "2 of 2 nodes running",
    "restarts": {"infrastructure": 1},
    "transitions": TRANSITIONS,
    "progress": {
        "step": 1200,
        "totalSteps": 2400,
        "epoch": 2,
        "epochs": 5,
        "percent": 50.0,
        "etaSeconds": 725,
        "samplesPerSecond": 5310.2,
        "metrics": {"loss": 0.41},
    },
    "checkpoint": {"uri": "s3://checkpoints/digits/step-00001000/", "step": 1000, "time": at(120)},
    "usage": {"nodeSeconds": 1320, "acceleratorSeconds": {"nvidia.com/gpu": 10560}, "goodputPercent": 91.4},
}


def shown(
    status: dict[str, Any], *, history: Any = None, ranks: Any = (), events: Any = (), width: int | None = 100
) -> str:
    job = job_view(**status)
    curve = history or SimpleNamespace(steps=[], metrics={})
    view = View(job=job, progress=job.progress, history=curve, ranks=ranks, events=events, now=NOW)  # type: ignore[arg-type]
    console = Console(file=io.StringIO(), markup=False, highlight=False)
    console.print(job_screen(view, width=width), soft_wrap=True)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_a_running_job() -> None:
    values = {"loss": [2.0, 1.0, None, 0.41], "accuracy": [None] * 4}
    curve = SimpleNamespace(steps=[0, 400, 800, 1200], metrics=values)
    events = [SimpleNamespace(last=NOW, type="Normal", reason="AllPodsRunning", message="2 of 2 nodes running")]
    assert (
        shown(RUNNING, history=curve, ranks=[rank_view(0), rank_view(1, slow=2.1)], events=events)
        == """\
digits   team   run 1, attempt 1   Running   1 restart
2 of 2 nodes running
Timeline    Queued 10s → Starting 30s → Running 10m → Restarting 15s → Running 45s
Progress    ████████████████████░░░░░░░░░░░░░░░░░░░░ 50 %   12m left
            step 1,200/2,400   epoch 2/5   5,310 samples/s
Metrics     loss      █▃▃▁                                      0.41       0.41 … 2
Ranks       ■▲
            ■ 1 running   ▲ 1 slow
            ▲ rank 1 on node-1: its work on a step takes 2.1 times the median's
Checkpoint  s3://checkpoints/digits/step-00001000/, step 1,000, 2m ago
Used        node 0.37 h   nvidia.com/gpu 2.93 h   goodput 91 %
Events      0s ago   AllPodsRunning   2 of 2 nodes running
"""
    )


def test_what_is_longer_than_the_terminal_goes_on_below_its_beginning() -> None:
    status = {
        "phase": "Running",
        "notes": ["a checkpoint was found damaged, so training went on from the one before it"],
    }
    assert shown(status, width=60).splitlines()[-2:] == [
        "Notes       a checkpoint was found damaged, so training went",
        "            on from the one before it",
    ]
    assert shown(status, width=None).splitlines()[-1].endswith("one before it")


def test_a_failure_shows_whose_where_and_the_end_of_the_traceback() -> None:
    traceback = "\n".join(["Traceback (most recent call last):", *(f"  line {n}" for n in range(50)), "ValueError: no"])
    failure = {"rank": 3, "node": "gpu-7", "exitCode": 70, "class": "User", "message": "no", "traceback": traceback}
    lines = shown({"phase": "Failed", "transitions": TRANSITIONS[:1], "failure": failure}).splitlines()
    assert "Failure     User (rank 3, node gpu-7, exit code 70)" in lines
    assert lines[-1] == "            ValueError: no"
    assert len(lines) < 25


def test_of_a_long_life_the_last_phases_are_shown() -> None:
    lives = [{"phase": ("Running", "Restarting")[n % 2], "time": at(700 - n)} for n in range(20)]
    _, line = shown({"phase": "Restarting", "transitions": lives}, width=None).splitlines()
    assert line.startswith("Timeline    … → Running 1s → Restarting 1s")
    assert line.count("→") == 8


def test_phases_of_runs_before_are_no_part_of_the_timeline() -> None:
    before = [{"phase": "Running", "time": at(900)}, {"phase": "Failed", "time": at(600)}]
    now = [{"phase": "Pending", "time": at(60)}, {"phase": "Running", "time": at(45)}]
    _, line = shown({"phase": "Running", "transitions": [*before, *now]}, width=None).splitlines()
    assert line == "Timeline    Pending 15s → Running 45s"


def test_which_epoch_the_model_is_of_and_why_training_has_ended() -> None:
    artifact = {"uri": "s3://m/1/", "manifest": "", "sha256": "", "sizeBytes": 3_000_000, "metrics": {}}
    status = {"phase": "Succeeded", "transitions": TRANSITIONS, "artifact": artifact}
    assert "Model       s3://m/1/ (3.0 MB)" in shown(status).splitlines()
    artifact |= {"step": 90, "epoch": 9, "ended": "earlyStopping"}
    assert "Model       s3://m/1/ (3.0 MB, of epoch 9, ended by earlyStopping)" in shown(status).splitlines()
    artifact |= {"ended": "epochs"}
    assert "Model       s3://m/1/ (3.0 MB, of epoch 9, all epochs trained)" in shown(status).splitlines()


def test_a_new_job_is_said_to_be_new() -> None:
    assert shown({}).splitlines() == [
        "digits   team   Pending",
        "Timeline    nothing has happened yet; the operator hasn't seen this job",
    ]


def test_an_evaluation_shows_its_values_and_gates() -> None:
    gates = [
        {"metric": "testAccuracy", "atLeast": 0.9, "value": 0.75, "passed": False},
        {"metric": "testLogLoss", "atMost": 1, "value": 0.5, "passed": True},
        {"metric": "testF1.a", "atLeast": 0.9, "value": 0.89999, "passed": False},
        {"metric": "testRocAuc", "atLeast": 0.5, "passed": False, "why": "all targets are of class 'no'"},
    ]
    artifact = {"uri": "s3://m/1/", "manifest": "", "sha256": "", "sizeBytes": 5, "accepted": False}
    status = {
        "phase": "Failed",
        "artifact": artifact,
        "evaluation": {"metrics": {"testAccuracy": 0.75}, "gates": gates},
    }
    assert shown(status).splitlines()[2:] == [
        "Model       s3://m/1/ (5 bytes)   not accepted",
        "Evaluation  testAccuracy 0.75",
        "Gates       testAccuracy 0.75, at least 0.9 is asked: not passed",
        "            testLogLoss 0.5, at most 1 is asked: passed",
        "            testF1.a 0.89999, at least 0.9 is asked: not passed",
        "            testRocAuc no value, at least 0.5 is asked: not passed",
    ]


def test_what_the_data_are_takes_two_lines() -> None:
    data = {"rows": 178, "digest": "a", "classCount": 3, "profile": "s3://m/data/profile.html", "splits": [
        {"name": "train", "rows": 125, "share": 0.7022}, {"name": "test", "rows": 53, "share": 0.2978},
    ]}  # fmt: skip
    lines = [
        "Data        178 rows in 3 classes: train 125 (70.2%), test 53 (29.8%)",
        "            s3://m/data/profile.html",
    ]
    assert shown({"phase": "Running", "data": data}).splitlines()[2:] == lines
    broken = shown({"phase": "Failed", "data": {**data, "problems": 2}}).splitlines()[2]
    assert broken == f"{lines[0]}   2 rules broken"


def test_nothing_that_a_tenant_writes_moves_the_cursor_or_is_markup() -> None:
    status = {
        "phase": "Failed",
        "message": EVIL,
        "transitions": TRANSITIONS,
        "notes": [EVIL],
        "progress": {"step": 1, "metrics": {EVIL: 1.0}},
        "checkpoint": {"uri": EVIL},
        "artifact": {"uri": EVIL, "manifest": "", "sha256": "", "sizeBytes": 5, "metrics": {EVIL: 1.0}},
        "tracking": [{"name": "mlflow", "url": EVIL}],
        "data": {"rows": 1, "digest": EVIL, "profile": EVIL},
        "usage": {"acceleratorSeconds": {EVIL: 5}},
        "evaluation": {"metrics": {EVIL: 1.0}, "gates": [{"metric": EVIL, "atLeast": 1, "passed": False}]},
        "failure": {"class": "User", "node": EVIL, "message": EVIL, "traceback": EVIL},
    }
    curve = SimpleNamespace(steps=[1], metrics={EVIL: [1.0]})
    text = shown(status, history=curve)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "owned" not in text
    assert text.count("[red]x[/] <script>") == 13
