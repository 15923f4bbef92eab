"""Label and field selectors."""

import pytest

from footplate.devcluster.errors import ApiError
from footplate.devcluster.selectors import select

BODY = {
    "metadata": {"name": "n", "namespace": "s", "labels": {"a": "1", "x/b": "2"}},
    "spec": {"nodeName": "m", "unschedulable": True},
}
FIELDS = ("spec.nodeName", "spec.unschedulable", "status.phase")

SELECTORS = [
    ("", "", True),
    ("a", "", True),
    ("!a", "", False),
    ("! z", "", True),
    ("a=1", "", True),
    ("a == 1", "", True),
    ("a=2", "", False),
    ("a!=2", "", True),
    ("z!=2", "", True),
    ("a=1,x/b=2", "", True),
    ("a=1,x/b=3", "", False),
    ("a in (1, 2)", "", True),
    ("a notin (1,2)", "", False),
    ("z notin (1)", "", True),
    ("z in (1)", "", False),
    ("z=", "", False),
    ("", "metadata.name=n", True),
    ("", "metadata.name!=n", False),
    ("", "metadata.namespace==s,spec.nodeName=m", True),
    ("", "spec.unschedulable=true", True),
    ("", "status.phase=", True),
    ("", "status.phase!=Failed", True),
    ("a=1", "metadata.name=z", False),
]


@pytest.mark.parametrize(("labels", "fields", "chosen"), SELECTORS)
def test_select(labels: str, fields: str, chosen: bool) -> None:
    predicate = select(labels, fields, selectable=FIELDS)
    assert (predicate is None or predicate(BODY)) is chosen


@pytest.mark.parametrize(
    ("labels", "fields"), [("a b", ""), ("a in b", ""), ("a=b=c", ""), ("", "spec.x=1"), ("", "z")]
)
def test_selectors_that_cannot_be_read(labels: str, fields: str) -> None:
    with pytest.raises(ApiError) as refused:
        select(labels, fields, selectable=FIELDS)
    assert refused.value.code == 400
