"""`footplate validate`: what it prints, and how it ends."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from footplate.cli.main import app

JOB = """\
apiVersion: footplate.dev/v1alpha1
kind: TrainingJob
metadata: {name: digits}
spec:
  trainer: {image: "registry.example.com/trainer:1", recipe: image-classification}
"""
RUNTIME = """\
apiVersion: footplate.dev/v1alpha1
kind: ClusterTrainingRuntime
metadata: {name: torch}
spec:
  trainer: {image: "registry.example.com/trainer:1"}
  policy: {maxNodes: 2}
"""
ON_RUNTIME = """\
apiVersion: footplate.dev/v1alpha1
kind: TrainingJob
metadata: {name: digits}
spec:
  runtimeRef: {name: torch}
  trainer: {recipe: image-classification}
"""


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["validate", *arguments], input=stdin)


def lines(text: str) -> list[str]:
    return run("-", stdin=text).stdout.splitlines()


def test_valid_file() -> None:
    result = run("-", stdin=JOB)
    assert (result.exit_code, result.stdout) == (0, "stdin:1: document 1, TrainingJob digits: valid\n")


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        (f"{JOB}  nodez: 2\n", 6, "TrainingJob digits: spec.nodez = 2: unknown field; did you mean nodes?"),
        (f"{JOB}  nodes: 0\n", 6, "TrainingJob digits: spec.nodes = 0: must be at least 1; for example 4"),
        (f"{JOB}  inputs:\n  - name: train\n", 7,
         'TrainingJob digits: spec.inputs[0].uri: is required; for example "s3://datasets/fashion/train/"'),
        (f"{JOB}  evaluation: {{gates: [{{metric: testAcuracy, atLeast: 0.9}}]}}\n", 6,
         'TrainingJob digits: spec.evaluation.gates[0].metric = "testAcuracy": the evaluation has no such metric; did '
         "you mean testAccuracy?"),
        (f"{JOB}  nodes: two\n", 6,
         'TrainingJob digits: spec.nodes = "two": must be a whole number, not text; for example 4'),
        (f"{JOB}  nodes: 2\n  nodes: 4\n", 7,
         "TrainingJob digits: spec.nodes: comes twice; keep one; the first is on line 6"),
        (JOB.replace("digits", "a.b"), 3,
         'TrainingJob a.b: metadata.name = "a.b": metadata.name must be a DNS label of at most 40 characters'),
        (f"{JOB}  maxRestarts: 2\n", 6,
         "TrainingJob digits: spec.maxRestarts = 2: unknown field; did you mean spec.runPolicy.maxRestarts?"),
        (f"{JOB}  labels: {{}}\n", 6,
         "TrainingJob digits: spec.labels: unknown field; did you mean spec.podTemplate.labels?"),
        (JOB.replace("v1alpha1", "v1"), 1,
         'TrainingJob digits: apiVersion = "footplate.dev/v1": must be footplate.dev/v1alpha1'),
        (JOB.replace("apiVersion: footplate.dev/v1alpha1\n", ""), 1,
         "TrainingJob digits: apiVersion: must be footplate.dev/v1alpha1"),
        (JOB.replace("TrainingJob", "TrainigJob"), 2,
         'TrainigJob digits: kind = "TrainigJob": must be TrainingJob, TrainingRuntime, ClusterTrainingRuntime '
         'or TrainingPolicy; '
         "did you mean TrainingJob?"),
        (JOB.replace("metadata: {name: digits}\n", ""), 1, "TrainingJob: metadata: is required"),
    ],
)  # fmt: skip
def test_every_problem_says_where_what_and_how_out(text: str, line: int, expected: str) -> None:
    result = run("-", stdin=text)
    assert result.exit_code == 1
    found = [each for each in result.stdout.splitlines() if each.startswith(f"stdin:{line}: document 1, {expected}")]
    assert found, result.stdout


def test_another_version_is_said_once() -> None:
    assert run("-", stdin=JOB.replace("v1alpha1", "v1")).stdout.count("apiVersion") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- a\n", "stdin:1: document 1: isn't a manifest; write apiVersion, kind and metadata"),
        (f"{JOB}---\na: [\n", "stdin:8: document 2: isn't YAML: expected the node content, but found '<stream end>'"),
        (f"{JOB}---\n---\n{JOB}  nodes: 0\n", "stdin:13: document 3, TrainingJob digits: spec.nodes = 0: must be"),
    ],
)
def test_documents_are_counted(text: str, expected: str) -> None:
    result = run("-", stdin=text)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1].startswith(expected)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n", "ConfigMap a: skipped (not a kind of Footplate's)"),
        ("apiVersion: sagemaker.aws.amazon.com/v1\nkind: TrainingJob\n", "TrainingJob: skipped (not a kind"),
        (
            ON_RUNTIME,
            "valid (ClusterTrainingRuntime torch isn't among the valid files: its defaults and policy weren't",
        ),
        (JOB.replace("name: digits", "generateName: digits-"), "TrainingJob digits-: valid"),
        (
            f"{JOB}  output: {{uri: s3://models/}}\n",
            "valid (its model outlives it: deleted and applied again it",
        ),
        (
            f"{JOB.replace('name: digits', 'generateName: digits-')}  output: {{uri: s3://models/}}\n",
            "TrainingJob digits-: valid\n",
        ),
        (JOB.replace("recipe: image-classification", "hyperparameters: {a: 2026-01-02}, entrypoint: a.py"), "valid"),
    ],
)
def test_notes(text: str, note: str) -> None:
    result = run("-", stdin=text)
    assert result.exit_code == 0, result.stdout
    assert note in result.stdout


def test_job_is_merged_over_a_runtime_of_another_file(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "runtime.yaml").write_text(RUNTIME)
    (tmp_path / "b" / "job.yml").write_text(ON_RUNTIME + "  nodes: 3\n")
    (tmp_path / "notes.txt").write_text("not a manifest")
    result = run(str(tmp_path))
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"{tmp_path}/b/job.yml:7: document 1, TrainingJob digits: spec.nodes = 3: is more than the runtime allows; "
        "ask for 2 at most",
        f"{tmp_path}/runtime.yaml:1: document 1, ClusterTrainingRuntime torch: valid",
    ]


def test_runtime_in_another_namespace_is_another_one() -> None:
    namespaced = RUNTIME.replace("ClusterTrainingRuntime", "TrainingRuntime")
    job = ON_RUNTIME.replace("{name: torch}", "{kind: TrainingRuntime, name: torch}") + "  nodes: 3\n"
    there = namespaced.replace("{name: torch}", "{name: torch, namespace: other}")
    assert "is more than the runtime allows" in run("-", stdin=f"{namespaced}---\n{job}").stdout
    assert "TrainingRuntime torch isn't among" in run("-", stdin=f"{there}---\n{job}").stdout


def test_list_items_are_checked_one_by_one() -> None:
    items = [{"apiVersion": "v1", "kind": "Secret"}, {"apiVersion": "footplate.dev/v1alpha1", "kind": "TrainingJob"}]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=1)
    result = run("-", stdin=text)
    assert result.stdout.splitlines() == [
        "stdin:5: document 1, Secret: skipped (not a kind of Footplate's)",
        "stdin:9: document 1, TrainingJob: metadata: is required",
        "stdin:9: document 1, TrainingJob: spec: is required",
    ]


def test_json_output() -> None:
    result = run("-", "--output", "json", stdin=JOB + "  nodes: 0\n")
    answer: dict[str, Any] = json.loads(result.stdout)
    problem = {"line": 6, "path": "spec.nodes", "value": 0, "rule": "must be at least 1", "wayOut": "for example 4"}
    assert result.exit_code == 1
    assert answer == {
        "valid": False,
        "documents": [
            {
                "file": "stdin", "document": 1, "line": 1, "kind": "TrainingJob", "name": "digits", "status": "invalid",
                "note": "",
                "problems": [problem],
            }
        ],
    }  # fmt: skip


def test_credentials_are_not_repeated() -> None:
    result = run("-", stdin=JOB + "  output: {uri: 's3://key:secret@models/'}\n")
    assert "must not carry credentials" in result.stdout
    assert "secret@" not in result.stdout


@pytest.mark.parametrize("path", ["missing.yaml", "empty"])
def test_nothing_to_read(tmp_path: Path, path: str) -> None:
    (tmp_path / "empty").mkdir()
    result = run(str(tmp_path / path))
    assert result.exit_code == 2
    assert path in result.stderr


def test_an_alias_that_leads_to_itself() -> None:
    assert lines("a: &x [*x]\n") == ["stdin:1: document 1: skipped (not a kind of Footplate's)"]


MISTAKES = """\
apiVersion: footplate.dev/v1alpha1
kind: TrainingJob
metadata: {name: a.b}
sepc: {}
spec:
  nodez: 2
  trainer: {image: a, recipe: image-classification, hyperparameters: {epocs: 1}, source: {}}
  resources: {requests: {memory: 512m, cpu: 4}, limits: {cpu: 2, gpu: 1}}
  podTemplate:
    volumes: [{name: dshm, emptyDir: {medium: Memory}}]
    volumeMounts: [{name: dshm, mountPath: /dev/shm}, {name: data, mountPath: /tmp}]
    affinity: {nodeAfinity: {}}
  runPolicy: {activeDeadlineSeconds: 0}
