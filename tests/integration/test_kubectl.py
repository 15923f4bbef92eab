"""What a user's own kubectl shows, on the devcluster and on a real kube-apiserver alike."""

import asyncio
import json
import re
from pathlib import Path

import pytest
import yaml

from api_cluster import MERGE, WIDGETS, ApiCluster, Json, config_map, eventually, pod, widget

pytestmark = [pytest.mark.integration, pytest.mark.conformance]


async def run(cluster: ApiCluster, *arguments: str, stdin: str | Json = "") -> str:
    """What kubectl prints; it must succeed."""
    done = await cluster.kubectl(*arguments, stdin=stdin)
    assert done.code == 0, done.err
    return done.out


async def make(cluster: ApiCluster, name: str = "w", phase: str = "", ready: str = "") -> None:
    """A Widget, with a status where one is given."""
    await cluster.must("POST", cluster.widgets, widget(name))
    conditions = [{"type": "Ready", "status": ready}] if ready else []
    status = {"status": {"phase": phase, "conditions": conditions}}
    await cluster.must("PATCH", f"{cluster.widgets}/{name}/status", status, kind=MERGE)


async def test_apply_says_what_it_did(cluster: ApiCluster) -> None:
    apply = ("apply", "-f", "-")
    assert await run(cluster, *apply, stdin=widget("w")) == "widget.example.dev/w created\n"
    assert await run(cluster, *apply, stdin=widget("w")) == "widget.example.dev/w unchanged\n"
    assert await run(cluster, *apply, stdin=widget("w", nodes=5)) == "widget.example.dev/w configured\n"
    assert await run(cluster, *apply, stdin=widget("w")) == "widget.example.dev/w configured\n"
    assert (await cluster.must("GET", f"{cluster.widgets}/w"))["spec"]["nodes"] == 3  # dropped, so the default again


async def test_apply_of_built_in_kinds_merges_containers(cluster: ApiCluster) -> None:
    await run(cluster, "apply", "-f", "-", stdin=pod("p"))
    changed = pod("p", containers=[{"name": "main", "image": "r/x:2"}])
    assert await run(cluster, "apply", "-f", "-", stdin=changed) == "pod/p configured\n"
    assert await run(cluster, "apply", "-f", "-", stdin=changed) == "pod/p unchanged\n"


MISTAKES = {
    "unknown field": (widget("w", foo=1), 'strict decoding error: unknown field "spec.foo"'),
    "wrong value": (widget("w", mode="c"), 'spec.mode: Unsupported value: "c": supported values: "a", "b"'),
    "broken rule": (widget("w", low=5, high=1), "spec.low: Forbidden: low must not exceed high"),
    "unknown kind": (
        {**widget("w"), "kind": "Wodget"},
        'no matches for kind "Wodget" in version "example.dev/v1alpha1"',
    ),
    "unknown pod field": (pod("p", foo=1), 'strict decoding error: unknown field "spec.foo"'),
}


@pytest.mark.parametrize(("body", "told"), MISTAKES.values(), ids=MISTAKES)
async def test_apply_tells_mistakes(cluster: ApiCluster, body: Json, told: str) -> None:
    done = await cluster.kubectl("apply", "-f", "-", stdin=body)
    assert done.code == 1
    assert told in done.err


async def test_server_side_apply_and_its_conflicts(cluster: ApiCluster) -> None:
    apply = ("apply", "--server-side", "-f", "-")
    assert await run(cluster, *apply, stdin=widget("w", nodes=4)) == "widget.example.dev/w serverside-applied\n"
    await run(cluster, "patch", "wd", "w", "--type=merge", "-p", '{"spec":{"nodes":6}}')
    done = await cluster.kubectl(*apply, stdin=widget("w", nodes=4))
    assert done.code == 1
    assert (
        'Apply failed with 1 conflict: conflict with "kubectl-patch" using example.dev/v1alpha1: .spec.nodes'
        in done.err
    )
    assert "serverside-applied" in await run(cluster, *apply, "--force-conflicts", stdin=widget("w", nodes=4))


async def test_client_side_apply_becomes_server_side(cluster: ApiCluster) -> None:
    await run(cluster, "apply", "-f", "-", stdin=widget("w", nodes=4))
    assert "serverside-applied" in await run(cluster, "apply", "--server-side", "-f", "-", stdin=widget("w", nodes=5))


