"""The objects of a gang: golden files for the reader, properties for the rest.

`UPDATE_GOLDEN=1 pytest tests/unit/policy/test_podspec.py` writes the golden files anew.
"""

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from footplate.api.errors import explain
from footplate.api.references import RESERVED_ENV
from footplate.attempt_spec import AttemptSpec, group_name, job_of_group, processes_per_node, run_name
from footplate.contract import SIGNING_KEY, Env, Label, MountPath, StorageEnv, rendezvous_port
from footplate.dialects import VARIABLES, Setter
from footplate.gangs.kinds import GangKind
from footplate.gangs.table import SCHEDULERS
from footplate.podspec import SUPERVISOR, build_group, build_pods, build_service, mounted_objects
from footplate.policy.resolve import resolve
from footplate.scouts import build_scouts
from unit.policy.build import UID, config_map, job, merged

JSON = dict[str, Any]
GOLDEN = Path(__file__).parent / "golden"
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

COMMAND = {
    "nodes": 8,
    "processesPerNode": 2,
    "trainer": {
        "recipe": None,
        "command": ["python", "-m", "mine"],
        "args": ["--rank", "$(FOOTPLATE_NODE_RANK)"],
        "source": {"configMap": {"name": "code"}},
        "env": [
            {"name": "NCCL_DEBUG", "value": "INFO"},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}},
        ],
        "envFrom": [{"configMapRef": {"name": "settings"}}],
    },
    "resources": {"requests": {"cpu": "4"}, "limits": {"memory": "16Gi", "nvidia.com/gpu": 8}},
    "storage": {"secretRef": {"name": "s3"}, "endpoint": "https://minio.example.com"},
    "runPolicy": {"terminationGracePeriodSeconds": 600},
    "scheduling": {"priorityClassName": "batch", "topologyKey": "topology.kubernetes.io/zone"},
    "podTemplate": {
        "labels": {"team": "vision"},
        "annotations": {"example.com/owner": "jo"},
        "nodeSelector": {"gpu": "h100"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "affinity": {
            "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": {}}]}
        },
        "serviceAccountName": "trainer",
        "imagePullSecrets": [{"name": "registry"}],
        "runtimeClassName": "nvidia",
        "schedulerName": "bin-packing",
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "datasets"}}],
        "volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": True}],
        "sharedMemory": "8Gi",
    },
}
CHANNELS = {
    "inputs": [{"name": "train-set", "uri": "s3://datasets/fashion/", "secretRef": {"name": "datasets"}}],
    "output": {"uri": "s3://models/team/"},
}


def gang_of(spec: JSON | None = None, *, attempt: int = 0, avoid: tuple[str, ...] = (), **metadata: Any) -> AttemptSpec:
    config = resolve(job(spec, **metadata), None, run=1)
    name = run_name(config.metadata.name, config.run, uid=config.metadata.uid)
    return AttemptSpec(config, config.spec, name, attempt=attempt, nodes=config.spec.nodes, avoid=avoid)


def service_of(gang: AttemptSpec) -> JSON:
    return dict(plain(build_service(gang.config, name=gang.run_name)))


def plain(manifest: Any) -> Any:
    """As it goes over the wire."""
    return json.loads(json.dumps(manifest))


def pod_of(gang: AttemptSpec, rank: int = 0) -> JSON:
    return dict(plain(build_pods(gang, [rank])[0]))


def environment(pod: JSON) -> dict[str, str]:
    return {variable["name"]: variable.get("value", "") for variable in container(pod)["env"]}


def container(pod: JSON) -> JSON:
    (only,) = pod["spec"]["containers"]
    return dict(only)


