"""What strangers write can be shown: no terminal obeys it, and it has an end."""

import json

import pytest

from footplate.client.log_lines import LineSplitter, read_aloud
from footplate.client.untrusted import MAX_LINE, plain, plain_line, plain_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]52;c;ZXZpbA==\x1b\\after", "after"),
        ("\x9b2Jc1", "c1"),
        ("\x1bPq#0\x1b\\sixel", "sixel"),
        ("\x1b]8;;http://evil\x07link\x1b]8;;\x07", "link"),
        ("\x1bcreset", "reset"),
        ("half \x1b[", "half"),
        ("half \x1b]0;never ends", "half"),
        ("bell\x07 back\x08 nul\x00", "bell back nul"),
        ("a\nforged line", "a | forged line"),
        ("\u202egnp.exe", "gnp.exe"),
        ("café 😀", "café 😀"),
    ],
    ids=range(13),
)
def test_a_text_in_one_line(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_texts_have_an_end() -> None:
    assert len(plain("x" * 10_000_000).encode()) <= 1024
    assert plain_lines("\x1b[1m" * 100_000 + "the end", most=100).endswith("the end")
    assert plain("\x1b[1m" * 1_000_000) == ""


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"loss 0.1", "loss 0.1"),
        (b"windows\r", "windows"),
        (b"  1%\r 50%\r100%\r", "100%"),
        (b"  indented  ", "  indented"),
        (b"a\tb", "a\tb"),
        (b"caf\xc3\xa9 \xff", "café \ufffd"),
        (b"", ""),
        (bytes(set(range(256)) - {10}), plain_line(bytes(set(range(256)) - {10}))),
    ],
    ids=range(8),
)
def test_lines(line: bytes, text: str) -> None:
    assert plain_line(line) == text
    assert [*LineSplitter().feed(line + b"\n")] == [text]
    assert not any(char in text for char in "\x1b\x07\x00\x9b\n")


def test_pieces_become_lines_wherever_they_are_cut() -> None:
    log = "one\n\ntwo é\n 1%\r 99%\rthree\nlast".encode()
    for size in range(1, len(log) + 1):
        splitter = LineSplitter()
        pieces = [log[at : at + size] for at in range(0, len(log), size)]
        lines = [line for piece in pieces for line in splitter.feed(piece)]
        assert [*lines, *splitter.end()] == ["one", "", "two é", "three", "last"]


def test_a_line_of_any_length_is_held_in_part() -> None:
    splitter = LineSplitter()
    assert [line for _ in range(160) for line in splitter.feed(b"x" * 65_536)] == []
    assert len(splitter._begun) <= 4 * MAX_LINE
    [line, after] = [*splitter.feed(b"end\nnext\n")]
    assert line.startswith("x" * MAX_LINE)
    assert line.endswith(f"… [{160 * 65_536 + 3 - MAX_LINE:,} more characters]")
    assert after == "next"


def test_a_progress_bar_without_an_end_keeps_its_last_state() -> None:
    splitter = LineSplitter()
    assert [line for n in range(100_000) for line in splitter.feed(b"\r%d%% of it" % n)] == []
    assert [*splitter.feed(b"\n")] == ["99999% of it"]


def test_the_supervisors_lines_are_read_aloud() -> None:
    place = {"job": "digits", "run": "1", "attempt": "0", "node_rank": "0", "timestamp": "2026-11-29T17:37:45Z"}
    told = {"ranks": [0], "event": "training starts", **place, "level": "info"}
    assert read_aloud(json.dumps(told)) == "training starts  ranks=[0]"
    assert read_aloud(json.dumps({**told, "level": "warning"})) == "warning: training starts  ranks=[0]"
    evil = json.dumps({**told, "event": "\x1b[2J\nforged"})
    assert read_aloud(evil) == "forged  ranks=[0]"
    for other in ('{"event": "mine", "level": "info"}', "{'loss': 0.3}", '{"a":' * 2_000 + "}", "[1]"):
        assert read_aloud(other) == other
