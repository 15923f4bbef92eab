"""What judges replicas finds what it should: schedules, the record of writes, and a network that delivers late."""

import asyncio
import socket
import struct
from typing import Any

import pytest

from failover.judge import Record, Sent, Tenure
from failover.schedule import KINDS, LASTING, Kind, Whom, draw
from failover.wire import Wire
from gateway import Write

SEEDS = range(100)
LEASE = "/apis/coordination.k8s.io/v1/namespaces/ns/leases/op"
POD = "/api/v1/namespaces/ns/pods"


def test_a_seed_is_a_schedule() -> None:
    assert [draw(seed) for seed in SEEDS] == [draw(seed) for seed in SEEDS]
    assert len({draw(seed).strikes for seed in SEEDS}) == len(SEEDS)
    assert {draw(seed).replicas for seed in SEEDS} == {2, 3}


def test_a_row_of_seeds_brings_each_kind_upon_a_leader() -> None:
    firsts = [draw(seed).strikes[0] for seed in range(len(KINDS))]
    assert {strike.kind for strike in firsts} == set(KINDS)
    assert all(strike.whom is Whom.LEADER for strike in firsts if strike.kind is not Kind.UPGRADED)
    assert all(strike.seconds > 10 for strike in firsts if strike.kind in LASTING), "longer than a lease"


class Log:
    """Writes, one second each."""

    def __init__(self) -> None:
        self.record = Record()
        self.version = 0

    def write(self, process: str, at: float, path: str = POD, *, seconds: float = 1.0, code: int = 201) -> None:
        self.record.sent.append(Sent(process, Write(at, at + seconds, "POST", path, {}, code, {})))

    def lease(self, process: str, at: float, *, holder: str | None = None) -> None:
        self.version += 1
        identity = f"{process if holder is None else holder}_random" if holder != "" else ""
        answer: dict[str, Any] = {
            "metadata": {"resourceVersion": str(self.version)},
            "spec": {"holderIdentity": identity},
        }
        self.record.sent.append(Sent(process, Write(at, at + 0.1, "PUT", LEASE, {}, 200, answer)))


@pytest.fixture
def log() -> Log:
    """`a` leads from 1 to 10, gives the lease back, and `b` takes it at 12."""
    log = Log()
    log.lease("a", 1)
    log.lease("a", 5)
    log.lease("a", 10, holder="")
    log.lease("b", 12)
    return log


def test_who_held_the_lease_when(log: Log) -> None:
    assert log.record.tenures() == [Tenure("a", 1, 10), Tenure("b", 12, float("inf"))]
    assert log.record.holder() == "b"


@pytest.mark.parametrize(
    ("process", "at", "lawful"),
    [
        pytest.param("a", 2, True, id="while it leads"),
        pytest.param("b", 13, True, id="while the other leads"),
        pytest.param("a", 0, False, id="before it does"),
        pytest.param("a", 9.5, False, id="still under way when it gives the lease back"),
        pytest.param("a", 10.5, False, id="after that"),
        pytest.param("a", 13, False, id="while another leads"),
        pytest.param("c", 2, False, id="who never led"),
    ],
)
def test_a_write_without_the_lease_is_found(log: Log, process: str, at: float, lawful: bool) -> None:
    log.write(process, at)
    assert (log.record.outside() == []) is lawful


def test_the_next_action_is_another_s_and_of_use(log: Log) -> None:
    log.write("a", 2)
    log.write("b", 12.5, "/apis/events.k8s.io/v1/namespaces/ns/events")
    log.write("b", 12.6, code=409)
    log.write("b", 14)
    assert log.record.next_action(after=1, but="a") == 15


class Server:
    """Remembers what arrives."""

    def __init__(self) -> None:
        self.heard = bytearray()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(1000):
                self.heard += chunk
        finally:
            writer.transport.abort()


@pytest.mark.parametrize(
    ("linger", "arrives"), [pytest.param(False, True, id="closed"), pytest.param(True, False, id="reset")]
)
async def test_a_network_that_is_mended_delivers_what_was_closed_and_not_what_was_reset(
    linger: bool, arrives: bool
) -> None:
    server = Server()
    listening = await asyncio.start_server(server, "127.0.0.1", 0)
    async with listening, Wire(listening.sockets[0].getsockname()[1]) as wire:
        _, writer = await asyncio.open_connection("127.0.0.1", wire.port)
        writer.write(b"before")
        await _until(lambda: bytes(server.heard) == b"before")
        wire.cut()
        writer.write(b" after")
        await writer.drain()
        if linger:
            raw: socket.socket = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()
        await asyncio.sleep(0.1)
        assert bytes(server.heard) == b"before"
        wire.mend()
        _, other = await asyncio.open_connection("127.0.0.1", wire.port)
        other.write(b"!")
        await _until(lambda: b"!" in server.heard)
        assert (b" after" in server.heard) is arrives
        other.close()


async def _until(holds: Any) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
