"""Every rule of the API, on what keeps it and on what breaks it: in the models, and in the CRDs by cel-python."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from api_cases import BLOCKS, CHANGES, CREATES, FIXED, MUTABLE, Case
from footplate.api.crd import KINDS, build_crd
from footplate.api.errors import explain
from footplate.api.types import Model
from footplate.devcluster.cel import collect_rules
from footplate.devcluster.schema import fill_defaults, find_unknown, validate

Json = dict[str, Any]
MODELS: Mapping[str, type[Model]] = {kind.name: kind.model for kind in KINDS}
SCHEMAS: Mapping[str, Json] = {
    kind.name: build_crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for kind in KINDS
}
RULES = {name: collect_rules(schema) for name, schema in SCHEMAS.items()}


def ask_models(case: Case) -> list[str]:
    model = MODELS[case.kind]
    try:
        model.model_validate(case.manifest(), by_name=False)
    except ValidationError as error:
        return [str(problem) for problem in explain(error, root="", model=model)]
    return []


def ask_schema(case: Case) -> list[str]:
    """What an API server with these CRDs says."""
    schema = SCHEMAS[case.kind]
    old = None if case.old is None else case.manifest(spec=case.old)
    new = case.manifest()
    for each in (old, new):
        if each is not None:
            fill_defaults(each, schema)
    unknown = [f'unknown field "{path}"' for path in find_unknown(new["spec"], schema["properties"]["spec"], "spec")]
    return unknown or [str(error) for error in validate(new, old, schema, rules=RULES[case.kind])]


def check(answer: list[str], problem: str, path: str) -> None:
    """The answer is one problem that says so at that path, or nothing where there is none."""
    assert bool(answer) == bool(problem), answer
    if problem:
        found = [text for text in answer if problem in text]
        assert found, answer
        assert any(path in text for text in found), answer


@pytest.mark.parametrize("case", CREATES, ids=lambda case: case.id)
def test_models_judge_as_they_should(case: Case) -> None:
    check(ask_models(case), case.problem, case.path)


@pytest.mark.parametrize("case", CREATES + CHANGES, ids=lambda case: case.id)
def test_schema_judges_as_it_should(case: Case) -> None:
    check(ask_schema(case), case.server or case.problem, case.path)


def messages(schema: Json) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        yield rule["message"]
    for child in schema.get("properties", {}).values():
        yield from messages(child)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from messages(schema[key])


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_rule_has_a_case_that_breaks_it(kind: str) -> None:
    problems = [case.problem for case in CREATES + CHANGES if case.problem]
    assert [text for text in messages(SCHEMAS[kind]) if not any(problem in text for problem in problems)] == []


def test_every_field_of_the_spec_has_a_case_for_its_mutability() -> None:
    spec = SCHEMAS["TrainingJob"]["properties"]["spec"]["properties"]
    assert set(spec) == {*FIXED, *BLOCKS, "nodes"}
    for block, fields in BLOCKS.items():
        assert set(spec[block]["properties"]) == {*fields, *MUTABLE[block]}
