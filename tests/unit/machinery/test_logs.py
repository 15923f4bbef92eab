from footplate.machinery.logs import clean_texts


def test_a_tenants_text_forges_no_line_and_tracebacks_keep_theirs() -> None:
    event = clean_texts(None, "", {"event": 'x"}\n{"level": "error"', "exception": "a\nb", "n": 1})
    assert event == {"event": 'x"} | {"level": "error"', "exception": "a\nb", "n": 1}
