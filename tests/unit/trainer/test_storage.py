"""The door to object storage, on folders; `integration/test_storage.py` asks the same of a real S3 server."""

import hashlib
import os
from pathlib import Path

import pytest

from footplate_trainer import storage
from footplate_trainer.errors import Denied, Exists, NotFound, StorageUnavailable
from footplate_trainer.storage import Store, split_uri

KEY = "a b/é#1?%41~.txt"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(f"file://{tmp_path}/bucket/folder/")


def test_what_is_put_is_there(store: Store) -> None:
    store.put(KEY, b"hello")
    assert store.get(KEY) == b"hello"
    assert bytes(store.get_range(KEY, 1, 3)) == b"el"
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
    for name in storage.CREDENTIAL_NAMES["s3"]:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Denied, match=r"no credentials for http://s3.test; .* storage.secretRef"):
        Store.open("s3://bucket/x", endpoint="http://s3.test")


@pytest.mark.parametrize(
    ("uri", "parts"),
    [("s3://b/x/y.tar", ("s3://b/x", "y.tar")), ("s3://b/y", ("s3://b", "y")), ("file:///a/b", ("file:///a", "b"))],
)
def test_split_uri(uri: str, parts: tuple[str, str]) -> None:
    assert split_uri(uri) == parts
