"""Storage, inputs and models against a real S3 server: what it says no to, and what the user is told."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from footplate.api.trainingjob import InputChannel
from footplate.contract import input_env_prefix
from footplate.devcluster.s3 import S3Server
from footplate_trainer.errors import DataError, Denied, Exists, NotFound, TrainerError, WrongEndpoint
from footplate_trainer.storage.fetch import Fetched, fetch_inputs
from footplate_trainer.storage.store import PART_BYTES, Store
from trainer_pods import free_port

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[S3Server]:
    async with S3Server(tmp_path_factory.mktemp("s3")) as started:
        yield started


@pytest.fixture
def s3(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server


def get(uri: str, folder: Path, *, sha256: str | None = None) -> Fetched:
    return fetch_inputs([InputChannel(name="train", uri=uri, sha256=sha256)], folder, endpoint=None)["train"]


async def fetch(uri: str, folder: Path, *, sha256: str | None = None) -> Fetched:
    return await asyncio.to_thread(get, uri, folder, sha256=sha256)


async def test_a_big_and_many_small_objects_arrive(s3: S3Server, tmp_path: Path) -> None:
    contents = {f"part/{number:03}": os.urandom(number) for number in range(50)}
    contents["big"] = os.urandom(1 << 20) * (3 * PART_BYTES // (1 << 20)) + b"end"
    for name, data in contents.items():
        await s3.store("datasets").put_async(f"many/{name}", data)
    fetched = await fetch("s3://datasets/many/", tmp_path)
    assert {name: (tmp_path / "train" / name).read_bytes() for name in contents} == contents
    lines = sorted(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in contents.items())
    assert fetched.sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert await fetch("s3://datasets/many/", tmp_path / "again", sha256=fetched.sha256) == fetched


@pytest.mark.parametrize(
    ("uri", "error", "words"),
    [
        ("s3://nobucket/x/", NotFound, "no such bucket; create it"),
        ("s3://nobucket/x", NotFound, "no such bucket; create it"),
        ("s3://datasets/nothing/", DataError, "holds no data; put the files there"),
        ("s3://datasets/nothing", NotFound, "does not exist; correct the URI"),
    ],
)
async def test_missing_data_is_named(
    s3: S3Server, tmp_path: Path, uri: str, error: type[TrainerError], words: str
) -> None:
    with pytest.raises(error, match=words):
        await fetch(uri, tmp_path)


@pytest.mark.parametrize(
    "wrong", [{"AWS_SECRET_ACCESS_KEY": "wrong"}, {"AWS_ACCESS_KEY_ID": "nobody"}], ids=["secret", "key"]
)
@pytest.mark.parametrize("uri", ["s3://datasets/x/", "s3://datasets/x"])
async def test_wrong_credentials_are_named(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str], uri: str
) -> None:
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Denied, match=r"access denied .* check the keys in storage.secretRef's Secret"):
        await fetch(uri, tmp_path)


async def test_a_channel_may_have_credentials_of_its_own(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await s3.store("datasets").put_async("own/a", b"1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(input_env_prefix("train") + name, s3.environment[name])
        monkeypatch.setenv(name, "wrong")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "the job's, not the channel's")
    assert (await fetch("s3://datasets/own/", tmp_path)).files == 1


async def test_an_outage_is_waited_out_and_then_said(s3: S3Server) -> None:
    store = Store.open("s3://datasets/x", endpoint=f"http://127.0.0.1:{free_port()}", outage_seconds=1)
    with pytest.raises(WrongEndpoint, match=r"s3://datasets/x/a: nobody answers at http://127\.0\.0\.1"):
        await asyncio.to_thread(store.get, "a")


async def test_of_many_conditional_puts_one_wins(s3: S3Server) -> None:
    store = Store.open("s3://models/race")

    def create(number: int) -> bool:
        try:
            store.put("manifest.json", b"%d" % number, create=True)
        except Exists:
            return False
        return True

    won = await asyncio.gather(*(asyncio.to_thread(create, number) for number in range(8)))
    assert sum(won) == 1
    assert store.get("manifest.json") == b"%d" % won.index(True)


async def test_a_file_is_uploaded_in_parts_and_read_back(s3: S3Server, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(os.urandom(1 << 20) * 40 + b"end")
    store = Store.open("s3://models/a b")
    await asyncio.to_thread(store.put_file, "weights é", path)
    digest = await asyncio.to_thread(store.sha256, "weights é")
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [item.key for item in store.list()] == ["weights é"]
    store.delete(["weights é", "nothing"])
    assert list(store.list()) == []