def test_only_the_pod_that_signs_has_the_key() -> None:
    sign = {"secretKeyRef": {"name": "signing", "key": "k"}}
    pods = [pod_of(gang_of({"output": {"uri": "s3://models/", "sign": sign}}), rank) for rank in (0, 1)]
    [first, second] = [{volume["name"]: volume for volume in pod["spec"]["volumes"]} for pod in pods]
    assert first["footplate-signing-key"]["secret"] == {
        "secretName": "signing", "items": [{"key": "k", "path": "key.pem"}], "optional": True,
    }  # fmt: skip
    [mount] = [each for each in container(pods[0])["volumeMounts"] if each["name"] == "footplate-signing-key"]
    assert environment(pods[0])[SIGNING_KEY] == f"{mount['mountPath']}/key.pem"
    assert mount["readOnly"]
    assert "signing" not in json.dumps(pods[1]).lower()
    assert second == {name: volume for name, volume in first.items() if name != "footplate-signing-key"}


@pytest.mark.parametrize(
    ("name", "manifest"),
    [
        pytest.param("recipe-pod", pod_of(gang_of(CHANNELS), 1), id="recipe"),
        pytest.param("command-pod", pod_of(gang_of(COMMAND, attempt=3, avoid=("gpu-7",)), 5), id="command"),
        pytest.param("service", service_of(gang_of()), id="service"),
        pytest.param("config-map", plain(config_map(job())), id="config map"),
    ],
)
def test_golden(name: str, manifest: JSON) -> None:
    path = GOLDEN / f"{name}.yaml"
    text = yaml.safe_dump(manifest, sort_keys=False, width=110)
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def scheduled_by(kind: GangKind, **scheduling: str) -> AttemptSpec:
    return replace(gang_of({"scheduling": scheduling}, attempt=2), gang=kind)


QUEUED = {"queueName": "vision", "topologyKey": "topology.kubernetes.io/rack", "priorityClassName": "batch"}
BY_GANG = {
    "kueue": scheduled_by(GangKind.KUEUE, **QUEUED),
    "coscheduling": scheduled_by(GangKind.COSCHEDULING),
    "volcano": scheduled_by(GangKind.VOLCANO, gang="volcano", queueName="vision", priorityClassName="batch"),
    "native": scheduled_by(GangKind.NATIVE),
}


def marks(pod: JSON) -> JSON:
    """What differs from a pod of nobody's gang, but for affinity and priority."""
    metadata, spec = pod["metadata"], pod["spec"]
    return {
        "labels": metadata["labels"],
        "annotations": metadata.get("annotations", {}),
        **{name: spec[name] for name in ("schedulerName", "schedulingGates", "schedulingGroup") if name in spec},
    }


@pytest.mark.parametrize("kind", BY_GANG)
def test_golden_gangs(kind: str) -> None:
    """What a rank's pod carries, what a scout's does, and the PodGroup."""
    gang = BY_GANG[kind]
    scout = plain(build_scouts(gang, [2])[0])
    group = plain(build_group(gang, SCHEDULERS[GangKind(kind)].apis[0]))
    text = yaml.safe_dump({"rank": marks(pod_of(gang, 1)), "scout": marks(scout), "group": group}, sort_keys=False)
    path = GOLDEN / f"gang-{kind}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def test_a_job_s_own_topology_annotation_stays() -> None:
    own = {"kueue.x-k8s.io/podset-required-topology": "rack"}
    spec = {"scheduling": QUEUED, "podTemplate": {"annotations": own}}
    annotations = pod_of(replace(gang_of(spec), gang=GangKind.KUEUE))["metadata"]["annotations"]
    assert {key: text for key, text in annotations.items() if "topology" in key} == own


@pytest.mark.parametrize(
    ("job_name", "run", "attempt"), [("a" * 40, 1, 0), ("a" * 40, 123_456, 1_234_567), ("a", 1, 0)]
)
def test_a_group_s_name_is_a_label(job_name: str, run: int, attempt: int) -> None:
    name = group_name(job_name, run=run, attempt=attempt, uid="0b9fb7b6-0000")
    assert len(name) <= 63
    assert name.endswith(f"-{run}-{attempt}-0b9fb7b6")
    assert job_of_group(name) == name.removesuffix(f"-{run}-{attempt}-0b9fb7b6")


