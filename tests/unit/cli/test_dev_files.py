"""Folders into buckets and back, and what is said of those that can't go."""

import os
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from footplate.cli.dev_files import Upload, describe_model, download_files
from footplate.errors import ConfigurationError


def test_a_folder_comes_back_as_it_went_without_what_is_no_file(tmp_path: Path) -> None:
    folder, store = tmp_path / "data", MemoryStore()
    (folder / "sub").mkdir(parents=True)
    (folder / "a").write_bytes(b"")
    (folder / "sub" / "é [x]").write_bytes(b"1" * 3_000_000)
    os.mkfifo(folder / "pipe")
    upload = Upload.plan(str(folder), "s3://datasets/in", option="put")
    assert upload.send(lambda bucket: store) == f"2 files of {folder} are in s3://datasets/in/"
    store.put("inside/b", b"not below it")
    (tmp_path / "back").mkdir()
    (tmp_path / "back" / "a").write_text("older")
    said = download_files(lambda bucket: store, "s3://datasets/in", tmp_path / "back")
    assert said == f"2 files of s3://datasets/in are in {tmp_path / 'back'}"
    found = {
        str(path.relative_to(tmp_path / "back")): path for path in (tmp_path / "back").rglob("*") if path.is_file()
    }
    assert {name: path.stat().st_size for name, path in found.items()} == {"a": 0, "sub/é [x]": 3_000_000}


@pytest.mark.parametrize(
    ("folder", "uri", "message"),
    [
        ("full", "gs://datasets/x", "put gs://datasets/x: the devcluster has the buckets s3://datasets/, "
         "s3://checkpoints/, s3://models/"),
        ("full/a", "s3://datasets/x", "put full/a: there is no such folder; put a single file into one"),
        ("empty", "s3://datasets/x", "put empty: there is no file in that folder"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str, uri: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    (tmp_path / "empty" / "folder").mkdir(parents=True)
    with pytest.raises(ConfigurationError) as refusal:
        Upload.plan(folder, uri, option="put")
    assert str(refusal.value) == message


def test_a_name_that_no_object_can_have_is_named(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff")).touch()
    upload = Upload.plan(str(tmp_path), "s3://datasets/x", option="put")
    with pytest.raises(ConfigurationError, match=r"udcff': its name isn't UTF-8, as an object's must be; rename it"):
        upload.send(lambda bucket: MemoryStore())


def test_nothing_to_fetch_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        download_files(lambda bucket: MemoryStore(), "s3://models/x", tmp_path)
    assert str(refusal.value) == "get s3://models/x: nothing lies below it; s3://models/ stands for the whole bucket"


def test_one_file_is_one(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("pass\n")
    upload = Upload.plan(str(tmp_path), "s3://datasets/code/", option="put")
    assert upload.send(lambda bucket: MemoryStore()) == f"1 file of {tmp_path} is in s3://datasets/code/"


def test_a_downloaded_model_is_described_by_what_is_there(tmp_path: Path) -> None:
    assert [*describe_model(tmp_path)] == [f"Its files are in {tmp_path}"]
    (tmp_path / "plots").mkdir()
    for name in ("README.md", "model.json"):
        (tmp_path / name).touch()
    said = [*describe_model(tmp_path)]
    assert said[1:3] == [f"Card       {tmp_path}/README.md", f"Plots      {tmp_path}/plots"]
    assert f'load_model("{tmp_path}")' in said[3]
