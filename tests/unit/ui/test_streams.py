"""What is live: the board that all pages read, and logs as they grow."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator

from footplate.client import ClusterUnreachable, Job, LogLine, LogsNotFound, NotAllowed
from footplate.client.loop import EventLoop
from footplate.machinery.resources import TRAINING_JOBS
from footplate.ui.board import Board
from footplate.ui.log_stream import MAX_LINE, log_events
from footplate.ui.streams import encode
from page_jobs import ToldClient, job


def eventually(test: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not test():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def board_of(client: ToldClient) -> Board:
    board = Board(client, namespace=None)  # type: ignore[arg-type]
    board.start()
    return board


def test_the_board_follows_what_happens() -> None:
    client = ToldClient(job("a"))
    board = board_of(client)
    assert [each.name for each in board.jobs()] == ["a"]
    client.put(job("b"))
    eventually(lambda: board.get("team", "b") is not None)
    client.delete("team", "a")
    eventually(lambda: board.get("team", "a") is None)
    assert board.trouble is None
    board.stop()


def test_what_was_deleted_in_an_outage_goes_and_the_trouble_with_it() -> None:
    client = ToldClient(job("a"), job("b"))
    board = board_of(client)
    client.trouble = ClusterUnreachable("no answer")
    client.delete("team", "a")
    eventually(lambda: board.trouble == "no answer")
    assert board.get("team", "b") is not None
    client.trouble = None
    eventually(lambda: board.trouble is None and board.get("team", "a") is None)
    assert [each.name for each in board.jobs()] == ["b"]
    board.stop()


class Limited(ToldClient):
    """A client of a user who may see one namespace."""

    def list(self, *, namespace: str | None = None, all_namespaces: bool = False) -> list[Job]:
        if all_namespaces:
            raise NotAllowed("list", TRAINING_JOBS, namespace="", said="")
        return [each for each in super().list() if each.namespace == namespace]


def test_who_may_not_see_all_sees_his_own() -> None:
    board = board_of(Limited(job("mine", "team"), job("other", "another")))
    assert (board.namespace, board.trouble) == ("team", None)
    assert board.get("team", "mine") is not None
    board.stop()


async def read(open_log: Callable[[], Iterator[LogLine]]) -> tuple[list[dict[str, object]], str]:
    lines: list[dict[str, object]] = []
    ending = ""
    async for event in log_events(open_log):
        name, _, data = event.partition("\n")
        said = json.loads(data.removeprefix("data: "))
        if name == "event: lines":
            lines += said
        else:
            ending = said
    return lines, ending


async def test_log_lines_come_bounded_and_in_order() -> None:
    written = [LogLine(0, 1, "first"), LogLine(2, 1, "x" * 1_000_000), *(LogLine(0, 1, f"{n}") for n in range(5_000))]
    lines, ending = await read(lambda: iter(written))
    assert lines[0] == {"rank": 0, "attempt": 1, "text": "first"}
    assert str(lines[1]["text"]).endswith("[1,000,000 characters]")
    assert len(str(lines[1]["text"])) < MAX_LINE + 50
    assert [each["text"] for each in lines[2:]] == [f"{n}" for n in range(5_000)]
    assert ending == "That is all."


async def test_a_log_that_fails_says_why() -> None:
    def broken() -> Iterator[LogLine]:
        yield LogLine(0, 0, "so far")
        raise LogsNotFound("the pod is gone")

    lines, ending = await read(broken)
    assert (len(lines), ending) == (1, "the pod is gone")


async def test_a_reader_that_leaves_ends_the_log() -> None:
    ended = threading.Event()

    def endless() -> Iterator[LogLine]:
        try:
            while True:
                yield LogLine(0, 0, "more")
        finally:
            ended.set()

    events = log_events(endless)
    await anext(events)
    await events.aclose()
    eventually(ended.is_set)


def test_events_keep_their_lines() -> None:
    assert encode("a\r\nb\rc", event="x") == "event: x\ndata: a\ndata: b\ndata: c\n\n"


def test_the_log_of_a_job_that_says_nothing_is_let_go_of_with_its_page() -> None:
    loop, ended = EventLoop(), threading.Event()

    async def silent() -> AsyncGenerator[list[LogLine]]:
        try:
            await asyncio.sleep(3600)
            yield []
        finally:
            ended.set()

    async def leave() -> None:
        events = log_events(lambda: loop.iterate(silent()))
        waiting = asyncio.create_task(anext(events))
        await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    before = threading.active_count()
    asyncio.run(leave())
    assert ended.wait(5), "the request for the log goes on"
    eventually(lambda: threading.active_count() <= before)
