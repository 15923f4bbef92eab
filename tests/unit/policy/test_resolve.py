"""Runtime, then job, then defaults; and what a runtime's policy refuses."""

from typing import Any

import pytest

from footplate.policy.resolve import InvalidJob, RuntimeRefuses, decode, digest, encode, resolve
from unit.policy.build import config_map, job, merged, runtime

JSON = dict[str, Any]
REF = {"runtimeRef": {"name": "torch"}}
IMAGE = "registry.example.com/trainer:1"


def bare_job(spec: JSON | None = None, **metadata: Any) -> JSON:
    """A job that leaves all to its runtime."""
    raw = job(**metadata)
    return {**raw, "spec": merged({**REF, "trainer": {"recipe": "tabular"}}, spec or {})}


def dig(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


MERGES = [
    pytest.param({"nodes": 4}, {}, "nodes", 4, id="the runtime's value"),
    pytest.param({"nodes": 4}, {"nodes": 2}, "nodes", 2, id="the job's value"),
    pytest.param({}, {}, "nodes", 1, id="the default"),
    pytest.param({"nodes": 4}, {"nodes": None}, "nodes", 4, id="null is absent"),
    pytest.param(
        {"resources": {"limits": {"cpu": "4", "memory": "1Gi"}}},
        {"resources": {"limits": {"cpu": "8"}}},
        "resources.limits",
        {"cpu": "8", "memory": "1Gi"},
        id="maps are merged",
    ),
    pytest.param(
        {"trainer": {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}},
        {"trainer": {"env": [{"name": "C", "value": "4"}, {"name": "B", "value": "3"}]}},
        "trainer.env",
        [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}, {"name": "C", "value": "4"}],
        id="named lists are merged by name",
    ),
    pytest.param(
        {"trainer": {"args": ["a"]}}, {"trainer": {"args": ["b"]}}, "trainer.args", ["b"], id="other lists are replaced"
    ),
    pytest.param(
        {"trainer": {"hyperparameters": {"depth": 2, "layers": [{"name": "a"}], "command": "x"}}},
        {"trainer": {"hyperparameters": {"layers": [{"name": "b"}], "recipe": "y"}}},
        "trainer.hyperparameters",
        {"depth": 2, "layers": [{"name": "b"}], "command": "x", "recipe": "y"},
        id="hyperparameters have no names of ours",
    ),
    pytest.param(
        {"checkpoint": {"uri": "s3://bucket/a/", "every": {"steps": 5}}},
        {"checkpoint": {"every": {"seconds": 60}}},
        "checkpoint.every",
        {"seconds": 60},
        id="one-of blocks are replaced whole",
    ),
    pytest.param(
        {"trainer": {"source": {"configMap": {"name": "code"}}}},
        {"trainer": {"source": {"uri": "s3://bucket/code.tar"}}},
        "trainer.source",
        {"uri": "s3://bucket/code.tar"},
        id="the source is replaced whole",
    ),
    pytest.param({"trainer": {"command": ["x"]}}, {}, "trainer.recipe", "tabular", id="the job's way to run replaces"),
]


@pytest.mark.parametrize(("theirs", "own", "path", "expected"), MERGES)
def test_merge(theirs: JSON, own: JSON, path: str, expected: Any) -> None:
    blueprint = runtime(merged({"trainer": {"image": IMAGE}}, theirs))
    spec = resolve(bare_job(own), blueprint, run=1).spec.to_json()
    assert dig(spec, path) == expected
    assert spec["trainer"].get("command") is None


LIVE = [
    {"runPolicy": {"suspend": True}},
    {"runPolicy": {"restartNonce": "b"}},
    {"runPolicy": {"ttlSecondsAfterFinished": 5}},
    {"runPolicy": {"activeDeadlineSeconds": 5}},
    {"scheduling": {"priorityClassName": "high"}},
]


