from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footplate.machinery.patches import merge_patch

_scalars = st.none() | st.booleans() | st.integers(0, 3) | st.text("ab", max_size=2)
_values = st.recursive(
    _scalars | st.lists(_scalars, max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
documents = st.dictionaries(st.sampled_from("abc"), _values, max_size=3)


def apply_merge_patch(document: Any, patch: Any) -> Any:
    """RFC 7386, word for word."""
    if not isinstance(patch, dict):
        return patch
    result = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = apply_merge_patch(result.get(key), value)
    return result


def without_nulls(document: Any) -> Any:
    if not isinstance(document, dict):
        return document
    return {key: without_nulls(value) for key, value in document.items() if value is not None}


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        pytest.param({"a": 1}, {"a": 1}, {}, id="same"),
        pytest.param({"a": 1}, {"a": 2}, {"a": 2}, id="changed"),
        pytest.param({"a": 1, "b": 2}, {"a": 1}, {"b": None}, id="a key that vanishes"),
        pytest.param({"a": 1}, {"a": 1, "b": None}, {}, id="null is absent"),
        pytest.param({"a": {"x": 1, "y": 2}}, {"a": {"x": 1}}, {"a": {"y": None}}, id="nested"),
        pytest.param({"a": [1, 2]}, {"a": [1]}, {"a": [1]}, id="lists are replaced"),
        pytest.param({"a": 1}, {"a": {"x": 1, "y": None}}, {"a": {"x": 1}}, id="scalar becomes a block"),
        pytest.param({"a": {"x": 1}}, {"a": 1}, {"a": 1}, id="block becomes a scalar"),
    ],
)
def test_the_patch_is_as_small_as_it_can_be(old: Any, new: Any, patch: Any) -> None:
    assert merge_patch(old, new) == patch


@given(documents, documents)
def test_the_patch_makes_the_new_document_of_the_old(old: Any, new: Any) -> None:
    result = apply_merge_patch(without_nulls(old), merge_patch(without_nulls(old), new))
    assert result == without_nulls(new)


@given(documents)
def test_nothing_to_write_when_nothing_changed(document: Any) -> None:
    assert merge_patch(without_nulls(document), document) == {}
