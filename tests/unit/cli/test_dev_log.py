"""What a person reads of a program's log while it is written."""

import json
from pathlib import Path
from typing import Any

import pytest

from footplate.cli import dev_log
from footplate.cli.dev_log import RankLog, shown


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"loss 0.1", "loss 0.1"),
        (b"windows\r", "windows"),
        (b"  1%\r 50%\r100%\r", "100%"),
        (b"  indented  ", "  indented"),
        (b"caf\xc3\xa9 \xff", "café \ufffd"),
        (b"", ""),
        (b'{"event": "mine", "level": "info"}', '{"event": "mine", "level": "info"}'),
        (b"{'loss': 0.3}", "{'loss': 0.3}"),
        (b'{"a":' * 100_000 + b"}", '{"a":' * 100_000 + "}"),
    ],
    ids=range(9),
)
def test_lines(line: bytes, text: str) -> None:
    assert shown(line) == text


def test_the_supervisors_lines_are_read_aloud() -> None:
    place = {"job": "digits", "run": "1", "attempt": "0", "node_rank": "0", "timestamp": "2026-11-29T17:37:45Z"}
    told = {"ranks": [0], "event": "training starts", **place, "level": "info"}
    assert shown(json.dumps(told).encode()) == "training starts  ranks=[0]"
    assert shown(json.dumps({**told, "level": "warning"}).encode()) == "warning: training starts  ranks=[0]"


class Logs:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = RankLog("digits", lambda pod: folder / pod)

    def write(self, pod: str, data: bytes) -> None:
        with (self.folder / pod).open("ab") as file:
            file.write(data)

    def read(self, **status: Any) -> list[str]:
        return list(self.log.read({"run": 1, "attempt": 0, "phase": "Running", **status}))


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path)


def test_each_line_is_read_once_and_whole(logs: Logs) -> None:
    assert list(logs.log.read({})) == []
    logs.write("digits-1-0-0", b"one\n\ntw")
    assert logs.read() == ["one"]
    assert logs.read() == []
    logs.write("digits-1-0-0", b"o\nthr\xc3")
    assert logs.read() == ["two"]
    logs.write("digits-1-0-0", b"\xa9")
    assert logs.read() == []
    assert logs.read(phase="Succeeded") == ["thré"]
    assert logs.read(phase="Succeeded") == []


def test_an_attempt_that_came_and_went_between_two_looks_is_read(logs: Logs) -> None:
    logs.write("digits-1-0-0", b"zero\nlast words")
    assert logs.read() == ["zero"]
    logs.write("digits-1-1-0", b"one")
    logs.write("digits-1-2-0", b"two\n")
    assert logs.read(attempt=2) == ["last words", "one", "two"]
    logs.write("digits-2-0-0", b"anew\n")
    assert logs.read(run=2) == ["anew"]


def test_of_a_flood_the_last_words_are_shown_and_where_the_rest_is(
    logs: Logs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dev_log, "LONGEST_BYTES", 8)
    logs.write("digits-1-0-0", b"begun")
    assert logs.read() == []
    logs.write("digits-1-0-0", b"x" * 1000 + b"56\nabcd\n")
    assert logs.read() == [f"[1,000 bytes are left out here, see {tmp_path / 'digits-1-0-0'}]", "56", "abcd"]
    logs.write("digits-1-0-0", b"no end..")
    assert logs.read() == []
    logs.write("digits-1-0-0", b"!")
    assert logs.read() == ["no end..!"]
