"""What an API request does and answers, word for word, on the devcluster and on a real kube-apiserver alike."""
# ruff: noqa: E501 - Kubernetes' own texts are long

from functools import partial
from typing import Any

import pytest

from api_cluster import (
    APPLY,
    JSON_PATCH,
    MERGE,
    STRATEGIC,
    TABLE,
    ApiCluster,
    Json,
    config_map,
    core,
    eventually,
    pod,
    widget,
)

pytestmark = [pytest.mark.integration, pytest.mark.conformance]

UNCHECKED = (
    "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)
LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)

# Specs of Widgets, and what is wrong with them. `!` marks errors that keep CEL rules from being checked.
BAD_WIDGETS = {
    "enum": ({"mode": "c"}, '!spec.mode: Unsupported value: "c": supported values: "a", "b"'),
    "maximum": (
        {"nodes": 101},
        "spec.nodes: Invalid value: 101: spec.nodes in body should be less than or equal to 100",
    ),
    "exclusive maximum": ({"frac": 1.3}, "spec.frac: Invalid value: 1.3: spec.frac in body should be less than 1"),
    "exclusive minimum": ({"frac": 0}, "spec.frac: Invalid value: 0: spec.frac in body should be greater than 0"),
    "integer": ({"low": "x"}, '!spec.low: Invalid value: "string": spec.low in body must be of type integer: "string"'),
    "int32": (
        {"low": 2**40},
        '<nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec.low',
    ),
    "too long": ({"tag": "abcdefg"}, "!spec.tag: Too long: may not be more than 5 bytes"),
    "too short": ({"tag": "a"}, 'spec.tag: Invalid value: "a": spec.tag in body should be at least 2 chars long'),
    "pattern": ({"tag": "AB"}, "spec.tag: Invalid value: \"AB\": spec.tag in body should match '^[a-z]+$'"),
    "date-time": (
        {"when": "yesterday"},
        '!spec.when: Invalid value: "yesterday": spec.when in body must be of type date-time: "yesterday"',
    ),
    "boolean": (
        {"flag": "yes"},
        '!spec.flag: Invalid value: "string": spec.flag in body must be of type boolean: "string"',
    ),
    "int or string": (
        {"port": 1.5},
        '!spec.port: Invalid value: "number": spec.port in body must be of type integer,string: "number"',
    ),
    "object": (
        {"free": 3},
        '!spec.free: Invalid value: "integer": spec.free in body must be of type object: "integer"',
    ),
    "too many properties": (
        {"labels": {"a": "1", "b": "1", "c": "1"}},
        "!spec.labels: Too many: 3: must have at most 2 items",
    ),
    "map value": ({"labels": {"a": "toolong"}}, "!spec.labels.a: Too long: may not be more than 3 bytes"),
    "too few items": ({"list": []}, "spec.list: Invalid value: 0: spec.list in body should have at least 1 items"),
    "too many items": ({"list": ["a", "b", "c"]}, "!spec.list: Too many: 3: must have at most 2 items"),
    "item": (
        {"list": [1]},
        '!spec.list[0]: Invalid value: "integer": spec.list[0] in body must be of type string: "integer"',
    ),
    "set": ({"uniq": ["a", "a"]}, 'spec.uniq[1]: Duplicate value: "a"'),
    "list map": ({"env": [{"name": "x"}, {"name": "x"}]}, 'spec.env[1]: Duplicate value: {"name":"x"}'),
    "required in item": ({"env": [{"value": "x"}]}, "!spec.env[0].name: Required value"),
    "rule with path and reason": ({"low": 5, "high": 1}, "spec.low: Forbidden: low must not exceed high"),
    "rule with message expression": ({"nodes": 0}, "spec: Invalid value: zero nodes"),
}


@pytest.mark.parametrize(("spec", "error"), BAD_WIDGETS.values(), ids=BAD_WIDGETS)
async def test_a_widget_is_refused(cluster: ApiCluster, spec: Json, error: str) -> None:
    answer = await cluster.request("POST", cluster.widgets, widget("w", **spec))
    told = f"[{error[1:]}, {UNCHECKED}]" if error.startswith("!") else error
    assert (answer.status, answer.message) == (422, f'Widget.example.dev "w" is invalid: {told}')
    assert answer.body["details"]["causes"][0]["field"] == error.lstrip("!").partition(":")[0]


