"""The door to object storage, on folders; `integration/test_storage.py` asks the same of a real S3 server."""

import hashlib
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from obstore.exceptions import PermissionDeniedError

from footplate.contract import ExitCode, StorageEnv
from footplate_trainer.errors import Denied, Exists, NotFound, StorageError, StorageUnavailable, WrongEndpoint
from footplate_trainer.storage import store as storage
from footplate_trainer.storage.credentials import CREDENTIAL_NAMES
from footplate_trainer.storage.errors import ClockSkew, translate
from footplate_trainer.storage.settings import check_settings
from footplate_trainer.storage.store import ObjectInfo, Store, split_uri

KEY = "a b/é#1?%41~.txt"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(f"file://{tmp_path}/bucket/folder/")


def test_what_is_put_is_there(store: Store) -> None:
    store.put(KEY, b"hello")
    assert store.get(KEY) == b"hello"
    assert b"".join(store.stream(store.head(KEY), start=1)) == b"ello"
    assert (store.head(KEY).key, store.head(KEY).size) == (KEY, 5)
    assert [item.key for item in store.list()] == [KEY]
    assert [item.key for item in store.list("a b")] == [KEY]
    assert list(store.list("a")) == []
    assert store.sha256(KEY) == hashlib.sha256(b"hello").hexdigest()


def test_a_conditional_put_never_overwrites(store: Store) -> None:
    store.put(KEY, b"first", create=True)
    with pytest.raises(Exists, match="exists already"):
        store.put(KEY, b"second", create=True)
    assert store.get(KEY) == b"first"


def test_what_is_not_there_says_so(store: Store) -> None:
    for ask in (store.head, store.get, store.sha256):
        with pytest.raises(NotFound, match=r"folder/nope does not exist; correct the URI"):
            ask("nope")
    store.delete(["nope"])
    assert list(store.list()) == []


def test_deleted_objects_are_gone(store: Store) -> None:
    for key in ("x", "y", "z"):
        store.put(key, b"")
    store.delete(["x", "y"])
    assert [item.key for item in store.list()] == ["z"]


def test_a_body_that_was_cut_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a proxy that tells a length of its own."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"01234567" if asked else b"0123"
            asked.append(self.headers["Range"])
            self.send_response(206)
            for name, value in (
                ("Content-Length", str(len(body))),
                ("Content-Range", "bytes 0-7/8"),
                ("ETag", '"e"'),
                ("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT"),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setattr(storage, "PAUSE_SECONDS", 0.01)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        store = Store.open("s3://b/folder", endpoint=f"http://127.0.0.1:{server.server_port}", outage_seconds=5)
        assert b"".join(store.stream(ObjectInfo("x", 8, '"e"'))) == b"01234567"
        server.shutdown()
    assert asked == ["bytes=0-7"] * 2


@pytest.mark.parametrize("size", [0, 1, 1000, 3001, 20_000])
def test_a_file_comes_back_in_order_from_any_point(
    store: Store, tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "PART_BYTES", 1000)
    content = os.urandom(size)
    path = tmp_path / "file"
    path.write_bytes(content)
    store.put_file("big", path)
    item = store.head("big")
    assert b"".join(map(bytes, store.stream(item))) == content
    assert b"".join(map(bytes, store.stream(item, start=size // 2))) == content[size // 2 :]
    assert store.sha256("big") == hashlib.sha256(content).hexdigest()


def test_an_object_that_changes_while_it_is_read_is_an_error(store: Store) -> None:
    store.put("x", b"first")
    item = store.head("x")
    store.put("x", b"other")
    with pytest.raises(StorageUnavailable, match="overwritten while it was read"):
        list(store.stream(item))


def test_no_credentials_for_a_named_endpoint_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CREDENTIAL_NAMES["s3"]:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Denied, match=r"no credentials for http://s3.test; .* storage.secretRef"):
        Store.open("s3://bucket/x", endpoint="http://s3.test")


@pytest.mark.parametrize(
    ("uri", "parts"),
    [("s3://b/x/y.tar", ("s3://b/x", "y.tar")), ("s3://b/y", ("s3://b", "y")), ("file:///a/b", ("file:///a", "b"))],
)
def test_split_uri(uri: str, parts: tuple[str, str]) -> None:
    assert split_uri(uri) == parts


KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        pytest.param("AWS_ACCESS_KEY_ID", "quoted-id\n", "of AWS_ACCESS_KEY_ID ends with a line break", id="key id"),
        pytest.param("AWS_SECRET_ACCESS_KEY", "a\nquoted", "of AWS_SECRET_ACCESS_KEY holds line", id="secret key"),
        pytest.param("AWS_SESSION_TOKEN", "quoted\x01", "of AWS_SESSION_TOKEN holds", id="token"),
        pytest.param("AWS_REGION", "eu-1\r\n", "of AWS_REGION ends with", id="region"),
        pytest.param(
            "AWS_ENDPOINT_URL", "http://s3:9000\n", r"AWS_ENDPOINT_URL is 'http://s3:9000\n'", id="line break"
        ),
        pytest.param("AWS_ENDPOINT_URL", "s3.example.com:9000", "'s3.example.com:9000', which is no", id="no scheme"),
        pytest.param("AWS_ENDPOINT_URL", "s3", "such as http://host:9000", id="a name"),
        pytest.param("AWS_ENDPOINT_URL", "ftp://s3", "such as http://host:9000", id="another scheme"),
        pytest.param("AWS_ENDPOINT_URL", "http://", "such as http://host:9000", id="no host"),
        pytest.param("AWS_ENDPOINT_URL", "http://s3:99999", "such as http://host:9000", id="no port"),
        pytest.param("AWS_ENDPOINT_URL", "", "AWS_ENDPOINT_URL is ''", id="empty"),
        pytest.param(
            "AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "perhaps", "a setting of storage can't be used", id="no boolean"
        ),
    ],
)
def test_settings_that_cant_be_are_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, shown: str
) -> None:
    for setting, text in {**KEYS, name: value}.items():
        monkeypatch.setenv(setting, text)
    with pytest.raises((Denied, WrongEndpoint)) as raised:
        Store.open("s3://datasets/plain/", outage_seconds=0.0).get("x")
    assert raised.value.exit_code == ExitCode.CONFIG_ERROR
    assert shown in str(raised.value)
    assert "quoted" not in str(raised.value)


