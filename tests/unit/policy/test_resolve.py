"""Runtime, then job, then defaults; and what a runtime's policy refuses."""

from typing import Any

import pytest

from footplate.api.crd import KINDS, build_crd
from footplate.contract import JobConfig
from footplate.policy.resolve import _MERGED_BY, InvalidJob, decode, digest, encode, resolve, spec_digest
from unit.policy.build import bare_job, config_map, job, merged, runtime

JSON = dict[str, Any]
IMAGE = "registry.example.com/trainer:1"


def dig(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


DATA = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
A, B = ({"name": "data", "mountPath": path} for path in ("/a", "/b"))
CLAIM: JSON = {"name": "gpus", "resourceClaimTemplateName": "h100-8"}
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
        id="variables are merged by name",
    ),
    pytest.param(
        {"podTemplate": {"volumes": [DATA], "volumeMounts": [A, B]}},
        {"podTemplate": {"volumeMounts": [{**B, "readOnly": True}, {**A, "mountPath": "/c"}]}},
        "podTemplate.volumeMounts",
        [A, {**B, "readOnly": True}, {**A, "mountPath": "/c"}],
        id="mounts are merged by path",
    ),
    pytest.param(
        {"podTemplate": {"tolerations": [{"key": "a", "operator": "Exists"}]}},
        {"podTemplate": {"tolerations": [{"key": "b", "operator": "Exists"}]}},
        "podTemplate.tolerations",
        [{"key": "b", "operator": "Exists"}],
        id="lists without a key are replaced",
    ),
    pytest.param(
        {"trainer": {"args": ["a"]}}, {"trainer": {"args": ["b"]}}, "trainer.args", ["b"], id="other lists are replaced"
    ),
    pytest.param(
        {"trainer": {"hyperparameters": {"depth": 2, "layers": [{"name": "a"}], "command": "x"}}},
        {
            "trainer": {
                "recipe": None,
                "entrypoint": "x.py",
                "hyperparameters": {"layers": [{"name": "b"}], "recipe": "y"},
            }
        },
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
    pytest.param(
        {"storage": {"endpoint": "https://s3", "caBundle": {"secretKeyRef": {"name": "a", "key": "b"}}}},
        {"storage": {"caBundle": {"configMapKeyRef": {"name": "c", "key": "d"}}}},
        "storage",
        {"endpoint": "https://s3", "caBundle": {"configMapKeyRef": {"name": "c", "key": "d"}}},
        id="authorities are replaced whole",
    ),
    pytest.param(
        {"podTemplate": {"resourceClaims": [CLAIM, {"name": "net", "resourceClaimName": "shared"}]}},
        {"processesPerNode": 8, "podTemplate": {"resourceClaims": [{"name": "gpus", "resourceClaimName": "mine"}]}},
        "podTemplate.resourceClaims",
        [{"name": "gpus", "resourceClaimName": "mine"}, {"name": "net", "resourceClaimName": "shared"}],
        id="claims by name",
    ),
    pytest.param(
        {"trainer": {"command": ["x"]}},
        {},
        "trainer.recipe",
        "image-classification",
        id="the job's way to run replaces",
    ),
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
    {"runPolicy": {"ttlKeepsJob": True}},
    {"runPolicy": {"maxRestarts": 7}},
    {"runPolicy": {"maxDisruptions": 7}},
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
    pytest.param(
        {"trainer": {"recipe": None}}, {}, "spec: set one of trainer.recipe, trainer.entrypoint", id="nothing to run"
    ),
    pytest.param({"trainer": {"command": ["x"]}}, {}, "set only one of recipe", id="two things to run"),
    pytest.param({}, {"trainer": {"image": None}}, "trainer.image is required", id="no image anywhere"),
    pytest.param({"nodes": 0}, {}, "nodes = 0", id="no nodes"),
    pytest.param({"framework": "x"}, {}, "framework", id="an unknown field"),
    pytest.param({"checkpoint": {"keep": 1}}, {}, "checkpoint.uri is required", id="a checkpoint without a uri"),
    pytest.param(
        {"podTemplate": {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}},
        {},
        "spec.podTemplate.volumeMounts: each of volumeMounts must name one of podTemplate.volumes",
        id="a mount of no volume",
    ),
    pytest.param({"scheduling": {"gang": "kueue"}}, {}, "spec.scheduling.queueName", id="kueue without a queue"),
    pytest.param(
        {"scheduling": {"gang": "volcano"}},
        {"podTemplate": {"schedulerName": "bin-packing"}},
        "schedulerName contradicts scheduling.gang",
        id="a runtime's scheduler isn't that of the gang",
    ),
    pytest.param(
        {"trainer": {"hyperparameters": {"epocs": 3}}},
        {"trainer": {"hyperparameters": {"batchSize": 0}}},
        "recipe image-classification has no such hyperparameter; did you mean epochs?",
        id="a recipe's hyperparameters",
    ),
    pytest.param(
        {"trainer": {"recipe": "tabular-classification"}}, {}, "hyperparameters.target: is required", id="one missing"
    ),
    pytest.param(
        {"resources": {"requests": {"memory": "4Gi"}}},
        {"resources": {"limits": {"memory": "2Gi"}}},
        "spec.resources: requests must not be more than limits",
        id="requests over the runtime's limits",
    ),
    pytest.param(
        {"resources": {"requests": {"nvidia.com/gpu": 1}}}, {}, "belong into limits", id="an accelerator without limit"
    ),
    pytest.param(
        {"trainer": {"hyperparameters": {"a": {"b": ["x" * 70_000]}}}},
        {},
        "65,536 bytes of JSON",
        id="too deep for CRDs",
    ),
    pytest.param(
        {
            "podTemplate": {
                "volumes": [
                    {
                        "name": f"a{n}",
                        "csi": {"driver": "x", "volumeAttributes": {f"b{m}": "y" * 1024 for m in range(16)}},
                    }
                    for n in range(17)
                ]
            }
        },
        {},
        "the most is 262,144",
        id="large in all its parts",
    ),
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
    pytest.param(
        {},
        {"podTemplate": {"resourceClaims": [{"name": "gpus", "resourceClaimTemplateName": "h100-8"}]}},
        "can't be known: podTemplate.resourceClaims (gpus) don't say beforehand",
        id="as many ranks as nobody knows",
    ),
]