async def test_diff(cluster: ApiCluster) -> None:
    await run(cluster, "apply", "-f", "-", stdin=widget("w"))
    done = await cluster.kubectl("diff", "-f", "-", stdin=widget("w"))
    assert (done.code, done.out) == (0, "")
    done = await cluster.kubectl("diff", "-f", "-", stdin=widget("w", nodes=9))
    assert done.code == 1
    assert "-  nodes: 3\n+  nodes: 9\n" in done.out


async def test_get_in_each_output(cluster: ApiCluster) -> None:
    await make(cluster, phase="Running", ready="True")
    plain = (await run(cluster, "get", "wd")).splitlines()
    assert plain[0].split() == ["NAME", "PHASE", "NODES", "READY", "AGE"]
    assert re.fullmatch(r"w +Running +3 +True +\d+s", plain[1].strip())
    wide = (await run(cluster, "get", "widgets", "w", "-o", "wide")).splitlines()
    assert wide[0].split()[-1] == "REASON"
    assert (await run(cluster, "get", "widget", "-o", "name")) == "widget.example.dev/w\n"
    assert yaml.safe_load(await run(cluster, "get", "wd", "w", "-o", "yaml"))["spec"]["nodes"] == 3
    assert json.loads(await run(cluster, "get", "wd", "-o", "json"))["kind"] == "List"
    columns = "custom-columns=N:.metadata.name,P:.status.phase"
    assert [line.split() for line in (await run(cluster, "get", "wd", "-o", columns)).splitlines()] == [
        ["N", "P"], ["w", "Running"],
    ]  # fmt: skip
    assert await run(cluster, "get", "wd", "w", "-o", "jsonpath={.status.phase}") == "Running"
    assert "widget.example.dev/w" in await run(cluster, "get", "all")
    missing = await cluster.kubectl("get", "wd", "none")
    assert missing.err == 'Error from server (NotFound): widgets.example.dev "none" not found\n'
    nothing = await cluster.kubectl("get", "wd", "-l", "a=b")
    assert nothing.err == f"No resources found in {cluster.namespace} namespace.\n"


async def test_get_of_built_in_kinds(cluster: ApiCluster) -> None:
    await cluster.must("POST", f"{cluster.core}/pods", pod("p"))
    await cluster.must("POST", f"{cluster.core}/configmaps", config_map("c", {"a": "1"}))
    [heads, cells] = (await run(cluster, "get", "pods", "-o", "wide")).splitlines()
    assert heads.replace("NOMINATED NODE", "NOMINATED").replace("READINESS GATES", "GATES").split() == [
        "NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED", "GATES",
    ]  # fmt: skip
    assert cells.split()[:4] == ["p", "0/1", "Pending", "0"]
    assert (await run(cluster, "get", "cm", "c", "--no-headers")).split()[:2] == ["c", "1"]
    assert "<none>" in cells


async def test_get_watches(cluster: ApiCluster) -> None:
    await cluster.must("POST", cluster.widgets, widget("w"))
    process = await cluster.start_kubectl("get", "wd", "-w", "--no-headers")
    assert process.stdout is not None

    async def line() -> list[str]:
        async with asyncio.timeout(20):
            return (await process.stdout.readline()).decode().split()  # type: ignore[union-attr]

    assert (await line())[:2] == ["w", "3"]
    await cluster.must("PATCH", f"{cluster.widgets}/w/status", {"status": {"phase": "Running"}}, kind=MERGE)
    assert (await line())[:3] == ["w", "Running", "3"]
    process.terminate()
    await process.communicate()


async def test_describe(cluster: ApiCluster) -> None:
    await make(cluster, phase="Running")
    about = await cluster.must("GET", f"{cluster.widgets}/w")
    about = {**about["metadata"], "apiVersion": about["apiVersion"], "kind": "Widget"}
    event = {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "reason": "Why", "message": "because",
        "type": "Normal", "source": {"component": "me"}, "count": 1, "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "involvedObject": {name: about[name] for name in ("apiVersion", "kind", "name", "namespace", "uid")},
    }  # fmt: skip
    await cluster.must("POST", f"{cluster.core}/events", event)
    shown = await run(cluster, "describe", "wd", "w")
    assert re.search(r"Phase: +Running", shown)
    assert re.search(r"Normal +Why +\S+ +me +because", shown)
    await cluster.must("POST", f"{cluster.core}/pods", pod("p"))
    shown = await run(cluster, "describe", "pod", "p")
    assert re.search(r"Status: +Pending", shown)
    assert re.search(r"Image: +r/x:1", shown)