@pytest.mark.parametrize("name", ["job-sample-a1b2c", "fashion-1-0", "x-1-0-0b9fb7b6" + "x" * 60, ""])
def test_other_names_are_nobodys_group(name: str) -> None:
    assert job_of_group(name) is None


GANGS = [
    pytest.param(gang_of(), id="recipe"),
    pytest.param(gang_of(CHANNELS), id="channels"),
    pytest.param(gang_of(COMMAND), id="command"),
]


PROBES = [
    pytest.param({}, 144, id="by default"),
    pytest.param({"runPolicy": {"hangTimeoutSeconds": 600}}, 48, id="sooner than the peers notice"),
    pytest.param({"runPolicy": {"hangTimeoutSeconds": 1}}, 6, id="but never within a minute"),
    pytest.param({**COMMAND, "output": {"uri": "s3://models/x/"}}, 144, id="a command under the supervisor"),
    pytest.param(COMMAND, None, id="a bare command answers nobody"),
]


@pytest.mark.parametrize(("spec", "failures"), PROBES)
def test_a_frozen_supervisor_is_noticed(spec: JSON, failures: int | None) -> None:
    only = container(pod_of(gang_of(spec)))
    probe = only.get("livenessProbe")
    assert (probe["failureThreshold"] if probe else None) == failures
    if probe:
        assert probe["httpGet"]["port"] in [port["name"] for port in only["ports"]]
        assert probe["timeoutSeconds"] >= 10


@pytest.mark.parametrize("gang", GANGS)
def test_pod_security_standard_restricted(gang: AttemptSpec) -> None:
    spec, only = pod_of(gang)["spec"], container(pod_of(gang))
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert only["securityContext"]["allowPrivilegeEscalation"] is False
    assert only["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not {"privileged", "procMount", "runAsUser"} & only["securityContext"].keys()
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert {next(iter(v.keys() - {"name"})) for v in spec["volumes"]} <= {
        "configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret", "csi", "ephemeral", "downwardAPI",
    }  # fmt: skip
    assert spec["automountServiceAccountToken"] is False


@pytest.mark.parametrize("gang", GANGS)
def test_env_contract_is_complete(gang: AttemptSpec) -> None:
    pod = pod_of(gang, 1)
    said = environment(pod)
    assert set(Env) <= said.keys()
    assert len(said) == len(container(pod)["env"]), "a name comes twice"
    assert (said[Env.NODE_RANK], said["PET_NODE_RANK"], said[Env.NODES]) == ("1", "1", str(gang.nodes))
    assert said["PET_MASTER_ADDR"] == "fashion-1-0-0.fashion-run-1-0b9fb7b6"
    assert said["PET_MASTER_PORT"] == str(rendezvous_port(UID, 1, 0))
    mounts = {mount["mountPath"] for mount in container(pod)["volumeMounts"]}
    for variable in (Env.CONFIG, Env.INPUT_DIR, Env.CHECKPOINT_DIR, Env.OUTPUT_DIR, Env.WORK_DIR, Env.RUN_DIR):
        assert any(said[variable].startswith(mount) for mount in mounts), variable
    assert said[Env.TERMINATION_LOG] == container(pod)["terminationMessagePath"] == MountPath.TERMINATION_LOG
    order = [variable["name"] for variable in container(pod)["env"]]
    assert order.index("POD_IP") < order.index(Env.METRICS_ADDRESS), "Kubernetes expands what came before"


ENTRY = {"recipe": None, "entrypoint": "train.py"}
BARE = {"recipe": None, "command": ["x"]}
RENDEZVOUS = {"MASTER_ADDR": "fashion-1-0-0.fashion-run-1-0b9fb7b6", "MASTER_PORT": str(rendezvous_port(UID, 1, 0))}
SECOND_OF_TWO = {"RANK": "1", "NODE_RANK": "1", "WORLD_SIZE": "2", **RENDEZVOUS}


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        pytest.param({"trainer": ENTRY, "nodes": 1}, {}, id="one rank"),
        pytest.param({"trainer": ENTRY, "nodes": 1, "processesPerNode": 2}, RENDEZVOUS, id="ranks of one node"),
        pytest.param({"trainer": ENTRY, "nodes": 2}, RENDEZVOUS, id="ranks of two nodes"),
        pytest.param({"trainer": BARE, "nodes": 1, "processesPerNode": 2}, {}, id="a command alone"),
        pytest.param({"trainer": BARE, "nodes": 2}, SECOND_OF_TWO, id="a bare command"),
        pytest.param({"trainer": BARE, "nodes": 2, **CHANNELS}, SECOND_OF_TWO, id="a command under the supervisor"),
    ],
)
def test_what_says_that_there_are_others_is_there_only_where_there_are(spec: JSON, place: JSON) -> None:
    """Each process of a recipe or entrypoint gets its own RANK from the supervisor."""
    gang = gang_of(spec)
    said = environment(pod_of(gang, gang.nodes - 1))
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK", "GROUP_RANK", *RENDEZVOUS)
    assert {name: said[name] for name in names if name in said} == place


