from typing import Any

import pytest

from footplate.policy.selectors import selects

LABELS = {"team": "vision", "tenant": "yes"}


def among(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": [*values]}]}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        pytest.param({}, True, id="all"),
        pytest.param({"matchLabels": {"team": "vision"}}, True, id="label"),
        pytest.param({"matchLabels": {"team": "speech"}}, False, id="another value"),
        pytest.param({"matchLabels": {"team": "vision", "pool": "a"}}, False, id="one of two"),
        pytest.param(among("team", "In", "speech", "vision"), True, id="in"),
        pytest.param(among("pool", "In", "a"), False, id="in, absent"),
        pytest.param(among("team", "NotIn", "vision"), False, id="not in"),
        pytest.param(among("pool", "NotIn", "a"), True, id="not in, absent"),
        pytest.param(among("tenant", "Exists"), True, id="exists"),
        pytest.param(among("pool", "Exists"), False, id="exists, absent"),
        pytest.param(among("tenant", "DoesNotExist"), False, id="doesn't exist"),
        pytest.param(among("pool", "DoesNotExist"), True, id="doesn't exist, absent"),
        pytest.param({"matchLabels": {"team": "vision"}, **among("tenant", "DoesNotExist")}, False, id="both"),
        pytest.param("all", True, id="no selector"),
        pytest.param({"matchLabels": ["team"], "matchExpressions": {"key": "team"}}, True, id="other shapes"),
        pytest.param({"matchExpressions": ["team", None]}, True, id="no requirements"),
        pytest.param(among("team", "Like", "x"), True, id="an operator that nobody knows"),
    ],
)
def test_selects(selector: Any, expected: bool) -> None:
    assert selects(selector, LABELS) is expected