@pytest.mark.parametrize("edit", LIVE, ids=str)
def test_live_fields_are_not_in_job_json(edit: JSON) -> None:
    assert encode(resolve(job(edit), None, run=1)) == encode(resolve(job(), None, run=1))


def test_job_json_is_found_again_by_its_digest() -> None:
    config = resolve(job(), None, run=1)
    encoded = encode(config)
    assert decode(config_map(job()), sha256=digest(encoded)) == config
    assert decode(config_map(job()), sha256=digest("other")) is None
    assert decode({"data": {"job.json": "{}"}}, sha256=digest("{}")) is None
    assert decode({"data": 5}, sha256=digest("")) is None


INVALID = [
    pytest.param({"trainer": {"recipe": None}}, {}, "spec.trainer: must say what to run", id="nothing to run"),
    pytest.param({"trainer": {"command": ["x"]}}, {}, "set only one of recipe", id="two things to run"),
    pytest.param({}, {"trainer": {"image": None}}, "spec.trainer.image: is required", id="no image anywhere"),
    pytest.param({"nodes": 0}, {}, "nodes = 0", id="no nodes"),
    pytest.param({"framework": "x"}, {}, "framework", id="an unknown field"),
    pytest.param({"checkpoint": {"keep": 1}}, {}, "spec.checkpoint.uri: is required", id="a checkpoint without a uri"),
    pytest.param(
        {"podTemplate": {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}},
        {},
        "spec.podTemplate.volumeMounts[0].name",
        id="a mount of no volume",
    ),
    pytest.param({"scheduling": {"gang": "kueue"}}, {}, "spec.scheduling.gang", id="a gang scheduler, not yet"),
    pytest.param({"scheduling": {"queueName": "q"}}, {}, "spec.scheduling.queueName", id="a queue, not yet"),
    pytest.param(
        {"trainer": {"env": [{"name": "MASTER_ADDR", "value": "x"}]}}, {}, "spec.trainer.env[0].name", id="reserved env"
    ),
    pytest.param(
        {"podTemplate": {"volumes": [{"name": "host", "hostPath": {"path": "/etc"}}]}},
        {},
        "hostPath",
        id="a job with a hostPath",
    ),
    pytest.param({}, {"nodes": "four"}, "ClusterTrainingRuntime.spec.nodes", id="a broken runtime"),
]


@pytest.mark.parametrize(("own", "theirs", "said"), INVALID)
def test_invalid(own: JSON, theirs: JSON, said: str) -> None:
    blueprint = runtime(merged({"trainer": {"image": IMAGE}}, theirs))
    with pytest.raises(InvalidJob) as caught:
        resolve(bare_job(own), blueprint, run=1)
    assert said in str(caught.value)


HOST = {"podTemplate": {"volumes": [{"name": "host", "hostPath": {"path": "/data"}}]}, "trainer": {"image": IMAGE}}


def test_host_path_is_for_cluster_runtimes_only() -> None:
    config = resolve(bare_job(), runtime(HOST), run=1)
    assert config.spec.pod_template.volumes[0].host_path is not None
    with pytest.raises(InvalidJob, match="hostPath"):
        resolve(bare_job(), runtime(HOST, kind="TrainingRuntime"), run=1)


