"""Requests to servers that are away, slow, wrong or hostile end soon, with words that say what is wrong."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from footplate_trainer.supervisor.tracking import rest
from footplate_trainer.supervisor.tracking.rest import Refused, Rest
from footplate_trainer.supervisor.tracking.tracker import TrackerTrouble
from trainer_pods import free_port

Answer = Callable[[socket.socket], None]


@contextmanager
def server(answer: Answer) -> Iterator[str]:
    """One that answers every connection so, once it has heard something."""

    def serve(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.recv(65_536)
            answer(connection)

    def listen() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=[connection], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=listen, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def says(status: str, body: bytes = b"", *headers: str) -> Answer:
    head = "".join(f"{header}\r\n" for header in (f"Content-Length: {len(body)}", "Connection: close", *headers))
    return lambda connection: connection.sendall(f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body)


def drips(connection: socket.socket) -> None:
    """A byte now and then, for ever: each is in time."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        connection.sendall(b"x")
        time.sleep(0.02)


def floods(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"[" * 65_536)


def resets(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def ask(uri: str) -> TrackerTrouble:
    """How a request fails."""
    with pytest.raises(TrackerTrouble) as caught:
        Rest(uri, field="spec.tracking.mlflow.uri", headers=dict).get("/path", name="value")
    return caught.value


def test_an_answer() -> None:
    with server(says("200 OK", b'{"a": [1]}')) as uri:
        assert Rest(uri, field="", headers=dict).post("/path", said=1) == {"a": [1]}


HOSTILE = [
    pytest.param(resets, "doesn't answer", id="resets"),
    pytest.param(lambda connection: None, "doesn't answer: what it says is no HTTP", id="closes"),
    pytest.param(lambda connection: connection.sendall(b"\0" * 100), "is no HTTP", id="no HTTP"),
    pytest.param(floods, "answers with more than 2 MiB", id="floods"),
    pytest.param(says("200 OK", b" " * (10 << 20)), "answers with more than 2 MiB", id="10 MB"),
    pytest.param(
        says("200 OK", b"<html>login</html>"), "HTTP 200 and no JSON; check spec.tracking.mlflow.uri", id="HTML"
    ),
    pytest.param(says("404 Not Found", b"<html>"), "HTTP 404 and no JSON", id="another server"),
    pytest.param(says("200 OK", b"[" * 100_000), "no JSON", id="deep JSON"),
    pytest.param(says("200 OK", b"[1]"), "no JSON", id="a list"),
    pytest.param(says("200 OK", b"\xff\xfe"), "no JSON", id="no text"),
    pytest.param(says("500 Oops", b"Traceback:\n\x1b[31m" + b"x" * 9999), "HTTP 500: Traceback: [31mxxx", id="500"),
    pytest.param(says("403 No", b'{"error_code": [], "message": {}}'), "HTTP 403: {", id="odd errors"),
    pytest.param(says("200 OK", b"{}", "X: " + "y" * 70_000), "is no HTTP", id="long header"),
]


@pytest.mark.parametrize(("answer", "words"), HOSTILE)
def test_a_hostile_server(answer: Answer, words: str) -> None:
    with server(answer) as uri:
        said = str(ask(uri))
    assert words in said
    assert len(said) < 500
    assert said.isprintable()


def test_a_redirect_is_not_followed() -> None:
    heard: list[bytes] = []
    with server(lambda connection: heard.append(b"there")) as elsewhere:
        for status in ("301 Moved", "302 Found", "307 There", "308 There"):
            with server(says(status, b"", f"Location: {elsewhere}/path")) as uri:
                trouble = ask(uri)
            assert isinstance(trouble, Refused)
            assert "answers with a redirect, which isn't followed" in str(trouble)
    assert heard == []


def test_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "SILENCE_SECONDS", 0.1)
    with server(lambda connection: time.sleep(60)) as uri:
        assert "doesn't answer: nothing for" in str(ask(uri))


def test_a_request_ends_however_much_is_said_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "REQUEST_SECONDS", 0.2)
    with server(drips) as uri:
        assert uri in str(ask(uri))


def test_nobody_there() -> None:
    assert "Connection refused" in str(ask(f"http://127.0.0.1:{free_port()}"))
    assert "doesn't answer" in str(ask("http://no-such-host.invalid"))


@pytest.mark.parametrize("uri", ["http://[::1", "http://host:99999", "http://host:port"])
def test_an_address_that_is_none(uri: str) -> None:
    assert "correct spec.tracking.mlflow.uri" in str(ask(uri))


@pytest.mark.parametrize("token", ["one\r\ntwo: secret", "schlüssel€"])
def test_credentials_that_fit_no_header_are_not_told(token: str) -> None:
    with server(says("200 OK", b"{}")) as uri, pytest.raises(TrackerTrouble) as caught:
        Rest(uri, field="", headers=lambda: {"Authorization": f"Bearer {token}"}).get("/")
    assert "plain text in one line" in str(caught.value)
    assert token not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_path_of_the_server_is_kept() -> None:
    heard: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        says("200 OK", b"{}")(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def listen() -> None:
            connection, _ = listener.accept()
            with connection:
                heard.append(connection.recv(65_536))
                answer(connection)

        thread = threading.Thread(target=listen)
        thread.start()
        Rest(f"http://127.0.0.1:{listener.getsockname()[1]}/base/", field="", headers=dict).get("/api", a="b c")
        thread.join()
    assert heard[0].startswith(b"GET /base/api?a=b+c HTTP/1.1\r\n")


def test_certificates_of_nobody_known_are_refused(tmp_path: Path) -> None:
    with server(says("200 OK", b"{}")) as uri:
        assert "doesn't answer" in str(ask(uri.replace("http:", "https:")))
