"""What a user sees of the pod that prepares data: that it waits, is stopped and tried again, fails, and makes way."""

import subprocess
from collections.abc import Iterator
from typing import Any

import obstore
import pytest

from laptop import Laptop

pytestmark = [pytest.mark.integration, pytest.mark.slow]

GOOD = "age,label\n" + "".join(f"{row},{'xy'[row % 2]}\n" for row in range(100))
CHECKS = {"columns": [{"name": "age", "constraints": {"minimum": 0}}]}


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    with Laptop(tmp_path_factory.mktemp("laptop")) as laptop:
        yield laptop


def job(name: str, **data: Any) -> dict[str, Any]:
    return {
        "apiVersion": "footplate.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "trainer": {"image": "trainer", "command": ["true"]},
            "nodes": 2,
            "inputs": [{"name": "train", "uri": f"s3://datasets/{name}/"}],
            "data": {"split": {"train": 0.8, "test": 0.2}, "checks": CHECKS, **data},
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
            "checkpoint": {"uri": "s3://checkpoints/data-stage/"},
            "storage": {"secretRef": {"name": "s3"}},
        },
    }


def patch(laptop: Laptop, name: str, **policy: Any) -> None:
    words = ",".join(f'"{key}":{value}' for key, value in policy.items())
    done = laptop.kubectl("patch", f"tj/{name}", "--type=merge", f'--patch={{"spec":{{"runPolicy":{{{words}}}}}}}')
    assert done.returncode == 0, done.stderr


def wait_until(laptop: Laptop, path: str, value: str, what: str) -> subprocess.CompletedProcess[str]:
    done = laptop.kubectl("wait", what, f"--for=jsonpath={{{path}}}={value}", "--timeout=60s")
    assert done.returncode == 0, done.stderr
    return done


def test_one_that_cannot_be_placed_is_said_to_wait_and_can_be_stopped(laptop: Laptop) -> None:
    laptop.apply(job("large", resources={"requests": {"cpu": "4000"}}))
    wait_until(laptop, ".status.reason", "PreparingData", "tj/large")
    wait_until(laptop, ".status.nodes.created", "1", "tj/large")
    told = laptop.get("tj", "large")["status"]["message"]
    assert "the data are being prepared by pod large-1-0-0: 0 of 1 nodes scheduled" in told
    patch(laptop, "large", suspend="true")
    wait_until(laptop, ".status.phase", "Suspended", "tj/large")
    assert laptop.pods("large") == []
    patch(laptop, "large", suspend="false")
    wait_until(laptop, ".metadata.name", "large-1-1-0", "pod/large-1-1-0")
    wait_until(laptop, ".status.nodes.created", "1", "tj/large")
    assert laptop.kubectl("delete", "pod/large-1-1-0").returncode == 0
    wait_until(laptop, ".status.attempt", "2", "tj/large")
    status = laptop.get("tj", "large")["status"]
    assert [(each.get("reason"), each["stage"]) for each in status["attempts"]] == [
        ("SuspendedByUser", "data"), ("PodLost", "data"), (None, "data"),
    ]  # fmt: skip
    assert status["spent"] == {"restarts": 0, "disruptions": 1}
    assert laptop.kubectl("delete", "tj/large").returncode == 0


def test_broken_data_end_the_run_before_there_is_a_gang_and_another_run_takes_the_new_ones(laptop: Laptop) -> None:
    obstore.put(laptop.store("datasets"), "told/a.csv", (GOOD + "-5,x\n").encode())
    laptop.apply(job("told", profile=True))
    status = laptop.wait("told", "Failed")
    assert status["reason"] == "DataError"
    assert "column 'age': minimum: 0 is broken once: -5 in row 101 of train/a.csv" in status["message"]
    assert (status["data"]["rows"], status["data"]["problems"]) == (101, 1)
    assert status["data"]["broken"] == [{"column": "age", "rule": "minimum: 0", "count": 1}]
    assert b"minimum: 0" in laptop.read(status["data"]["profile"])
    assert [(each["stage"], each["reason"]) for each in status["attempts"]] == [("data", "DataError")]
    assert [each["metadata"]["name"] for each in laptop.pods("told")] == ["told-1-0-0"]
    why = laptop.footplate("why", "told")
    assert "its data: 101 rows: train 81 (80.2%), test 20 (19.8%); 1 rule of data.checks is broken" in why
    obstore.put(laptop.store("datasets"), "told/a.csv", GOOD.encode())
    patch(laptop, "told", restartNonce='"2"')
    again = laptop.wait("told", "Complete")
    assert (again["run"], again["data"]["rows"], again["data"]["problems"]) == (2, 100, 0)
    assert again["data"]["digest"] != status["data"]["digest"]
    assert [(each.get("stage"), each["reason"]) for each in again["attempts"]] == [
        ("data", "DataPrepared"), (None, "Completed"),
    ]  # fmt: skip
    assert [each["phase"] for each in again["transitions"]][:3] == ["Pending", "Failed", "Pending"]
    events = laptop.kubectl("events", "--for=tj/told").stdout
    said = "the data are prepared: 100 rows: train 80 (80.0%), test 20 (20.0%); the gang is next"
    assert said in events


def test_small_data_are_prepared_in_the_gang_where_a_policy_says_so(laptop: Laptop) -> None:
    policy = {"namespaceSelector": {}, "dataPodAbove": "10Mi"}
    head = {"apiVersion": "footplate.dev/v1alpha1", "kind": "TrainingPolicy", "metadata": {"name": "small"}}
    laptop.apply({**head, "spec": policy})
    obstore.put(laptop.store("datasets"), "little/a.csv", GOOD.encode())
    little = job("little")
    little["spec"]["inputs"][0]["maxSize"] = "1Mi"
    laptop.apply(little)
    status = laptop.wait("little", "Complete")
    assert [(each.get("stage"), each["nodes"]) for each in status["attempts"]] == [(None, 2)]
    assert (status["resolved"]["dataInGang"], status["data"]["rows"]) == (True, 100)
    logs = [laptop.kubectl("logs", f"little-1-0-{rank}").stdout for rank in (0, 1)]
    assert ["the data are being prepared" in log for log in logs] == [True, False]
    # Broken data end the gang, its other node too.
    obstore.put(laptop.store("datasets"), "less/a.csv", (GOOD + "-5,x\n").encode())
    less = job("less")
    less["spec"]["inputs"][0]["maxSize"] = "1Mi"
    laptop.apply(less)
    failed = laptop.wait("less", "Failed")
    assert (failed["reason"], failed["data"]["problems"]) == ("DataError", 1)
    assert len(failed["attempts"]) == 1
