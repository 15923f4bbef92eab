"""The generated CRDs: no drift, small, bounded, and columns that lead somewhere."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from footplate.api.crd import KINDS, Kind, build_crd, main, render

CRDS = Path(__file__).parents[3] / "crds"
MAX_BYTES = 200_000
"""Of JSON, as `kubectl apply` keeps it in an annotation: those of an object have room for 262,144 together."""

Json = dict[str, Any]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)


def version_of(kind: Kind) -> Json:
    return dict(build_crd(kind)["spec"]["versions"][0])


def schema_of(kind: Kind) -> Json:
    return dict(version_of(kind)["schema"]["openAPIV3Schema"])


def walk(schema: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from walk(schema[key], f"{path}[]")


def is_bounded(schema: Json) -> bool:
    bounds = {"array": "maxItems", "string": "maxLength"}
    kind = schema.get("type", "string" if "x-kubernetes-int-or-string" in schema else "any")
    if kind == "object":
        return "properties" in schema or "maxProperties" in schema
    return kind not in bounds or bounds[kind] in schema or "enum" in schema or "format" in schema


def test_files_are_what_the_models_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", str(CRDS)]) == 0, capsys.readouterr().err
    assert {path.name for path in CRDS.iterdir()} == {f"footplate.dev_{kind.plural}.yaml" for kind in KINDS}


def test_check_finds_drift_and_writing_mends_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", str(tmp_path)]) == 1
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0
    (tmp_path / "footplate.dev_trainingjobs.yaml").write_text("kind: Other\n")
    capsys.readouterr()
    assert main(["--check", str(tmp_path)]) == 1
    assert "footplate.dev_trainingjobs.yaml isn't what footplate.api.crd says: run make crds" in capsys.readouterr().err


@every_kind
def test_client_side_apply_has_room(kind: Kind) -> None:
    text = render(build_crd(kind))
    assert yaml.safe_load(text) == build_crd(kind)
    size = len(json.dumps(build_crd(kind), separators=(",", ":")).encode())
    print(f"{kind.plural}: {size:,} bytes")
    assert size < MAX_BYTES


@every_kind
def test_everything_below_spec_and_status_is_bounded_and_described(kind: Kind) -> None:
    properties = schema_of(kind)["properties"]
    nodes = [pair for block in ("spec", "status") if block in properties for pair in walk(properties[block], block)]
    assert [path for path, node in nodes if not is_bounded(node)] == []
    assert [path for path, node in nodes if not path.endswith("[]") and not node.get("description")] == []


@every_kind
def test_schema_is_structural(kind: Kind) -> None:
    forbidden = {"$ref", "anyOf", "oneOf", "allOf", "not", "title", "examples", "const", "patternProperties"}
    assert [path for path, node in walk(schema_of(kind)) if forbidden & set(node)] == []
    assert [path for path, node in walk(schema_of(kind)) if any(key.startswith("x-footplate") for key in node)] == []


def test_defaults_are_only_where_no_runtime_could_have_one() -> None:
    found = {
        f"{kind.name}{path}": node["default"]
        for kind in KINDS
        for path, node in walk(schema_of(kind))
        if "default" in node
    }
    assert found == {
        "TrainingJob.spec.runtimeRef.kind": "ClusterTrainingRuntime",
        "TrainingJob.spec.output.formats": ["safetensors"],
        "TrainingPolicy.spec.runtimes.allowed[].kind": "ClusterTrainingRuntime",
        "TrainingJob.status": {"observedGeneration": -1},
    }


@every_kind
def test_columns_show_fields_that_exist(kind: Kind) -> None:
    fields = dict(walk(schema_of(kind)))
    for column in kind.columns:
        if column.path.startswith(".metadata") or ".metrics." in column.path:
            continue
        field = fields[column.path.replace("[-1:]", "[]")]
        if field["type"] == "object":
            assert column.type == "string", "which shows it as JSON"
            continue
        said = field["format"].removesuffix("-time") if column.type == "date" else field["type"]
        assert said == column.type, column.path


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (
            ".spec.nodes",
            "Default: 1. Can change after creation, within elastic's bounds, where elastic is set. Example: 4",
        ),
        (".spec.checkpoint.keep", "Complete checkpoints kept. Default: 3. Can't change after creation. Example: 3"),
        (".spec.runPolicy.suspend", "false resumes from it. Default: false. Can change after creation."),
        (".spec.runPolicy", "Can change after creation: suspend, restartNonce, maxRestarts, maxDisruptions, "),
        (".status.phase", "Where the run is in its life."),
    ],
)
def test_descriptions_say_default_mutability_and_example(path: str, words: str) -> None:
    fields: Mapping[str, Json] = dict(walk(schema_of(KINDS[0])))
    assert words in fields[path]["description"]


def test_runtimes_can_change() -> None:
    assert "after creation" not in render(build_crd(KINDS[1]))
