"""The models on generated objects: they agree with the CRDs' schemas, and lose nothing on the way to JSON and back."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import celpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from api_cases import TAKEN, Case, uri
from footplate.api.crd import KINDS, build_crd
from footplate.api.errors import explain
from footplate.api.status import NodeCounts, Restarts, TrainingJobStatus
from footplate.api.trainingjob import TrainingJob
from footplate.devcluster.cel import collect_rules
from footplate.devcluster.schema import fill_defaults, validate

MODELS = {kind.name: kind.model for kind in KINDS}
SCHEMA: Mapping[str, Any] = build_crd(KINDS[0])["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
RULES = collect_rules(SCHEMA)
celpy.Environment()  # raises the recursion limit, which hypothesis doesn't like to see inside a test

# Around every border that a URI rule draws.
URI_PIECES = st.sampled_from(
    ["s3://", "gs://", "file://", "S3://", "/", "//", ".", "..", "...", "%2e", "@", "?", "#", "\\", " ", "\n", "a",
     "ab", "abc", "a-b_c.d", "A", "ü", "{", "0"]
)  # fmt: skip
ADDRESSES = st.lists(URI_PIECES, min_size=1, max_size=7).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def values_of(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a structural schema takes, its CEL rules left aside."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("x-kubernetes-int-or-string") or schema.get("type") == "string":
        return _strings_of(schema)
    if schema.get("type") == "array":
        return st.lists(values_of(schema["items"]), min_size=schema.get("minItems", 0), max_size=2)
    if schema.get("type") == "object":
        return _objects_of(schema)
    low, high = schema.get("minimum", -5), schema.get("maximum", 5)
    numbers = st.floats(schema.get("minimum", -1e9), schema.get("maximum", 1e9))
    simple = {"integer": st.integers(low, high), "number": numbers, "boolean": st.booleans()}
    return simple.get(schema.get("type", ""), JSON)


def _strings_of(schema: Mapping[str, Any]) -> st.SearchStrategy[str]:
    if schema.get("format") == "date-time":
        return st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(lambda time: f"{time:%Y-%m-%dT%H:%M:%SZ}")
    if "x-kubernetes-validations" in schema:
        return st.sampled_from(["s3://abc/", "gs://abc/x/y", "file:///a", "latest"]) | ADDRESSES
    if "pattern" in schema:
        pattern = st.from_regex(re.compile(schema["pattern"], re.ASCII), fullmatch=True)
        return pattern.filter(lambda text: len(text) <= schema["maxLength"] and "\n" not in text)
    return st.text("aZ9-. \u00fc", min_size=schema.get("minLength", 0), max_size=min(schema["maxLength"], 9))


def _objects_of(schema: Mapping[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    if "properties" not in schema:
        return st.dictionaries(st.sampled_from(["a", "b", "example.com/c"]), values_of(schema["additionalProperties"]))
    required = schema.get("required", ())
    fields = {name: values_of(child) for name, child in schema["properties"].items()}
    optional = {name: field for name, field in fields.items() if name not in required}
    return st.fixed_dictionaries({name: fields[name] for name in required}, optional=optional)


SPECS = values_of(SCHEMA["properties"]["spec"])


def keys_differ(status: Any) -> bool:
    """As the API server sees to it."""
    lists = ((status, "conditions", "type"), (status, "tracking", "name"), (status.get("data") or {}, "splits", "name"))
    keys = [(field, item[key]) for block, field, key in lists for item in block.get(field) or ()]
    return len(set(keys)) == len(keys)


STATUSES = values_of(SCHEMA["properties"]["status"]).filter(keys_differ)


def manifest(spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "job"}, "spec": spec}


def is_valid(spec: Any) -> bool:
    try:
        TrainingJob.model_validate(manifest(spec), by_name=False)
    except ValidationError:
        return False
    return True


def schema_problems(spec: Any) -> list[str]:
    job = json.loads(json.dumps(manifest(spec)))
    fill_defaults(job, SCHEMA)
    return [str(error) for error in validate(job, None, SCHEMA, rules=RULES)]


@pytest.mark.parametrize("case", TAKEN, ids=lambda case: case.id)
def test_round_trip(case: Case) -> None:
    model = MODELS[case.kind]
    parsed = model.model_validate(case.manifest())
    again = model.model_validate_json(json.dumps(parsed.to_json()))
    assert again == parsed
    assert again.to_json() == parsed.to_json()


@given(SPECS)
def test_models_and_schema_agree_on_specs(spec: Any) -> None:
    problems = schema_problems(spec)
    assert is_valid(spec) == (problems == []), problems


@given(ADDRESSES)
def test_models_and_schema_agree_on_uris(address: str) -> None:
    problems = schema_problems(uri(address))
    assert is_valid(uri(address)) == (problems == []), problems


@given(STATUSES)
def test_status_round_trip(status: Any) -> None:
    parsed = TrainingJobStatus.model_validate(status, by_name=False)
    assert TrainingJobStatus.model_validate(parsed.to_json(), by_name=False) == parsed


@given(JSON)
def test_any_mistake_can_be_explained(spec: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        TrainingJob.model_validate(manifest(spec), by_name=False)
    problems = explain(caught.value, root="", model=TrainingJob)
    assert len(problems) == caught.value.error_count()
    for problem in problems:
        assert problem.path.startswith("spec")
        assert str(problem).isprintable()


def test_times_are_written_as_kubernetes_writes_them() -> None:
    status = TrainingJobStatus(start_time=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC))
    assert status.to_json()["startTime"] == "2026-01-02T03:04:05Z"


def test_summaries_follow_the_counts() -> None:
    assert NodeCounts(desired=8, ready=5, succeeded=1).summary == "6/8"
    assert NodeCounts.model_validate({"desired": 8, "summary": "1/8"}).summary == "1/8"
    assert Restarts(user=1, infrastructure=2, hang=3).total == 6
