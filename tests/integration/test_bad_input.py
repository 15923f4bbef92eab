"""Every mistake that a user can make, as the user meets it: at `kubectl apply`, or in the status of the job.

All jobs are created at once, so that they fail side by side; each test waits for its own. That a full disk leaves no
input that looks whole is shown by `test_supervisor`, which can limit a pod's files.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import obstore
import pytest
from typer.testing import CliRunner

from api_cases import REFUSED, Case
from bad_jobs import BAD_JOBS, CODE, DATA, FENCED, FORGED, IMAGE, SCRIPTS, BadJob, job, on_runtime, training_job
from footplate.cli.main import app
from laptop import Laptop

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

Json = dict[str, Any]

REFUSED_BY_ID = {case.id: case for case in REFUSED}
AT_ADMISSION = [
    REFUSED_BY_ID[each]
    for each in (
        "unknown field", "text for a number", "no nodes", "nothing to run", "two things to run", "name of 41",
        "unknown scheme", "userinfo", "parent folder", "encoded parent folder", "elastic upside down", "every 0 steps",
        "every 0 seconds", "recipe", "requests over limits", "mount at /dev/shm",
    )
]  # fmt: skip
SAVE = ("sh", "-c", "echo weights >$FOOTPLATE_OUTPUT_DIR/model.txt")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def core(kind: str, name: str, **fields: Any) -> Json:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "default"}, **fields}


def cluster_runtime(name: str, **spec: Any) -> Json:
    image = {"trainer": {"image": IMAGE}, "storage": {"secretRef": {"name": "s3"}}}
    return {
        "apiVersion": "footplate.dev/v1alpha1",
        "kind": "ClusterTrainingRuntime",
        "metadata": {"name": name},
        "spec": {**image, **spec},
    }


FOREIGN_POD = core(
    "Pod", "pod-name-1-0-0", spec={"containers": [{"name": "own", "image": IMAGE, "command": ["sleep", "600"]}]}
)
TAKEN_POD = core(
    "Pod", "taken-1-0-0", spec={"containers": [{"name": "own", "image": IMAGE, "command": ["sleep", "600"]}]}
)
MENDABLE = {
    "no-runtime": on_runtime("later", *SAVE, output="s3://models/no-runtime/"),
    "no-code": job({"command": ["sh", "train.sh"], "source": {"configMap": {"name": "late-code"}}}),
    "taken": job({"command": ["true"]}),
    "late-secret": job(
        {"command": ["true"]},
        storage={"secretRef": {"name": "late-secret"}},
        runPolicy={"schedulingTimeoutSeconds": 120},
    ),
}
"""Jobs that succeed once their user has done what the message says."""


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    with Laptop(tmp_path_factory.mktemp("laptop")) as laptop:
        for key, content in DATA.items():
            obstore.put(laptop.store("datasets"), key, content)
        laptop.apply(
            core("ConfigMap", CODE, data=SCRIPTS),
            core("Secret", FORGED, stringData={**laptop.storage, "AWS_SECRET_ACCESS_KEY": "forged"}),
            cluster_runtime(FENCED, policy={"uriPrefixes": ["s3://models/{namespace}/"]}),
            FOREIGN_POD,
            TAKEN_POD,
        )
        laptop.apply(*(bad.manifest for bad in BAD_JOBS))
        laptop.apply(*(training_job(name, spec) for name, spec in MENDABLE.items()))
        yield laptop


@pytest.mark.parametrize("case", AT_ADMISSION, ids=lambda case: case.id)
def test_refused_by_the_api_server_and_by_validate(laptop: Laptop, case: Case, tmp_path: Path) -> None:
    manifest = tmp_path / "job.json"
    manifest.write_text(json.dumps(case.manifest()))
    applied = laptop.kubectl("apply", "-f", str(manifest))
    assert applied.returncode == 1
    assert (case.server or case.problem) in applied.stderr
    assert laptop.kubectl("get", "tj", case.name).returncode == 1
    validated = CliRunner().invoke(app, ["validate", str(manifest)])
    assert validated.exit_code == 1
    assert case.path in validated.stdout
    assert case.problem in validated.stdout
    assert "key:secret" not in validated.stdout


@pytest.mark.parametrize("bad", BAD_JOBS, ids=lambda bad: bad.name)
def test_a_bad_job_says_what_is_wrong(laptop: Laptop, bad: BadJob) -> None:
    status = laptop.wait(bad.name, "Stalled", seconds=120)
    failure = status.get("failure") or {}
    assert (status["phase"], status["reason"], failure.get("class")) == (bad.phase, bad.reason, bad.class_), status
    for part in bad.says:
        assert part in status["message"]
    assert len(status["message"]) <= 1024
    assert not re.match(r"\w*(Error|NotFound|Denied): spec", status["message"])
    text = json.dumps(status, ensure_ascii=False)
    assert not CONTROL.search(text.replace("\n", ""))
    assert laptop.storage["AWS_SECRET_ACCESS_KEY"] not in text
    assert status["restarts"]["total"] == 0
    assert "artifact" not in status
    assert models(laptop, bad.name) == []


def test_an_error_in_the_users_code_has_its_traceback(laptop: Laptop) -> None:
    failure = laptop.wait("raises-at-import")["failure"]
    assert (failure["rank"], failure["exitCode"]) == (0, 70)
    assert failure["traceback"].splitlines()[1].strip().endswith('/source/broken.py", line 3, in <module>')


def test_foreign_objects_are_untouched(laptop: Laptop) -> None:
    laptop.wait("pod-name")
    pod = laptop.get("pod", "pod-name-1-0-0")
    assert pod["status"]["phase"] == "Running"
    assert "labels" not in pod["metadata"]
    assert "ownerReferences" not in pod["metadata"]


def test_a_taken_name_is_free_in_another_run(laptop: Laptop) -> None:
    """The way out that the message names."""
    assert laptop.wait("taken")["reason"] == "NameConflict"
    again = {"spec": {"runPolicy": {"restartNonce": "again"}}}
    assert laptop.kubectl("patch", "tj", "taken", "--type=merge", "-p", json.dumps(again)).returncode == 0
    status = laptop.wait("taken", "Complete", seconds=60)
    assert (status["phase"], status["run"]) == ("Succeeded", 2)


def test_jobs_wait_for_what_is_missing(laptop: Laptop) -> None:
    stalled = until(laptop, "no-runtime", "RuntimeNotFound", seconds=30)
    assert stalled["phase"] == "Pending"
    assert stalled["message"] == (
        "spec.runtimeRef: there is no ClusterTrainingRuntime 'later'; the job starts once it is there"
    )
    assert laptop.wait("no-code", "Reconciling", seconds=30)["phase"] == "Starting"
    laptop.apply(cluster_runtime("later"), core("ConfigMap", "late-code", data={"train.sh": "echo trained"}))
    for name in ("no-runtime", "no-code"):
        assert laptop.wait(name, seconds=60)["phase"] == "Succeeded"


def test_a_late_secret_is_waited_for_without_the_nodes(laptop: Laptop) -> None:
    """For longer than pods that can't start stay where they are."""
    status = until(laptop, "late-secret", "ContainerConfigError", seconds=90)
    assert (status["phase"], "running" in json.dumps(laptop.pods("late-secret"))) == ("Restarting", False)
    assert 'secret "late-secret" not found' in status["message"]
    assert "it is waited for up to 120 s (runPolicy.schedulingTimeoutSeconds)" in status["message"]
    laptop.apply(core("Secret", "late-secret", stringData=laptop.storage))
    status = laptop.wait("late-secret", seconds=90)
    assert (status["phase"], status["restarts"]["total"]) == ("Succeeded", 0)