async def test_wait_for_a_condition(cluster: ApiCluster) -> None:
    await make(cluster)
    waiting = asyncio.create_task(run(cluster, "wait", "wd/w", "--for=condition=Ready", "--timeout=20s"))
    ready = {"status": {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]}}
    await cluster.must("PATCH", f"{cluster.widgets}/w/status", ready, kind=MERGE)
    assert await waiting == "widget.example.dev/w condition met\n"
    phase = ("wait", "wd/w", "--for=jsonpath={.status.phase}=Running", "--timeout=1s")
    assert "timed out waiting for the condition" in (await cluster.kubectl(*phase)).err


PATCHES = {
    "merge": ("wd/w", "merge", '{"spec":{"nodes":5}}', "widget.example.dev/w patched\n"),
    "json": ("wd/w", "json", '[{"op":"replace","path":"/spec/nodes","value":5}]', "widget.example.dev/w patched\n"),
    "no change": ("wd/w", "merge", '{"spec":{"nodes":3}}', "widget.example.dev/w patched (no change)\n"),
    "strategic": ("cm/c", "strategic", '{"data":{"b":"2"}}', "configmap/c patched\n"),
}


@pytest.mark.parametrize(("target", "kind", "patch", "told"), PATCHES.values(), ids=PATCHES)
async def test_patch(cluster: ApiCluster, target: str, kind: str, patch: str, told: str) -> None:
    await make(cluster)
    await cluster.must("POST", f"{cluster.core}/configmaps", config_map("c", {"a": "1"}))
    assert await run(cluster, "patch", target, f"--type={kind}", "-p", patch) == told


async def test_patch_of_the_status(cluster: ApiCluster) -> None:
    await make(cluster)
    patch = ("patch", "wd", "w", "--subresource=status", "--type=merge", "-p", '{"status":{"phase":"P"}}')
    assert await run(cluster, *patch) == "widget.example.dev/w patched\n"
    assert await run(cluster, "get", "wd", "w", "-o", "jsonpath={.status.phase}") == "P"


