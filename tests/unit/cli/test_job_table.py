"""The rows of `footplate list`."""

from footplate.cli.columns import columns
from footplate.cli.job_table import job_rows
from job_views import EVIL, NOW, job_view

RUNNING = {
    "phase": "Running",
    "run": 2,
    "reason": "AllPodsRunning",
    "message": "2 of 2 nodes running",
    "nodes": {"desired": 2, "ready": 2, "summary": "2/2"},
    "restarts": {"user": 1, "infrastructure": 2, "total": 3},
    "progress": {"step": 1200, "totalSteps": 9380, "percent": 12.9, "etaSeconds": 725, "metrics": {"loss": 0.41234}},
    "usage": {"goodputPercent": 91.4},
}


def lines(*jobs: object, wide: bool = False, namespaces: bool = False) -> list[str]:
    head, *rows = job_rows(jobs, now=NOW, wide=wide, namespaces=namespaces)  # type: ignore[arg-type]
    return list(columns(head, rows))


def test_a_running_job_and_one_that_nobody_has_seen() -> None:
    assert lines(job_view(**RUNNING), job_view("new")) == [
        "NAME     PHASE     NODES   STEP          PROGRESS   LEFT   RESTARTS   AGE",
        "digits   Running   2/2     1,200/9,380   12%        12m    3          1h",
        "new      -         -       -             -          -      0          1h",
    ]


def test_what_isnt_done_is_nowhere_shown_as_done() -> None:
    assert "99%" in lines(job_view(**{**RUNNING, "progress": {"percent": 99.9}}))[1]


def test_wide_and_of_all_namespaces() -> None:
    head, row = lines(job_view(**RUNNING), wide=True, namespaces=True)
    assert head.endswith("AGE   RUN   LOSS     GOODPUT   REASON           MESSAGE")
    assert row.startswith("team        digits   Running")
    assert row.endswith("2     0.4123   91%       AllPodsRunning   2 of 2 nodes running")


def test_only_a_running_job_has_time_left() -> None:
    assert "12m" not in lines(job_view(**{**RUNNING, "phase": "Suspended"}))[1]


def test_a_tenants_text_stays_in_its_line_and_moves_no_cursor() -> None:
    _, row = lines(job_view(phase="Failed", reason="UserError", message=EVIL), wide=True)
    assert row.endswith("UserError   [red]x[/] <script> | 2. line")
