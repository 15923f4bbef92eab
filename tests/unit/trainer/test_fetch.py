"""Input data, from folders; `integration/test_fetch.py` fetches from a real S3 server."""

import errno
import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from footplate.api.trainingjob import InputChannel
from footplate_trainer.errors import ConfigError, DataError, NotFound, StorageUnavailable, TrainerError
from footplate_trainer.storage import fetch
from footplate_trainer.storage.fetch import Fetched, fetch_inputs
from footplate_trainer.storage.store import PART_BYTES, ObjectInfo, Store

FILES = {"a.csv": b"1,2\n", "sub/b.csv": b"3,4\n", "sub/empty": b""}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


FOLDER_DIGEST = sha256("".join(sorted(f"{sha256(data)}  {name}\n" for name, data in FILES.items())).encode())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "data"


def get(uri: str, target: Path, **channel: Any) -> Fetched:
    return fetch_inputs([InputChannel(name="train", uri=uri, **channel)], target, endpoint=None)["train"]


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_arrives_whole(data: Path, tmp_path: Path) -> None:
    fetched = get(f"file://{data}/", tmp_path / "in", sha256=FOLDER_DIGEST)
    assert files_in(tmp_path / "in/train") == FILES
    assert fetched == Fetched(FOLDER_DIGEST, 3, 8)


def test_an_object_arrives_under_its_name(data: Path, tmp_path: Path) -> None:
    fetched = get(f"file://{data}/a.csv", tmp_path / "in", sha256=sha256(FILES["a.csv"]))
    assert files_in(tmp_path / "in/train") == {"a.csv": FILES["a.csv"]}
    assert fetched.sha256 == sha256(FILES["a.csv"])


@pytest.mark.parametrize(
    ("path", "sha", "error", "words"),
    [
        ("nope.csv", None, NotFound, r"nope.csv does not exist; correct the URI"),
        ("nope/", None, DataError, r"nope/ holds no data; put the files there"),
        ("sub", None, ConfigError, r"names a folder, not an object; write file://.*/sub/"),
        ("", "0" * 64, DataError, rf"has SHA-256 {FOLDER_DIGEST}, but sha256 says 0000"),
        ("a.csv", "0" * 64, DataError, r"but sha256 says 0000.*restore it, or correct sha256"),
    ],
)
def test_a_wrong_input_is_named(
    data: Path, tmp_path: Path, path: str, sha: str | None, error: type[TrainerError], words: str
) -> None:
    with pytest.raises(error, match=rf"^spec.inputs\[train\]: .*{words}"):
        get(f"file://{data}/{path}", tmp_path / "in", sha256=sha)


def test_an_object_with_a_wrong_checksum_never_looks_whole(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        get(f"file://{data}/a.csv", tmp_path / "in", sha256="0" * 64)
    assert files_in(tmp_path / "in") == {}


def test_more_data_than_fits_is_refused_before_it_is_fetched(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=7))
    with pytest.raises(ConfigError, match=r"8 bytes don't fit .* has 7 free; request more ephemeral-storage"):
        get(f"file://{data}/", tmp_path / "in")
    assert files_in(tmp_path / "in") == {}


def test_a_disk_that_fills_up_leaves_nothing_that_looks_whole(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_some(part: Path, _store: Store, _item: ObjectInfo) -> str:
        part.write_bytes(b"1")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetch, "_fill", write_some)
    with pytest.raises(ConfigError, match=r"the disk is full while writing a.csv.*ephemeral-storage"):
        get(f"file://{data}/a.csv", tmp_path / "in")
    assert all(name.endswith(".part") for name in files_in(tmp_path / "in/train"))


class Interrupted(Store):
    """Storage that goes away after two parts."""

    def stream(self, item: ObjectInfo, *, start: int = 0) -> Iterator[Any]:
        for number, part in enumerate(super().stream(item, start=start)):
            if number == 2:
                raise StorageUnavailable("gone")
            yield part


def test_an_interrupted_download_goes_on_where_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"0123456789abcdef" * (4 * PART_BYTES // 16)
    (tmp_path / "big").write_bytes(content)
    uri = f"file://{tmp_path}"
    with pytest.raises(StorageUnavailable):
        fetch.download(Interrupted.open(uri), Store.open(uri).head("big"), tmp_path / "in")
    assert [path.stat().st_size for path in (tmp_path / "in").iterdir()] == [2 * PART_BYTES]

    store, starts = Store.open(uri), list[int]()
    real_stream = Store.stream

    def stream(self: Store, item: ObjectInfo, *, start: int = 0) -> Iterator[Any]:
        starts.append(start)
        return real_stream(self, item, start=start)

    monkeypatch.setattr(Store, "stream", stream)
    assert fetch.download(store, store.head("big"), tmp_path / "in") == sha256(content)
    assert starts == [2 * PART_BYTES]
    assert files_in(tmp_path / "in") == {"big": content}


@pytest.mark.parametrize("key", ["../x", "/x", "a/../../x", "x\0y", ""])
def test_a_key_never_leads_out_of_the_folder(tmp_path: Path, key: str) -> None:
    with pytest.raises(DataError, match="rename the object"):
        fetch.download(Store.open(f"file://{tmp_path}"), ObjectInfo(key, 1, None), tmp_path / "in")


def test_two_objects_that_cannot_both_be_files_are_named(data: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/sub").write_bytes(b"an object named like the other's folder")
    store = Store.open(f"file://{data}")
    with pytest.raises(DataError, match=r"can't be a file here.*rename the object"):
        fetch.download(store, store.head("sub/b.csv"), tmp_path / "in")
