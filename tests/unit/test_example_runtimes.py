"""The runtimes of examples/runtimes keep the API's rules, put into pods what they say, and let no job change it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from footplate.client.rendering import render
from footplate.policy.resolve import RuntimeRefuses

FOLDER = Path(__file__).parents[2] / "examples/runtimes"
RUNTIMES = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))}
NETWORKS = "k8s.v1.cni.cncf.io/networks"


def job(name: str, **spec: Any) -> dict[str, Any]:
    own = {"runtimeRef": {"name": name}, "trainer": {"entrypoint": "train.py"}, "processesPerNode": 8, **spec}
    return {
        "apiVersion": "footplate.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "gpt", "namespace": "team"},
        "spec": own,
    }


@pytest.mark.parametrize("name", RUNTIMES)
def test_pods_have_what_the_runtime_says(name: str) -> None:
    runtime = RUNTIMES[name]
    assert runtime["metadata"]["name"] == name
    pod = render(job(name), runtime)[-1]
    (container,) = pod["spec"]["containers"]
    said, template = runtime["spec"], runtime["spec"]["podTemplate"]
    limits = {key: str(amount) for key, amount in said["resources"].get("limits", {}).items()}
    variables = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert container["resources"]["limits"] == limits
    assert pod["metadata"].get("annotations", {}) == template.get("annotations", {})
    assert pod["spec"].get("resourceClaims", []) == template.get("resourceClaims", [])
    assert {each["name"]: each["value"] for each in said["trainer"].get("env", [])}.items() <= variables.items()
    (memory,) = [volume["emptyDir"] for volume in pod["spec"]["volumes"] if volume["name"] == "footplate-shm"]
    assert memory == {"medium": "Memory", "sizeLimit": "64Gi"}


OVERRIDES = [
    pytest.param("infiniband", {"podTemplate": {"annotations": {NETWORKS: "other/net"}}}, NETWORKS, id="its network"),
    pytest.param("infiniband", {"resources": {"limits": {"rdma/hca": 8}}}, "rdma/hca", id="its cards"),
    pytest.param("roce", {"trainer": {"entrypoint": "a.py", "env": [{"name": "NCCL_IB_TC", "value": "0"}]}},
                 "spec.trainer.env", id="NCCL's variables"),
    pytest.param("dra", {"podTemplate": {"resourceClaims": [{"name": "gpus", "resourceClaimName": "theirs"}]}},
                 "spec.podTemplate.resourceClaims", id="its devices"),
    pytest.param("nvlink", {"podTemplate": {"affinity": {"podAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": []}}}}, "spec.podTemplate.affinity", id="its domain"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "spec", "field"), OVERRIDES)
def test_a_job_changes_none_of_it(name: str, spec: dict[str, Any], field: str) -> None:
    with pytest.raises(RuntimeRefuses) as caught:
        render(job(name, **spec), RUNTIMES[name])
    assert field in str(caught.value)
    assert "overrides the runtime, whose policy doesn't allow it" in str(caught.value)
