"""Endpoints of storage that don't answer: who is told what, when, and whose mistake it is."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from certificates import Authority
from footplate.contract import Env, ExitCode, StorageEnv
from footplate_trainer.errors import Denied, NotFound, StorageError, StorageUnavailable, Unreachable, WrongEndpoint
from footplate_trainer.storage import clients, contact
from footplate_trainer.storage import store as storage
from footplate_trainer.storage.store import Store
from tls_proxy import TlsProxy
from trainer_pods import free_port

PATIENCE = 1.5


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", Env.RUN_DIR: str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(storage, "PAUSE_SECONDS", 0.1)


@contextmanager
def speaks(words: bytes) -> Iterator[str]:
    """An address where something else than storage speaks first."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65_536)
                    connection.sendall(words)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


@contextmanager
def answers(status: int, body: str, *, port: int = 0) -> Iterator[str]:
    """A web server that answers every request so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_PUT = do_GET  # noqa: N815 (the name is http.server's)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is http.server's)
            """Quietly."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def ask(endpoint: str) -> tuple[StorageError, list[str]]:
    """How a first call there ends, and what its user hears."""
    notes: list[str] = []
    store = Store.open("s3://models/x", endpoint=endpoint, outage_seconds=PATIENCE)
    with contact.telling(notes.append), pytest.raises(StorageError) as raised:
        store.put("claim", b"", create=True)
    return raised.value, notes


def check(endpoint: str, words: str) -> None:
    error, notes = ask(endpoint)
    assert type(error) is WrongEndpoint
    assert error.exit_code == ExitCode.CONFIG_ERROR
    expected = f"s3://models/x/claim: nobody answers at {endpoint} ({words}), tried for 2 s, and nobody has since this"
    assert str(error).startswith(expected), error
    assert "correct storage.endpoint, or AWS_ENDPOINT_URL in the Secret of storage.secretRef" in str(error)
    assert len(notes) == 1
    assert notes[0].startswith(
        f"storage doesn't answer at {endpoint} ({words}): s3://models/x/claim is tried again until"
    )


def test_nobody_listens() -> None:
    check(f"http://127.0.0.1:{free_port()}", "connection refused")


def test_no_such_host() -> None:
    error, notes = ask("http://minio.nowhere.invalid:9000")
    assert type(error) is WrongEndpoint
    assert "nobody answers at http://minio.nowhere.invalid:9000 (no such host" in str(error)
    assert len(notes) == 1


def test_another_protocol() -> None:
    with speaks(b"SSH-2.0-OpenSSH_9.2\r\n") as address:
        check(f"http://{address}", "what is there doesn't speak HTTP: is it the right port?")


def test_https_of_a_server_without_tls() -> None:
    with speaks(b"HTTP/1.1 400 Bad Request\r\n\r\n") as address:
        check(f"https://{address}", "it doesn't speak TLS: is it http:// ?")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "private")


@contextmanager
def speaks_tls(certificate: Path, key: Path) -> Iterator[str]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    with answers(404, "") as upstream, TlsProxy(upstream, context) as proxy:
        yield proxy.endpoint


