"""References to variables, before there is a pod that would take them literally."""

import time
from typing import Any

import pytest

from footplate.contract import Env
from footplate.policy.resolve import InvalidJob, resolve
from footplate.policy.variables import unknown_variables
from unit.policy.build import job


@pytest.mark.parametrize(
    ("trainer", "path", "name"),
    [
        ({"args": ["a", "$(FOOTPLATE_OUTPUT)"]}, "args[1]", "FOOTPLATE_OUTPUT_DIR"),
        ({"command": ["--to=$(FOOTPLATE_INPT_DIR)/x"]}, "command[0]", "FOOTPLATE_INPUT_DIR"),
        ({"env": [{"name": "A", "value": "$(FOOTPLATE_JOBS)"}]}, "env[0].value", "FOOTPLATE_JOB"),
    ],
    ids=["args", "command", "env"],
)
def test_a_wrong_name_is_told_with_the_right_one(trainer: dict[str, Any], path: str, name: str) -> None:
    (problem,) = unknown_variables({"trainer": trainer})
    assert problem.path == f"spec.trainer.{path}"
    assert f"did you mean {name}?" in problem.way_out


def test_names_are_read_as_kubernetes_does() -> None:
    words = "$ $$$(FOOTPLATE_A)$(x$(FOOTPLATE_B)) $$(FOOTPLATE_C) $(FOOTPLATE_D)$(FOOTPLATE_E"
    problems = unknown_variables({"trainer": {"args": [words]}})
    assert [problem.value for problem in problems] == ["$(FOOTPLATE_A)", "$(FOOTPLATE_D)"]


@pytest.mark.parametrize("word", ["$(" * 2048, "$(FOOTPLATE_A)" * 290, f"$(FOOTPLATE_{'A' * 4000})"])
def test_no_job_holds_all_others_up(word: str) -> None:
    """As many words as a job may have, each as long as it may be."""
    trainer = {"args": [word] * 256, "command": [word] * 256, "env": [{"name": "A", "value": word}] * 128}
    began = time.monotonic()
    unknown_variables({"trainer": trainer})
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "spec",
    [
        {"trainer": {"args": ["$(FOOTPLATE_OUTPUT_DIR)", "$(HOME)", "$(date)", "FOOTPLATE_X", "$FOOTPLATE_X"]}},
        {"trainer": {"args": ["$$(FOOTPLATE_X)"]}},
        {"trainer": {"args": ["$(FOOTPLATE_INPUT_MY_DATA_TOKEN)"]}, "inputs": [{"name": "my-data"}]},
        {"trainer": {"args": ["$(FOOTPLATE_X)"], "envFrom": [{"configMapRef": {"name": "c"}}]}},
        {"trainer": {"args": "$(FOOTPLATE_X)", "command": [1], "env": 7}},
        {},
    ],
)
def test_what_is_there_or_may_be_is_let_through(spec: dict[str, Any]) -> None:
    assert unknown_variables(spec) == []


ENTRY = {"entrypoint": "train.py", "source": {"configMap": {"name": "code"}}}
COMMAND = {"command": ["train"]}
TRAIN = {"inputs": [{"name": "train", "uri": "s3://datasets/digits/"}]}


@pytest.mark.parametrize(
    ("trainer", "more", "name", "instead"),
    [
        pytest.param(ENTRY, {}, "SM_MODEL_DIR", "write $(FOOTPLATE_OUTPUT_DIR) instead", id="the supervisor's"),
        pytest.param(ENTRY, TRAIN, "SM_CHANNEL_TRAIN", "write $(FOOTPLATE_INPUT_DIR)/train instead", id="a channel"),
        pytest.param(ENTRY, {"nodes": 2}, "RANK", "finds it in its environment", id="a rank's"),
        pytest.param(COMMAND, {}, "RANK", "finds it in its environment", id="of others, where there are none"),
        pytest.param(COMMAND, {}, "MASTER_ADDR", "write $(PET_MASTER_ADDR)", id="a rendezvous of one node"),
        pytest.param(
            COMMAND, {"nodes": 2, "elastic": {"minNodes": 1, "maxNodes": 2}}, "MASTER_PORT",
            "write $(PET_MASTER_PORT)", id="of what may be one node",
        ),
        pytest.param(ENTRY, {}, Env.METRICS_ADDRESS + "S", "did you mean FOOTPLATE_METRICS_ADDRESS?", id="of nobody"),
    ],
)  # fmt: skip
def test_a_name_that_only_the_program_has_is_told_with_what_the_pod_has(
    trainer: dict[str, Any], more: dict[str, Any], name: str, instead: str
) -> None:
    trainer = {"image": "trainer:test", **trainer, "args": [f"--to=$({name})"]}
    with pytest.raises(InvalidJob) as refused:
        resolve({**job(), "spec": {"trainer": trainer, **more}}, None, run=1)
    assert [problem.path for problem in refused.value.problems] == ["spec.trainer.args[0]"]
    assert instead in refused.value.problems[0].way_out


@pytest.mark.parametrize(
    ("trainer", "more", "name"),
    [
        pytest.param(COMMAND, {}, "SM_MODEL_DIR", id="a bare command's pod has it"),
        pytest.param(COMMAND, {"nodes": 2}, "RANK", id="a rank among others"),
        pytest.param(ENTRY, {"nodes": 2}, "MASTER_ADDR", id="a rendezvous"),
        pytest.param(ENTRY, {}, "PET_MASTER_ADDR", id="the operator's, in every pod"),
        pytest.param({**ENTRY, "env": [{"name": "SM_HP_X", "value": "1"}]}, {}, "SM_HP_X", id="the job's own"),
        pytest.param({**ENTRY, "envFrom": [{"secretRef": {"name": "s"}}]}, {}, "SM_HP_X", id="perhaps the Secret's"),
        pytest.param(COMMAND, {}, "nproc", id="a shell's command"),
        pytest.param(COMMAND, {}, "RANKING", id="anybody's"),
    ],
)
def test_what_the_pod_has_and_what_is_nobodys_is_let_through(
    trainer: dict[str, Any], more: dict[str, Any], name: str
) -> None:
    trainer = {"image": "trainer:test", **trainer, "args": [f"$({name})"]}
    resolve({**job(), "spec": {"trainer": trainer, **more}}, None, run=1)
