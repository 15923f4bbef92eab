"""The whole way of a job on a real control plane: real training, real storage, the chart's own rights."""

from typing import Any

import pytest
import yaml

from e2e.steps import EXAMPLES, make_digits, verify_artifact
from realcluster.site import Site

pytestmark = [pytest.mark.realcluster, pytest.mark.timeout(300)]

RAISES = "raise ValueError('no such column: price')"


@pytest.fixture(scope="module")
def digits(site: Site, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Prefix of the data in the bucket."""
    make_digits(site, tmp_path_factory.mktemp("digits"))
    return "s3://datasets/digits/"


def example(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((EXAMPLES / name / "job.yaml").read_text()))


def script(site: Site, name: str, text: str, **policy: Any) -> dict[str, Any]:
    site.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"train.py": text}})
    image, source = "registry.example.com/trainer:1", {"configMap": {"name": name}}
    return {
        "apiVersion": "footplate.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {
            "trainer": {"image": image, "entrypoint": "train.py", "source": source},
            "nodes": 2,
            "runPolicy": policy,
        },
    }


def test_digits_succeed_though_the_operator_dies_meanwhile(site: Site, digits: str) -> None:
    site.apply(example("digits"))
    site.wait("digits", "jsonpath={.status.phase}=Running")
    site.kill_operator()
    site.start_operator()
    status = site.wait("digits", "condition=Finished")
    assert (status["phase"], status["restarts"]["total"]) == ("Succeeded", 0), status
    assert status["artifact"]["metrics"]["testAccuracy"] >= 0.95
    verify_artifact(site, status["artifact"])


def test_a_suspended_job_goes_on_from_its_checkpoint(site: Site, digits: str) -> None:
    job = example("suspend-resume")
    job["spec"]["trainer"]["hyperparameters"]["epochs"] = 80
    site.apply(job)
    site.until(
        lambda: site.objects("checkpoints", "digits-suspend/"),
        lambda found: any(name.endswith("/manifest.json") for name in found),
    )
    patch = ["patch", "tj", "digits-suspend", "--type=merge", "-p"]
    site.kubectl(*patch, '{"spec":{"runPolicy":{"suspend":true}}}')
    suspended = site.wait("digits-suspend", "condition=Suspended")
    site.until(lambda: site.names("pods", "digits-suspend"), lambda pods: not pods)
    site.kubectl(*patch, '{"spec":{"runPolicy":{"suspend":false}}}')
    status = site.wait("digits-suspend", "condition=Finished")
    assert status["phase"] == "Succeeded", status
    assert status["attempts"][1]["resumedFromStep"] >= suspended["checkpoint"]["step"] > 0
    verify_artifact(site, status["artifact"])


def test_a_failing_job_says_why(site: Site) -> None:
    site.apply(script(site, "fails", RAISES, maxRestarts=0))
    status = site.wait("fails", "condition=Finished")
    assert (status["phase"], status["failure"]["class"]) == ("Failed", "User"), status
    assert "no such column: price" in status["failure"]["message"]
    assert RAISES in status["failure"]["traceback"]
    assert "no such column: price" in site.kubectl("get", "events", "--field-selector=type=Warning").stdout


def test_a_deleted_job_leaves_nothing(site: Site) -> None:
    site.apply(script(site, "deleted", "import time; print('here', flush=True); time.sleep(600)"))
    site.wait("deleted", "jsonpath={.status.phase}=Running")
    site.kubectl("delete", "tj", "deleted")
    site.until(lambda: site.names("pods,services,configmaps", "deleted"), lambda left: not left)
