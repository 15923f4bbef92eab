"""JSON data and what Kubernetes writes in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footplate.devcluster.values import copy_json, item_key, look_up, parse, parse_quantity, quote

QUANTITIES = {
    "1": 1, "500m": 0.5, "1.5Gi": 1.5 * 2**30, "2k": 2000, "1e3": 1000, "-1": -1, ".5": 0.5, "3E": 3e18, "100n": 1e-7,
    "": None, "abc": None, "1 Gi": None, "1gi": None, "Gi": None,
}  # fmt: skip


@pytest.mark.parametrize(("text", "value"), QUANTITIES.items())
def test_quantities(text: str, value: float | None) -> None:
    assert parse_quantity(text) == (None if value is None else pytest.approx(value))


def test_whole_numbers_are_integers_however_written() -> None:
    assert quote(parse("[1.0,2.5,1e2]")) == "[1,2.5,100]"


@pytest.mark.parametrize("text", ["1e400", "-1e400", "1" + 400 * "0", "-1" + 400 * "0"], ids=lambda text: text[:5])
def test_a_number_that_no_double_can_hold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cannot unmarshal number"):
        parse(f'{{"nodes": {text}}}')


def test_half_of_a_surrogate_pair_is_read_as_go_reads_it() -> None:
    """Else no answer that quotes it can be sent."""
    assert parse(rb'{"\ud800": ["a\uDFFFb", "\ud83d\ude00"]}') == {"\ufffd": ["a\ufffdb", "\U0001f600"]}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_what_is_written_is_read_again(value: object) -> None:
    assert parse(quote(value)) == copy_json(value) == value


def test_keys_are_written_in_order() -> None:
    assert item_key({"protocol": "TCP", "port": 80, "x": 1}, ("protocol", "port")) == '{"port":80,"protocol":"TCP"}'


def test_look_up() -> None:
    assert look_up({"a": {"b": 1}}, "a.b") == 1
    assert look_up({"a": [1]}, "a.b") is None
