"""get, list, watch, wait and the verbs, against the devcluster's API server; and what users hear when that fails."""

import gc
import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client_site import Site, condition, site_in
from footplate.client import (
    Client,
    ClientError,
    ClusterUnreachable,
    Job,
    JobDeleted,
    JobEnded,
    JobNotFound,
    NotAllowed,
    NotInstalled,
    WaitTimeout,
    connection,
)
from footplate.devcluster.faults import Fault, WatchFault
from footplate.errors import ConfigurationError


def later(act: Callable[[], Any]) -> None:
    """Does something a moment from now, while the test waits."""
    threading.Timer(0.2, act).start()


def test_a_job_is_found_with_what_its_status_says(site: Site, client: Client) -> None:
    made = site.create("fashion")
    site.say("fashion", phase="Running", run=2, attempt=1, progress={"step": 7})
    job = client.get("fashion")
    assert (job.name, job.namespace, job.uid) == ("fashion", "default", made["metadata"]["uid"])
    assert (job.phase, job.run, job.attempt) == ("Running", 2, 1)
    assert job.progress is not None
    assert job.progress.step == 7
    assert job.created is not None


def test_a_name_that_is_not_there_is_answered_with_the_nearest(site: Site, client: Client) -> None:
    for name in ("fashion-1", "fashion-2", "digits"):
        site.create(name)
    with pytest.raises(JobNotFound, match=r"'fashon-1' in namespace default: did you mean fashion-1 or fashion-2\?"):
        client.get("fashon-1")
    with pytest.raises(JobNotFound, match=r"did you mean fashion-"):
        client.get("Fashion_1")
    with pytest.raises(JobNotFound, match="has 3 others"):
        client.get("zzz")
    with pytest.raises(JobNotFound, match="has none at all"):
        client.get("../../x", namespace="kube-system")


def test_lists_are_of_a_namespace_or_all_by_phase_and_labels(site: Site, client: Client) -> None:
    site.create("b", labels={"team": "vision"})
    site.create("a")
    site.create("c", namespace="kube-system")
    site.say("a", phase="Failed")

    def names(**which: Any) -> list[str]:
        return [job.name for job in client.list(**which)]

    assert names() == ["a", "b"]
    assert names(all_namespaces=True) == ["a", "b", "c"]
    assert names(namespace="kube-system") == ["c"]
    assert names(phase="failed") == ["a"]
    assert names(selector="team=vision") == ["b"]
    with pytest.raises(ClientError, match="phase: 'Done' is none; it is one of Pending, "):
        client.list(phase="Done")


def test_a_watch_tells_what_is_there_then_what_changes_over_a_cut_and_a_gap(site: Site, client: Client) -> None:
    site.create("a")
    changes = client.watch()
    assert [(change.type, change.job.name) for change in [next(changes)]] == [("ADDED", "a")]
    site.say("a", phase="Running")
    assert (change := next(changes)).type == "MODIFIED"
    assert change.job.phase == "Running"
    site.faults.add(WatchFault("half-line"), nth=1)
    site.faults.cut_watches()
    site.create("b")
    site.delete("a")
    told = {(change.type, change.job.name) for change in (next(changes), next(changes))}
    assert told == {("ADDED", "b"), ("DELETED", "a")}
    changes.close()  # type: ignore[attr-defined]


def test_the_watch_of_one_job_ends_with_it(site: Site, client: Client) -> None:
    site.create("a")
    site.create("b")
    later(lambda: site.delete("a"))
    assert [(change.type, change.job.name) for change in client.watch("a")] == [("ADDED", "a"), ("DELETED", "a")]


def test_waiting(site: Site, client: Client) -> None:
    site.create("a")
    job = client.get("a")
    with pytest.raises(WaitTimeout, match=r"'a' isn't Finished after 0.1 s; it goes on"):
        job.wait(timeout=0.1)
    later(lambda: site.say("a", phase="Running", conditions=[condition("Running")]))
    assert job.wait("Running", timeout=5).phase == "Running"
    later(lambda: site.say("a", phase="Failed", message="\x1b[2Jboom", conditions=[condition("Finished")], run=1))
    with pytest.raises(JobEnded, match="'a' has Failed and isn't Suspended: boom"):
        job.wait("Suspended", timeout=5)
    assert job.wait(timeout=5).phase == "Failed"
    with pytest.raises(ClientError, match="until: 'Done' is no condition and no phase; it is one of Finished, "):
        job.wait("Done")


def test_a_wait_after_a_restart_is_for_the_new_run(site: Site, client: Client) -> None:
    site.create("a")
    site.say("a", phase="Succeeded", run=1, conditions=[condition("Finished")])
    job = client.get("a").restart()
    assert site.job("a")["spec"]["runPolicy"]["restartNonce"]
    with pytest.raises(WaitTimeout):
        job.wait(timeout=0.2)


