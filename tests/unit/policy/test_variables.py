"""References to variables, before there is a pod that would take them literally."""

import time
from typing import Any

import pytest

from footplate.policy.variables import unknown_variables


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
