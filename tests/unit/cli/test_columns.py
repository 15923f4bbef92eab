"""Tables as kubectl writes them."""

from footplate.cli.columns import columns, table

HEAD, ROWS = ["NAME", "PHASE", "MESSAGE"], [["digits", "Running", ""], ["b", "Failed", "no [bold]room[/]"]]


def test_columns_are_aligned_and_the_last_is_free() -> None:
    assert list(columns(HEAD, ROWS)) == [
        "NAME     PHASE     MESSAGE",
        "digits   Running",
        "b        Failed    no [bold]room[/]",
    ]


def test_a_head_may_stand_alone() -> None:
    assert list(columns(HEAD, [])) == ["NAME   PHASE   MESSAGE"]


def test_phases_have_colours_and_texts_stay_as_they_are() -> None:
    text = table(HEAD, ROWS)
    assert text.plain.splitlines() == list(columns(HEAD, ROWS))
    assert {str(span.style) for span in text.spans} == {"bold", "green", "bold red"}
