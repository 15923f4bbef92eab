"""What becomes of a gang whose nodes fall short in preflight, and what of one that passes."""

import json
from typing import Any

import pytest

from footplate.client.rendering import render
from footplate.contract import Progress, parse_verdict
from footplate.policy.resolve import RuntimeRefuses, encode, resolve
from unit.policy.build import UID, at, bare_job, job, look, node, pod, runtime, terminated

JSON = dict[str, Any]
PREFLIGHT: JSON = {"devices": True, "floors": {"teraflops": 500}}
IMAGE: JSON = {"trainer": {"image": "registry.example.com/trainer:1"}}
NODES = {name: node(name) for name in ("node-0", "node-1", "node-2", "node-3")}


def unfit(rank: int, on: str, *, ended: float = -5) -> JSON:
    error = {"message": "device 0 (H100) computes 212 TFLOP/s, and the runtime's preflight.floors.teraflops is 500"}
    message = json.dumps({"outcome": "failed", "exitCode": 79, "error": error})
    assert parse_verdict(message) is not None
    return pod(rank, phase="Failed", on=on, state=terminated(79, ended=ended, message=message))


def test_the_attempt_ends_and_the_node_is_named_and_charged_to_nobody_but_the_infrastructure() -> None:
    plan = look(job(), pod(0), unfit(1, "node-1"), nodes=NODES)
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["reason"]) == ("Restarting", "NodeUnfit")
    said = "node node-1 (node rank 1) falls short in preflight: device 0 (H100) computes 212 TFLOP/s"
    assert said in plan.status["message"]
    (attempt,) = plan.status["attempts"]
    assert (attempt["reason"], attempt["node"], attempt["unfitNodes"]) == ("NodeUnfit", "node-1", ["node-1"])
    assert plan.status["restarts"]["infrastructure"] == 1
    assert (plan.status["failure"]["class"], plan.status["failure"]["node"]) == ("Infrastructure", "node-1")
    (event,) = [event for event in plan.events if event.reason == "NodeUnfit"]
    assert event.type == "Warning"
    assert said in event.message


def test_all_that_fall_short_at_once_are_kept_away_from() -> None:
    gang = (pod(0), unfit(1, "node-1"), unfit(2, "node-2"))
    plan = look(job({"nodes": 3}), *gang, nodes=NODES)
    assert plan.status is not None
    (attempt,) = plan.status["attempts"]
    assert attempt["unfitNodes"] == ["node-1", "node-2"]
    attempts = [{**attempt, "endTime": at(-60)}, {"attempt": 1, "startTime": at(-1), "nodes": 3}]
    new = look(job({"nodes": 3}), phase="Restarting", attempts=attempts).create[-1]
    terms = new["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert [field["values"] for field in terms[0]["preference"]["matchFields"]] == [["node-1"], ["node-2"]]


def test_others_are_given_a_moment_to_say_the_same() -> None:
    early = look(job(), pod(0), unfit(1, "node-1", ended=-1), nodes=NODES)
    assert early.status is None or early.status["phase"] == "Running"
    late = look(job(), pod(0), unfit(1, "node-1", ended=-1), nodes=NODES, after=3)
    assert late.status is not None
    assert late.status["reason"] == "NodeUnfit"


def test_what_was_shown_is_in_the_attempt() -> None:
    shown = {"seconds": 2.5, "deviceMemoryBytes": 79, "teraflops": 700.0, "gigabitsPerSecond": 1400.0}
    said = Progress.model_validate({"uid": UID, "run": 1, "attempt": 0, "preflight": shown})
    plan = look(job(), pod(0), pod(1), progress=said)
    assert plan.status is not None
    assert plan.status["attempts"][-1]["preflight"] == shown


def test_a_runtimes_preflight_is_fixed_with_the_run() -> None:
    config = resolve(bare_job(), runtime({**IMAGE, "preflight": PREFLIGHT}), run=1)
    assert config.preflight is not None
    assert json.loads(encode(config))["preflight"]["floors"] == {"teraflops": 500.0}
    without = resolve(bare_job(), runtime(IMAGE), run=1)
    assert without.preflight is None
    assert "preflight" not in json.loads(encode(without))


def test_it_is_no_default_of_the_jobs_spec() -> None:
    """So that nothing that a job says overrides it, and a policy that allows nothing refuses nothing for it."""
    closed = runtime({**IMAGE, "preflight": PREFLIGHT, "policy": {"allowed": []}})
    assert resolve(bare_job({"nodes": 3}), closed, run=1).spec.nodes == 3
    with pytest.raises(RuntimeRefuses, match=r"spec\.trainer\.image"):
        resolve(bare_job({"trainer": {"image": "another"}}), closed, run=1)


def test_a_bare_command_gets_our_supervisor_for_it() -> None:
    bare = bare_job({"trainer": {"command": ["train"], "recipe": None}})
    for spec, program in (({**IMAGE, "preflight": PREFLIGHT}, "python"), (IMAGE, "train")):
        (first, *_) = container_of(bare, runtime(spec))["command"]
        assert first == program


def container_of(of: JSON, theirs: JSON) -> JSON:
    pods = [each for each in render(of, theirs) if each["kind"] == "Pod"]
    (container,) = pods[0]["spec"]["containers"]
    return dict(container)
