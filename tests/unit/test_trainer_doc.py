"""docs/trainer.md says what is so: each of its tables, examples and layouts is held against the code."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from documents import DOCS, names_in, read_block, read_table
from footplate.api.recipes import RECIPES, Hyperparameters
from footplate.api.trainingjob import TrainingJobSpec
from footplate.attempt_spec import AttemptSpec, needs_supervisor
from footplate.contract import Env, ExitCode, JobConfig, Verdict
from footplate.dialects import VARIABLES
from footplate.podspec import build_pods
from footplate.policy import failure
from footplate_trainer.model_manifest import ModelManifest
from footplate_trainer.rank.report import UNHEARD
from footplate_trainer.storage.credentials import CREDENTIAL_NAMES
from footplate_trainer.supervisor import launch
from footplate_trainer.supervisor.pod import read_pod
from trainer_pods import pod_environment
from unit.policy.build import NOW, gang, pod, terminated

BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def describe_values(schema: dict[str, Any]) -> str:
    """What a hyperparameter may be."""
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kinds = [schema, *schema.get("anyOf", [])]
    kind = next(each["type"] for each in kinds if each.get("type") not in (None, "null"))
    bounds = [f"{sign} {schema[name]:,}" for name, sign in BOUNDS.items() if name in schema]
    return ", ".join([{"array": "list"}.get(kind, kind), *bounds])


@pytest.mark.parametrize(("recipe", "model"), RECIPES.items(), ids=RECIPES)
def test_hyperparameters(recipe: str, model: type[Hyperparameters]) -> None:
    schema = model.model_json_schema()
    expected = [
        [
            f"`{name}`",
            f"`{json.dumps(field['default'])}`" if name not in schema.get("required", []) else "required",
            describe_values(field),
            field["description"],
        ]
        for name, field in schema["properties"].items()
    ]
    table = "\n".join(f"| {' | '.join(row)} |" for row in expected)
    rows = [row for which in ("all", recipe) for row in read_table("trainer.md", f"hyperparameters: {which}")]
    documented = {row[0]: row for row in rows}  # a recipe's own row stands for the one of all
    assert [*documented.values()] == expected, f"write them so:\n{table}"


@pytest.mark.parametrize(
    ("name", "spec"),
    {
        "inputs": {"inputs": [{"name": "train", "uri": "s3://datasets/digits/"}]},
        "output": {"output": {"uri": "s3://models/digits/"}},
        "checkpoint.uri": {"checkpoint": {"uri": "s3://checkpoints/digits/"}},
        "source": {"trainer": {"source": {"uri": "s3://code/train.tgz"}}},
        "requirements": {"trainer": {"requirements": ["einops"]}},
        "metricDefinitions": {"trainer": {"metricDefinitions": [{"name": "loss", "regex": "loss=([0-9.]+)"}]}},
    }.items(),
)
def test_what_has_a_command_supervised_is_told(name: str, spec: dict[str, Any]) -> None:
    trainer = {"image": "any", "command": ["train"], **spec.get("trainer", {})}
    assert needs_supervisor(TrainingJobSpec.model_validate({**spec, "trainer": trainer}))
    paragraphs = (DOCS / "trainer.md").read_text().split("\n\n")
    (paragraph,) = [text for text in paragraphs if text.startswith("A `command` whose job has no ")]
    assert f"`{name}`" in paragraph
    assert f" {name}" in UNHEARD


def set_by_operator(trainer: dict[str, Any]) -> set[str]:
    config = JobConfig.model_validate(
        {
            "metadata": {"name": "digits", "namespace": "team", "uid": "u"},
            "run": 1,
            "spec": {"trainer": {"image": "any", **trainer}},
        }
    )
    (made,) = build_pods(AttemptSpec(config, config.spec, "any-run-1", 0, 2), [0])
    return {variable["name"] for variable in made["spec"]["containers"][0]["env"]}


def set_by_supervisor(folder: Path, trainer: dict[str, Any]) -> set[str]:
    (process, *_) = launch.plan_launches(read_pod(pod_environment(folder, {"trainer": trainer}, nodes=2)), folder, {})
    return {*process.env}


def test_environment(tmp_path: Path) -> None:
    documented: dict[str, set[str]] = {}
    for names, where, _ in read_table("trainer.md", "environment"):
        documented.setdefault(where, set()).update(names_in(names))
    dialects = {variable.name for variable in VARIABLES}
    of_rank, of_command = {"entrypoint": "entrypoint"}, {"command": ["command"]}
    everywhere = (set_by_operator(of_rank) & set_by_operator(of_command)) - dialects
    rank = (set_by_operator(of_rank) | set_by_supervisor(tmp_path, of_rank)) - dialects
    command = (set_by_operator(of_command) | set_by_supervisor(tmp_path, of_command)) - dialects
    assert set(Env) <= everywhere
    assert documented == {
        "pod": everywhere,
        "process": (rank & command) - everywhere,
        "rank": rank - command,
    }
    assert command - rank <= everywhere


def test_dialects() -> None:
    expected = [[f"`{row.name}`", row.of, str(row.setter), row.when, row.holds] for row in VARIABLES]
    table = "\n".join(f"| {' | '.join(row)} |" for row in expected)
    assert read_table("trainer.md", "dialects") == expected, f"write them so:\n{table}"


@pytest.mark.parametrize("row", read_table("trainer.md", "exit codes"), ids=lambda row: row[0])
def test_exit_codes(row: list[str]) -> None:
    codes, _, reason, kind, _ = row
    for code in map(int, codes.split(",")):
        said = Verdict(outcome="failed", exit_code=code).model_dump_json(by_alias=True) if code in set(ExitCode) else ""
        ended = pod(0, phase="Failed" if code else "Succeeded", state=terminated(code, message=said))
        found = failure.find(gang(ended), {}, desired=1, all_created=True, now=NOW)
        if code == ExitCode.OK:
            assert found is None
            assert not kind
        else:
            assert found is not None
            assert (f"`{found.reason}`", found.failure_class) == (reason, kind)


def test_every_exit_code_of_the_contract_is_there() -> None:
    documented = {int(code) for row in read_table("trainer.md", "exit codes") for code in row[0].split(",")}
    assert set(ExitCode) <= documented


def test_manifest_example_is_one() -> None:
    example = json.loads(read_block("trainer.md", "manifest"))
    ModelManifest.model_validate_json(json.dumps(example))
    optional = {"parentCheckpoint", "signature"}
    assert {field.alias for field in ModelManifest.model_fields.values()} - optional == example.keys()


def test_credentials() -> None:
    documented = {
        names_in(scheme)[0]: tuple(names_in(keys)) for scheme, keys in read_table("trainer.md", "credentials")
    }
    assert documented == CREDENTIAL_NAMES


@pytest.mark.parametrize("example", ["own-script/train.py", "jax/train.py"])
def test_the_excerpt_is_the_example(example: str) -> None:
    assert read_block("trainer.md", f"excerpt: {example}") in (DOCS.parent / "examples" / example).read_text()


def test_the_trainer_example_runs(tmp_path: Path) -> None:
    code = read_block("trainer.md", "runnable: trainer")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "output/model.safetensors").is_file()