"""


def test_all_mistakes_are_told_at_once() -> None:
    paths = [re.sub(r"^stdin:(\d+): .* a[.]b: ([^:=]+?)( = .*|:.*)$", r"\1 \2", line) for line in lines(MISTAKES)]
    assert paths == [
        "7 spec.trainer.source",
        "8 spec.resources.requests",
        "8 spec.resources.limits",
        "8 spec.resources",
        "13 spec.runPolicy.activeDeadlineSeconds",
        "12 spec.podTemplate.affinity.nodeAfinity",
        "11 spec.podTemplate.volumeMounts[0].mountPath",
        "11 spec.podTemplate.volumeMounts[1].mountPath",
        "6 spec.nodez",
        "11 spec.podTemplate.volumeMounts",
        "4 sepc",
        "3 metadata.name",
        "7 spec.trainer.hyperparameters.epocs",
    ]


def test_a_recipes_hyperparameters_are_checked() -> None:
    job = JOB.replace("recipe: ", "hyperparameters: {epocs: 1, batchSize: 0}, recipe: ")
    assert [line.partition("digits: ")[2] for line in lines(job)] == [
        "spec.trainer.hyperparameters.batchSize = 0: must be at least 1; batchSize: Samples of all ranks together "
        "between optimizer steps. Leave it out for the default, 128.",
        "spec.trainer.hyperparameters.epocs = 1: recipe image-classification has no such hyperparameter; did you mean "
        "epochs?",
    ]
    beside_runtime = ON_RUNTIME.replace("recipe: image", "hyperparameters: {epocs: 1}, recipe: image")
    assert "no such hyperparameter" in run("-", stdin=beside_runtime).stdout
    incomplete = ON_RUNTIME.replace("image-classification", "tabular-classification")
    assert run("-", stdin=incomplete).exit_code == 0, "the runtime may bring the target"
    assert "hyperparameters.target: is required" in run("-", stdin=f"{RUNTIME}---\n{incomplete}").stdout


def test_lists_of_our_own_kinds_are_lists() -> None:
    job = JOB.replace("digits", "a.b").replace("\n", "\n  ").rstrip()
    text = f"apiVersion: footplate.dev/v1alpha1\nkind: TrainingJobList\nitems:\n- {job}\n"
    assert "TrainingJob a.b: metadata.name" in run("-", stdin=text).stdout


def test_yaml_is_read_as_kubectl_reads_it() -> None:
    job = JOB.replace("recipe: image-classification", "command: [a, --lr, 1e-4], env: [{name: SAVE, value: y}]")
    told = run("-", stdin=job).stdout
    assert "spec.trainer.command[2] = 0.0001: must be text, not a fraction" in told
    assert "spec.trainer.env[0].value = true: must be text, not true or false" in told


@pytest.mark.parametrize(
    "reference", ["{name: []}", "{name: {a: b}}", "{name: torch, kind: [x]}", "{name: 5}", "[]", "x"]
)
def test_a_reference_of_another_shape_is_a_mistake_like_any_other(reference: str) -> None:
    result = run("-", stdin=ON_RUNTIME.replace("{name: torch}", reference))
    assert result.exit_code == 1
    assert "runtimeRef" in result.stdout


@pytest.mark.parametrize("tracking", ["x", "{mlflow: 'http://mlflow:5000'}"])
def test_of_a_block_of_another_shape_nothing_else_is_said(tracking: str) -> None:
    (line,) = run("-", stdin=f"{JOB}  tracking: {tracking}\n").stdout.splitlines()
    assert line.endswith("must be an object, not text")


@pytest.mark.parametrize("digits", [25, 400])
def test_a_number_of_many_digits_is_a_mistake_like_any_other(digits: int) -> None:
    result = run("-", stdin=f"{JOB}  nodes: {'9' * digits}\n")
    assert result.exit_code == 1
    assert "TrainingJob digits: spec.nodes" in result.stdout
