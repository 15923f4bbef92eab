"""A real Prometheus, set up as docs/operations.md says, answers questions about the operator and a running job."""

import json
import math
import re
import subprocess
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from documents import DOCS, names_in, read_block, read_table
from footplate.contract import METRICS_PORT
from footplate.observability.alerts import ALERTS
from footplate.observability.dashboards import DASHBOARDS
from laptop import EXAMPLES, Laptop
from prometheus_server import Prometheus, Sample, find_tool, read_url, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

JOB = "digits-suspend"
QUERIES = {question: names_in(promql)[0] for question, promql in read_table("operations.md", "prometheus: queries")}
GOODPUT = "goodput of the runs that finished in the last week, by what they held"
PANELS = [
    pytest.param(query.promql, id=f"{dashboard.name}: {panel.title}: {query.legend or 'value'}")
    for dashboard in DASHBOARDS
    for row in dashboard.rows
    for panel in row.panels
    for query in panel.queries
]
VARIABLES = [
    pytest.param(variable, id=f"{dashboard.name}: {variable.name}")
    for dashboard in DASHBOARDS
    for variable in dashboard.variables
]
CHOSEN = {
    "$namespace": "default",
    "$job": JOB,
    "$run": ".*",
    "$resource": ".*",
    "$__rate_interval": "1m",
    "$__range": "1h",
}
"""What a reader of the dashboards has chosen."""
WRITTEN = Path(__file__).parent / "written/devices.prom"
"""What a trainer on a node with two GPUs would serve, written by hand: no machine of the tests has one."""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is http.server's)
        """Requests are no news."""


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """A cluster without a job."""
    find_tool("prometheus")
    with Laptop(tmp_path_factory.mktemp("laptop")) as laptop:
        laptop.upload(laptop.make_data("digits"), "datasets", "digits/")
        yield laptop


@pytest.fixture(scope="module")
def written() -> Iterator[dict[str, Any]]:
    """A target that serves what no trainer on CPUs can: a trainer's text about devices, tokens and FLOPs, written by
    hand as one on a node with two GPUs would serve it.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(WRITTEN.parent)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield {"metrics_path": f"/{WRITTEN.name}", "static_configs": [{"targets": [f"127.0.0.1:{server.server_port}"]}]}
    server.shutdown()
    server.server_close()


class Targets:
    """What Prometheus' discovery finds of the job's pods, which come and go."""

    def __init__(self, laptop: Laptop, file: Path) -> None:
        self._laptop = laptop
        self.file = file
        self.file.write_text("[]")

    def discover(self) -> list[dict[str, Any]]:
        """Finds those that there are now."""
        found = [discover(pod) for pod in self._laptop.pods(JOB)]
        self.file.write_text(json.dumps(found))
        return found


@pytest.fixture(scope="module")
def targets(laptop: Laptop, tmp_path_factory: pytest.TempPathFactory) -> Targets:
    return Targets(laptop, tmp_path_factory.mktemp("targets") / "pods.json")


@pytest.fixture(scope="module")
def prometheus(
    laptop: Laptop, targets: Targets, written: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """The documented configuration, but for the discovery itself, which Debian's Prometheus is built without.

    It scrapes the operator before there is a job, so that no first increment is missed; the job then runs for as
    long as it is needed.
    """
    operator, trainer = yaml.safe_load(read_block("operations.md", "prometheus: scrape"))["scrape_configs"]
    assert operator.pop("kubernetes_sd_configs")
    assert trainer.pop("kubernetes_sd_configs")
    found = {"__meta_kubernetes_pod_container_port_name": "http", "__meta_kubernetes_namespace": "footplate-system"}
    operator["static_configs"] = [{"targets": [laptop.operator_address], "labels": found}]
    pod = {"namespace": "default", "trainingjob": JOB, "run": "1", "attempt": "0", "pod": "written"}
    replay = {"job_name": "written", **written}
    replay["static_configs"][0]["labels"] = pod
    trainer["file_sd_configs"] = [{"files": [str(targets.file)]}]
    folder = tmp_path_factory.mktemp("metrics") / "prometheus"
    with Prometheus(
        folder, [operator, trainer, replay], DOCS.parent / "helm/footplate/files/alerts.yaml"
    ) as prometheus:
        prometheus.wait_for("footplate_leader == 1", bool)
        job = yaml.safe_load((EXAMPLES / "suspend-resume/job.yaml").read_text())
        job["spec"]["trainer"]["hyperparameters"]["epochs"] = 10_000
        job["spec"]["checkpoint"]["every"] = {"seconds": 5}
        laptop.apply(job)
        laptop.wait(JOB, "Running")
        targets.discover()
        prometheus.wait_for('footplate_jobs{phase="Running"} == 1', bool)
        yield prometheus


def discover(pod: dict[str, Any]) -> dict[str, Any]:
    """A target with the labels that Prometheus' Kubernetes discovery gives to a pod's port."""
    metadata, status = pod["metadata"], pod["status"]
    labels = {
        "namespace": metadata["namespace"],
        "pod_name": metadata["name"],
        "pod_phase": status["phase"],
        "pod_container_port_name": pod["spec"]["containers"][0]["ports"][0]["name"],
        **{f"pod_label_{re.sub(r'[^a-zA-Z0-9_]', '_', name)}": value for name, value in metadata["labels"].items()},
    }
    return {
        "targets": [f"{status['podIP']}:{METRICS_PORT}"],
        "labels": {f"__meta_kubernetes_{name}": value for name, value in labels.items()},
    }


def fill(promql: str) -> str:
    """A dashboard's query as Grafana sends it."""
    for name, value in CHOSEN.items():
        promql = promql.replace(name, value)
    assert "$" not in promql
    return promql