@pytest.mark.parametrize(("own", "theirs", "said"), INVALID)
def test_invalid(own: JSON, theirs: JSON, said: str) -> None:
    blueprint = runtime(merged({"trainer": {"image": IMAGE}}, theirs))
    with pytest.raises(InvalidJob) as caught:
        resolve(bare_job(own), blueprint, run=1)
    assert said in str(caught.value)


def test_all_mistakes_are_told_at_once() -> None:
    own = {"nodes": 0, "trainer": {"hyperparameters": {}, "source": {}}, "resources": {"limits": {"gpu": 1}}}
    blueprint = runtime({"resources": {"requests": {"memory": "1m"}}, "trainer": {}})
    with pytest.raises(InvalidJob, match="1Mi"):
        resolve(bare_job(own, name="a.b"), blueprint, run=1)
    with pytest.raises(InvalidJob) as caught:
        resolve(bare_job(own, name="a.b"), runtime(), run=1)
    assert [problem.path for problem in caught.value.problems] == [
        "spec.trainer.source", "spec.nodes", "spec.resources.limits", "metadata.name", "spec",
    ]  # fmt: skip


def test_lists_are_merged_by_the_keys_that_the_crds_name() -> None:
    template = build_crd(KINDS[2])["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    keyed = {
        (block, name): node["x-kubernetes-list-map-keys"][0]
        for block, outer in template["properties"].items()
        for name, node in outer.get("properties", {}).items()
        if node.get("x-kubernetes-list-type") == "map"
    }
    assert keyed == _MERGED_BY


