"""What is handed to support has no secret in it."""

import json
from typing import Any

import pytest

from footplate.client.redaction import MASK, redact_job, redact_named, redact_object, redact_text

SECRET = "s3cr3t-Value/42"

TEXTS = {
    "credentials of a URI": f"git clone https://user:{SECRET}@git.example.com/x",
    "a user alone": f"https://{SECRET}@git.example.com/x",
    "an assignment": f"AWS_SECRET_ACCESS_KEY={SECRET}",
    "JSON": json.dumps({"apiToken": SECRET}),
    "Python's repr": repr({"password": SECRET + " with blanks"}),
    "YAML": f"db_password: {SECRET}",
    "a query": f"https://x.blob.example.com/c?sv=1&sig={SECRET}&se=2",
    "a header": f"Authorization: Bearer {SECRET}",
    "a header in other words": f"sent bearer {SECRET}",
    "an option": f"train.py --api-key={SECRET} --epochs 3",
}
SHAPES = [
    "AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE", "ghp_0123456789abcdefghij", "hf_0123456789abcdefghij",
    "sk-proj-0123456789abcdef", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-def",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nAAAA\n-----END RSA PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----\ncut",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_value_goes(text: str) -> None:
    assert SECRET not in redact_text(text)
    assert MASK in redact_text(text)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_keys_shape_goes(shape: str) -> None:
    assert redact_text(f"found {shape} there") in (f"found {MASK} there", f"found {MASK}")


@pytest.mark.parametrize(
    "text",
    [
        "s3://datasets/digits/ has no such bucket; create it, or correct the URI",
        "epoch 3: loss 0.12, 1,200 samples/s",
        "2 of 2 nodes running, step 500 of 1,000",
        "registry.example.com:5000/team/trainer@sha256:0123456789abcdef",
        "torch.nn.modules.module.Module: RuntimeError: CUDA out of memory",
    ],
)
def test_what_helps_stays(text: str) -> None:
    assert redact_text(text) == text


def job(**trainer: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "digits", "namespace": "team"},
        "spec": {"trainer": {"image": "trainer:1", **trainer}},
        "status": {"message": f"can't read https://a:{SECRET}@b/c", "phase": "Failed"},
    }


LEAKS = {
    "env": {"env": [{"name": "HARMLESS", "value": SECRET}]},
    "a hyperparameter": {"hyperparameters": {"wandbApiKey": SECRET}},
    "one deep inside": {"hyperparameters": {"loggers": [{"auth": {"user": SECRET}}]}},
    "a hyperparameter's shape": {"hyperparameters": {"x": f"https://u:{SECRET}@h/"}},
    "an argument": {"args": ["--token", SECRET, "--epochs", "3"]},
    "an argument in one": {"args": [f"--token={SECRET}"]},
    "a command": {"command": ["sh", "-c", f"export TOKEN={SECRET}; train"]},
    "a source": {"source": {"git": {"url": f"https://{SECRET}@git.example.com/x", "ref": "main"}}},
}


@pytest.mark.parametrize("trainer", LEAKS.values(), ids=LEAKS)
def test_a_job_keeps_its_secrets(trainer: dict[str, Any]) -> None:
    shown = json.dumps(redact_job(job(**trainer)))
    assert SECRET not in shown
    assert '"phase": "Failed"' in shown


def test_a_job_keeps_what_helps() -> None:
    trainer = {
        "hyperparameters": {"epochs": 3, "learningRate": 0.1},
        "args": ["--depth", "18"],
        "env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s3", "key": "token"}}}],
    }
    shown = redact_job({"metadata": {"name": "a"}, "spec": {"trainer": trainer, "nodes": 2}})
    assert shown == {"metadata": {"name": "a"}, "spec": {"trainer": trainer, "nodes": 2}}


def test_annotations_that_repeat_the_manifest_go() -> None:
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": SECRET, "vault-token": SECRET, "team": "vision"}
    shown = redact_job({"metadata": {"name": "a", "annotations": annotations, "managedFields": [SECRET]}, "spec": {}})
    assert shown["metadata"] == {"name": "a", "annotations": {"vault-token": MASK, "team": "vision"}}


def test_a_pod() -> None:
    containers = [{"name": "side", "env": [{"name": "A", "value": SECRET}], "args": ["--password", SECRET]}]
    pod = {"metadata": {"name": "p"}, "spec": {"containers": containers, "initContainers": containers}}
    shown = redact_object(pod)
    assert SECRET not in json.dumps(shown)
    assert shown["spec"]["containers"][0] == {
        "name": "side", "env": [{"name": "A", "value": MASK}], "args": ["--password", MASK],
    }  # fmt: skip


def test_names_of_others_making_deep_inside_a_pod() -> None:
    volume = {"name": "v", "csi": {"driver": "d", "volumeAttributes": {"password": SECRET, "share": "x"}}}
    flex = {"name": "f", "flexVolume": {"driver": "d", "options": {"accountKey": SECRET}}}
    probe = {"httpGet": {"httpHeaders": [{"name": "X-Anything", "value": SECRET}], "port": 80}}
    annotations = {"vault-token": SECRET, "kubectl.kubernetes.io/last-applied-configuration": SECRET}
    template = {"metadata": {"annotations": annotations}, "volumes": [volume, flex], "livenessProbe": probe}
    shown = redact_job({"metadata": {"name": "a"}, "spec": {"podTemplate": template}})
    assert SECRET not in json.dumps(shown)
    assert shown["spec"]["podTemplate"]["volumes"][0]["csi"]["volumeAttributes"] == {"password": MASK, "share": "x"}


@pytest.mark.parametrize("key", ["data", "stringData", "binaryData"])
def test_what_a_secret_holds_goes_whole(key: str) -> None:
    assert redact_object({"metadata": {"name": "s"}, key: {"harmless": SECRET}})[key] == MASK


def test_names_at_any_depth() -> None:
    assert redact_named({"a": [{"myKEY": 1}], "b": 2}) == {"a": [{"myKEY": MASK}], "b": 2}


def test_a_megabyte_is_read_in_no_time() -> None:
    text = "key" * 350_000 + "=" * 1000 + "://" + "a" * 100_000
    redact_text(text)  # pytest's timeout is the bound


def test_half_a_character_hides_nothing() -> None:
    assert redact_text("\ud800 token=abcdefgh") == f"? token={MASK}"


@pytest.mark.parametrize("field", ["a", "args", "annotations"])
def test_what_lies_deeper_than_anybody_reads_is_left_out(field: str) -> None:
    deep: Any = "token"
    for _ in range(400):
        deep = {field: [deep]}
    parameters = {"spec": {"trainer": {"hyperparameters": deep}}, "metadata": {}}
    for redacted in (redact_object({"metadata": {}, "spec": deep}), redact_job(parameters)):
        assert MASK in str(redacted)
