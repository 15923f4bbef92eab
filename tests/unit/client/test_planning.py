"""What a job will take, before it is submitted."""

from typing import Any

import pytest

from footplate.client.planning import make_plan
from footplate.policy.resolve import InvalidJob

GPU = "nvidia.com/gpu"


def job(**spec: Any) -> dict[str, Any]:
    trainer = {"image": "registry.example.com/trainer:1", "recipe": "image-classification"}
    limits = {GPU: 8, "cpu": "4", "memory": "16Gi"}
    return {
        "metadata": {"name": "digits", "namespace": "team"},
        "spec": {"trainer": trainer, "nodes": 4, "resources": {"limits": limits}, **spec},
    }


def quota(hard: dict[str, Any], used: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "compute"}, "spec": spec, "status": {"hard": hard, "used": used or {}}}


WHOLE = job(
    inputs=[{"name": "train", "uri": "s3://datasets/digits/"}],
    checkpoint={"uri": "s3://checkpoints/team/", "every": {"steps": 50}},
    output={"uri": "s3://models/team"},
    runPolicy={"activeDeadlineSeconds": 3600},
)


def test_the_summary() -> None:
    half_full = quota({"requests.nvidia.com/gpu": "64"}, {"requests.nvidia.com/gpu": "8"})
    assert str(make_plan(WHOLE, None, [half_full])) == (
        "job         team/digits\n"
        "runs        recipe image-classification in registry.example.com/trainer:1\n"
        "creates     1 ConfigMap, 1 Service, 4 Pods\n"
        "takes       4 nodes, 32 ranks, 32 nvidia.com/gpu, 16 cpu, 64Gi memory\n"
        "quota       compute has 56 of 64 requests.nvidia.com/gpu left, the job asks for 32\n"
        "reads       train from s3://datasets/digits/\n"
        "saves       checkpoints to s3://checkpoints/team/\n"
        "writes      the model to s3://models/team/digits/1/\n"
        "budget      3 restarts, 50 disruptions, at most 3,600 s of running time"
    )


def test_what_a_job_without_output_and_checkpoint_loses() -> None:
    assert [note.partition(":")[0] for note in make_plan(job(), None, []).notes] == ["no output", "no checkpoint"]


def test_an_elastic_gang() -> None:
    plan = make_plan(job(elastic={"minNodes": 2, "maxNodes": 8}), None, [])
    assert (plan.least_nodes, plan.nodes) == (2, 4)
    assert "takes       2 to 4 nodes" in str(plan)


@pytest.mark.parametrize(
    ("hard", "used", "words"),
    [
        ({"requests.nvidia.com/gpu": "32"}, {"requests.nvidia.com/gpu": "8"}, "they wait until there is room"),
        ({"requests.nvidia.com/gpu": "16"}, {}, "ask for less, or for a larger quota"),
        ({"pods": "3"}, {}, "compute has 3 of 3 pods left, the job asks for 4"),
        ({"limits.memory": "32Gi"}, {}, "compute has 32Gi of 32Gi limits.memory left, the job asks for 64Gi"),
        ({"cpu": "15500m"}, {}, "compute has 15.5 of 15.5 cpu left, the job asks for 16"),
        ({"requests.ephemeral-storage": "1Ti"}, {}, "set resources.requests.ephemeral-storage"),
    ],
)
def test_a_quota_that_has_no_room_is_told(hard: dict[str, str], used: dict[str, str], words: str) -> None:
    [note] = make_plan(WHOLE, None, [quota(hard, used)]).notes
    assert words in note


@pytest.mark.parametrize(
    "other",
    [
        quota({"requests.amd.com/gpu": "0"}),
        quota({"pods": "0"}, scopes=["BestEffort"]),
        quota({"pods": "many"}),
        quota({"persistentvolumeclaims": "0"}),
    ],
    ids=["another accelerator", "scopes", "no quantity", "another kind"],
)
def test_quotas_that_say_nothing_of_the_job(other: dict[str, Any]) -> None:
    assert make_plan(WHOLE, None, [other]).quotas == []


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(InvalidJob, match=r"spec.nodes = 0: must be at least 1"):
        make_plan(job(nodes=0), None, [])
