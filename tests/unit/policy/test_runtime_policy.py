"""What a runtime's policy refuses of a job, and what it keeps of the platform's own."""

from typing import Any

import pytest

from footplate.policy.resolve import InvalidJob, RuntimeRefuses, resolve
from unit.policy.build import bare_job, runtime

JSON = dict[str, Any]
IMAGE = "registry.example.com/trainer:1"


HOST = {"podTemplate": {"volumes": [{"name": "host", "hostPath": {"path": "/data"}}]}, "trainer": {"image": IMAGE}}

HOST_RUNTIME = {
    "trainer": {"image": IMAGE},
    "podTemplate": {
        "volumes": [{"name": name, "hostPath": {"path": f"/{name}"}} for name in ("ro", "rw", "part", "none")],
        "volumeMounts": [
            {"name": "ro", "mountPath": "/ro", "readOnly": True},
            {"name": "rw", "mountPath": "/rw"},
            {"name": "part", "mountPath": "/part", "subPath": "a/b"},
            {"name": "part", "mountPath": "/all", "readOnly": True},
        ],
    },
}


@pytest.mark.parametrize(
    ("mount", "refused"),
    [
        ({"name": "ro", "mountPath": "/ro", "readOnly": False}, True),
        ({"name": "ro", "mountPath": "/ro"}, True),
        ({"name": "ro", "mountPath": "/second"}, True),
        ({"name": "ro", "mountPath": "/second", "subPath": "a"}, True),
        ({"name": "ro", "mountPath": "/second", "readOnly": True}, False),
        ({"name": "rw", "mountPath": "/second"}, False),
        ({"name": "part", "mountPath": "/second"}, True),
        ({"name": "part", "mountPath": "/second", "subPath": "a/bc"}, True),
        ({"name": "part", "mountPath": "/second", "subPath": "a/b/c"}, False),
        ({"name": "part", "mountPath": "/second", "readOnly": True}, False),
        ({"name": "none", "mountPath": "/second"}, True),
        ({"name": "none", "mountPath": "/second", "readOnly": True}, False),
    ],
    ids=str,
)
def test_what_the_platform_mounted_read_only_stays_so(mount: JSON, refused: bool) -> None:
    own = {"podTemplate": {"volumeMounts": [mount]}}
    if not refused:
        resolve(bare_job(own), runtime(HOST_RUNTIME), run=1)
        return
    with pytest.raises(RuntimeRefuses, match=r"spec.podTemplate.volumeMounts\[0\].*is a hostPath of the runtime"):
        resolve(bare_job(own), runtime(HOST_RUNTIME), run=1)


@pytest.mark.parametrize(
    ("pip", "line", "problem"),
    [
        ({"install": "never"}, "a==1", "isn't installed"),
        ({"install": "fromFiles"}, "git+https://example.com/a.git", r"leads to git\+https://example.com/a.git"),
        ({"install": "fromFiles"}, "./a.whl", ""),
        ({"indexes": ["https://pypi.example.com/"]}, "--index-url https://example.com/", "leads to https://example"),
        ({"indexes": ["https://pypi.example.com/"]}, "a==1", ""),
    ],
)
def test_a_runtime_says_where_packages_come_from(pip: JSON, line: str, problem: str) -> None:
    job, own = (
        bare_job({"trainer": {"requirements": [line]}}),
        runtime({"trainer": {"image": IMAGE}, "policy": {"pip": pip}}),
    )
    if not problem:
        found = resolve(job, own, run=1).pip
        assert found is not None
        assert found.to_json() == {"install": "fromIndex", "indexes": []} | pip
        return
    with pytest.raises(RuntimeRefuses, match=rf"spec\.trainer\.requirements\[0\].*{problem}"):
        resolve(job, own, run=1)


def test_a_runtime_that_says_nothing_of_packages_changes_no_run() -> None:
    assert "pip" not in resolve(bare_job({}), runtime({"trainer": {"image": IMAGE}}), run=1).to_json()


def test_a_job_that_puts_a_volume_of_its_own_in_a_host_paths_place_may_write_to_it() -> None:
    own = {
        "podTemplate": {
            "volumes": [{"name": "ro", "emptyDir": {}}],
            "volumeMounts": [{"name": "ro", "mountPath": "/x"}],
        }
    }
    resolve(bare_job(own), runtime(HOST_RUNTIME), run=1)


@pytest.mark.parametrize(
    ("prefix", "image", "allowed"),
    [
        ("registry.example.com", "registry.example.com/a:1", True),
        ("registry.example.com", "registry.example.com.attacker.net/a", False),
        ("registry.example.com", "registry.example.com:5000/a", False),
        ("registry.example.com:5000", "registry.example.com:5000/a", True),
        ("registry.example.com:5000", "registry.example.com:50001/a", False),
        ("registry.example.com/team", "registry.example.com/team-b/a", False),
        ("registry.example.com/team", "registry.example.com/team/a", True),
        ("registry.example.com/team/a", "registry.example.com/team/a:1", True),
        ("registry.example.com/team/a", "registry.example.com/team/a@sha256:1", True),
        ("registry.example.com/team/a", "registry.example.com/team/a", True),
        ("registry.example.com/team/a:1", "registry.example.com/team/a:10", False),
        ("registry.example.com/team/", "registry.example.com/team/a", True),
        ("pytorch", "pytorch:2", True),
        ("pytorch", "pytorch/pytorch:2", True),
        ("pytorch", "pytorch.attacker.net/pytorch:2", False),
        ("localhost", "localhost:5000/a", False),
    ],
)
def test_image_prefixes_end_at_a_boundary(prefix: str, image: str, allowed: bool) -> None:
    blueprint = runtime({"trainer": {"image": image}, "policy": {"imagePrefixes": [prefix]}})
    if allowed:
        resolve(bare_job(), blueprint, run=1)
        return
    with pytest.raises(RuntimeRefuses, match="lies outside the prefixes"):
        resolve(bare_job(), blueprint, run=1)


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
    pytest.param(
        {"allowed": ["trainer"]}, {"resources": {"limits": {"cpu": "8"}}}, "spec.resources", id="another block"
    ),
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
        {"checkpoint": {"uri": "s3://models/c/", "initFrom": "s3://other/step-1/"}},
        "spec.checkpoint.initFrom",
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