REQUIRED, PREFERRED = (f"{how}DuringSchedulingIgnoredDuringExecution" for how in ("required", "preferred"))
BAD_OBJECTS = {
    "duplicate": ("configmaps", config_map("there"), 409, 'configmaps "there" already exists'),
    "name": ("configmaps", config_map("A_b"), 422, f'ConfigMap "A_b" is invalid: metadata.name: Invalid value: "A_b": {SUBDOMAIN_RULE}'),
    "no name": ("configmaps", config_map(""), 422, 'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required'),
    "wrong namespace": (
        "configmaps", config_map("a", namespace="other"), 400,
        "the namespace of the provided object does not match the namespace sent on the request",
    ),
    "resourceVersion": ("configmaps", config_map("a", resourceVersion="5"), 500, "resourceVersion should not be set on objects to be created"),
    "finalizer": (
        "configmaps", config_map("a", finalizers=["foo"]), 422,
        'ConfigMap "a" is invalid: metadata.finalizers[0]: Invalid value: "foo": name is neither a standard finalizer name nor is it fully qualified',
    ),
    "value type": (
        "configmaps", {**config_map("a"), "data": {"k": 1}}, 400,
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field ConfigMap.data of type string',
    ),
    "secret": ("secrets", {**core("Secret"), "metadata": {"name": "s"}, "data": {"k": "!!"}}, 400,
               'Secret in version "v1" cannot be handled as a Secret: illegal base64 data at input byte 0'),
    "no containers": ("pods", pod("p", containers=[]), 422, 'Pod "p" is invalid: spec.containers: Required value'),
    "no spec": ("pods", {**core("Pod"), "metadata": {"name": "p"}}, 422, 'Pod "p" is invalid: spec.containers: Required value'),
    "container name": (
        "pods", pod("p", containers=[{"name": "A_", "image": "x"}]), 422,
        f'Pod "p" is invalid: spec.containers[0].name: Invalid value: "A_": {LABEL_RULE}',
    ),
    "same container twice": (
        "pods", pod("p", containers=[{"name": "a", "image": "x"}] * 2), 422,
        'Pod "p" is invalid: spec.containers[1].name: Duplicate value: "a"',
    ),
    "image": ("pods", pod("p", containers=[{"name": "a"}]), 422, 'Pod "p" is invalid: spec.containers[0].image: Required value'),
    "env value": (
        "pods", pod("p", containers=[{"name": "a", "image": "x", "env": [{"name": "A", "value": 1}]}]), 400,
        'Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal number into Go struct field EnvVar.spec.containers.env.value of type string',
    ),
    "mount": (
        "pods", pod("p", containers=[{"name": "a", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]), 422,
        'Pod "p" is invalid: spec.containers[0].volumeMounts[0].name: Not found: "v"',
    ),
    "restart policy": (
        "pods", pod("p", restartPolicy="Often"), 422,
        'Pod "p" is invalid: spec.restartPolicy: Unsupported value: "Often": supported values: "Always", "OnFailure", "Never"',
    ),
    "quantity": (
        "pods", pod("p", containers=[{"name": "a", "image": "x", "resources": {"limits": {"cpu": "many"}}}]), 400,
        "Pod in version \"v1\" cannot be handled as a Pod: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    ),
    "request above limit": (
        "pods", pod("p", containers=[{"name": "a", "image": "x", "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}}]), 422,
        'Pod "p" is invalid: spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
    ),
    "request of a device": (
        "pods", pod("p", containers=[{"name": "a", "image": "x", "resources": {"requests": {"nvidia.com/gpu": "1"}}}]), 422,
        'Pod "p" is invalid: spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources',
    ),
    **{
        f"resources: {name}": ("pods", pod("p", containers=[{"name": "a", "image": "x", "resources": amounts}]), 422, f'Pod "p" is invalid: {message}')
        for name, amounts, message in (
            ("half a device", {"limits": {"nvidia.com/gpu": "0.5"}},
             '[spec.containers[0].resources.limits[nvidia.com/gpu]: Invalid value: "500m": must be an integer, '
             'spec.containers[0].resources.requests[nvidia.com/gpu]: Invalid value: "500m": must be an integer]'),
            ("fewer devices than the limit", {"requests": {"nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": "2"}},
             'spec.containers[0].resources.requests: Invalid value: "1": must be equal to nvidia.com/gpu limit of 2'),
            ("no domain", {"requests": {"gpu": "1"}},
             '[spec.containers[0].resources.requests[gpu]: Invalid value: "gpu": must be a standard resource type or fully qualified, '
             'spec.containers[0].resources.requests[gpu]: Invalid value: "gpu": must be a standard resource for containers]'),
            ("negative", {"requests": {"memory": "-1Gi"}},
             'spec.containers[0].resources.requests[memory]: Invalid value: "-1Gi": must be greater than or equal to 0'),
            ("huge pages alone", {"limits": {"hugepages-2Mi": "4Mi"}},
             "spec.containers[0].resources: Forbidden: HugePages require cpu or memory"),
        )
    },
    **{
        f"pod: {name}": ("pods", pod("p", containers=[{"name": "a", "image": "x"}], **spec), 422, f'Pod "p" is invalid: {message}')
        for name, spec, message in (
            ("user", {"securityContext": {"runAsUser": -1}},
             "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"),
            ("no node terms", {"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": []}}}},
             f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms: Required value: must have at least one node selector term"),
            ("no values", {"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "a", "operator": "In"}, {"key": "b", "operator": "Is", "values": ["x"]}]}]}}}},
             f"[spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be "
             "specified when `operator` is 'In' or 'NotIn', "
             f'spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0].matchExpressions[1].operator: Invalid value: "Is": not a '
             "valid selector operator]"),
            ("weight", {"affinity": {"podAntiAffinity": {PREFERRED: [{"weight": 500, "podAffinityTerm": {"topologyKey": "zone"}}]}}},
             f"spec.affinity.podAntiAffinity.{PREFERRED}[0].weight: Invalid value: 500: must be in the range 1-100"),
            ("tolerations", {"tolerations": [{"key": "a", "operator": "Exists", "value": "x"}, {"value": "x"}]},
             '[spec.tolerations[0].operator: Invalid value: "x": value must be empty when `operator` is \'Exists\', '
             'spec.tolerations[1].operator: Invalid value: "": operator must be Exists when `key` is empty, which means '
             '"match all values and all keys"]'),
        )
    },
    "priority class": ("pods", pod("p", priorityClassName="nope"), 403, 'pods "p" is forbidden: no PriorityClass with name nope was found'),
    "another namespace's event": (
        "events", {**core("Event"), "metadata": {"name": "e"}, "involvedObject": {"namespace": "x"}}, 422,
        'Event "e" is invalid: involvedObject.namespace: Invalid value: "x": does not match event.namespace',
    ),
    "unknown resource": ("nopes", {}, 404, "the server could not find the requested resource"),
}  # fmt: skip


@pytest.mark.parametrize(("plural", "body", "status", "message"), BAD_OBJECTS.values(), ids=BAD_OBJECTS)
async def test_a_built_in_object_is_refused(
    cluster: ApiCluster, plural: str, body: Json, status: int, message: str
) -> None:
    await cluster.must("POST", f"{cluster.core}/configmaps", config_map("there"))
    answer = await cluster.request("POST", f"{cluster.core}/{plural}", body)
    assert (answer.status, answer.message) == (status, message)


async def test_the_version_must_be_the_one_of_the_url(cluster: ApiCluster) -> None:
    answer = await cluster.request("POST", cluster.widgets, {**widget("w"), "apiVersion": "v1"})
    versions = "(v1) does not match the expected API version (example.dev/v1alpha1)"
    assert (answer.status, answer.message) == (400, f"the API version in the data {versions}")


PATCHES = {
    "merge": (MERGE, {"data": {"a": None, "c": "3"}}, {"b": "2", "c": "3"}),
    "json": (JSON_PATCH, [{"op": "move", "from": "/data/a", "path": "/data/d"}], {"b": "2", "d": "1"}),
    "json test": (JSON_PATCH, [{"op": "test", "path": "/data/a", "value": "9"}], 422),
    "json path": (JSON_PATCH, [{"op": "remove", "path": "/data/z"}], 422),
    "strategic": (STRATEGIC, {"data": {"$patch": "replace", "z": "1"}}, {"z": "1"}),
    "stale": (MERGE, {"metadata": {"resourceVersion": "1"}, "data": {"a": "9"}}, 409),
    "type": ("application/json", {"data": {"a": "9"}}, 415),
}


@pytest.mark.parametrize(("kind", "patch", "result"), PATCHES.values(), ids=PATCHES)
async def test_patches(cluster: ApiCluster, kind: str, patch: Any, result: Any) -> None:
    await cluster.must("POST", f"{cluster.core}/configmaps", config_map("c", {"a": "1", "b": "2"}))
    answer = await cluster.request("PATCH", f"{cluster.core}/configmaps/c", patch, kind=kind)
    assert (answer.body["data"] if answer.status == 200 else answer.status) == result


async def test_strategic_merge_joins_lists_by_key(cluster: ApiCluster) -> None:
    status = f"{cluster.core}/pods/p/status"
    await cluster.must("POST", f"{cluster.core}/pods", pod("p"))
    for kind in ("Ready", "Initialized", "Ready"):
        patch = {"status": {"conditions": [{"type": kind, "status": "True"}]}}
        answer = await cluster.must("PATCH", status, patch, kind=STRATEGIC)
    assert [each["type"] for each in answer["status"]["conditions"]] == ["Initialized", "Ready"]


async def test_a_new_widget_gets_defaults_and_loses_what_is_not_its_own(cluster: ApiCluster) -> None:
    body = widget("w", sub={"y": {}, "zz": 1}, env=[{"name": "e"}], tag=None, maybe=None, free={"any": [1]}, extra=1)
    answer = await cluster.request("POST", cluster.widgets, body | {"status": {"phase": "x"}})
    assert answer.status == 201
    assert answer.body["spec"] == {
        "mode": "a", "nodes": 3, "sub": {"x": "dx", "y": {"z": 1}}, "env": [{"name": "e", "value": "dflt"}],
        "maybe": None, "free": {"any": [1]},
    }  # fmt: skip
    assert answer.body["status"] == {"observedGeneration": -1}
    assert answer.body["metadata"]["generation"] == 1
    assert answer.warnings == (r'"unknown field \"spec.extra\""', r'"unknown field \"spec.sub.zz\""')


UNKNOWN = {
    "custom": ("Widget", widget("w", foo=1, sub={"bar": 1}, env=[{"name": "a", "x": 1}]),
               'unknown field "spec.env[0].x", unknown field "spec.foo", unknown field "spec.sub.bar"'),
    "built-in": ("Pod", pod("p", containers=[{"name": "a", "image": "x", "foo": 1}], bar=1),
                 'unknown field "spec.containers[0].foo", unknown field "spec.bar"'),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "body", "fields"), UNKNOWN.values(), ids=UNKNOWN)
async def test_strict_validation_refuses_unknown_fields(
    cluster: ApiCluster, kind: str, body: Json, fields: str
) -> None:
    path = cluster.widgets if kind == "Widget" else f"{cluster.core}/pods"
    answer = await cluster.request("POST", path, body, fieldValidation="Strict")
    version = body["apiVersion"].rpartition("/")[2]
    told = f'{kind} in version "{version}" cannot be handled as a {kind}: strict decoding error: {fields}'
    assert (answer.status, answer.message) == (400, told)


async def test_generation_counts_changes_of_the_spec(cluster: ApiCluster) -> None:
    path = f"{cluster.widgets}/w"
    made = await cluster.must("POST", cluster.widgets, widget("w"))

    async def patch(part: Json, where: str = path) -> tuple[int, bool]:
        answer = await cluster.must("PATCH", where, part, kind=MERGE)
        nonlocal made
        changed, made = answer["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"], answer
        return answer["metadata"]["generation"], changed

    assert await patch({"spec": {"nodes": 4}}) == (2, True)
    assert await patch({"spec": {"nodes": 4}}) == (2, False)
    assert await patch({"metadata": {"labels": {"a": "b"}}}) == (2, True)
    assert await patch({"status": {"phase": "lost"}}) == (2, False)
    assert await patch(
        {"status": {"phase": "P"}, "spec": {"nodes": 9}, "metadata": {"labels": None}}, f"{path}/status"
    ) == (2, True)
    assert (made["spec"]["nodes"], made["status"]["phase"], made["metadata"]["labels"]) == (4, "P", {"a": "b"})


UPDATES = {
    "no version": ({}, 422, 'widgets.example.dev "w" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update'),
    "stale": (
        {"resourceVersion": "1"}, 409,
        'Operation cannot be fulfilled on widgets.example.dev "w": the object has been modified; please apply your changes to the latest version and try again',
    ),
    "other name": ({"name": "x"}, 400, "the name of the object (x) does not match the name on the URL (w)"),
}  # fmt: skip


@pytest.mark.parametrize(("metadata", "status", "message"), UPDATES.values(), ids=UPDATES)
async def test_an_update_is_refused(cluster: ApiCluster, metadata: Json, status: int, message: str) -> None:
    await cluster.must("POST", cluster.widgets, widget("w"))
    answer = await cluster.request("PUT", f"{cluster.widgets}/w", widget("w") | {"metadata": {"name": "w", **metadata}})
    assert (answer.status, answer.message) == (status, message)


async def test_a_transition_rule_compares_with_what_was(cluster: ApiCluster) -> None:
    await cluster.must("POST", cluster.widgets, widget("w"))
    answer = await cluster.request("PATCH", f"{cluster.widgets}/w", {"spec": {"mode": "b"}}, kind=MERGE)
    assert answer.message == 'Widget.example.dev "w" is invalid: spec.mode: Invalid value: "b": field is immutable'


async def test_a_pod_is_fixed_but_for_its_images(cluster: ApiCluster) -> None:
    path = f"{cluster.core}/pods/p"
    await cluster.must("POST", f"{cluster.core}/pods", pod("p"))
    image = {"spec": {"containers": [{"name": "main", "image": "r/x:2"}]}}
    assert (await cluster.must("PATCH", path, image, kind=STRATEGIC))["metadata"]["generation"] == 2
    answer = await cluster.request("PATCH", path, {"spec": {"restartPolicy": "Never"}}, kind=MERGE)
    assert answer.status == 422
    assert answer.message.startswith(
        'Pod "p" is invalid: spec: Forbidden: pod updates may not change fields other than'
    )


async def test_a_pod_gets_the_defaults_that_others_rely_on(cluster: ApiCluster) -> None:
    limits = {"cpu": 1, "memory": "1Gi"}
    container = {"name": "main", "image": "r/x:1", "ports": [{"containerPort": 80}], "resources": {"limits": limits}}
    answer = await cluster.must("POST", f"{cluster.core}/pods", pod("p", containers=[container]))
    spec = answer["spec"]
    assert spec["containers"][0] | {"resources": None} == {
        "name": "main", "image": "r/x:1", "ports": [{"containerPort": 80, "protocol": "TCP"}], "resources": None,
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
    }  # fmt: skip
    whole = {"cpu": "1", "memory": "1Gi"}
    assert spec["containers"][0]["resources"] == {"limits": whole, "requests": whole}
    assert {name: spec[name] for name in ("restartPolicy", "terminationGracePeriodSeconds", "dnsPolicy", "priority")} == {
        "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst", "priority": 0,
    }  # fmt: skip
    assert answer["status"] == {"phase": "Pending", "qosClass": "Guaranteed"}


async def bound_pod(cluster: ApiCluster, name: str) -> str:
    """The path of a new pod that is on a node."""
    await cluster.must("POST", f"{cluster.core}/pods", pod(name))
    target = {**core("Binding"), "metadata": {"name": name}, "target": {"kind": "Node", "name": "n"}}
    await cluster.must("POST", f"{cluster.core}/pods/{name}/binding", target)
    return f"{cluster.core}/pods/{name}"


async def test_a_running_pod_is_deleted_gracefully(cluster: ApiCluster) -> None:
    path = await bound_pod(cluster, "p")
    first = await cluster.must("DELETE", path)
    assert first["metadata"]["deletionGracePeriodSeconds"] == 30
    longer = await cluster.must("DELETE", path, {"gracePeriodSeconds": 60})
    assert longer["metadata"]["deletionGracePeriodSeconds"] == 30
    shorter = await cluster.must("DELETE", path, {"gracePeriodSeconds": 5})
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5
    assert shorter["metadata"]["deletionTimestamp"] < first["metadata"]["deletionTimestamp"]
    again = await cluster.request("POST", f"{cluster.core}/pods", pod("p"))
    assert again.message == 'object is being deleted: pods "p" already exists'
    await cluster.must("DELETE", path, {"gracePeriodSeconds": 0})
    assert (await cluster.request("GET", path)).status == 404


@pytest.mark.parametrize("finished", [True, False], ids=["finished", "unscheduled"])
async def test_a_pod_that_does_not_run_is_deleted_at_once(cluster: ApiCluster, finished: bool) -> None:
    path = f"{cluster.core}/pods/p"
    if finished:
        await bound_pod(cluster, "p")
        await cluster.must("PATCH", f"{path}/status", {"status": {"phase": "Succeeded"}}, kind=MERGE)
    else:
        await cluster.must("POST", f"{cluster.core}/pods", pod("p"))
    assert (await cluster.must("DELETE", path))["kind"] == "Pod"
    assert (await cluster.request("GET", path)).status == 404


async def test_deletion_has_preconditions(cluster: ApiCluster) -> None:
    made = await cluster.must("POST", cluster.widgets, widget("w"))
    path, uid = f"{cluster.widgets}/w", made["metadata"]["uid"]
    answer = await cluster.request("DELETE", path, {"preconditions": {"uid": "x"}})
    why = f"the UID in the precondition (x) does not match the UID in record ({uid}). "
    why += "The object might have been deleted and then recreated"
    assert (answer.status, answer.message) == (409, f'Operation cannot be fulfilled on Widget.example.dev "w": {why}')
    done = await cluster.must("DELETE", path, {"preconditions": {"uid": uid}})
    details = {"name": "w", "group": "example.dev", "kind": "widgets", "uid": uid}
    assert (done["status"], done["details"]) == ("Success", details)


async def test_finalizers_hold_a_deleted_object(cluster: ApiCluster) -> None:
    path = f"{cluster.widgets}/w"
    body = widget("w")
    body["metadata"]["finalizers"] = ["example.dev/hold"]
    await cluster.must("POST", cluster.widgets, body)
    held = await cluster.must("DELETE", path)
    assert (held["metadata"]["deletionGracePeriodSeconds"], held["metadata"]["generation"]) == (0, 2)
    more = {"metadata": {"finalizers": ["example.dev/hold", "example.dev/more"]}}
    answer = await cluster.request("PATCH", path, more, kind=MERGE)
    assert "no new finalizers can be added if the object is being deleted" in answer.message
    await cluster.must("PATCH", path, {"metadata": {"finalizers": None}}, kind=MERGE)
    assert (await cluster.request("GET", path)).status == 404


async def owned(cluster: ApiCluster) -> tuple[str, str]:
    """The paths of an owner and of its dependent."""
    configs = f"{cluster.core}/configmaps"
    owner = await cluster.must("POST", configs, config_map("owner"))
    reference = {**core("ConfigMap"), "name": "owner", "uid": owner["metadata"]["uid"], "blockOwnerDeletion": True}
    await cluster.must("POST", configs, config_map("child", ownerReferences=[reference]))
    return f"{configs}/owner", f"{configs}/child"


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
async def test_dependents_go_with_their_owner(cluster: ApiCluster, policy: str) -> None:
    owner, child = await owned(cluster)
    answer = await cluster.must("DELETE", owner, {"propagationPolicy": policy})
    assert answer.get("metadata", {}).get("finalizers") == (["foregroundDeletion"] if policy == "Foreground" else None)
    for path in (child, owner):
        await eventually(partial(cluster.request, "GET", path), lambda answer: answer.status == 404)


async def test_orphans_stay(cluster: ApiCluster) -> None:
    owner, child = await owned(cluster)
    await cluster.must("DELETE", owner, {"propagationPolicy": "Orphan"})
    await eventually(lambda: cluster.request("GET", owner), lambda answer: answer.status == 404)
    assert "ownerReferences" not in (await cluster.must("GET", child))["metadata"]


async def test_a_child_born_after_its_owners_death_is_collected(cluster: ApiCluster) -> None:
    reference = {**core("ConfigMap"), "name": "never", "uid": "0c5a7b2e-0000-4000-8000-000000000000"}
    await cluster.must("POST", f"{cluster.core}/configmaps", config_map("late", ownerReferences=[reference]))
    path = f"{cluster.core}/configmaps/late"
    await eventually(lambda: cluster.request("GET", path), lambda answer: answer.status == 404)


async def test_a_namespace_goes_with_its_contents(cluster: ApiCluster) -> None:
    name = f"{cluster.namespace}-more"
    path = f"/api/v1/namespaces/{name}"
    await cluster.must("POST", "/api/v1/namespaces", {**core("Namespace"), "metadata": {"name": name}})
    await cluster.must("POST", f"{path}/configmaps", config_map("held", finalizers=["example.dev/hold"]))
    assert (await cluster.must("DELETE", path))["status"]["phase"] == "Terminating"
    answer = await cluster.request("POST", f"{path}/configmaps", config_map("c"))
    why = f"unable to create new content in namespace {name} because it is being terminated"
    assert (answer.status, answer.message) == (403, f'configmaps "c" is forbidden: {why}')
    await cluster.must("PATCH", f"{path}/configmaps/held", {"metadata": {"finalizers": None}}, kind=MERGE)
    await eventually(lambda: cluster.request("GET", path), lambda answer: answer.status == 404)


async def test_dry_run_changes_nothing(cluster: ApiCluster) -> None:
    made = await cluster.must("POST", cluster.widgets, widget("w"), dryRun="All")
    assert "resourceVersion" not in made["metadata"]
    assert (await cluster.request("GET", f"{cluster.widgets}/w")).status == 404
    await cluster.must("POST", cluster.widgets, widget("w"))
    await cluster.must("PATCH", f"{cluster.widgets}/w", {"spec": {"nodes": 9}}, kind=MERGE, dryRun="All")
    await cluster.must("DELETE", f"{cluster.widgets}/w", dryRun="All")
    assert (await cluster.must("GET", f"{cluster.widgets}/w"))["spec"]["nodes"] == 3


async def test_server_side_apply(cluster: ApiCluster) -> None:
    path = f"{cluster.core}/configmaps/c"

    async def apply(manager: str, data: Json, **query: str) -> tuple[int, Any]:
        answer = await cluster.request("PATCH", path, config_map("c", data), kind=APPLY, fieldManager=manager, **query)
        return answer.status, answer.body.get("data", answer.message)

    assert await apply("one", {"a": "1", "b": "2"}) == (201, {"a": "1", "b": "2"})
    told = 'Apply failed with 1 conflict: conflict with "one": .data.a'
    assert await apply("two", {"a": "9", "b": "2"}) == (409, told)
    assert await apply("two", {"a": "9", "b": "2"}, force="true") == (200, {"a": "9", "b": "2"})
    assert await apply("one", {"c": "3"}) == (200, {"a": "9", "b": "2", "c": "3"})  # two owns a and b now
    assert await apply("two", {"b": "2"}) == (200, {"b": "2", "c": "3"})
    await cluster.must("PATCH", path, {"data": {"c": "4"}}, kind=MERGE, fieldManager="three")
    told = 'Apply failed with 1 conflict: conflict with "three" using v1: .data.c'
    assert await apply("one", {"c": "3"}) == (409, told)
    fields = (await cluster.must("GET", path))["metadata"]["managedFields"]
    assert {entry["manager"]: entry["fieldsV1"] for entry in fields} == {
        "two": {"f:data": {"f:b": {}}}, "three": {"f:data": {"f:c": {}}},
    }  # fmt: skip


async def test_server_side_apply_joins_lists_by_key(cluster: ApiCluster) -> None:
    path = f"{cluster.widgets}/w"
    await cluster.must("PATCH", path, widget("w", env=[{"name": "a", "value": "1"}]), kind=APPLY, fieldManager="one")
    other = widget("w", env=[{"name": "b", "value": "2"}])
    answer = await cluster.must("PATCH", path, other, kind=APPLY, fieldManager="two")
    assert answer["spec"]["env"] == [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]
    clash = await cluster.request(
        "PATCH", path, widget("w", env=[{"name": "a", "value": "9"}]), kind=APPLY, fieldManager="two"
    )
    assert clash.message == 'Apply failed with 1 conflict: conflict with "one": .spec.env[name="a"].value'
    gone = await cluster.must("PATCH", path, widget("w"), kind=APPLY, fieldManager="two")
    assert gone["spec"]["env"] == [{"name": "a", "value": "1"}]


async def test_lists_come_in_pages_of_one_moment(cluster: ApiCluster) -> None:
    for name in "abcde":
        await cluster.must("POST", cluster.widgets, widget(name))
    first = await cluster.must("GET", cluster.widgets, limit="2")
    assert first["metadata"]["remainingItemCount"] == 3
    await cluster.must("DELETE", f"{cluster.widgets}/d")
    token = first["metadata"]["continue"]
    second = await cluster.must("GET", cluster.widgets, **{"limit": "5", "continue": token})
    names = [each["metadata"]["name"] for each in first["items"] + second["items"]]
    assert names == ["a", "b", "c", "d", "e"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert (second["items"][0]["kind"], second["kind"]) == ("Widget", "WidgetList")


SELECTIONS = {
    "equals": ({"labelSelector": "a=1"}, "xz"),
    "differs": ({"labelSelector": "a!=1"}, "y"),
    "in": ({"labelSelector": "a in (1,2),b"}, "z"),
    "not in": ({"labelSelector": "a notin (2)"}, "xz"),
    "absent": ({"labelSelector": "!b"}, "xy"),
    "name": ({"fieldSelector": "metadata.name=y"}, "y"),
    "not name": ({"fieldSelector": "metadata.name!=y"}, "xz"),
    "bad label": (
        {"labelSelector": "a b"},
        "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
    ),
    "bad field": ({"fieldSelector": "spec.mode=a"}, "field label not supported: spec.mode"),
    "bad limit": ({"limit": "x"}, 'strconv.ParseInt: parsing "x": invalid syntax'),
}


@pytest.mark.parametrize(("query", "result"), SELECTIONS.values(), ids=SELECTIONS)
async def test_selectors(cluster: ApiCluster, query: dict[str, str], result: str) -> None:
    for name, labels in {"x": {"a": "1"}, "y": {"a": "2"}, "z": {"a": "1", "b": ""}}.items():
        body = widget(name)
        body["metadata"]["labels"] = labels
        await cluster.must("POST", cluster.widgets, body)
    answer = await cluster.request("GET", cluster.widgets, **query)
    assert "".join(each["metadata"]["name"] for each in answer.body.get("items", ())) + answer.message == result


async def test_a_watch_goes_on_where_a_list_ended(cluster: ApiCluster) -> None:
    await cluster.must("POST", cluster.widgets, widget("before"))
    listed = await cluster.must("GET", cluster.widgets)
    await cluster.must("POST", cluster.widgets, widget("w"))
    await cluster.must("PATCH", f"{cluster.widgets}/w", {"spec": {"nodes": 4}}, kind=MERGE)
    await cluster.must("DELETE", f"{cluster.widgets}/w")
    version = listed["metadata"]["resourceVersion"]
    async with cluster.watch(cluster.widgets, resourceVersion=version) as next_event:
        events = [await next_event() for _ in range(3)]
    assert [(kind, found["metadata"]["name"]) for kind, found in events] == [
        ("ADDED", "w"), ("MODIFIED", "w"), ("DELETED", "w"),
    ]  # fmt: skip
    versions = [int(found["metadata"]["resourceVersion"]) for _, found in events]
    assert versions == sorted(set(versions))


async def test_a_watch_sees_objects_cross_its_selector(cluster: ApiCluster) -> None:
    path = f"{cluster.widgets}/w"
    made = await cluster.must("POST", cluster.widgets, widget("w"))
    version = made["metadata"]["resourceVersion"]
    for labels in ({"in": "yes"}, {"in": "yes", "more": "1"}, {"in": "no"}):
        last = await cluster.must("PATCH", path, {"metadata": {"labels": labels}}, kind=MERGE)
    async with cluster.watch(cluster.widgets, resourceVersion=version, labelSelector="in=yes") as next_event:
        events = [await next_event() for _ in range(3)]
    assert [kind for kind, _ in events] == ["ADDED", "MODIFIED", "DELETED"]
    gone = events[-1][1]["metadata"]
    assert (gone["labels"], gone["resourceVersion"]) == (
        {"in": "yes", "more": "1"},
        last["metadata"]["resourceVersion"],
    )


async def test_a_watch_without_a_version_starts_with_what_there_is(cluster: ApiCluster) -> None:
    await cluster.must("POST", cluster.widgets, widget("w"))
    async with cluster.watch(cluster.widgets, timeoutSeconds="1") as next_event:
        kind, found = await next_event()
        assert (kind, found["metadata"]["name"]) == ("ADDED", "w")
        assert await next_event() is None


async def test_a_table_has_the_columns_of_its_kind(cluster: ApiCluster) -> None:
    await cluster.must("POST", cluster.widgets, widget("w"))
    condition = {"status": {"phase": "P", "conditions": [{"type": "Ready", "status": "True"}]}}
    await cluster.must("PATCH", f"{cluster.widgets}/w/status", condition, kind=MERGE)
    table = await cluster.must("GET", cluster.widgets, accept=TABLE)
    assert [(each["name"], each["type"], each["priority"]) for each in table["columnDefinitions"]] == [
        ("Name", "string", 0), ("Phase", "string", 0), ("Nodes", "integer", 0), ("Ready", "string", 0),
        ("Age", "date", 0), ("Reason", "string", 1),
    ]  # fmt: skip
    row = table["rows"][0]
    assert row["cells"][:4] + row["cells"][5:] == ["w", "P", 3, "True", None]
    assert row["object"]["kind"] == "PartialObjectMetadata"


async def test_events_have_two_faces(cluster: ApiCluster) -> None:
    new = f"/apis/events.k8s.io/v1/namespaces/{cluster.namespace}/events"
    about = {"kind": "Widget", "namespace": cluster.namespace, "name": "w"}
    body = {
        **core("Event", "events.k8s.io/v1"), "metadata": {"name": "e"}, "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "example.dev/c", "reportingInstance": "i", "action": "Do", "reason": "Why", "type": "Normal",
        "note": "hello", "regarding": about,
    }  # fmt: skip
    refused = await cluster.request("POST", new, {**body, "action": ""})
    assert refused.message == 'Event "e" is invalid: action: Required value'
    await cluster.must("POST", new, body)
    old = await cluster.must("GET", f"{cluster.core}/events", fieldSelector="involvedObject.name=w")
    [event] = old["items"]
    assert (event["message"], event["involvedObject"], event["reportingComponent"]) == ("hello", about, "example.dev/c")
    [event] = (await cluster.must("GET", new))["items"]
    assert (event["note"], event["regarding"]) == ("hello", about)


async def test_a_lease_is_held_by_its_version(cluster: ApiCluster) -> None:
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{cluster.namespace}/leases"
    head = {**core("Lease", "coordination.k8s.io/v1"), "metadata": {"name": "l"}}
    lease = await cluster.must("POST", leases, {**head, "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15}})
    taken = {**lease, "spec": {**lease["spec"], "holderIdentity": "other"}}
    await cluster.must("PUT", f"{leases}/l", taken)
    assert (await cluster.request("PUT", f"{leases}/l", taken)).status == 409
    assert (await cluster.request("PUT", f"{leases}/l", {**head, "spec": {}})).status == 422


async def test_scale(cluster: ApiCluster) -> None:
    await cluster.must("POST", cluster.widgets, widget("w"))
    path = f"{cluster.widgets}/w/scale"
    assert (await cluster.must("GET", path))["spec"] == {"replicas": 3}
    assert (await cluster.must("PATCH", path, {"spec": {"replicas": 7}}, kind=MERGE))["spec"] == {"replicas": 7}
    assert (await cluster.must("GET", f"{cluster.widgets}/w"))["spec"]["nodes"] == 7


async def test_deletecollection(cluster: ApiCluster) -> None:
    for name, label in {"x": "1", "y": "2"}.items():
        await cluster.must("POST", f"{cluster.core}/configmaps", config_map(name, labels={"l": label}))
    await cluster.must("DELETE", f"{cluster.core}/configmaps", labelSelector="l=1")
    assert (await cluster.request("GET", f"{cluster.core}/configmaps/x")).status == 404
    assert (await cluster.request("GET", f"{cluster.core}/configmaps/y")).status == 200
