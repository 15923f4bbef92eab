"""What ranks say to each other, in a gang of one; and where rank 0 listens. Larger gangs: tests/integration."""

import logging
import socket

import pytest

from footplate_trainer.errors import DataError, UserError
from footplate_trainer.rank import gang
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