def test_a_job_that_is_deleted_while_it_is_awaited_or_changed(site: Site, client: Client) -> None:
    site.create("a")
    job = client.get("a")
    later(lambda: site.delete("a"))
    with pytest.raises(JobDeleted, match="was deleted meanwhile; what it has saved in storage is kept"):
        job.wait(timeout=5)
    site.create("a")  # another one
    for act in (job.refresh, job.suspend, job.cancel, job.wait):
        with pytest.raises(JobDeleted):
            act()
    assert "runPolicy" not in site.job("a")["spec"]


def test_verbs_change_the_spec_and_refuse_what_would_do_nothing(site: Site, client: Client) -> None:
    site.create("a", nodes=2, elastic={"minNodes": 1, "maxNodes": 4}, checkpoint={"uri": "s3://checkpoints/a/"})
    job = client.get("a")
    assert job.suspend().manifest["spec"]["runPolicy"]["suspend"] is True
    assert job.resume().manifest["spec"]["runPolicy"]["suspend"] is False
    assert job.scale(4).manifest["spec"]["nodes"] == 4
    with pytest.raises(ClientError, match=r"nodes: 5 is outside of spec\.elastic, which allows 1 to 4"):
        job.scale(5)
    with pytest.raises(ClientError, match="only a finished one starts another run"):
        job.restart()
    site.say("a", phase="Failed")
    with pytest.raises(ClientError, match="has Failed: there is nothing to suspend; restart it"):
        job.refresh().suspend()
    site.create("rigid")
    with pytest.raises(ClientError, match="isn't elastic"):
        client.get("rigid").scale(2)
    job.cancel()
    with pytest.raises(JobNotFound):
        client.get("a")


def test_a_status_of_another_version_is_read_as_far_as_it_is_understood(site: Site, client: Client) -> None:
    site.create("a")
    job = client.get("a")
    status = {"phase": "Running", "nodes": {"desired": "many"}, "attempt": 3, "novelty": 1}
    strange = Job(client.connection, {**job.manifest, "status": status})
    assert (strange.attempt, strange.phase, strange.status.nodes) == (3, "Running", None)
    assert Job(client.connection, {**job.manifest, "status": {"phase": "Levitating"}}).phase is None


def test_missing_rights_name_verb_resource_and_the_way_to_them(site: Site, client: Client) -> None:
    site.faults.add(Fault(status=403), path="trainingjobs")
    with pytest.raises(NotAllowed) as caught:
        client.list()
    assert (caught.value.verb, caught.value.resource) == ("list", "trainingjobs.footplate.dev")
    assert "you may not list trainingjobs.footplate.dev in namespace default" in str(caught.value)
    assert "`kubectl auth can-i list trainingjobs.footplate.dev -n default`" in str(caught.value)
    with pytest.raises(NotAllowed, match="may not get"):
        client.get("a")
    with pytest.raises(NotAllowed, match=r"in all namespaces.* ClusterRoleBinding"):
        client.list(all_namespaces=True)
    with pytest.raises(NotAllowed, match="may not list"):
        next(client.watch())


def test_a_cluster_without_footplate_is_told_so(tmp_path: Path) -> None:
    with site_in(tmp_path) as site, Client(kubeconfig=site.kubeconfig) as client:
        site.request("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/trainingjobs.footplate.dev")
        with pytest.raises(NotInstalled, match="install Footplate's chart"):
            client.list()
        with pytest.raises(NotInstalled):
            client.get("a")


def test_no_cluster(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="name a kubeconfig"):
        Client(kubeconfig=str(tmp_path / "none"))
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        config = tmp_path / "config"
        context = {"cluster": "x", "user": "x", "namespace": "mine"}
        server = f"http://127.0.0.1:{held.getsockname()[1]}"
        document = {
            "clusters": [{"name": "x", "cluster": {"server": server}}],
            "users": [{"name": "x", "user": {}}],
            "contexts": [{"name": "x", "context": context}],
            "current-context": "x",
        }
        config.write_text(json.dumps(document))
        with Client(kubeconfig=str(config)) as client:
            assert client.namespace == "mine"
            with pytest.raises(ClusterUnreachable, match="is the cluster up") as caught:
                client.list()
            assert "object at" not in str(caught.value)


def test_a_server_that_hangs_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.2)
    site.faults.add(Fault(delay=20.0), path="trainingjobs")
    began = time.monotonic()
    with Client(kubeconfig=site.kubeconfig) as client, pytest.raises(ClusterUnreachable):
        client.list()
    assert time.monotonic() - began < 10
    site.faults.clear()


def test_a_client_ends_its_thread_also_where_nobody_closes_it(site: Site) -> None:
    client = Client(kubeconfig=site.kubeconfig)
    site.create("a")
    changes = client.watch()
    next(changes)
    client.close()
    client.close()
    with pytest.raises(ClientError, match="this client is closed"):
        client.list()
    del changes
    forgotten = Client(kubeconfig=site.kubeconfig)
    del forgotten
    gc.collect()
    deadline = time.monotonic() + 5
    while sum(thread.name == "footplate-client" for thread in threading.enumerate()) > 1:  # the site's own stays
        assert time.monotonic() < deadline
        time.sleep(0.01)
