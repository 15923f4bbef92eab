"""Which values of the environment are kept out of a log."""

from pathlib import Path
from typing import Any

import pytest

from footplate.api.trainingjob import TrainingJobSpec
from footplate_trainer.supervisor.secrets import mask, secret_values


def job(**trainer: Any) -> TrainingJobSpec:
    inputs = [{"name": "train", "uri": "s3://datasets/x/", "secretRef": {"name": "own"}}]
    return TrainingJobSpec.model_validate(
        {"trainer": {"image": "any", "command": ["any"], **trainer}, "inputs": inputs, "nodes": 1}
    )


NAMED = {"env": [{"name": "GREETING", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}
LITERAL = {"env": [{"name": "MESSAGE", "value": "from the job"}]}
WHOLE = {"envFrom": [{"secretRef": {"name": "team"}}]}
OF_A_MAP = {"envFrom": [{"configMapRef": {"name": "team"}}]}


@pytest.mark.parametrize(
    ("trainer", "name", "is_secret"),
    [
        pytest.param({}, "AWS_SECRET_ACCESS_KEY", True, id="storage's key"),
        pytest.param({}, "AWS_REGION", False, id="storage's region"),
        pytest.param({}, "WANDB_API_KEY", True, id="a name that says so"),
        pytest.param({}, "LANGCHAIN_API_KEY", True, id="a name that says so, and begins like an image's"),
        pytest.param({}, "PWD", False, id="a shell's folder"),
        pytest.param({}, "FOOTPLATE_INPUT_TRAIN_AWS_ACCESS_KEY_ID", True, id="an input's own key"),
        pytest.param({}, "FOOTPLATE_INPUT_TRAIN_AWS_ENDPOINT_URL", False, id="an input's own address"),
        pytest.param({}, "FOOTPLATE_STORAGE_SECRET_DIR", False, id="ours"),
        pytest.param(NAMED, "GREETING", True, id="named by the job"),
        pytest.param(LITERAL, "MESSAGE", False, id="written in the job"),
        pytest.param(WHOLE, "ANYTHING", True, id="perhaps of a whole Secret"),
        pytest.param(WHOLE, "PYTHONPATH", False, id="an image's beside a whole Secret"),
        pytest.param(OF_A_MAP, "ANYTHING", False, id="of a ConfigMap"),
    ],
)
def test_which_variables_are_secret(trainer: dict[str, Any], name: str, is_secret: bool) -> None:
    assert (secret_values(job(**trainer), {name: "a value"}) == [b"a value"]) is is_secret


def test_each_line_of_a_key_is_masked_and_short_values_are_not() -> None:
    environ = {"PRIVATE_KEY": "begin-line\\nmiddle-line\nend-line", "USE_TOKEN": "true", "LONG_KEY": "begin-line-too"}
    values = secret_values(job(), environ)
    assert mask(b"begin-line-too, middle-line, true; begin-line", values) == b"***, ***, true; ***"


def test_a_key_that_was_exchanged_is_masked_as_well(tmp_path: Path) -> None:
    (tmp_path / "AWS_SECRET_ACCESS_KEY").write_text("newest-key\n")
    (tmp_path / "AWS_REGION").write_text("eu-central-1")
    (tmp_path / "..data").mkdir()
    environ = {"AWS_SECRET_ACCESS_KEY": "older-key", "FOOTPLATE_STORAGE_SECRET_DIR": str(tmp_path)}
    assert sorted(secret_values(job(), environ)) == [b"newest-key", b"older-key"]
