"""The S3 server: what trainers rely on, asked of the real one."""

import asyncio
import itertools
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from obstore.exceptions import AlreadyExistsError, PermissionDeniedError, PreconditionError
from obstore.store import S3Store

from footplate.devcluster.s3 import BUCKETS, REGION, S3Server

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def s3(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[S3Server]:
    async with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server


async def test_buckets_are_there(s3: S3Server) -> None:
    for bucket in BUCKETS:
        assert await s3.store(bucket).list().collect_async() == []


async def test_of_many_conditional_creates_one_wins(s3: S3Server) -> None:
    async def create(value: int) -> bool:
        try:
            await s3.store("models").put_async("race", b"%d" % value, mode="create")
        except AlreadyExistsError:
            return False
        return True

    assert sum(await asyncio.gather(*map(create, range(16)))) == 1


async def test_update_with_an_old_etag_is_refused(s3: S3Server) -> None:
    store = s3.store("checkpoints")
    first = await store.put_async("manifest.json", b"1")
    await store.put_async("manifest.json", b"2", mode={"e_tag": first["e_tag"]})
    with pytest.raises(PreconditionError):
        await store.put_async("manifest.json", b"3", mode={"e_tag": first["e_tag"]})


@pytest.mark.parametrize(("key", "secret"), [("footplate", "wrong"), ("nobody", "wrong")])
async def test_wrong_credentials_are_refused(s3: S3Server, key: str, secret: str) -> None:
    store = S3Store(
        "models",
        endpoint=s3.endpoint,
        access_key_id=key,
        secret_access_key=secret,
        region=REGION,
        client_options={"allow_http": True},
    )
    with pytest.raises(PermissionDeniedError):
        await store.put_async("x", b"")
    with pytest.raises(PermissionDeniedError):
        await store.get_async("x")


async def test_a_missing_bucket_is_not_created(s3: S3Server) -> None:
    with pytest.raises(FileNotFoundError):
        await s3.store("nobucket").put_async("x", b"")


async def test_data_and_buckets_survive_a_restart(tmp_path: Path) -> None:
    async with S3Server(tmp_path) as first:
        await first.store("models").put_async("a/b", b"kept")
    async with S3Server(tmp_path) as second:
        answer = await second.store("models").get_async("a/b")
        assert await answer.bytes_async() == b"kept"
        assert second.secret_key != first.secret_key


OWNER = """
import asyncio, sys, pathlib
from footplate.devcluster.s3 import S3Server
async def main():
    async with S3Server(pathlib.Path(sys.argv[1])) as s3:
        print(s3.endpoint, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_the_server_dies_with_its_owner(tmp_path: Path) -> None:
    owner = await asyncio.create_subprocess_exec(sys.executable, "-c", OWNER, str(tmp_path), stdout=subprocess.PIPE)
    assert owner.stdout is not None
    endpoint = (await owner.stdout.readline()).decode().strip()
    host, port = endpoint.removeprefix("http://").split(":")
    owner.kill()
    await owner.wait()
    await _wait_until_refused(host, int(port), seconds=10)


async def _wait_until_refused(host: str, port: int, *, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        for delay in itertools.repeat(0.02):
            try:
                _, writer = await asyncio.open_connection(host, port)
            except ConnectionRefusedError:
                return
            writer.close()
            await asyncio.sleep(delay)
