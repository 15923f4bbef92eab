"""`kubectl scale` of a TrainingJob, on the devcluster and on a real kube-apiserver alike."""

import pytest

from api_cluster import CRDS, ApiCluster, Json, eventually
from footplate.api.crd import build_crds

pytestmark = [pytest.mark.integration, pytest.mark.conformance]

ELASTIC = {"nodes": 2, "elastic": {"minNodes": 2, "maxNodes": 4}}
BOUNDS = "an elastic job needs nodes, between elastic.minNodes and elastic.maxNodes"
FIXED = "field is immutable: nodes can't change after creation where elastic isn't set; delete the job first"


async def make(cluster: ApiCluster, **spec: object) -> str:
    """Path of a TrainingJob."""
    for definition in build_crds():
        await cluster.request("POST", CRDS, definition)
    jobs = f"/apis/footplate.dev/v1alpha1/namespaces/{cluster.namespace}/trainingjobs"
    await eventually(lambda: cluster.request("GET", jobs), lambda answer: answer.status == 200)
    trainer = {"image": "registry.example.com/trainer:1", "recipe": "image-classification"}
    job: Json = {"apiVersion": "footplate.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": "fashion"}}
    await cluster.must("POST", jobs, {**job, "spec": {"trainer": trainer, **spec}})
    return f"{jobs}/fashion"


async def test_an_elastic_job_is_scaled(cluster: ApiCluster) -> None:
    path = await make(cluster, **ELASTIC)
    done = await cluster.kubectl("scale", "tj/fashion", "--replicas=3")
    assert (done.code, done.out, done.err) == (0, "trainingjob.footplate.dev/fashion scaled\n", "")
    job = await cluster.must("GET", path)
    assert (job["spec"]["nodes"], job["metadata"]["generation"]) == (3, 2)
    stale = await cluster.kubectl("scale", "tj/fashion", "--replicas=4", "--current-replicas=2")
    assert (stale.code, stale.err) == (1, "error: Expected replicas to be 2, was 3\n")


async def test_the_scale_shows_what_is_asked_for_and_what_is_there(cluster: ApiCluster) -> None:
    path = await make(cluster, **ELASTIC)
    assert (await cluster.must("GET", f"{path}/scale"))["status"] == {"replicas": 0}
    counts = {"status": {"nodes": {"desired": 2, "created": 2, "summary": "1/2"}}}
    await cluster.must("PATCH", f"{path}/status", counts, kind="application/merge-patch+json")
    scale = await cluster.must("GET", f"{path}/scale")
    assert (scale["kind"], scale["spec"], scale["status"]) == ("Scale", {"replicas": 2}, {"replicas": 2})


async def test_the_scale_names_the_pods(cluster: ApiCluster) -> None:
    path = await make(cluster, **ELASTIC)
    selector = {"status": {"selector": "footplate.dev/job=fashion"}}
    await cluster.must("PATCH", f"{path}/status", selector, kind="application/merge-patch+json")
    assert (await cluster.must("GET", f"{path}/scale"))["status"]["selector"] == "footplate.dev/job=fashion"


async def test_a_job_without_nodes_has_no_scale(cluster: ApiCluster) -> None:
    answer = await cluster.request("GET", f"{await make(cluster)}/scale")
    message = 'Internal error occurred: the spec replicas field ".spec.nodes" does not exist'
    assert (answer.status, answer.message) == (500, message)


async def test_jobs_are_found_by_their_fields(cluster: ApiCluster) -> None:
    path = await make(cluster, **ELASTIC)
    status = {"status": {"phase": "Running"}}
    await cluster.must("PATCH", f"{path}/status", status, kind="application/merge-patch+json")
    for phase, found in (("Running", "trainingjob.footplate.dev/fashion\n"), ("Failed", "")):
        done = await cluster.kubectl("get", "tj", f"--field-selector=status.phase={phase}", "-o", "name")
        assert (done.code, done.out) == (0, found), done.err


@pytest.mark.parametrize("nodes", [1, 5])
async def test_the_bounds_hold(cluster: ApiCluster, nodes: int) -> None:
    await make(cluster, **ELASTIC)
    refused = await cluster.kubectl("scale", "tj/fashion", f"--replicas={nodes}")
    assert refused.code == 1
    assert BOUNDS in refused.err


async def test_a_job_that_isnt_elastic_isnt_scaled(cluster: ApiCluster) -> None:
    path = await make(cluster, nodes=2)
    refused = await cluster.kubectl("scale", "tj/fashion", "--replicas=3")
    assert refused.code == 1
    assert FIXED in refused.err
    assert (await cluster.must("GET", path))["spec"]["nodes"] == 2
