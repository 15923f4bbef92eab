import pytest
from hypothesis import given
from hypothesis import strategies as st

from footplate.text import clean, clean_json, clean_lines


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [
        pytest.param("short", 10, "short", id="short"),
        pytest.param("as it is, ünïcode too", 100, "as it is, ünïcode too", id="plain"),
        pytest.param("0123456789ab", 10, "0123456…", id="too long"),
        pytest.param("ééééé", 9, "ééé…", id="bytes count, and no character is cut in two"),
        pytest.param("a\x00b\x1bc\u202e\ud800", 10, "abc", id="what isn't for reading"),
        pytest.param("a\r\n\n  b\u2028c\x85d\x0be", 100, "a | b | c | d | e", id="every kind of line end"),
        pytest.param("a\tb", 100, "a b", id="columns of a table"),
        pytest.param("", 0, "", id="nothing"),
    ],
)
def test_one_line(text: str, most: int, expected: str) -> None:
    assert clean(text, most=most) == expected


def test_the_end_of_a_text() -> None:
    assert clean("0123456789ab", most=10, tail=True) == "…56789ab"
    assert clean_lines("a\nb\x1b\r\nc") == "a\nb\nc"


@given(text=st.text(), most=st.integers(3, 200), tail=st.booleans())
def test_bytes_are_bounded_and_no_line_is_forged(text: str, most: int, tail: bool) -> None:
    line = clean(text, most=most, tail=tail)
    assert len(line.encode()) <= most
    assert len(line.splitlines()) <= 1
    assert len(clean_lines(text, most=most, tail=tail).encode()) <= most


def test_json_is_made_harmless_where_it_stands() -> None:
    assert clean_json({"a\x00": ["\x07", 1, None, {"b": "\x1b[31m\n"}]}) == {"a": ["", 1, None, {"b": "[31m\n"}]}
