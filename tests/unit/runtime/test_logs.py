import pytest

from footplate.runtime.logs import MAX_TEXT, clean_text, clean_texts


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        pytest.param("as it is, ünïcode too", "as it is, ünïcode too", id="plain"),
        pytest.param('x"}\n{"level": "error"', 'x"} {"level": "error"', id="a forged line"),
        pytest.param("\x1b[31mred\x00", " [31mred ", id="terminal codes"),
        pytest.param("x" * 5000, "x" * MAX_TEXT + "…", id="a flood"),
    ],
)
def test_a_tenants_text_is_one_line_with_an_end(text: str, clean: str) -> None:
    assert clean_text(text) == clean


def test_tracebacks_keep_their_lines() -> None:
    event = clean_texts(None, "", {"event": "a\nb", "exception": "a\nb", "n": 1})
    assert event == {"event": "a b", "exception": "a\nb", "n": 1}
