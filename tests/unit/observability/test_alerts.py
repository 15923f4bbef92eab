"""Every alert fires where it should and nowhere else, as Prometheus' own `promtool test rules` sees it."""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from documents import DOCS
from footplate.observability.alerts import ALERTS
from prometheus_server import find_tool

ROOT = DOCS.parent
RULES = ROOT / "helm/footplate/files/alerts.yaml"
BY_NAME = {alert.name: alert for alert in ALERTS}
SERVED = {"instance": "operator:8080"}
JOB = {"namespace": "team", "trainingjob": "digits"}


@dataclass(frozen=True)
class Case:
    """What Prometheus scrapes once a minute, and whether an alert fires at a moment."""

    alert: str
    series: Mapping[str, str]
    at: str
    labels: Mapping[str, str] | None = None
    """Of the alert that fires; None: it doesn't."""
    value: str = ""
    """As its text says it."""
    why: str = field(default="", compare=False)


def leading(namespace: str = "system", instance: str = "operator:8080", values: str = "1x600") -> dict[str, str]:
    return {f'footplate_leader{{namespace="{namespace}",instance="{instance}"}}': values}


def histogram(name: str, fast: str, slow: str, bounds: tuple[str, str], labels: str = "") -> dict[str, str]:
    """Observations below the first bound, and between it and the second."""
    return {
        f'{name}_bucket{{{labels}le="{bounds[0]}"}}': fast,
        f'{name}_bucket{{{labels}le="{bounds[1]}"}}': slow,
        f'{name}_bucket{{{labels}le="+Inf"}}': slow,
    }


def waits(fast: str, slow: str) -> dict[str, str]:
    return histogram("footplate_workqueue_wait_seconds", fast, slow, ("5", "10"))


def created(fast: str, slow: str) -> dict[str, str]:
    return histogram("footplate_pods_created_duration_seconds", fast, slow, ("60", "120"))


def starting(fast: str, slow: str, phase: str = "starting") -> dict[str, str]:
    return histogram("footplate_phase_duration_seconds", fast, slow, ("900", "1800"), f'phase="{phase}",')


def results(name: str, label: str, **values: str) -> dict[str, str]:
    return {f'{name}{{{label}="{value}"}}': counts for value, counts in values.items()}


def requests(ok: str, bad: str) -> dict[str, str]:
    return results("footplate_api_requests_total", "code", **{"2xx": ok, "404": ok, "429": "0x600", "5xx": bad})


def refused(values: str) -> dict[str, str]:
    return {
        'footplate_rights_missing{verb="create",resource="pods",instance="operator:8080"}': values,
        'footplate_rights_missing{verb="patch",resource="pods",instance="operator:8080"}': "0x60",
    }


def restarts(kind: str, values: str) -> dict[str, str]:
    return results("footplate_gang_restarts_total", "class", **{"user": "0+5x600", kind: values})


def queued(values: str) -> dict[str, str]:
    jobs = 'footplate_jobs{namespace="team",phase="%s",instance="%s"}'
    standby = {jobs % ("Queued", "standby:8080"): "7x600"} | leading(instance="standby:8080", values="0x600")
    return {jobs % ("Queued", "operator:8080"): values, jobs % ("Running", "operator:8080"): "4x600"} | standby


def goodput(values: str) -> dict[str, str]:
    return {'footplate_goodput_ratio{namespace="team",instance="operator:8080"}': values} | leading()


def trainer(**values: str) -> dict[str, str]:
    """Series of a job's first pod, by the ends of their names."""
    labels = '{namespace="team",trainingjob="digits",run="1",attempt="0",instance="pod:9464"}'
    return {f"footplate_trainer_{name}{labels}": value for name, value in values.items()}


def silent(values: str) -> dict[str, str]:
    age = "footplate_reflector_last_contact_age_seconds"
    return {
        f'{age}{{resource="pods",instance="operator:8080"}}': values,
        f'{age}{{resource="nodes",instance="operator:8080"}}': "3x600",
    }