def test_a_bare_command_is_told_what_the_operator_can_know() -> None:
    """All of the table but what depends on files; and nothing in it is the kubelet's to expand."""
    trainer = {
        "hyperparameters": {"lr": 0.1, "note": "$(POD_IP) costs $5"},
        "env": [{"name": "SM_HPS", "value": "mine"}],
    }
    gang = gang_of(merged(COMMAND, {"trainer": trainer}))
    said = environment(pod_of(gang, 5))
    rows = {row.name: row for row in VARIABLES}
    supervisors = {name for name, row in rows.items() if row.setter == Setter.SUPERVISOR}
    families = {"SM_HP_LR", "SM_HP_NOTE"}
    needs_more = {"SM_USER_ENTRY_POINT", "SM_MODULE_NAME", "SM_HP_<NAME>"} | {
        name for name in rows if "DATA_URI" in name
    }
    assert (rows.keys() - supervisors - needs_more) | families <= said.keys()
    assert not supervisors & said.keys()
    assert len(said) == len(container(pod_of(gang, 5))["env"]), "a name comes twice"
    assert said["SM_HPS"] == "mine"
    assert said["SM_HP_NOTE"] == "$$(POD_IP) costs $$5"
    assert json.loads(said["TF_CONFIG"])["task"] == {"type": "worker", "index": 5}
    assert json.loads(said["SM_HOSTS"]) == said[Env.HOSTS].split(",") == gang.hosts
    assert (said["SM_NUM_CPUS"], said["SM_NUM_GPUS"], said["JAX_PROCESS_ID"]) == ("4", "8", "5")


def test_a_supervised_pod_has_what_its_arguments_may_name() -> None:
    said = environment(pod_of(gang_of(CHANNELS)))
    dialects = {row.name: row.setter for row in VARIABLES}
    there = {name for name in said if name in dialects}
    assert there == {name for name, setter in dialects.items() if setter == Setter.OPERATOR}


def test_a_large_gang_is_listed_in_no_pod() -> None:
    said = environment(pod_of(gang_of(merged(COMMAND, {"nodes": 5000}))))
    assert said[Env.HOSTS] == ""
    assert not {"TF_CONFIG", "SM_HOSTS", "CLUSTER_SPEC"} & said.keys()
    assert sum(map(len, said.values())) < 6000