BUCKET = {"output": {"uri": "s3://models/team/fashion/"}}
REFUSALS = [
    pytest.param({"allowed": []}, {"nodes": 2}, None, id="a field that the runtime doesn't set"),
    pytest.param({"allowed": []}, {"resources": {"limits": {"cpu": "8"}}}, "spec.resources.limits.cpu", id="override"),
    pytest.param({"allowed": []}, {"resources": {"limits": {"cpu": "4"}}}, None, id="the same value"),
    pytest.param({"allowed": []}, {"resources": {"limits": {"memory": "1Gi"}}}, None, id="a neighbour of a field"),
    pytest.param({"allowed": ["resources"]}, {"resources": {"limits": {"cpu": "8"}}}, None, id="allowed block"),
    pytest.param({"allowed": ["resour"]}, {"resources": {"limits": {"cpu": "8"}}}, "spec.resources", id="half a name"),
    pytest.param({}, {"resources": {"limits": {"cpu": "8"}}}, None, id="no list allows all"),
    pytest.param({"allowed": ["trainer.image"]}, {"trainer": {"image": "x"}}, None, id="allowed field"),
    pytest.param({"imagePrefixes": ["registry.example.com/"]}, {}, None, id="image of the right registry"),
    pytest.param(
        {"imagePrefixes": ["registry.example.com/"]},
        {"trainer": {"image": "evil.example.com/registry.example.com/x"}},
        "spec.trainer.image",
        id="image of another registry",
    ),
    pytest.param({"maxNodes": 4}, {"nodes": 4}, None, id="as many nodes as allowed"),
    pytest.param({"maxNodes": 4}, {"nodes": 5}, "spec.nodes", id="too many nodes"),
    pytest.param(
        {"maxNodes": 4},
        {"nodes": 2, "elastic": {"minNodes": 1, "maxNodes": 8}},
        "spec.elastic.maxNodes = 8",
        id="too many nodes some day",
    ),
    pytest.param({"uriPrefixes": ["s3://models/{namespace}/"]}, BUCKET, None, id="the namespace's own folder"),
    pytest.param({"uriPrefixes": ["s3://models/{namespace}"]}, BUCKET, None, id="prefix without a slash"),
    pytest.param(
        {"uriPrefixes": ["s3://models/{namespace}"]},
        {"output": {"uri": "s3://models/team-b/x/"}},
        "spec.output.uri",
        id="a team whose name goes on",
    ),
    pytest.param(
        {"uriPrefixes": ["s3://models/"]},
        {"inputs": [{"name": "train", "uri": "s3://secrets/x/"}]},
        "spec.inputs[0].uri",
        id="an input elsewhere",
    ),
    pytest.param(
        {"uriPrefixes": ["s3://models/"]},
        {"checkpoint": {"uri": "s3://models/c/", "resume": "s3://other/step-1/"}},
        "spec.checkpoint.resume",
        id="a warm start from elsewhere",
    ),
    pytest.param(
        {"uriPrefixes": ["s3://models/"]},
        {"trainer": {"recipe": None, "command": ["x"], "source": {"uri": "s3://code/x.tar"}}},
        "spec.trainer.source.uri",
        id="code from elsewhere",
    ),
    pytest.param({"requiredLabels": ["cost-center"]}, {}, "lacks 'cost-center'", id="a missing label"),
]


@pytest.mark.parametrize(("policy", "own", "refused"), REFUSALS)
def test_policy(policy: JSON, own: JSON, refused: str | None) -> None:
    blueprint = runtime({"trainer": {"image": IMAGE}, "resources": {"limits": {"cpu": "4"}}, "policy": policy})
    if refused is None:
        resolve(bare_job(own), blueprint, run=1)
        return
    with pytest.raises(RuntimeRefuses) as caught:
        resolve(bare_job(own), blueprint, run=1)
    assert str(caught.value).startswith("ClusterTrainingRuntime torch: ")
    assert refused in str(caught.value)


def test_required_label_that_is_there() -> None:
    blueprint = runtime({"trainer": {"image": IMAGE}, "policy": {"requiredLabels": ["cost-center"]}})
    assert resolve(bare_job(labels={"cost-center": "7"}), blueprint, run=1).spec.trainer.image == IMAGE


def test_entry_kinds_count_as_one_field() -> None:
    theirs = {"trainer": {"image": IMAGE, "command": ["safe"]}, "policy": {"allowed": ["nodes"]}}
    with pytest.raises(RuntimeRefuses, match="recipe"):
        resolve(bare_job(), runtime(theirs), run=1)
