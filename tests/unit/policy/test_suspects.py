"""Nodes whose GPUs have failed: which they are, how long, and that new attempts keep away from them."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from footplate.machinery.prometheus import Sample
from footplate.policy.plan import Refusal
from footplate.policy.suspects import FATAL_XIDS, MOST_NODES, QUERY, find
from prometheus_server import find_tool
from unit.policy.build import NOW, at, job, look, pod

ROOT = Path(__file__).parents[3]
NODES = ("a", "b", "c")
GPUS = {"resources": {"limits": {"nvidia.com/gpu": 8}}}
SUSPECT = {"node-9": "XID 79 (GPU has fallen off the bus) of GPU 3"}


def sample(xid: float, **labels: str) -> Sample:
    return Sample(labels, xid)


@pytest.mark.parametrize(
    ("samples", "found"),
    [
        pytest.param([sample(79, node="a", gpu="3")], {"a": "XID 79 (GPU has fallen off the bus) of GPU 3"}, id="one"),
        pytest.param([sample(79, Hostname="b")], {"b": f"XID 79 ({FATAL_XIDS[79]})"}, id="the exporter's label"),
        pytest.param([sample(48, node="exporter-pod", Hostname="c")], {"c": f"XID 48 ({FATAL_XIDS[48]})"}, id="whose?"),
        pytest.param([sample(79, node="elsewhere"), sample(79)], {}, id="no node of this cluster"),
        pytest.param([sample(each, node="a") for each in (13, 31, 43, 45, 63, 94, 0)], {}, id="an application's"),
        pytest.param([sample(95, node="a", gpu="1"), sample(79, node="a", gpu="0")],
                     {"a": "XID 79 (GPU has fallen off the bus) of GPU 0"}, id="two GPUs of a node"),
    ],
)  # fmt: skip
def test_who_is_suspect(samples: list[Sample], found: dict[str, str]) -> None:
    assert find(samples, NODES) == found


def test_only_so_many_are_kept_away_from() -> None:
    nodes = [f"n{number}" for number in range(500)]
    assert len(find([sample(79, node=node) for node in nodes], nodes)) == MOST_NODES


def test_an_error_counts_for_an_hour_whatever_pod_has_the_gpu(tmp_path: Path) -> None:
    """As Prometheus itself evaluates it, a sample a minute: the GPU fails at 60 min, and its series change with the
    pods that have it, which makes the error no newer.
    """
    labels = 'Hostname="a", gpu="3", UUID="GPU-1"'
    series = [
        {"series": f'DCGM_FI_DEV_XID_ERRORS{{{labels}, pod="x"}}', "values": "0x59 79x30 _x200"},
        {"series": f'DCGM_FI_DEV_XID_ERRORS{{{labels}, pod="y"}}', "values": "_x90 79x200"},
        {"series": 'DCGM_FI_DEV_XID_ERRORS{Hostname="b", gpu="0", UUID="GPU-2"}', "values": "0x300"},
    ]
    seen = [{"labels": f"{{{labels}}}", "value": 79}]
    expected = {"59m": [], "60m": seen, "95m": seen, "119m": seen, "120m": [], "200m": []}
    tests = [{"expr": QUERY, "eval_time": time, "exp_samples": samples} for time, samples in expected.items()]
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": tests}]}))
    command = [find_tool("promtool"), "test", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def begun(spec: dict[str, Any]) -> Any:
    attempts = [{"attempt": 0, "startTime": at(-1), "nodes": 2}]
    return look(job(spec), phase="Pending", attempts=attempts, suspects=SUSPECT)


def test_new_attempts_keep_away_and_say_so() -> None:
    plan = begun(GPUS)
    (preferred,) = plan.create[-1]["spec"]["affinity"]["nodeAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]
    assert preferred["preference"]["matchFields"][0]["values"] == ["node-9"]
    (event,) = [event for event in plan.events if event.reason == "SuspectNode"]
    assert event.type == "Warning"
    assert "attempt 0 keeps away from node-9: XID 79 (GPU has fallen off the bus) of GPU 3" in event.message


def test_it_is_said_once_though_no_pod_may_be_made_yet() -> None:
    """Each word is a reason to look again: a job that waits for its quota would be looked at without end."""
    refused = [Refusal("Pod", "fashion-1-0-0", 403, "Forbidden", "exceeded quota", since=NOW)]
    attempts = [{"attempt": 0, "startTime": at(-1), "nodes": 2}]
    plan = look(job(GPUS), phase="Pending", attempts=attempts, suspects=SUSPECT, refusals=refused)
    assert [event for event in plan.events if event.reason == "SuspectNode"] == []


def test_a_job_without_accelerators_goes_anywhere() -> None:
    plan = begun({})
    assert "affinity" not in plan.create[-1]["spec"]
    assert [event for event in plan.events if event.reason == "SuspectNode"] == []


def test_a_gang_that_runs_there_stays() -> None:
    """A driver's word is a reason to go elsewhere the next time, not to end what may be well."""
    pods = (pod(0, on="node-9"), pod(1))
    plan = look(job(GPUS), *pods, suspects=SUSPECT)
    assert plan.delete == ()
    assert [event for event in plan.events if event.reason == "SuspectNode"] == []


def test_the_document_names_them_all() -> None:
    text = (ROOT / "docs/hardware.md").read_text().split("<!-- xids -->")[1]
    assert {int(code): words for code, words in re.findall(r"\| (\d+) \| ([^|]+) \|", text)} == dict(FATAL_XIDS)