def until(laptop: Laptop, job: str, reason: str, *, seconds: float) -> dict[str, Any]:
    """The job's status as it had this reason, in one read: the next attempt's reason takes its place soon."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        status: dict[str, Any] = laptop.get("tj", job).get("status") or {}
        if status.get("reason") == reason:
            return status
        time.sleep(0.2)
    raise AssertionError(f"{job} never had reason {reason}: {status}")


def test_the_operator_lives_on(laptop: Laptop) -> None:
    for bad in BAD_JOBS:
        laptop.wait(bad.name, "Stalled", seconds=120)
    laptop.apply(training_job("good", job({"command": list(SAVE)}, output={"uri": "s3://models/good/"})))
    status = laptop.wait("good")
    assert status["phase"] == "Succeeded", status
    assert models(laptop, "good") == ["good/good/1/manifest.json", "good/good/1/model.txt"]
    events = [json.loads(line) for line in (laptop.home / "operator.log").read_text().splitlines()]
    assert [event for event in events if is_trouble(event)] == []
    assert sum(event["event"] == "listening" for event in events) == 1


def models(laptop: Laptop, prefix: str) -> list[str]:
    """What there is of a model, without what is written of whose it is."""
    paths = (item["path"] for batch in obstore.list(laptop.store("models"), f"{prefix}/") for item in batch)
    return sorted(path for path in paths if "/.footplate/" not in path and "/records-" not in path)


def is_trouble(event: Mapping[str, Any]) -> bool:
    return event["level"] in ("error", "critical") or event["event"] == "reconcile_failed" or "exception" in event
