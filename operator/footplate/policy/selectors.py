"""Whether labels are selected, by Kubernetes' rules. What can't be read of a selector selects: whoever draws a boundary
with a mistake in it has drawn it around all.
"""

from collections.abc import Mapping
from typing import Any

from footplate.objects import Object, block, blocks, text


def selects(selector: Object, labels: Mapping[str, Any]) -> bool:
    """Whether a raw label selector selects an object with these labels; an empty one selects all."""
    wanted = block(selector, "matchLabels")
    if any(labels.get(key) != value for key, value in wanted.items() if isinstance(value, str)):
        return False
    return all(_meets(each, labels) for each in blocks(block(selector), "matchExpressions"))


def _meets(requirement: Object, labels: Mapping[str, Any]) -> bool:
    key, operator, values = text(requirement, "key"), text(requirement, "operator"), requirement.get("values")
    among = values if isinstance(values, list) else []
    if operator == "In":
        return labels.get(key) in among
    if operator == "NotIn":
        return labels.get(key) not in among
    if operator == "Exists":
        return key in labels
    return operator != "DoesNotExist" or key not in labels