@pytest.mark.parametrize(
    ("own", "left"),
    [
        pytest.param(None, ["checkpoints", "input", "model", "output"], id="in any image"),
        pytest.param("/opt/ml/model", ["checkpoints", "input", "output"], id="but for a volume of the job's"),
        pytest.param("/opt/ml/input/data/train", ["checkpoints", "model", "output"], id="or one in there"),
        pytest.param("/opt/ml", [], id="or all of it"),
        pytest.param("/opt/mlx", ["checkpoints", "input", "model", "output"], id="another path"),
    ],
)
def test_sagemakers_folders(own: str | None, left: list[str]) -> None:
    template = {
        "volumes": [{"name": "data", "emptyDir": {}}],
        "volumeMounts": [{"name": "data", "mountPath": own}] if own else [],
    }
    mounts = container(pod_of(gang_of(merged(CHANNELS, {"podTemplate": template}))))["volumeMounts"]
    paths = {mount["mountPath"]: mount for mount in mounts}
    assert len(paths) == len(mounts)
    ours = [path for path, mount in paths.items() if path.startswith("/opt/ml/") and "subPath" in mount]
    assert sorted(path.removeprefix("/opt/ml/") for path in ours) == left
    said = environment(pod_of(gang_of(CHANNELS)))
    folders = {path: f"{MountPath.SCRATCH}/{paths[path]['subPath']}" for path in ours}
    known = {"/opt/ml/model": said[Env.OUTPUT_DIR], "/opt/ml/checkpoints": said[Env.CHECKPOINT_DIR]}
    assert {path: folder for path, folder in folders.items() if path in known} == {
        path: known[path] for path in folders if path in known
    }


def test_a_bare_commands_image_keeps_its_own_opt_ml() -> None:
    mounts = container(pod_of(gang_of(COMMAND)))["volumeMounts"]
    assert not [mount for mount in mounts if mount["mountPath"].startswith("/opt")]


@pytest.mark.parametrize("spec", [{}, CHANNELS], ids=["bare", "supervised"])
def test_hyperparameters_follow_args_where_the_job_says_so(spec: JSON) -> None:
    trainer = {"hyperparameterArgs": True, "hyperparameters": {"epochs": 5, "note": "$(POD_IP)"}}
    said = container(pod_of(gang_of(merged(merged(COMMAND, spec), {"trainer": trainer}))))["args"]
    assert said[-6:] == ["--rank", "$(FOOTPLATE_NODE_RANK)", "--epochs", "5", "--note", "$$(POD_IP)"]


@pytest.mark.parametrize("name", RESERVED_ENV)
def test_users_cannot_override_the_contract(name: str) -> None:
    spec = gang_of().spec
    trainer = merged(spec.trainer.to_json(), {"env": [{"name": name, "value": "x"}]})
    with pytest.raises(ValidationError, match="are set by the operator") as caught:
        type(spec).model_validate({**spec.to_json(), "trainer": trainer})
    assert [problem.path for problem in explain(caught.value)] == ["spec.trainer.env[0].name"]


def test_users_may_set_their_home() -> None:
    env = [{"name": "HOME", "value": "/home/me"}]
    assert environment(pod_of(gang_of({"trainer": {"env": env}})))["HOME"] == "/home/me"


@given(
    name=st.from_regex(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True),
    attempt=st.integers(0, 99_999),
    rank=st.integers(0, 9_999),
)
def test_names_are_dns_labels_and_say_what_they_are(name: str, attempt: int, rank: int) -> None:
    pod = pod_of(gang_of(name=name, attempt=attempt), rank)
    metadata = pod["metadata"]
    assert DNS_LABEL.fullmatch(metadata["name"])
    assert DNS_LABEL.fullmatch(pod["spec"]["subdomain"])
    assert pod["spec"]["hostname"] == metadata["name"]
    labels = metadata["labels"]
    assert metadata["name"] == f"{name}-{labels[Label.RUN]}-{labels[Label.ATTEMPT]}-{labels[Label.RANK]}"
    assert all(len(value) <= 63 for value in labels.values())


def test_pods_are_the_same_each_time_and_alone() -> None:
    together = plain(build_pods(gang_of(COMMAND), range(8)))
    assert together == [pod_of(gang_of(COMMAND), rank) for rank in range(8)]


