"""Who holds the cluster's accelerators, and what is left of them."""

from typing import Any

from footplate.client.cluster import ResourceView, view_cluster
from footplate.contract import Label

GPU = "nvidia.com/gpu"


def job(name: str, *, phase: str = "Running") -> Any:
    return {"metadata": {"namespace": "team", "name": name, "uid": name}, "status": {"phase": phase}}


def pod(node: str, gpus: int, *, owner: str = "") -> Any:
    limits = {"resources": {"limits": {GPU: str(gpus)}}}
    return {
        "metadata": {"labels": {Label.UID: owner} if owner else {}},
        "spec": {"nodeName": node, "containers": [limits]},
    }


def node(name: str, gpus: int, *, cordoned: bool = False) -> Any:
    return {
        "metadata": {"name": name},
        "spec": {"unschedulable": True} if cordoned else {},
        "status": {"allocatable": {GPU: str(gpus)}},
    }


def test_what_is_held_on_a_node_that_takes_no_pods_leaves_the_others_free() -> None:
    pods = [pod("cordoned", 8, owner="a"), pod("open", 2, owner="a"), pod("open", 1)]
    view = view_cluster([job("a")], pods, [node("cordoned", 8, cordoned=True), node("open", 8)], whole=True)
    assert view.resources == [ResourceView(GPU, capacity=8, used=10, others=1, free=5)]


def test_pods_of_a_job_that_is_over_or_gone_still_hold_what_they_ask_for() -> None:
    pods = [pod("open", 4, owner="over"), pod("open", 2, owner="deleted")]
    view = view_cluster([job("over", phase="Failed")], pods, [node("open", 8)], whole=True)
    assert view.resources == [ResourceView(GPU, capacity=8, used=0, others=6, free=2)]


def test_what_other_peoples_pods_hold_is_not_known_to_who_sees_one_namespace() -> None:
    view = view_cluster([job("a")], [pod("open", 4, owner="a")], [node("open", 8)], whole=False)
    assert view.resources == [ResourceView(GPU, capacity=8, used=4, others=None, free=None)]


def test_what_an_operator_was_told_to_count_is_counted_here_too() -> None:
    """The client isn't told its names: they are in what it says of its jobs."""
    named = job("a")
    named["status"]["resolved"] = {"configMap": "a", "sha256": "0", "accelerators": {"acme.com/npu": 4}}
    holds = pod("open", 0, owner="a")
    holds["spec"]["containers"][0]["resources"]["limits"] = {"acme.com/npu": 4, "rdma/hca": 1}
    offers = node("open", 0)
    offers["status"]["allocatable"] = {"acme.com/npu": "8", "rdma/hca": "8"}
    view = view_cluster([named], [holds], [offers], whole=True)
    assert view.resources == [ResourceView("acme.com/npu", capacity=8, used=4, others=0, free=4)]