CASES = (
    Case("FootplateNoLeader", leading(values="0x10"), "5m", {"namespace": "system"}),
    Case("FootplateNoLeader", {"up": "1x10"}, "5m", {}, why="no operator is scraped at all"),
    Case("FootplateNoLeader", leading(values="0x2 1x10"), "5m", why="a new leader was found"),
    Case("FootplateTwoLeaders", leading() | leading(instance="b:8080"), "5m", {"namespace": "system"}, "2"),
    Case("FootplateTwoLeaders", leading() | leading("other", "b:8080"), "5m", why="two installations"),
    Case("FootplateApiServerSilent", silent("0+60x60"), "8m", SERVED | {"resource": "pods"}, "8m 0s"),
    Case("FootplateApiServerSilent", silent("100x60"), "8m"),
    Case(
        "FootplateReconcileErrors",
        results("footplate_reconciliations_total", "result", error="0+1x60", settled="0+9x60"),
        "20m",
        {},
        "10",
    ),
    Case(
        "FootplateReconcileErrors",
        results("footplate_reconciliations_total", "result", error="3x60", retry="0+9x60"),
        "20m",
    ),
    Case("FootplateQueueSlow", waits("0+10x60", "0+12x60"), "20m", {}, "9.7s"),
    Case("FootplateQueueSlow", waits("0+1000x60", "0+1001x60"), "20m"),
    Case("FootplateApiRequestsFail", requests("0+60x60", "0+40x60"), "20m", {}, "25%"),
    Case("FootplateApiRequestsFail", requests("0+60x60", "0+10x60"), "20m"),
    Case("FootplateRightsMissing", refused("0x5 2x30"), "15m", {"verb": "create", "resource": "pods"}, "2"),
    Case("FootplateRightsMissing", refused("0x5 2x3 0x30"), "15m", why="it was granted soon"),
    Case("FootplateRightsMissing", refused("0x30"), "15m", why="none is missing"),
    Case(
        "FootplateProgressUnreachable",
        results("footplate_progress_polls_total", "result", ok="0+30x90", unreachable="0+10x90", invalid="0x90"),
        "50m",
        {},
        "25%",
    ),
    Case(
        "FootplateProgressUnreachable",
        results("footplate_progress_polls_total", "result", ok="0+90x90", unreachable="0+10x90", invalid="0x90"),
        "50m",
    ),
    Case("FootplatePodsCreatedSlowly", created("0+5x90", "0+10x90"), "30m", {}, "1m 48s"),
    Case("FootplatePodsCreatedSlowly", created("0+95x90", "0+100x90"), "30m"),
    Case("FootplateStartsSlowly", starting("0+5x90", "0+10x90"), "30m", {}, "27m 0s"),
    Case("FootplateStartsSlowly", starting("0+95x90", "0+100x90"), "30m"),
    Case("FootplateStartsSlowly", starting("0+5x90", "0+10x90", "running"), "30m", why="they run for as long"),
    Case("FootplateJobsWait", leading() | queued("2x600"), "7h", {"namespace": "team"}, "2"),
    Case("FootplateJobsWait", leading() | queued("2x200 0x1 2x400"), "7h", why="meanwhile all had nodes"),
    Case("FootplateNodesDisrupt", restarts("infrastructure", "0+1x90"), "60m", {}, "60"),
    Case("FootplateNodesDisrupt", restarts("infrastructure", "0x30 1x15 2x15 3x60"), "80m"),
    Case("FootplateGangsHang", restarts("hang", "0x10 0+1x9 9x90"), "40m", {}, "9"),
    Case("FootplateGangsHang", restarts("hang", "0x30 1x15 2x60"), "70m"),
    Case("FootplateGoodputLow", goodput("0.25x90"), "80m", {"namespace": "team"}, "25%"),
    Case("FootplateGoodputLow", goodput("0.25x40 0.75x5 0.25x90"), "80m", why="it has been better since"),
    Case("FootplateTrainingStuck", trainer(last_step_age_seconds="0+60x60", step_seconds="2x60"), "25m", JOB),
    Case(
        "FootplateTrainingStuck",
        trainer(last_step_age_seconds="0+60x60", step_seconds="300x60"),
        "25m",
        why="its steps are that long",
    ),
    Case("FootplateCheckpointOld", trainer(checkpoint_age_seconds="0+60x200"), "120m", JOB, "2h 0m 0s"),
    Case("FootplateCheckpointOld", trainer(checkpoint_age_seconds="0+60x50 0+60x50 0+60x50"), "120m"),
    Case("FootplateDataSlow", trainer(data_wait_ratio="0.75x90"), "40m", JOB, "75%"),
    Case("FootplateDataSlow", trainer(data_wait_ratio="0.75x20 0.1x5 0.75x90"), "40m", why="it was fast meanwhile"),
    Case("FootplateAcceleratorsIdle", trainer(device_utilization_ratio="0.05x90"), "40m", JOB, "5%"),
    Case("FootplateAcceleratorsIdle", trainer(device_utilization_ratio="0.9x90"), "40m"),
)


def expected(case: Case) -> list[dict[str, Any]]:
    """The alert with its texts, which promtool compares word for word."""
    if case.labels is None:
        return []
    alert = BY_NAME[case.alert].to_json()

    def say(text: str) -> str:
        text = re.sub(r"{{ \$labels\.(\w+) }}", lambda found: (case.labels or {}).get(found[1], ""), text)
        return re.sub(r"{{ \$value[^}]*}}", case.value, text)

    texts = {name: say(text) for name, text in alert["annotations"].items()}
    return [{"exp_labels": {**alert["labels"], **case.labels}, "exp_annotations": texts}]


def run_promtool(*arguments: str | Path) -> str:
    """What it says, where it finds nothing wrong."""
    command = [find_tool("promtool"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_each_fires_in_one_case_and_is_quiet_in_another() -> None:
    for fires in (True, False):
        assert {case.alert for case in CASES if (case.labels is not None) is fires} == set(BY_NAME)


def to_test(case: Case) -> dict[str, Any]:
    """The case as promtool has it."""
    return {
        "name": f"{case.alert} {case.why or ('is quiet' if case.labels is None else 'fires')}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "alert_rule_test": [{"eval_time": case.at, "alertname": case.alert, "exp_alerts": expected(case)}],
    }


def test_each_fires_where_it_should_and_nowhere_else(tmp_path: Path) -> None:
    tests = {"rule_files": [str(RULES)], "evaluation_interval": "2m", "tests": [to_test(case) for case in CASES]}
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump(tests, width=10_000))
    run_promtool("test", "rules", file)


def test_rules_are_prometheus_rules() -> None:
    assert f"SUCCESS: {len(ALERTS)} rules found" in run_promtool("check", "rules", RULES)


def test_each_says_what_to_do() -> None:
    for alert in ALERTS:
        assert len(alert.summary) <= 100, alert.name
        assert 100 <= len(alert.description) <= 400, alert.name
