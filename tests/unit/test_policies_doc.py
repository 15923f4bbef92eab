"""docs/policies.md: its examples are what the API takes, and it knows every field."""

from pathlib import Path
from typing import Any

import yaml

from footplate.api.errors import field_names
from footplate.api.policy import TrainingPolicy, TrainingPolicySpec

TEXT = (Path(__file__).parents[2] / "docs/policies.md").read_text()


def examples() -> list[Any]:
    blocks = TEXT.split("```yaml\n")[1:]
    return [each for block in blocks for each in yaml.safe_load_all(block.partition("```")[0])]


def test_the_example_is_a_policy() -> None:
    [policy] = [each for each in examples() if each["kind"] == "TrainingPolicy"]
    TrainingPolicy.model_validate(policy, by_name=False)
    assert set(field_names(TrainingPolicySpec)) - set(policy["spec"]) == {"foreignPods", "quota"}


def test_every_field_is_spoken_of() -> None:
    assert [name for name in field_names(TrainingPolicySpec) if name not in TEXT] == []


def test_rights_to_a_blueprint_are_by_a_cluster_role_binding() -> None:
    [role] = [each for each in examples() if each["kind"] == "ClusterRole"]
    [binding] = [each for each in examples() if each["kind"] == "ClusterRoleBinding"]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert role["rules"][0]["verbs"] == ["get", "use"]
