"""docs/operations.md names every metric that is served and every right that the chart grants, and no other."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from documents import DOCS, names_in, read_table
from footplate.api.reports import CheckpointStatus, PreflightStatus, ProgressStatus
from footplate.machinery.metrics import Metrics
from footplate.policy.measures import Measures
from footplate_trainer import exchange
from footplate_trainer.exchange import DurationCounts, Heartbeat, RankReport
from footplate_trainer.supervisor.device_readings import DeviceReading, DeviceReadings
from footplate_trainer.supervisor.pod import read_pod
from footplate_trainer.supervisor.telemetry import Telemetry
from footplate_trainer.timing.durations import STEP_BOUNDS
from trainer_pods import pod_environment

Served = dict[str, tuple[str, frozenset[str]]]
"""Type and label names of each metric."""


def serve_operator(_: Path) -> str:
    metrics = Metrics()
    usage = {"productiveSeconds": 1, "lostSeconds": 1}
    job = {"metadata": {"namespace": "team", "name": "job"}, "status": {"phase": "Running", "usage": usage}}
    metrics.jobs.serve(lambda: [job])
    metrics.jobs.count(job, Measures(spent={"nvidia.com/gpu": {"unknown": 1.0}}, cost=("EUR", 1.0)))
    return generate_latest(metrics.registry).decode()


def serve_trainer(folder: Path) -> str:
    """A pod's metrics when everything is known that can be."""
    pod = read_pod(pod_environment(folder, {"trainer": {"entrypoint": "train.py"}}))
    now = datetime(2026, 1, 1, tzinfo=UTC)
    report = RankReport(
        progress=ProgressStatus(
            step=1, total_steps=2, epoch=1, eta_seconds=1, samples_per_second=1.0, metrics={"loss": 1.0}
        ),
        checkpoint=CheckpointStatus(uri="s3://c/1/", step=1, time=now, size_bytes=1, save_seconds=1.0),
        checkpointed_at=now.timestamp(),
        step_seconds=1.0,
        stepped_at=now.timestamp(),
        steps_took=DurationCounts(counts=[1, *[0] * len(STEP_BOUNDS)], seconds=0.001),
        data_wait_ratio=0.5,
        tokens_per_second=1.0,
        mfu_ratio=0.5,
        productive_node_seconds=1.0,
    )
    exchange.write_report(pod.run_dir, report)
    heartbeat = Heartbeat(pod.run_dir, 0)
    heartbeat.beat(1, "training", 1.0)
    devices = (DeviceReading("0", memory_used=1.0, memory=2.0, utilization=0.5, power=1.0),)
    measured = SimpleNamespace(newest=lambda: devices)
    telemetry = Telemetry(pod, clock=now.timestamp, devices=cast(DeviceReadings, measured))
    telemetry.preflight = PreflightStatus(device_memory_bytes=1, teraflops=1.0, gigabits_per_second=1.0)
    return telemetry.metrics().decode()


def read_served(text: str) -> Served:
    served: Served = {}
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        if not name.endswith("_created"):  # when a counter began: the client library's own
            labels = {label for sample in family.samples for label in sample.labels}
            served[name] = family.type, frozenset(labels - {"le"})
    return served


@pytest.mark.parametrize(("mark", "serve"), [("operator", serve_operator), ("trainer", serve_trainer)])
def test_metrics_are_those_that_are_served(mark: str, serve: Callable[[Path], str], tmp_path: Path) -> None:
    documented = {
        names_in(name)[0]: (kind, frozenset(names_in(labels)))
        for name, kind, labels, _ in read_table("operations.md", f"metrics: {mark}")
    }
    assert documented == read_served(serve(tmp_path))


def test_rights_are_those_that_the_chart_grants() -> None:
    template = (DOCS.parent / "helm/footplate/templates/rbac.yaml").read_text()
    rules = re.findall(
        r"apiGroups: \[(.*)\]\s+resources: \[(.*)\].*\s+(?:resourceNames: .*\s+)?verbs: \[(.*)\]", template
    )
    assert len(rules) == template.count("apiGroups:")
    granted = {
        (group.strip('"'), resource, verb)
        for group, resources, verbs in rules
        for resource in resources.split(", ")
        for verb in re.sub(r"\].*", "", verbs).split(", ")
    }
    documented = {
        ("" if group == "core" else names_in(group)[0], resource, verb)
        for group, resources, verbs, _ in read_table("operations.md", "rights")
        for resource in names_in(resources)
        for verb in verbs.split(", ")
    }
    assert documented == granted


def test_every_request_that_the_operator_may_make_is_counted_from_zero() -> None:
    [requests] = Metrics().api_requests.collect()
    counted = {(sample.labels["resource"], sample.labels["verb"]) for sample in requests.samples}
    may = {
        (resource.removesuffix("/status"), verb)
        for _, resources, verbs, _ in read_table("operations.md", "rights")
        for resource in names_in(resources)
        for verb in verbs.split(", ")
    }
    ours = {"trainingjobs", "trainingruntimes", "clustertrainingruntimes", "trainingpolicies"}
    of_kopf = {(resource, "watch") for resource in ours}  # its own client isn't counted
    of_the_api_server = {("trainingjobs/finalizers", "update")}  # asked for an owner reference, of no request
    of_everybody = {("discovery", "get"), ("selfsubjectaccessreviews", "create")}  # what they may do, everybody may ask
    assert counted == may - of_kopf - of_the_api_server | of_everybody