async def test_edit(cluster: ApiCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await make(cluster)
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/nodes: 3/nodes: 8/" "$1"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("KUBE_EDITOR", str(editor))
    assert await run(cluster, "edit", "wd", "w") == "widget.example.dev/w edited\n"
    assert (await cluster.must("GET", f"{cluster.widgets}/w"))["spec"]["nodes"] == 8


async def test_label_annotate_and_scale(cluster: ApiCluster) -> None:
    await make(cluster)
    assert await run(cluster, "label", "wd", "w", "a=b") == "widget.example.dev/w labeled\n"
    assert await run(cluster, "annotate", "wd", "w", "a=b") == "widget.example.dev/w annotated\n"
    assert await run(cluster, "scale", "wd", "w", "--replicas=6") == "widget.example.dev/w scaled\n"
    found = await cluster.must("GET", f"{cluster.widgets}/w")
    assert (found["metadata"]["labels"], found["spec"]["nodes"]) == ({"a": "b"}, 6)


async def test_create_of_what_jobs_need(cluster: ApiCluster, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print('hi')\n")
    code = ("create", "configmap", "code", f"--from-file={tmp_path / 'train.py'}", "--from-literal=a=b")
    assert await run(cluster, *code) == "configmap/code created\n"
    assert await run(cluster, "create", "secret", "generic", "s3", "--from-literal=KEY=x y") == "secret/s3 created\n"
    assert await run(cluster, "create", "serviceaccount", "me") == "serviceaccount/me created\n"
    found = await cluster.must("GET", f"{cluster.core}/configmaps/code")
    assert found["data"] == {"train.py": "print('hi')\n", "a": "b"}
    secret = await cluster.must("GET", f"{cluster.core}/secrets/s3")
    assert (secret["data"], secret["type"]) == ({"KEY": "eCB5"}, "Opaque")
    twice = await cluster.kubectl("create", "serviceaccount", "me")
    assert twice.err == 'error: failed to create serviceaccount: serviceaccounts "me" already exists\n'


@pytest.mark.parametrize("cascade", ["background", "foreground", "orphan"])
async def test_delete_waits_until_it_is_gone(cluster: ApiCluster, cascade: str) -> None:
    made = await cluster.must("POST", cluster.widgets, widget("w"))
    owner = {key: made[key] for key in ("apiVersion", "kind")} | {"name": "w", "uid": made["metadata"]["uid"]}
    child = config_map("child", ownerReferences=[{**owner, "blockOwnerDeletion": True}])
    await cluster.must("POST", f"{cluster.core}/configmaps", child)
    told = await run(cluster, "delete", "wd", "w", f"--cascade={cascade}", "--wait")
    assert told.startswith('widget.example.dev "w" deleted')
    assert (await cluster.request("GET", f"{cluster.widgets}/w")).status == 404
    wanted = 200 if cascade == "orphan" else 404
    path = f"{cluster.core}/configmaps/child"
    await eventually(lambda: cluster.request("GET", path), lambda answer: answer.status == wanted)


async def test_delete_of_many_and_of_none(cluster: ApiCluster) -> None:
    for name in ("a", "b"):
        await make(cluster, name)
    assert len((await run(cluster, "delete", "wd", "--all")).splitlines()) == 2
    missing = await cluster.kubectl("delete", "wd", "a")
    assert missing.err == 'Error from server (NotFound): widgets.example.dev "a" not found\n'
    assert await run(cluster, "delete", "wd", "a", "--ignore-not-found") == ""


async def test_explain(cluster: ApiCluster) -> None:
    shown = await run(cluster, "explain", "wd.spec.nodes")
    assert re.search(r"KIND: +Widget\n", shown)
    assert "FIELD: nodes <integer>" in shown
    assert "How many." in shown
    shown = await run(cluster, "explain", "wd.spec")
    assert re.search(r"mode\t<string> -required-", shown)
    assert "terminationGracePeriodSeconds" in await run(cluster, "explain", "pod.spec")


async def test_discovery(cluster: ApiCluster) -> None:
    rows = [line.split() for line in (await run(cluster, "api-resources", "--no-headers")).splitlines()]
    assert ["widgets", "wd", "example.dev/v1alpha1", "true", "Widget"] in rows
    assert ["pods", "po", "v1", "true", "Pod"] in rows
    assert "example.dev/v1alpha1" in (await run(cluster, "api-versions")).splitlines()
    assert "Server Version: v1.36" in await run(cluster, "version")


async def test_what_one_may_do(cluster: ApiCluster) -> None:
    assert await run(cluster, "auth", "can-i", "create", "widgets.example.dev") == "yes\n"
    assert "*.*" in await run(cluster, "auth", "can-i", "--list")


async def test_a_definition_is_established_and_takes_its_objects_with_it(cluster: ApiCluster) -> None:
    definition = yaml.safe_load(WIDGETS.read_text())
    group = f"{cluster.namespace}.example.dev"
    definition["spec"]["group"] = group
    definition["spec"]["names"] = {"kind": "Gadget", "plural": "gadgets"}
    definition["metadata"]["name"] = f"gadgets.{group}"
    name = f"crd/gadgets.{group}"
    assert "created" in await run(cluster, "apply", "-f", "-", stdin=definition)
    assert "condition met" in await run(cluster, "wait", name, "--for=condition=Established", "--timeout=20s")
    body = {**widget("g"), "apiVersion": f"{group}/v1alpha1", "kind": "Gadget"}

    async def apply() -> int:  # a real API server takes a moment to publish what it serves
        return (await cluster.kubectl("apply", "-f", "-", stdin=body)).code

    await eventually(apply, lambda code: code == 0)
    assert "deleted" in await run(cluster, "delete", name)
    gone = f"/apis/{group}/v1alpha1/namespaces/{cluster.namespace}/gadgets/g"
    await eventually(lambda: cluster.request("GET", gone), lambda answer: answer.status == 404)
