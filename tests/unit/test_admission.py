"""The admission policies say something of every place that the operator reads. What they refuse is seen on a real API
server (`realcluster/test_boundary.py`), which has CEL as Kubernetes has it.
"""

from typing import Any

import pytest
import yaml

from footplate.admission.__main__ import main, render
from footplate.admission.objects import build_objects
from footplate.api.errors import field_names
from footplate.api.runtime import RuntimeSpec
from footplate.policy.allowed import LIST_RULES
from footplate.policy.places import PLACES

OBJECTS = build_objects()
POLICIES = {each["metadata"]["name"]: each["spec"] for each in OBJECTS if each["kind"] == "ValidatingAdmissionPolicy"}


def words_of(name: str) -> str:
    return "\n".join(each["messageExpression"] for each in POLICIES[f"{name}.footplate.dev"]["validations"])


def block_of(path: str) -> str:
    return path.replace("[", ".").partition(".")[0]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.path)
def test_every_place_is_judged_of_jobs_and_of_runtimes_that_have_it(place: Any) -> None:
    assert f'"{place.where}' in words_of("trainingjobs")
    has = block_of(place.path) in field_names(RuntimeSpec)
    assert (f'"{place.where}' in words_of("trainingruntimes")) is has


def test_a_reading_s_own_texts_stay_as_they_are() -> None:
    """`x` and `m` are names in its expressions, and letters in its texts."""
    said = render()
    for key in ("kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/priority-class"):
        assert f"''{key}''" in said


def test_every_list_of_a_policy_is_a_variable() -> None:
    names = {each["name"] for each in POLICIES["trainingjobs.footplate.dev"]["variables"]}
    assert {*LIST_RULES, "runtimes", "applies"} <= names


@pytest.mark.parametrize("spec", POLICIES.values(), ids=POLICIES)
def test_each_fails_closed_and_is_bound_to_all_policies(spec: Any) -> None:
    assert spec["failurePolicy"] == "Fail"
    assert spec["paramKind"] == {"apiVersion": "footplate.dev/v1alpha1", "kind": "TrainingPolicy"}
    assert all(each["expression"].startswith("!variables.applies || ") for each in spec["validations"])


def test_each_is_bound() -> None:
    bound = [each["spec"] for each in OBJECTS if each["kind"] == "ValidatingAdmissionPolicyBinding"]
    assert [each["policyName"] for each in bound] == [*POLICIES]
    for each in bound:
        assert each["validationActions"] == ["Deny"]
        assert each["paramRef"] == {"selector": {}, "parameterNotFoundAction": "Allow"}


def test_the_file_is_what_the_chart_ships(tmp_path: Any) -> None:
    assert main(["--check", str(tmp_path)]) == 1
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0
    assert [*yaml.safe_load_all(render())] == OBJECTS
