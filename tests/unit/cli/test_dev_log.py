"""What a person reads of a program's log while it is written."""

import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue

import pytest

from footplate.cli import dev_log
from footplate.cli.dev_log import LogTail, with_missed
from footplate.client import ClientError, LogLine
from footplate.client.logs import GONE


def lines_of(*texts: str) -> Iterator[LogLine]:
    return (LogLine(0, 0, text) for text in texts)


def test_each_line_is_shown_once_and_all_at_the_end() -> None:
    written: Queue[str | None] = Queue()
    tail = LogTail(LogLine(0, 0, text) for text in iter(written.get, None))
    assert [*tail.read({})] == []
    for text in ("one", "", "two"):
        written.put(text)
    shown: list[str] = []
    while len(shown) < 2:
        shown += tail.read({"phase": "Running"})
    assert shown == ["one", "two"]
    threading.Timer(0.1, lambda: [written.put("three"), written.put(None)]).start()
    assert [*tail.read({"phase": "Succeeded"})] == ["three"]
    assert [*tail.read({"phase": "Succeeded"})] == []


def test_of_a_flood_the_last_words_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev_log, "MOST_LINES", 3)
    tail = LogTail(lines_of(*"abcde"))
    assert [*tail.read({"phase": "Failed"})] == ["[2 lines are left out here]", "c", "d", "e"]


def test_a_log_that_ends_by_an_error_says_so() -> None:
    def broken() -> Iterator[LogLine]:
        yield LogLine(0, 0, "one")
        raise ClientError("it was deleted")

    assert [*LogTail(broken()).read({"phase": "Failed"})] == ["one", "[it was deleted]"]


def test_a_pod_that_was_gone_at_once_is_read_where_its_node_kept_it(tmp_path: Path) -> None:
    (tmp_path / "0").write_bytes(b"first words\nlast words")
    lines = [LogLine(0, attempt, GONE) for attempt in (0, 1)]
    assert [line.text for line in with_missed(lines, lambda attempt: tmp_path / str(attempt))] == [
        "first words",
        "last words",
    ]
