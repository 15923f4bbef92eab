"""storage.caBundle: what can be used, what is said of the rest, and who trusts it."""

import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import CGIHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from certificates import Authority
from footplate.api.blocks import CaBundle, Storage
from footplate.api.trainer import GitSource, Source
from footplate.contract import StorageEnv
from footplate_trainer.errors import ConfigError, WrongEndpoint
from footplate_trainer.storage import contact
from footplate_trainer.storage.authorities import check_authorities
from footplate_trainer.storage.store import Store
from footplate_trainer.supervisor import source
from footplate_trainer.supervisor.source import fetch_source

REFERENCE = {"name": "company", "key": "ca.crt"}
CONFIG_MAP = Storage(ca_bundle=CaBundle.model_validate({"configMapKeyRef": REFERENCE}))
SECRET = Storage(ca_bundle=CaBundle.model_validate({"secretKeyRef": REFERENCE}))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca") / "private")


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the operator mounts it."""
    path = tmp_path / "ca.pem"
    monkeypatch.setenv(StorageEnv.CA_BUNDLE, str(path))
    return path


def test_none_is_none() -> None:
    check_authorities(Storage())


def test_one_or_more_are_taken(
    authority: Authority, mounted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    for bundle in (
        authority.certificate.read_bytes(),
        b"# ours\n" + authority.certificate.read_bytes() + Authority(tmp_path / "b").certificate.read_bytes(),
        authority.certificate.read_bytes().replace(b"\n", b"\r\n"),
        "# Főtanúsítvány\n".encode() + authority.certificate.read_bytes(),
        b"\xef\xbb\xbf" + authority.certificate.read_bytes(),
    ):
        mounted.write_bytes(bundle)
        check_authorities(CONFIG_MAP)
        Store.open("s3://models/x", outage_seconds=0.0)


@pytest.mark.parametrize(
    ("storage", "words"),
    [
        pytest.param(CONFIG_MAP, "kubectl create configmap company --from-file=ca.crt=ca.crt", id="ConfigMap"),
        pytest.param(SECRET, "kubectl create secret generic company --from-file=ca.crt=ca.crt", id="Secret"),
    ],
)
def test_a_missing_one_is_named(mounted: Path, storage: Storage, words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check_authorities(storage)
    assert str(raised.value).startswith("storage.caBundle: key 'ca.crt' of ")
    assert "'company' isn't in the job's namespace" in str(raised.value)
    assert words in str(raised.value)


def der(certificate: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(certificate.read_text())


def test_what_is_no_certificate_is_refused(authority: Authority, mounted: Path) -> None:
    whole = authority.certificate.read_bytes()
    for content, words in (
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"hello", "holds none"),
        ((authority.folder / "ca.key").read_bytes(), "holds a private key"),
        (der(authority.certificate), "is DER"),
        (whole.replace(b"MII", b"MI!", 1), "can't be read"),
        (whole[: len(whole) // 2], "can't be read"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "can't be read"),
        (whole + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "can't be read"),
    ):
        mounted.write_bytes(content)
        with pytest.raises(ConfigError, match=r"^storage.caBundle: key 'ca.crt' of .* must hold .* in PEM") as raised:
            check_authorities(CONFIG_MAP)
        assert words in str(raised.value), content


@contextmanager
def git_server(root: Path, authority: Authority) -> Iterator[str]:
    """A repository `code.git` over https, as git's own server program serves it."""
    work = root / "work"
    for command in (
        ["git", "init", "--quiet", "--initial-branch=main", str(work)],
        ["git", "-C", str(work), "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty",
         "-m", "x"],
        ["git", "clone", "--quiet", "--bare", str(work), str(root / "code.git")],
    ):  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
    programs = subprocess.run(["git", "--exec-path"], check=True, capture_output=True, text=True).stdout.strip()
    (root / "cgi-bin").mkdir()
    script = root / "cgi-bin/git"
    script.write_text(f'#!/bin/sh\nGIT_HTTP_EXPORT_ALL=1 GIT_PROJECT_ROOT={root} exec "{programs}/git-http-backend"\n')
    script.chmod(0o755)

    class Handler(CGIHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            return str(root / path.partition("?")[0].lstrip("/"))

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is http.server's)
            """Quietly."""

        def finish(self) -> None:
            super().finish()
            with suppress(OSError):
                self.connection.unwrap()  # type: ignore[attr-defined]  # git wants TLS to end by the book

        have_fork = False

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = authority.issue().wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who doesn't trust us hangs up
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_port}/cgi-bin/git/code.git"
        server.shutdown()


def test_git_trusts_it_too(
    authority: Authority, mounted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contact, "UNTRUSTED_SECONDS", 0.0)
    monkeypatch.setattr(source, "GIT_PAUSE_SECONDS", 0.0)

    def fetch(url: str) -> str | None:
        code = Source(git=GitSource(url=url, ref="main"))
        return fetch_source(code, config_map_dir=None, work_dir=tmp_path / "pod", endpoint=None).commit

    with git_server(tmp_path, authority) as url:
        with pytest.raises(WrongEndpoint, match=r"name the certificate of its authority in storage.caBundle"):
            fetch(url)
        mounted.write_bytes(authority.certificate.read_bytes())
        assert fetch(url)
    bundle = (tmp_path / "pod/authorities.pem").read_bytes()
    assert bundle.endswith(authority.certificate.read_bytes())


def test_public_authorities_stay_in_what_git_gets(
    authority: Authority, mounted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = Authority(tmp_path / "public")
    monkeypatch.setenv("SSL_CERT_FILE", str(public.certificate))
    monkeypatch.delenv("GIT_SSL_CAINFO", raising=False)
    with git_server(tmp_path, public) as url:
        mounted.write_bytes(authority.certificate.read_bytes())
        code = Source(git=GitSource(url=url, ref="main"))
        assert fetch_source(code, config_map_dir=None, work_dir=tmp_path / "pod", endpoint=None).commit