def has_a_number(samples: list[Sample]) -> bool:
    return any(math.isfinite(value) for _, value in samples)


def are_numbers(samples: list[Sample]) -> bool:
    return bool(samples) and all(math.isfinite(value) for _, value in samples)


def test_jobs_by_phase(prometheus: Prometheus) -> None:
    samples = prometheus.wait_for(QUERIES["jobs by phase"], bool)
    phases = {labels["phase"]: value for labels, value in samples}
    assert len(phases) == 9
    assert {phase for phase, count in phases.items() if count} == {"Running"}


@pytest.mark.parametrize("question", ["step of each job", "loss of each job"])
def test_a_job_by_its_name(prometheus: Prometheus, question: str) -> None:
    ((labels, value),) = prometheus.wait_for(QUERIES[question], are_numbers)
    assert (labels["namespace"], labels["trainingjob"]) == ("default", JOB)
    assert value >= 0


def test_steps_go_on(prometheus: Prometheus) -> None:
    ((_, before),) = prometheus.wait_for(QUERIES["step of each job"], are_numbers)
    prometheus.wait_for(QUERIES["step of each job"], lambda samples: samples[0][1] > before)


@pytest.mark.parametrize("question", sorted(QUERIES.keys() - {GOODPUT}))
def test_every_documented_question_has_an_answer(prometheus: Prometheus, question: str) -> None:
    prometheus.wait_for(QUERIES[question], are_numbers)


def test_reconcile_latency(prometheus: Prometheus) -> None:
    ((_, seconds),) = prometheus.wait_for(QUERIES["reconcile latency, 99th percentile"], are_numbers)
    assert 0 < seconds <= 30


def test_metrics_keep_prometheus_rules(laptop: Laptop, prometheus: Prometheus) -> None:
    addresses = [laptop.operator_address, f"{laptop.pods(JOB)[0]['status']['podIP']}:{METRICS_PORT}"]
    texts = [read_url(f"http://{address}/metrics") for address in addresses]
    for text in (*texts, WRITTEN.read_text()):
        done = subprocess.run(
            [find_tool("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_goodput_of_finished_runs(laptop: Laptop, prometheus: Prometheus) -> None:
    job = yaml.safe_load((EXAMPLES / "digits/job.yaml").read_text())
    job["spec"]["nodes"] = 1
    job["spec"]["trainer"]["hyperparameters"]["epochs"] = 10
    laptop.apply(job)
    laptop.wait("digits")

    def finite(samples: list[Sample]) -> list[Sample]:
        return [sample for sample in samples if are_numbers([sample])]

    ((labels, goodput),) = finite(prometheus.wait_for(QUERIES[GOODPUT], lambda samples: bool(finite(samples))))
    assert labels == {"held": "nodes"}
    assert 0 < goodput < 1


def test_restarts_are_counted_by_who_pays(laptop: Laptop, targets: Targets, prometheus: Prometheus) -> None:
    """After those that look at the first gang, and before those that want to see all that can be seen of a job."""
    promql = "footplate_gang_restarts_total"
    before = {labels["class"]: value for labels, value in prometheus.wait_for(promql, are_numbers)}
    assert before == {"user": 0, "infrastructure": 0, "hang": 0}
    assert laptop.kubectl("delete", "pod", f"{JOB}-1-0-1", "--wait=false").returncode == 0
    prometheus.wait_for(f"{promql}{{class='infrastructure'}} == 1", bool)
    increase = {
        labels["class"]: value for labels, value in prometheus.query(QUERIES["restarts in the last hour, by who pays"])
    }
    assert increase["infrastructure"] > 0
    assert increase["user"] == increase["hang"] == 0
    laptop.wait(JOB, "Running")
    targets.discover()


@pytest.mark.parametrize("promql", PANELS)
def test_every_query_of_every_dashboard_has_an_answer(prometheus: Prometheus, promql: str) -> None:
    prometheus.wait_for(fill(promql), has_a_number)


@pytest.mark.parametrize("variable", VARIABLES)
def test_every_variable_has_values(prometheus: Prometheus, variable: Any) -> None:
    samples = prometheus.wait_for(f"count by ({variable.label}) ({fill(variable.series)})", bool)
    assert any(labels.get(variable.label) for labels, _ in samples)


def test_the_begin_of_each_attempt_is_marked(prometheus: Prometheus) -> None:
    [annotation] = [each for dashboard in DASHBOARDS for each in dashboard.annotations]

    def marked() -> set[tuple[str, str]]:
        moments = prometheus.query_range(fill(annotation.promql), seconds=600)
        return {(labels["run"], labels["attempt"]) for labels in moments}

    wait_for(lambda: marked() == {("1", "0"), ("1", "1")}, lambda: str(marked()))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_every_alert_has_something_to_measure(prometheus: Prometheus, alert: Any) -> None:
    prometheus.wait_for(alert.measures, has_a_number)


def test_every_alert_can_be_evaluated(prometheus: Prometheus) -> None:
    rules = wait_for(prometheus.rules, lambda: "no rules")
    assert {rule["name"]: rule.get("lastError", "") for rule in rules} == {alert.name: "" for alert in ALERTS}
    assert {rule["health"] for rule in rules} == {"ok"}
