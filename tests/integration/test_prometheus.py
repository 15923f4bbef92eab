"""A real Prometheus, set up as docs/operations.md says, answers questions about the operator and a running job."""

import math
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from documents import names_in, read_block, read_table
from footplate.contract import METRICS_PORT
from laptop import EXAMPLES, Laptop
from prometheus_server import Prometheus, Sample, find_tool, read_url

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

JOB = "digits-suspend"
QUERIES = {question: names_in(promql)[0] for question, promql in read_table("operations.md", "prometheus: queries")}
GOODPUT = "goodput of the runs that finished in the last week, by what they held"
ALERTS = [names_in(alert)[0] for alert, _ in read_table("operations.md", "prometheus: alerts")]


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """A cluster with a job that runs for as long as it is needed."""
    find_tool("prometheus")
    with Laptop(tmp_path_factory.mktemp("laptop")) as laptop:
        laptop.upload(laptop.make_data("digits"), "datasets", "digits/")
        job = yaml.safe_load((EXAMPLES / "suspend-resume/job.yaml").read_text())
        job["spec"]["trainer"]["hyperparameters"]["epochs"] = 10_000
        laptop.apply(job)
        laptop.wait(JOB, "Running")
        yield laptop


@pytest.fixture(scope="module")
def targets(laptop: Laptop) -> dict[str, list[dict[str, Any]]]:
    """What each job of the documented scrape configuration would find."""
    operator = {"__meta_kubernetes_pod_container_port_name": "http"}
    return {
        "footplate-operator": [{"targets": [laptop.operator_address], "labels": operator}],
        "footplate-trainer": [discover(pod) for pod in laptop.pods(JOB)],
    }


@pytest.fixture(scope="module")
def prometheus(
    targets: dict[str, list[dict[str, Any]]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """The documented configuration, but for the discovery itself, which Debian's Prometheus is built without."""
    scrapes = yaml.safe_load(read_block("operations.md", "prometheus: scrape"))["scrape_configs"]
    for scrape in scrapes:
        assert scrape.pop("kubernetes_sd_configs")
        scrape["static_configs"] = targets[scrape["job_name"]]
    with Prometheus(tmp_path_factory.mktemp("metrics") / "prometheus", scrapes) as prometheus:
        yield prometheus


def discover(pod: dict[str, Any]) -> dict[str, Any]:
    """A target with the labels that Prometheus' Kubernetes discovery gives to a pod's port."""
    metadata, status = pod["metadata"], pod["status"]
    labels = {
        "namespace": metadata["namespace"],
        "pod_phase": status["phase"],
        "pod_container_port_name": pod["spec"]["containers"][0]["ports"][0]["name"],
        **{f"pod_label_{re.sub(r'[^a-zA-Z0-9_]', '_', name)}": value for name, value in metadata["labels"].items()},
    }
    return {
        "targets": [f"{status['podIP']}:{METRICS_PORT}"],
        "labels": {f"__meta_kubernetes_{name}": value for name, value in labels.items()},
    }


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


@pytest.mark.parametrize("promql", ALERTS)
def test_documented_alerts_are_promql(prometheus: Prometheus, promql: str) -> None:
    prometheus.query(promql.partition(" for ")[0])


def test_metrics_keep_prometheus_rules(targets: dict[str, list[dict[str, Any]]]) -> None:
    for found in targets.values():
        text = read_url(f"http://{found[0]['targets'][0]}/metrics")
        done = subprocess.run(
            [find_tool("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_goodput_of_finished_runs(laptop: Laptop, prometheus: Prometheus) -> None:
    job = yaml.safe_load((EXAMPLES / "digits/job.yaml").read_text())
    job["spec"]["nodes"] = 1
    laptop.apply(job)
    laptop.wait("digits")

    def finite(samples: list[Sample]) -> list[Sample]:
        return [sample for sample in samples if are_numbers([sample])]

    ((labels, goodput),) = finite(prometheus.wait_for(QUERIES[GOODPUT], lambda samples: bool(finite(samples))))
    assert labels == {"held": "nodes"}
    assert 0 < goodput < 1


def test_restarts_are_counted_by_who_pays(laptop: Laptop, prometheus: Prometheus) -> None:
    """Last, because it ends the gang that the others look at."""
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
