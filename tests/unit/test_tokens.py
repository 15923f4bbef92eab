"""A run's token: whom it lets in, and what becomes of it on its way."""

from pathlib import Path
from typing import Any

import pytest

from footplate.contract import TokenEnv
from footplate.errors import ConfigurationError
from footplate.machinery.cluster import Cluster
from footplate.machinery.poller import target_of
from footplate.machinery.slim import slim_pod
from footplate.machinery.token_key import read_token_key
from footplate.policy.plan import Observed
from footplate.policy.reconcile import reconcile
from footplate.tokens import NO_TOKENS, PodTokens, token_of
from unit.machinery.support import make_job, make_pod
from unit.policy.build import NOW, UID, config_map, job, status

KEY = b"k" * 32
TOKENS = PodTokens(KEY)


def pods_of(tokens: PodTokens, spec: Any = None, *, run: int = 1) -> list[Any]:
    of = job(spec)
    begun = status(of, "Pending", run=run, attempts=[{"attempt": 0, "startTime": "2026-01-01T00:00:00Z"}])
    plan = reconcile(Observed({**of, "status": begun}, run_config=config_map(of), tokens=tokens), now=NOW)
    return [each for each in plan.create if each["kind"] == "Pod"]


def environment(pod: Any) -> dict[str, Any]:
    [container] = pod["spec"]["containers"]
    return {each["name"]: each.get("value") for each in container["env"]}


def test_each_run_of_each_job_has_its_own_and_every_replica_knows_it() -> None:
    tokens = {TOKENS.of_run(uid, run) for uid in ("a", "b") for run in (1, 2, 21)}
    assert len(tokens) == 6
    assert PodTokens(KEY).of_run("a", 1) in tokens
    assert PodTokens(b"x" * 32).of_run("a", 1) not in tokens
    assert KEY.decode() not in repr(TOKENS)


def test_all_pods_of_a_gang_await_it() -> None:
    pods = pods_of(TOKENS)
    assert len(pods) == 2
    assert {token_of(pod) for pod in pods} == {TOKENS.of_run(UID, 1)}
    assert all(TokenEnv.OPEN_METRICS not in environment(pod) for pod in pods)
    assert environment(pods_of(PodTokens(KEY, open_metrics=True))[0])[TokenEnv.OPEN_METRICS] == "true"


def test_without_a_key_or_a_supervisor_there_is_none() -> None:
    assert {token_of(pod) for pod in pods_of(NO_TOKENS)} == {""}
    bare = {"trainer": {"image": "i", "command": ["true"], "recipe": None}, "output": None, "checkpoint": None}
    assert [name for pod in pods_of(TOKENS, bare) for name in environment(pod) if name == TokenEnv.TOKEN] == []


@pytest.mark.parametrize(
    "value", ["", "x", "a" * 63, "A" * 64, "a" * 64 + "\n", "a" * 60 + "\r\n: ", None, 5, {"a": 1}, "\ud800" * 64]
)
def test_what_is_no_token_is_sent_to_nobody(value: Any) -> None:
    pod = {"spec": {"containers": [None, {"env": None}, {"env": [7, {"name": str(TokenEnv.TOKEN), "value": value}]}]}}
    assert token_of(pod) == ""


@pytest.mark.parametrize(("rank", "kept"), [(0, True), (1, False), (10, False)])
def test_the_operator_keeps_that_of_the_pod_which_it_asks(rank: int, kept: bool) -> None:
    token = TOKENS.of_run("u", 1)
    env = [{"name": "A", "value": "b" * 9_000}, {"name": str(TokenEnv.TOKEN), "value": token}]
    found = slim_pod(make_pod(make_job(), rank, spec={"containers": [{"name": "trainer", "env": env}]}))
    assert found is not None
    assert token_of(found) == (token if kept else "")
    assert "bbb" not in str(found)


def test_a_poll_shows_the_token_of_the_pod_that_it_asks() -> None:
    running = make_job(status={"phase": "Running", "run": 1, "attempt": 0})
    token = PodTokens(b"of another operator, before this one").of_run("u", 1)
    state = {"name": "trainer", "state": {"running": {}}}
    status_of_pod = {"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": [state]}
    spec = {"containers": [{"env": [{"name": str(TokenEnv.TOKEN), "value": token}]}]}
    cluster = Cluster(lambda _: None)
    cluster.pods.observe(make_pod(running, spec=spec, status=status_of_pod))
    target = target_of(running, cluster.pods.get)
    assert target is not None
    assert target.token == token
    assert token not in repr(target)


def test_a_key_is_read_or_the_operator_says_why_not(tmp_path: Path) -> None:
    file = tmp_path / "key"
    assert read_token_key(None) == b""
    with pytest.raises(ConfigurationError, match="No such file"):
        read_token_key(str(file))
    file.write_text("short\n")
    with pytest.raises(ConfigurationError, match="holds 5 bytes, and a key has at least 32"):
        read_token_key(str(file))
    file.write_bytes(KEY + b"\n")
    assert read_token_key(str(file)) == KEY