def untrusted(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is said of a certificate; it isn't waited for as long as an outage."""
    monkeypatch.setattr(contact, "UNTRUSTED_SECONDS", 1.0)
    notes: list[str] = []
    store = Store.open("s3://certificate/Expired", endpoint=endpoint, outage_seconds=120.0)
    with contact.telling(notes.append), pytest.raises(WrongEndpoint) as raised:
        store.get("x")
    assert "tried for 1 s" in str(raised.value)
    assert "correct storage.endpoint" not in str(raised.value)
    assert "storage.caBundle" in notes[0]
    return str(raised.value)


def test_an_authority_that_isnt_trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with speaks_tls(*authority.issue_pair("server")) as endpoint:
        said = untrusted(endpoint, monkeypatch)
        assert "(its certificate isn't trusted: UnknownIssuer)" in said
        assert "name the certificate of its authority in storage.caBundle: a key of a ConfigMap or Secret" in said
        monkeypatch.setenv(StorageEnv.CA_BUNDLE, str(Authority(tmp_path / "another").certificate))
        assert "storage.caBundle" in untrusted(endpoint, monkeypatch)
        monkeypatch.setenv(StorageEnv.CA_BUNDLE, str(authority.certificate))
        wait_for_an_answer(Store.open("s3://models/x", endpoint=endpoint))


def test_an_authoritys_own_certificate_is_no_servers(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(StorageEnv.CA_BUNDLE, str(authority.certificate))
    with speaks_tls(authority.certificate, authority.folder / "ca.key") as endpoint:
        assert "an authority's own (CA:TRUE), which servers can't use" in untrusted(endpoint, monkeypatch)


def test_a_certificate_of_another_name(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(StorageEnv.CA_BUNDLE, str(authority.certificate))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue_pair("server"))
    monkeypatch.setattr(contact, "UNTRUSTED_SECONDS", 1.0)
    with answers(404, "") as upstream, TlsProxy(upstream, context) as proxy:
        endpoint = proxy.endpoint.replace("127.0.0.1", "localhost")
        with pytest.raises(WrongEndpoint, match=r"write a name that the certificate has into storage.endpoint"):
            Store.open("s3://models/x", endpoint=endpoint, outage_seconds=120.0).get("x")


def test_an_authority_that_comes_later_is_taken_up(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A certificate was exchanged, and the ConfigMap corrected, while a pod runs."""
    mounted = tmp_path / "ca.pem"
    monkeypatch.setenv(StorageEnv.CA_BUNDLE, str(mounted))
    mounted.write_bytes(Authority(tmp_path / "old").certificate.read_bytes())
    with speaks_tls(*authority.issue_pair("server")) as endpoint:
        store = Store.open("s3://models/x", endpoint=endpoint, outage_seconds=60.0)
        mounted.write_bytes(authority.certificate.read_bytes())
        wait_for_an_answer(store)


def test_a_silent_one_is_told_of_before_it_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contact, "PATIENT_SECONDS", 0.2)
    monkeypatch.setattr(clients, "ANSWER_SECONDS", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error, notes = ask(f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert type(error) is WrongEndpoint
    assert "(no answer in time)" in str(error)
    assert "(no answer for 0 s)" in notes[0]


CODE = "<Error><Code>{}</Code><Message>words of the server</Message></Error>"


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        pytest.param(200, "<html>console</html>", Denied, "what answers is no object storage", id="a console"),
        pytest.param(301, CODE.format("PermanentRedirect"), Denied, "storage.endpoint and the region", id="region"),
        pytest.param(400, CODE.format("ExpiredToken"), Denied, "ExpiredToken.*check the keys", id="expired token"),
        pytest.param(403, CODE.format("InvalidAccessKeyId"), Denied, "check the keys", id="wrong key"),
        pytest.param(404, CODE.format("NoSuchBucket"), NotFound, "no such bucket; create it", id="no bucket"),
        pytest.param(501, CODE.format("NotImplemented"), Denied, "can't do what is needed", id="no conditional put"),
        pytest.param(503, CODE.format("SlowDown"), StorageUnavailable, "SlowDown: words of the server", id="an outage"),
    ],
)
def test_whoever_answers_is_there(status: int, body: str, kind: type[StorageError], words: str) -> None:
    with answers(status, body) as endpoint:
        error, notes = ask(endpoint)
    assert type(error) is kind, error
    assert notes == []
    with pytest.raises(kind, match=words):
        raise error


def test_who_has_answered_once_is_the_infrastructures_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with answers(404, CODE.format("NoSuchBucket")) as endpoint:
        ask(endpoint)
    error, notes = ask(endpoint)  # another store, or process, of this pod
    assert type(error) is Unreachable
    assert error.exit_code == ExitCode.PEER_LOST
    assert "connection refused" in notes[0]
    assert "correct" not in notes[0]
    for mark in tmp_path.glob("*.answered"):
        mark.unlink()
    monkeypatch.setenv(Env.ATTEMPT, "1")
    assert type(ask(endpoint)[0]) is Unreachable, "an earlier attempt has been there"


def wait_for_an_answer(store: Store) -> None:
    with pytest.raises(NotFound):
        store.get("x")


def test_the_end_of_an_outage_is_told() -> None:
    notes: list[str] = []
    port = free_port()
    store = Store.open("s3://models/x", endpoint=f"http://127.0.0.1:{port}", outage_seconds=60)
    with contact.telling(notes.append):
        asked = threading.Thread(target=wait_for_an_answer, args=[store])
        asked.start()
        while not notes:
            asked.join(0.05)
        with answers(404, "", port=port):
            asked.join()
    assert notes[1].startswith("storage answers again, after ")