def test_attempts_and_runs_never_meet() -> None:
    first, second = (pod_of(gang_of(attempt=attempt)) for attempt in (0, 1))
    assert environment(first)["PET_MASTER_PORT"] != environment(second)["PET_MASTER_PORT"]
    assert first["metadata"]["name"] != second["metadata"]["name"]


def test_nothing_of_a_run_has_the_name_of_a_deleted_jobs() -> None:
    """A kubelet serves its copy of an immutable ConfigMap, and a resolver old addresses, by name."""
    gangs = [gang_of(uid=uid) for uid in (UID, "1c0fc8c7-0000-4000-8000-000000000002")]
    mounted = [pod_of(gang)["spec"]["volumes"][0]["configMap"]["name"] for gang in gangs]
    services = [service_of(gang) for gang in gangs]
    assert mounted == [gang.run_name for gang in gangs] == [service["metadata"]["name"] for service in services]
    assert len({*mounted}) == 2
    labels = [pod_of(gang)["metadata"]["labels"] for gang in gangs]
    for service, own, other in zip(services, labels, reversed(labels), strict=True):
        selector = service["spec"]["selector"].items()
        assert selector <= own.items()
        assert not selector <= other.items()


ENTRYPOINT = {"trainer": {"recipe": None, "entrypoint": "train.py", "args": ["$(FOOTPLATE_JOB)"]}}
WORDS = {"trainer": {"recipe": None, "command": ["echo", "$$(A)"], "args": ["$(FOOTPLATE_JOB)"]}}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        pytest.param(ENTRYPOINT, ["$(FOOTPLATE_JOB)"], id="entrypoint"),
        pytest.param({**WORDS, **CHANNELS}, ["echo", "$$(A)", "$(FOOTPLATE_JOB)"], id="command under the supervisor"),
        pytest.param(WORDS, ["$(FOOTPLATE_JOB)"], id="bare command"),
    ],
)
def test_the_users_words_are_expanded_by_the_kubelet_in_every_form(spec: JSON, words: list[str]) -> None:
    assert container(pod_of(gang_of(spec)))["args"] == words