def test_an_endpoint_of_the_job_is_named_as_its_field(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting, text in KEYS.items():
        monkeypatch.setenv(setting, text)
    with pytest.raises(WrongEndpoint, match=r"storage\.endpoint is 'minio:9000'"):
        Store.open("s3://datasets/plain/", endpoint="minio:9000")


def test_a_key_that_is_a_document_may_have_lines() -> None:
    check_settings("gs://b/", {"GOOGLE_SERVICE_ACCOUNT_KEY": "{\n}\n"}, names=["GOOGLE_SERVICE_ACCOUNT_KEY"])


class PanicException(BaseException):
    """As pyo3 raises where native code panics: no `Exception`."""


def test_a_panic_of_native_code_is_the_jobs_mistake(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def panic(*_: object) -> None:
        raise PanicException("called `Result::unwrap()` on an `Err` value")

    monkeypatch.setattr(storage.obstore, "head", panic)
    with pytest.raises(Denied, match="can't use what it was given"):
        store.head("x")


def secret(folder: Path, **values: str) -> None:
    """The job's Secret as a pod has it mounted."""
    folder.mkdir(exist_ok=True)
    for name, value in values.items():
        (folder / name).write_text(value)


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Old keys in the environment; the folder of the Secret."""
    for setting, text in {**KEYS, "AWS_SESSION_TOKEN": "old token"}.items():
        monkeypatch.setenv(setting, text)
    monkeypatch.setenv(StorageEnv.SECRET_DIR, str(tmp_path / "secret"))
    return tmp_path / "secret"


@pytest.mark.parametrize("token", ["new token", None])
def test_keys_that_ran_out_are_looked_up_again(keys: Path, monkeypatch: pytest.MonkeyPatch, token: str | None) -> None:
    """Once for each that storage refuses, and all that belong together."""
    asked: list[dict[str, str]] = []  # beyond the environment

    def head(backend: Any, _path: str) -> Any:
        asked.append(dict(backend.config))
        raise PermissionDeniedError("<Code>ExpiredToken</Code><Message>run out</Message>")

    monkeypatch.setattr(storage.obstore, "head", head)
    store = Store.open("s3://datasets/plain/", outage_seconds=0.0)
    with pytest.raises(Denied, match="they have run out; put fresh ones there"):
        store.head("x")
    assert len(asked) == 1
    secret(keys, AWS_ACCESS_KEY_ID="new", AWS_SECRET_ACCESS_KEY="new key", AWS_ENDPOINT_URL="http://elsewhere")
    if token is not None:
        secret(keys, AWS_SESSION_TOKEN=token)
    with pytest.raises(Denied):
        store.head("x")
    assert [each.get("access_key_id") for each in asked] == [None, None, "new"]
    assert asked[-1]["session_token"] == (token or "")
    assert "endpoint" not in asked[-1], "an address is no key"


def test_the_keys_of_an_input_are_its_own(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOOTPLATE_INPUT_TRAIN_AWS_ACCESS_KEY_ID", "train's")
    secret(keys, AWS_ACCESS_KEY_ID="job's")
    asked = []

    def head(backend: Any, _path: str) -> Any:
        asked.append(backend.config["access_key_id"])
        raise PermissionDeniedError("no")

    monkeypatch.setattr(storage.obstore, "head", head)
    with pytest.raises(Denied):
        Store.open("s3://datasets/plain/", channel="train", outage_seconds=0.0).head("x")
    assert asked == ["train's"]


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        pytest.param("RequestTimeTooSkewed", ClockSkew, "set the clock that is wrong", id="clock"),
        pytest.param("ExpiredToken", Denied, "put fresh ones there, all of a session's", id="token"),
        pytest.param("InvalidAccessKeyId", Denied, "AWS_ACCESS_KEY_ID isn't known there", id="key id"),
        pytest.param("SignatureDoesNotMatch", Denied, "AWS_SECRET_ACCESS_KEY isn't that of", id="secret"),
        pytest.param("InvalidToken", Denied, "AWS_SESSION_TOKEN isn't that of the other keys", id="another's token"),
        pytest.param("AccessDenied", Denied, "their rights: they must allow to write", id="rights"),
    ],
)
def test_refusals_are_told_apart(said: str, kind: type[StorageError], words: str) -> None:
    """By what S3 calls them, with a 403; a clock that is wrong is the infrastructure's."""
    error = PermissionDeniedError(f"<Error><Code>{said}</Code><Message>words</Message></Error>")
    told = translate("s3://models/x", error, to="write")
    assert type(told) is kind
    assert f"({said}: words)" in str(told)
    assert words in str(told)
    assert told.exit_code == (ExitCode.PEER_LOST if kind is ClockSkew else ExitCode.CONFIG_ERROR)
