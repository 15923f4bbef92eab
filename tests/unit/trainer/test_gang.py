"""What ranks say to each other, in a gang of one; and where rank 0 listens. Larger gangs: tests/integration."""

import dataclasses
import logging
import socket
from collections.abc import Callable
from typing import NoReturn

import pytest
import torch
import torch.distributed as dist

from footplate_trainer.errors import BrokenDevice, DataError, PeerLost, UserError
from footplate_trainer.rank import gang
from footplate_trainer.rank.environment import Context, read_context
from footplate_trainer.rank.gang import Gang


@pytest.fixture
def alone() -> Gang:
    return Gang(0, 1, None)


def test_alone_everything_is_agreed_on(alone: Gang) -> None:
    assert alone.maximum([3, -1]) == [3, -1]
    assert alone.gather("word") == ["word"]
    assert alone.together(lambda: 5) == [5]
    assert alone.from_main(lambda: 5) == 5


@pytest.mark.parametrize(
    ("raised", "seen"),
    [
        pytest.param(DataError("damaged"), DataError, id="ours, as it is"),
        pytest.param(OSError(28, "No space left on device"), OSError, id="the system's, as it is"),
        pytest.param(ZeroDivisionError("division by zero"), UserError, id="others, in words"),
    ],
)
def test_a_failure_is_everybodys(alone: Gang, raised: Exception, seen: type[Exception]) -> None:
    def fail() -> None:
        raise raised

    with pytest.raises(seen, match=str(raised.args[-1])):
        alone.together(fail)


def test_rank_0_listens_on_its_own_address_alone() -> None:
    listener = gang._listen("127.0.0.1", 0, backlog=2)
    assert listener is not None
    with listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_behind_another_address_it_listens_on_all_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert gang._listen("192.0.2.1", 20_000, backlog=2) is None
    assert "listens on all addresses" in caplog.text


def test_two_cant_listen_at_one_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert gang._listen("127.0.0.1", taken.getsockname()[1], backlog=2) is None


class Unbuildable(OSError):
    """Other ranks can't build it anew from what travels."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


class Unsendable(DataError):
    def __reduce__(self) -> NoReturn:
        raise TypeError("not to be sent")


class Unspeakable(Exception):
    def __str__(self) -> NoReturn:
        raise RuntimeError("no words for it")


@pytest.mark.parametrize("raised", [Unbuildable(1, 2), Unsendable("damaged"), Unspeakable()], ids=repr)
def test_a_failure_that_cant_travel_is_everybodys_in_words(alone: Gang, raised: Exception) -> None:
    def fail() -> None:
        raise raised

    with pytest.raises(UserError, match=type(raised).__name__):
        alone.together(fail)


def in_native_code(text: str) -> Callable[..., object]:
    """Raises as native code does: from a call, not from a `raise` in Python."""

    def fail(*_: object, **__: object) -> object:
        return (_ for _ in ()).throw(RuntimeError(text))

    return fail


@pytest.fixture
def second_of_two(monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "20001")
    monkeypatch.setattr(gang, "_open_store", lambda *_, **__: dist.HashStore())
    monkeypatch.setattr(gang, "_wait_for_all", lambda *_: None)
    return read_context({"RANK": "1", "WORLD_SIZE": "2"})


@pytest.mark.parametrize(
    ("raised", "seen"),
    [
        pytest.param(dist.DistNetworkError("the client socket has timed out"), PeerLost, id="the network's"),
        pytest.param(dist.DistStoreError("wait timeout after 1000ms"), PeerLost, id="the rendezvous'"),
        pytest.param(dist.DistNetworkError("EADDRINUSE"), PeerLost, id="a port that the next attempt won't have"),
        pytest.param(socket.gaierror(-2, "Name or service not known"), PeerLost, id="a name's"),
        pytest.param(RuntimeError("trying to initialize the default process group twice!"), RuntimeError, id="a bug"),
        pytest.param(RuntimeError("Distributed package doesn't have NCCL built in"), RuntimeError, id="an image's"),
        pytest.param(
            dist.DistBackendError("NCCL error: invalid usage, Duplicate GPU detected: ncclInvalidUsage"),
            dist.DistBackendError,
            id="two ranks on one device",
        ),
    ],
)
def test_what_keeps_a_rank_from_joining_is_told_by_its_class(
    second_of_two: Context, monkeypatch: pytest.MonkeyPatch, raised: Exception, seen: type[Exception]
) -> None:
    def fail(**_: object) -> NoReturn:
        raise raised

    monkeypatch.setattr(dist, "init_process_group", fail)
    with pytest.raises(seen) as told:
        gang.join(second_of_two)
    assert type(told.value) is seen


def test_a_device_that_cant_be_used_is_the_nodes(second_of_two: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "set_device", in_native_code("CUDA error: invalid device ordinal"))
    place = dataclasses.replace(second_of_two, device=torch.device("cuda", 1))
    with pytest.raises(BrokenDevice, match="cuda:1 can't be used, of 0 devices"):
        gang.join(place)
