"""A tracker's certificate is judged before anything is shown to whoever is there."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from certificates import Authority
from footplate.contract import StorageEnv
from footplate_trainer.supervisor.tracking.rest import Rest
from footplate_trainer.supervisor.tracking.tracker import TrackerTrouble

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
TOKEN = "Bearer hunter2-hunter2"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "ours")


@contextmanager
def server(pair: tuple[Path, Path], heard: list[bytes]) -> Iterator[int]:
    """Answers once, with this certificate and key, and keeps what it is told after the handshake; its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*pair)

    def serve(listener: socket.socket) -> None:
        with suppress(OSError), context.wrap_socket(listener.accept()[0], server_side=True) as connection:
            heard.append(connection.recv(65_536))
            connection.sendall(ANSWER)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=[listener], daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(30)


def ask(host: str, port: int) -> object:
    return Rest(f"https://{host}:{port}", field="uri", headers=lambda: {"Authorization": TOKEN}).get("/path")


def test_an_authority_of_the_jobs_own_is_trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(StorageEnv.CA_BUNDLE, str(authority.certificate))
    heard: list[bytes] = []
    with server(authority.issue_pair("server"), heard) as port:
        assert ask("127.0.0.1", port) == {}
    assert TOKEN.encode() in heard[0]


@pytest.mark.parametrize(
    ("bundle", "host", "days", "why"),
    [
        pytest.param(False, "127.0.0.1", 1, "unable to get local issuer", id="of an authority that nobody knows"),
        pytest.param(True, "127.0.0.1", 0, "certificate has expired", id="expired"),
        pytest.param(True, "localhost", 1, "Hostname mismatch", id="of another host"),
    ],
)
def test_a_certificate_that_is_wrong_is_shown_nothing(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, bundle: bool, host: str, days: int, why: str
) -> None:
    if bundle:
        monkeypatch.setenv(StorageEnv.CA_BUNDLE, str(authority.certificate))
    heard: list[bytes] = []
    pair = authority.issue_pair(f"server-{days}", days=days)
    with server(pair, heard) as port, pytest.raises(TrackerTrouble) as caught:
        ask(host, port)
    assert "its certificate isn't trusted" in str(caught.value)
    assert why in str(caught.value)
    assert "name its authority in storage.caBundle" in str(caught.value)
    assert b"hunter2" not in b"".join(heard)
