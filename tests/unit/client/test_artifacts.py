"""A model is proven, and is there whole or not at all."""

import time
from pathlib import Path
from typing import Any

import pytest

from client_site import Site
from footplate.client import Client
from footplate.client.artifacts import ArtifactDamaged
from footplate.client.errors import ClientError
from footplate.client.storage import StorageUnreadable
from stored_models import FILES, stored, with_manifest


def left(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_model_that_is_no_recipes_is_said_to_be_none(tmp_path: Path) -> None:
    artifact = stored(tmp_path / "s3", {"weights.pt": b"x"})
    with pytest.raises(ClientError, match=r"is no recipe's model .*: download it") as caught:
        artifact.load()
    assert "footplate-" not in str(caught.value)  # the folder that is gone by now


def test_a_whole_model(tmp_path: Path) -> None:
    artifact = stored(tmp_path / "s3")
    assert [file.name for file in artifact.verify().files] == [*FILES]
    target = tmp_path / "here" / "model"
    assert artifact.download(target) == target
    assert {name: (target / name).read_bytes() for name in FILES} == FILES
    assert (target / "manifest.json").read_bytes() == (tmp_path / "s3/manifest.json").read_bytes()
    assert left(tmp_path / "here") == [
        "model", "model/empty", "model/manifest.json", "model/model.json", "model/weights", "model/weights/model.bin",
    ]  # fmt: skip


def test_an_empty_folder_will_do(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    assert stored(tmp_path / "s3").download(tmp_path / "here") == tmp_path / "here"


def test_a_relative_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert stored(tmp_path / "s3").download("model") == tmp_path / "model"


DAMAGE = {
    "other bytes": (lambda folder: (folder / "model.json").write_bytes(b"[]"), "'model.json' has other bytes"),
    "cut": (lambda folder: (folder / "model.json").write_bytes(b"{"), "'model.json' has 1 bytes, not 2"),
    "missing": (lambda folder: (folder / "empty").unlink(), "'empty' is missing"),
    "a late byte": (
        lambda folder: (folder / "weights/model.bin").write_bytes(bytes(9 * 2**20 - 1) + b"x"),
        "'weights/model.bin' has other bytes",
    ),
}


@pytest.mark.parametrize(("harm", "words"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_named_and_nothing_is_left(tmp_path: Path, harm: Any, words: str) -> None:
    artifact = stored(tmp_path / "s3")
    harm(tmp_path / "s3")
    (tmp_path / "here").mkdir()
    for ask in (artifact.verify, lambda: artifact.download(tmp_path / "here" / "model")):
        with pytest.raises(ArtifactDamaged, match=words):
            ask()
    assert left(tmp_path / "here") == []


def test_a_manifest_that_was_replaced_proves_nothing(tmp_path: Path) -> None:
    artifact = stored(tmp_path / "s3")
    with_manifest(tmp_path / "s3", [])
    with pytest.raises(ArtifactDamaged, match=r"manifest.json has SHA-256 .* it was replaced, so none of these files"):
        artifact.verify()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../evil", "leads out of the folder"),
        ("/etc/evil", "leads out of the folder"),
        ("a/../../evil", "leads out of the folder"),
        ("a//b", "leads out of the folder"),
        ("..\\evil", "leads out of the folder"),
        ("C:evil", "leads out of the folder"),
        ("a\0b", "has control characters"),
        ("", "leads out of the folder"),
        ("manifest.json", "is a folder's name too"),
        ("model.json", "comes twice"),
        ("weights", "is a folder's name too"),
    ],
)
def test_names_that_lead_out_are_refused_before_anything_is_written(tmp_path: Path, name: str, why: str) -> None:
    artifact = stored(tmp_path / "s3", more=[{"name": name, "sizeBytes": 0, "sha256": "0" * 64}])
    (tmp_path / "here").mkdir()
    before = left(tmp_path)
    with pytest.raises(ArtifactDamaged, match=why):
        artifact.download(tmp_path / "here" / "model")
    assert left(tmp_path) == before


def test_a_manifest_of_many_or_deep_names_is_judged_at_once(tmp_path: Path) -> None:
    deep = "a/" * 500
    more = [{"name": f"{deep}{n}", "sizeBytes": 0, "sha256": "0" * 64} for n in range(10_000)]
    artifact = stored(tmp_path / "s3", more=[*more, {"name": "../evil", "sizeBytes": 0, "sha256": "0" * 64}])
    began = time.monotonic()
    with pytest.raises(ArtifactDamaged, match="leads out of the folder"):
        artifact.verify()
    assert time.monotonic() - began < 5


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here/mine").write_text("mine")
    for target in (tmp_path / "here", tmp_path / "here/mine"):
        with pytest.raises(ClientError, match="is there already, and isn't an empty folder"):
            stored(tmp_path / "s3").download(target)
    assert left(tmp_path / "here") == ["mine"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ClientError, match="name a folder that you may create"):
        stored(tmp_path / "s3").download(tmp_path / "file" / "model")


def test_a_disk_without_room(tmp_path: Path) -> None:
    artifact = with_manifest(tmp_path / "s3", [{"name": "a", "sizeBytes": 10**18, "sha256": "0" * 64}])
    with pytest.raises(ClientError, match="the model takes 1,000,000,000,000,000,000 bytes, and"):
        artifact.download(tmp_path / "here")
    assert not (tmp_path / "here").exists()


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    artifact = stored(tmp_path / "s3")
    (tmp_path / "s3/manifest.json").unlink()
    with pytest.raises(StorageUnreadable, match="does not exist"):
        artifact.verify()


def test_a_name_that_a_terminal_would_obey_is_shown_plain(tmp_path: Path) -> None:
    artifact = with_manifest(tmp_path / "s3", [{"name": "\x1b[2Jx", "sizeBytes": 1, "sha256": "0" * 64}])
    with pytest.raises(ArtifactDamaged) as caught:
        artifact.verify()
    assert "\x1b" not in str(caught.value)


def test_a_job_without_a_model_says_so(site: Site, client: Client) -> None:
    site.create("digits")
    with pytest.raises(ClientError, match="'digits' is new, and has no model: one is there once a run with an output"):
        _ = client.get("digits").artifact
    said = {"uri": "s3://models/digits/1/", "manifest": "s3://models/digits/1/manifest.json", "sha256": "0" * 64}
    site.say("digits", phase="Succeeded", artifact={**said, "sizeBytes": 1})
    assert client.get("digits").artifact.uri == "s3://models/digits/1/"