def test_a_mistake_elsewhere_hides_none_of_a_recipes() -> None:
    spec = {"trainer": {"hyperparameters": {"epoch": 3}}, "resources": {"requests": {"memory": "512m"}}}
    with pytest.raises(InvalidJob) as caught:
        resolve(job(spec), None, run=1)
    said = str(caught.value)
    assert "512m is half a byte" in said
    assert "hyperparameters.epoch = 3" in said
    with pytest.raises(InvalidJob, match="recipe"):
        resolve(job({"trainer": {"recipe": "image-clasification"}}), None, run=1)


NPUS: JSON = {"resources": {"limits": {"acme.com/npu-2": 4, "nvidia.com/gpu": 2, "rdma/hca": 8}}}


def test_what_counts_as_an_accelerator_is_the_operators_to_say() -> None:
    config = resolve(job(NPUS), None, run=1, accelerators=("acme.com/npu-*",))
    assert (config.devices, config.spec.processes_per_node) == ({"acme.com/npu-2": 4}, 4)
    assert JobConfig.model_validate_json(encode(config)).devices == {"acme.com/npu-2": 4}
    said = resolve(job({**NPUS, "processesPerNode": 1}), None, run=1, accelerators=("acme.com/npu-*",))
    assert said.spec.processes_per_node == 1


def test_where_the_names_make_no_difference_they_leave_no_trace() -> None:
    """An operator that is told of more accelerators goes on with the runs of before."""
    gpus = {"resources": {"limits": {"nvidia.com/gpu": 2}}}
    named = resolve(job(gpus), None, run=1, accelerators=("nvidia.com/gpu", "acme.com/npu-*"))
    assert encode(named) == encode(resolve(job(gpus), None, run=1))
    assert named.devices == {"nvidia.com/gpu": 2}


CLAIMED: JSON = {"podTemplate": {"resourceClaims": [CLAIM]}}


@pytest.mark.parametrize(
    "spec",
    [
        {**CLAIMED, "processesPerNode": 8},
        {**CLAIMED, "resources": {"limits": {"nvidia.com/gpu": 8}}},
        {**CLAIMED, "trainer": {"command": ["torchrun", "train.py"], "recipe": None}},
    ],
    ids=["a number", "accelerators in the limits too", "a command, which starts its ranks itself"],
)
def test_claims_where_the_ranks_are_known(spec: JSON) -> None:
    (claim,) = resolve(job(spec), None, run=1).spec.pod_template.resource_claims or ()
    assert claim.to_json() == CLAIM


TRAINER = {"image": "a/b:1", "entrypoint": "train.py"}


@pytest.mark.parametrize("said", [{"nodes": 1}, {"checkpoint": {"keep": 3}}], ids=str)
def test_a_default_that_overrides_the_runtime_makes_another_job_of_it(said: dict[str, Any]) -> None:
    """By its digest a job that is created anew finds its model: one on four nodes is no answer to one on one."""
    blueprint, reference = runtime({"nodes": 4, "checkpoint": {"uri": "s3://bucket/c/", "keep": 9}}), {"name": "torch"}
    silent, explicit = at_rest({"runtimeRef": reference}), at_rest({"runtimeRef": reference, **said})
    assert resolve(silent, blueprint, run=1).spec != resolve(explicit, blueprint, run=1).spec
    assert spec_digest(silent) != spec_digest(explicit)
    same = [{"runtimeRef": {**reference, "kind": "ClusterTrainingRuntime"}}, {"runPolicy": {"restartNonce": "x"}}]
    assert {spec_digest(at_rest({"runtimeRef": reference, **each})) for each in same} == {spec_digest(silent)}
    assert spec_digest(at_rest({"nodes": 1})) == spec_digest(at_rest({})), "without a runtime it overrides nothing"


def at_rest(spec: dict[str, Any]) -> dict[str, Any]:
    made = bare_job({"trainer": TRAINER})
    return {**made, "spec": {"trainer": TRAINER, **spec}}
