"""Training that nobody disturbs but its user."""

import copy
from pathlib import Path

import pytest

from e2e import jobs
from e2e.site import ClusterSite
from e2e.steps import EXAMPLES, make_data, make_digits, verify_artifact
from realcluster.user import Object, User

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

JOB_SECONDS = 300
ROUNDS = 20
SAYS = """
import time

from footplate_trainer import context

print(f"round {context().hyperparameters['round']}.", flush=True)
time.sleep(600)
"""


def finish(user: User, name: str) -> Object:
    """The artifact of a job that ended well at the first attempt."""
    status = user.wait(name, "condition=Finished", seconds=JOB_SECONDS)
    assert (status["phase"], status["restarts"]["total"]) == ("Succeeded", 0), status
    return dict(status["artifact"])


def suspend(user: User, name: str, *, value: str) -> None:
    user.kubectl("patch", "tj", name, "--type=merge", "-p", f'{{"spec":{{"runPolicy":{{"suspend":{value}}}}}}}')


def test_a_script_of_ones_own(team: ClusterSite) -> None:
    jobs.code(team, "own-code", (EXAMPLES / "own-script/train.py").read_text())
    job = jobs.example("own-script")
    job["spec"]["trainer"]["hyperparameters"]["epochs"] = 5
    team.apply(job)
    verify_artifact(team, finish(team, "own-script"))


def test_torchrun(team: ClusterSite) -> None:
    jobs.code(team, "torchrun-code", (EXAMPLES / "own-script-torchrun/train.py").read_text())
    team.apply(jobs.example("own-script-torchrun"))
    verify_artifact(team, finish(team, "own-script-torchrun"))


def test_suspended_and_resumed(team: ClusterSite, tmp_path: Path) -> None:
    make_digits(team, tmp_path / "digits")
    job = jobs.example("suspend-resume")
    job["spec"]["trainer"]["hyperparameters"]["epochs"] = 40
    team.apply(job)
    team.until(
        lambda: jobs.status(team, "digits-suspend"), lambda seen: (seen.get("progress") or {}).get("step"), seconds=120
    )
    suspend(team, "digits-suspend", value="true")
    suspended = team.wait("digits-suspend", "condition=Suspended")
    team.until(lambda: team.names("pods", "digits-suspend"), lambda pods: not pods)
    suspend(team, "digits-suspend", value="false")
    artifact = finish(team, "digits-suspend")
    [first, second] = jobs.status(team, "digits-suspend")["attempts"]
    assert second["resumedFromStep"] == suspended["checkpoint"]["step"] == first["lastStep"] > 0
    verify_artifact(team, artifact)


def test_data_are_prepared_before_there_is_a_gang(team: ClusterSite, tmp_path: Path) -> None:
    """By a pod of its own that is killed once; data that break a check never come to a gang."""
    make_data("checked-data", tmp_path)
    team.upload(tmp_path, "datasets", "checked-wine/")
    job = jobs.example("checked-data")
    broken = copy.deepcopy(job)
    broken["metadata"]["name"] = "broken-wine"
    broken["spec"]["data"]["checks"]["minRows"] = 200
    team.apply(job)
    team.apply(broken)
    [pod] = team.until(lambda: team.names("pods", "checked-wine"), bool)
    team.kubectl("delete", "pod", pod, "--grace-period=0", "--force")
    status = team.wait("checked-wine", "condition=Finished", seconds=JOB_SECONDS)
    assert status["phase"] == "Succeeded", status
    *data, gang = status["attempts"]
    assert [attempt["stage"] for attempt in data] == ["data"] * len(data)
    assert (data[-1]["reason"], gang.get("stage"), gang["reason"]) == ("DataPrepared", None, "Completed")
    assert (status["data"]["rows"], status["data"]["classCount"]) == (178, 3)
    verify_artifact(team, dict(status["artifact"]))
    status = team.wait("broken-wine", "condition=Finished", seconds=JOB_SECONDS)
    assert (status["phase"], status["reason"], len(status["attempts"])) == ("Failed", "DataError", 1), status
    assert "200" in status["failure"]["message"]
    assert status["data"]["problems"] == 1


def test_a_job_that_replaces_another_of_its_name_runs_its_own_configuration(team: ClusterSite) -> None:
    """kubectl delete; kubectl apply of a corrected manifest, at once, while the old pod is still about to stop."""
    wrong: list[str] = []
    for number in range(ROUNDS):
        team.apply(jobs.script(team, "replaced", SAYS, hyperparameters={"round": number}))
        told = _first_words(team, "replaced")
        if f"round {number}." not in told:
            wrong.append(f"round {number} ran {told!r}")
        team.kubectl("delete", "tj", "replaced")
    assert not wrong


def _first_words(user: User, job: str) -> str:
    """What the pod of this job says first; a pod of that name may still be a former job's."""
    uid, pod = user.get("tj", job)["metadata"]["uid"], f"{job}-1-0-0"

    def look() -> str:
        found = user.kubectl("get", "pod", pod, "-o", "jsonpath={.metadata.ownerReferences[0].uid}", check=False)
        return user.kubectl("logs", pod, check=False).stdout if found.stdout == uid else ""

    return user.until(look, lambda log: "round" in log, seconds=90)
