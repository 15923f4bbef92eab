"""The way of a release through a cluster, step by step: a job from data to a verified model, an upgrade, and what is
left after an uninstall.

Each step is a function of a `User` of some cluster: on nodes with the built images (`test_way.py`), and of a real
control plane without Docker (`realcluster/test_e2e_steps.py`).
"""

import hashlib
import json
import subprocess
import sys
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from realcluster.chart import CHART, NAMESPACE, RELEASE
from realcluster.controlplane import Cluster
from realcluster.user import TEAM, Object, User

EXAMPLES = CHART.parents[1] / "examples"
LEASE = "footplate-operator"
LEAST_ACCURACY = 0.95
JOB_SECONDS = 600
_OF_THE_CHART = "deployments,services,serviceaccounts,configmaps,poddisruptionbudgets,roles,rolebindings,leases"
_OF_THE_CLUSTER = "clusterroles,clusterrolebindings,clustertrainingruntimes"


def whole_way(user: User, *, image: str, folder: Path) -> None:
    """All steps, in a cluster where the chart has just been installed. `folder` is for the data."""
    make_digits(user, folder)
    artifact = run_digits(user, "digits", image=image)
    verify_artifact(user, artifact)
    verify_metrics(user, artifact, succeeded=1, created=2)
    upgrade(user, replicas=2, metrics={"service": True}, resources={"requests": {"cpu": "50m"}})  # other pods
    artifact = run_digits(user, "again", image=image)
    verify_artifact(user, artifact)
    verify_metrics(user, artifact, succeeded=2, created=2)  # counted by the new operator
    leave(user)
    uninstall(user)


def make_data(example: str, folder: Path) -> None:
    """The data of an example, as it makes them."""
    subprocess.run([sys.executable, EXAMPLES / example / "make_data.py", folder], check=True, capture_output=True)


def make_digits(user: User, folder: Path) -> None:
    """The data of examples/digits, in the bucket where its job looks for it."""
    make_data("digits", folder)
    user.upload(folder, "datasets", "digits/")


def digits(name: str, *, image: str) -> Object:
    """The job of examples/digits under another name and with another image."""
    job: Object = yaml.safe_load((EXAMPLES / "digits/job.yaml").read_text())
    job["metadata"]["name"] = name
    job["spec"]["trainer"]["image"] = image
    job["spec"]["resources"]["requests"]["cpu"] = "500m"  # two fit on a small runner
    return job


def run_digits(user: User, name: str, *, image: str) -> Object:
    """The artifact of a job that learned to read digits on two nodes."""
    user.apply(digits(name, image=image))
    status = user.wait(name, "condition=Finished", seconds=JOB_SECONDS)
    assert (status["phase"], status["restarts"]["total"]) == ("Succeeded", 0), status
    assert status["attempts"][-1]["nodes"] == 2, status
    return dict(status["artifact"])


def verify_artifact(user: User, artifact: Object) -> None:
    """Every file that the manifest lists is there, as the manifest says."""
    manifest = user.read(artifact["manifest"])
    assert hashlib.sha256(manifest).hexdigest() == artifact["sha256"]
    files = json.loads(manifest)["files"]
    assert files, manifest
    for file in files:
        assert hashlib.sha256(user.read(artifact["uri"] + file["name"])).hexdigest() == file["sha256"]


def verify_metrics(user: User, artifact: Object, *, succeeded: int, created: int) -> None:
    """What the job reports of its model, and what the operator counts."""
    assert artifact["metrics"]["testAccuracy"] >= LEAST_ACCURACY, artifact
    families = text_string_to_metric_families(user.metrics_of_operator())
    counted: dict[tuple[str, str], float] = defaultdict(float)
    for sample in (each for family in families for each in family.samples):
        counted[sample.name, sample.labels.get("phase") or sample.labels.get("kind", "")] += sample.value
    told = [counted[key] for key in (("footplate_jobs", "Succeeded"), ("footplate_objects_created_total", "Pod"))]
    assert [*told, counted["footplate_leader", ""]] == [succeeded, created, 1], told


def upgrade(user: User, **values: Any) -> None:
    """helm upgrade: what has run stays as it is, and isn't run again."""
    before = _jobs(user)
    user.reconfigure(**values)
    assert _jobs(user) == before


def uninstall(user: User) -> None:
    """helm uninstall: only what the user made is left, the CRDs that hold it, and the Lease, which holds nobody up."""
    before = _jobs(user)
    user.uninstall()
    assert _jobs(user) == before
    assert (left := leftovers(user.cluster)) == [f"Lease/{LEASE}"], left
    user.until(lambda: user.get("lease", LEASE, namespace=NAMESPACE)["spec"], _is_free, seconds=30)


def leave(user: User) -> None:
    """The user deletes her jobs: nothing that the operator made for them is left."""
    user.kubectl("delete", "trainingjobs", "--all", "--timeout=120s")
    made = "pods,services,configmaps"
    user.until(
        lambda: user.kubectl("get", made, "-l", "footplate.dev/managed-by=footplate", "-o", "name").stdout,
        lambda found: not found,
    )


def leftovers(cluster: Cluster) -> list[str]:
    """What there still is of the chart, anywhere; CRDs are meant to stay."""
    found: list[str] = []
    for kinds in (_OF_THE_CHART, _OF_THE_CLUSTER):
        items = json.loads(cluster.kubectl("get", kinds, "-A", "-o", "json").stdout)["items"]
        found += [f"{each['kind']}/{each['metadata']['name']}" for each in items if _is_of_the_chart(each)]
    return found


def _is_of_the_chart(obj: Object) -> bool:
    labels = obj["metadata"].get("labels") or {}
    return labels.get("app.kubernetes.io/instance") == RELEASE or obj["metadata"]["name"].startswith(f"{RELEASE}-")


def _is_free(lease: Object) -> bool:
    """Whether the next operator acts at once: released, or, where its rights went before the operator did, run out."""
    if not lease.get("holderIdentity"):
        return True
    renewed = datetime.fromisoformat(lease["renewTime"])
    return datetime.now(UTC) > renewed + timedelta(seconds=lease["leaseDurationSeconds"])


def _jobs(user: User) -> dict[str, Object]:
    """UID, spec and status of each job."""
    items = json.loads(user.kubectl("get", "trainingjobs", "-n", TEAM, "-o", "json").stdout)["items"]
    return {each["metadata"]["uid"]: {"spec": each["spec"], "status": each["status"]} for each in items}