def test_owner_is_the_job() -> None:
    for manifest in (pod_of(gang_of()), service_of(gang_of()), plain(config_map(job()))):
        (owner,) = manifest["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("TrainingJob", UID, True)


@pytest.mark.parametrize(
    ("spec", "supervised"),
    [
        ({}, True),
        ({"trainer": {"recipe": None, "entrypoint": "train.py"}}, True),
        ({"trainer": {"recipe": None, "command": ["x"]}}, False),
        ({"trainer": {"recipe": None, "command": ["x"], "source": {"configMap": {"name": "c"}}}}, False),
        ({"trainer": {"recipe": None, "command": ["x"], "source": {"uri": "s3://code/x.tar"}}}, True),
        ({"trainer": {"recipe": None, "command": ["x"], "requirements": ["a"]}}, True),
        ({"trainer": {"recipe": None, "command": ["x"], "requirements": []}}, False),
        ({"trainer": {"recipe": None, "command": ["x"]}, **CHANNELS}, True),
        ({"trainer": {"recipe": None, "command": ["x"]}, "checkpoint": {"uri": "s3://checkpoints/x/"}}, True),
        ({"trainer": {"recipe": None, "command": ["x"], "metricDefinitions": [{"name": "f1", "regex": "(x)"}]}}, True),
    ],
)
def test_a_bare_command_needs_nothing_of_ours(spec: JSON, supervised: bool) -> None:
    only = container(pod_of(gang_of(spec)))
    assert (only["command"] == ["python", "-m", "footplate_trainer"]) is supervised
    bare_command = spec.get("trainer", {}).get("command") is not None
    assert only["securityContext"]["readOnlyRootFilesystem"] is not bare_command


def test_what_the_volumes_need() -> None:
    assert mounted_objects(gang_of(COMMAND).spec, supervised=False) == [
        "ConfigMap code",
        "PersistentVolumeClaim datasets",
    ]
    volumes = [
        {"name": "a", "configMap": {"name": "must-be"}},
        {"name": "b", "secret": {"secretName": "may-be", "optional": True}},
        {"name": "c", "secret": {"secretName": "key"}},
        {"name": "d", "emptyDir": {}},
    ]
    supervised = {"trainer": {"source": {"configMap": {"name": "code"}}}, "podTemplate": {"volumes": volumes}}
    assert mounted_objects(gang_of(supervised).spec, supervised=True) == ["ConfigMap must-be", "Secret key"]


AUTHORITIES = {"caBundle": {"configMapKeyRef": {"name": "company", "key": "ca.crt"}}}


def storage_of(spec: JSON) -> tuple[JSON, JSON, JSON]:
    """What a pod has for its storage: volumes and mounts by volume, and variables."""
    pod = pod_of(gang_of(spec))
    names = ("footplate-ca", "footplate-storage-secret")
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"] if volume["name"] in names}
    mounts = {mount["name"]: mount for mount in container(pod)["volumeMounts"] if mount["name"] in names}
    assert all(mount["readOnly"] for mount in mounts.values())
    assert volumes.keys() == mounts.keys()
    return volumes, {name: mount["mountPath"] for name, mount in mounts.items()}, environment(pod)


@pytest.mark.parametrize(
    ("bundle", "source"),
    [
        (AUTHORITIES, {"configMap": {"name": "company"}}),
        ({"caBundle": {"secretKeyRef": {"name": "company", "key": "ca.crt"}}}, {"secret": {"secretName": "company"}}),
    ],
    ids=["ConfigMap", "Secret"],
)
def test_authorities_are_mounted_and_named_by_the_supervisor(bundle: JSON, source: JSON) -> None:
    volumes, mounts, said = storage_of({"storage": bundle})
    [(kind, named)] = source.items()
    items = [{"key": "ca.crt", "path": "ca.pem"}]
    assert volumes == {"footplate-ca": {"name": "footplate-ca", kind: {**named, "items": items, "optional": True}}}
    assert said[StorageEnv.CA_BUNDLE] == f"{mounts['footplate-ca']}/ca.pem"


def test_a_bare_command_waits_for_its_authorities() -> None:
    bare = {**COMMAND, "storage": AUTHORITIES}
    volumes, _, said = storage_of(bare)
    assert volumes["footplate-ca"]["configMap"]["optional"] is False
    assert StorageEnv.CA_BUNDLE in said
    assert mounted_objects(gang_of(bare).spec, supervised=False)[:2] == ["ConfigMap code", "ConfigMap company"]


def test_the_supervisor_sees_the_secret_as_it_is_now() -> None:
    """Beside its variables, and optional: without it the variables hold the pod up, in better words."""
    volumes, mounts, said = storage_of({"storage": {"secretRef": {"name": "s3"}}})
    assert volumes["footplate-storage-secret"]["secret"] == {"secretName": "s3", "optional": True}
    assert said[StorageEnv.SECRET_DIR] == mounts["footplate-storage-secret"]
    assert storage_of(COMMAND)[0] == {}


def test_a_channels_credentials_have_its_prefix() -> None:
    assert container(pod_of(gang_of(CHANNELS)))["envFrom"] == [
        {"prefix": "FOOTPLATE_INPUT_TRAIN_SET_", "secretRef": {"name": "datasets"}}
    ]


def test_a_trackers_credentials_are_variables_and_a_command_is_supervised() -> None:
    tracking = {
        "mlflow": {"uri": "http://mlflow:5000", "secretRef": {"name": "mlflow"}},
        "wandb": {"secretRef": {"name": "wandb"}},
        "comet": {"secretRef": {"name": "comet"}},
    }
    made = container(pod_of(gang_of({**COMMAND, "output": {"uri": "s3://models/"}, "tracking": tracking})))
    named = [each["secretRef"]["name"] for each in made["envFrom"] if "secretRef" in each]
    assert {"mlflow", "wandb", "comet"} <= {*named}
    assert made["command"] == list(SUPERVISOR)


@pytest.mark.parametrize(
    ("limits", "processes", "expected"),
    [
        ({}, "auto", 1),
        ({"cpu": "8"}, "auto", 1),
        ({"nvidia.com/gpu": 8}, "auto", 8),
        ({"nvidia.com/mig-1g.5gb": 2, "amd.com/gpu": "1"}, "auto", 3),
        ({"nvidia.com/gpu": "0"}, "auto", 1),
        ({"nvidia.com/gpu": 8}, 2, 2),
    ],
)
def test_processes_per_node(limits: JSON, processes: Any, expected: int) -> None:
    spec = gang_of({"resources": {"limits": limits}, "processesPerNode": processes}).spec
    assert processes_per_node(spec) == expected


def test_users_say_as_whom_their_pods_run() -> None:
    given = {"runAsUser": 1000, "runAsGroup": 0, "fsGroup": 7}
    context = pod_of(gang_of({"podTemplate": {"securityContext": given}}))["spec"]["securityContext"]
    assert context == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, **given}
    context = pod_of(gang_of({"podTemplate": {"securityContext": {"runAsUser": 1000}}}))["spec"]["securityContext"]
    assert context["fsGroup"] == 10001


PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


@pytest.mark.parametrize(
    "affinity",
    [None, {}, {"nodeAffinity": None}, {"nodeAffinity": {PREFERRED: [{"weight": 1, "preference": {}}]}}],
    ids=str,
)
def test_avoided_nodes_are_a_preference_beside_the_users(affinity: JSON | None) -> None:
    template = {} if affinity is None else {"podTemplate": {"affinity": affinity}}
    spec = pod_of(gang_of(template, avoid=("b", "a")))["spec"]
    *own, added = spec["affinity"]["nodeAffinity"][PREFERRED]
    assert own == ((affinity or {}).get("nodeAffinity") or {}).get(PREFERRED, [])
    assert [field["values"] for field in added["preference"]["matchFields"]] == [["a"], ["b"]]


SHARED = {"nvidia.com/gpu.shared": 1, "nvidia.com/mig-1g.5gb": 2}


@pytest.mark.parametrize("limits", [{}, {"nvidia.com/gpu": 8}, SHARED], ids=["CPUs", "whole", "shares and MIG"])
@pytest.mark.parametrize("trainer", [{}, {"command": ["train"], "recipe": None}], ids=["supervised", "bare"])
def test_what_the_device_plugin_says_of_devices_stands(limits: JSON, trainer: JSON) -> None:
    """Which devices a pod sees, and through which MPS server, is the plugin's; how NCCL goes is the runtime's."""
    pod = pod_of(gang_of({"resources": {"limits": limits}, "trainer": trainer}))
    (container,) = pod["spec"]["containers"]
    names = [variable["name"] for variable in container["env"]]
    theirs = ("CUDA_", "NVIDIA_", "ROCR_", "HIP_", "HABANA_", "NEURON_", "TPU_", "ZE_", "NCCL_")
    assert names
    assert [name for name in names if name.startswith(theirs)] == []
    assert container["resources"]["limits"] == {name: str(many) for name, many in limits.items()}


def test_the_trainer_gets_all_claims_of_the_pod() -> None:
    claims = [{"name": "gpus", "resourceClaimTemplateName": "h100-8"}, {"name": "net", "resourceClaimName": "shared"}]
    spec = pod_of(gang_of({"podTemplate": {"resourceClaims": claims}, "processesPerNode": 8}))["spec"]
    assert spec["resourceClaims"] == claims
    (container,) = spec["containers"]
    assert container["resources"]["claims"] == [{"name": "gpus"}, {"name": "net"}]
    assert "resourceClaims" not in pod_of(gang_of({}))["spec"]
