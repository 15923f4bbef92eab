"""How the output of processes gets into the log."""

import asyncio
import io
from collections import deque

import pytest

from footplate_trainer.supervisor import processes


async def logged(*chunks: bytes, pause: float = 0.0) -> tuple[bytes, bytes]:
    """What is in the log before the process ends, and after."""
    source, sink = asyncio.StreamReader(), io.BytesIO()
    pump = asyncio.create_task(processes._pump(source, sink, prefix=b"[rank 1] ", tail=deque(), hear=None))
    for chunk in chunks:
        source.feed_data(chunk)
        await asyncio.sleep(pause)
    await asyncio.sleep(0.01)
    before = sink.getvalue()
    source.feed_eof()
    await pump
    return before, sink.getvalue()


async def test_a_progress_bar_is_in_the_log_while_it_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "REDRAW_SECONDS", 60.0)
    before, after = await logged(b"\r 1%|", b"\r 2%|", b"\r 3%|", pause=0.01)
    assert before == b"[rank 1] \r 1%|\n"
    assert after == b"[rank 1] \r 1%|\n[rank 1]  2%|\r 3%|\n"


async def test_a_progress_bar_is_drawn_at_most_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "REDRAW_SECONDS", 60.0)
    bars = [b"\r%d%%|" % percent for percent in range(50)]
    before, _ = await logged(*bars, pause=0.001)
    assert before.count(b"\n") == 1
    monkeypatch.setattr(processes, "REDRAW_SECONDS", 0.0)
    before, _ = await logged(*bars, pause=0.001)
    assert before.count(b"\n") == 49


async def test_line_ends_of_windows_are_one_line_though_they_come_in_two_pieces() -> None:
    _, after = await logged(b"epoch 1\r", b"\nepoch 2\r\n", pause=0.01)
    assert after == b"[rank 1] epoch 1\r\n[rank 1] epoch 2\r\n"
