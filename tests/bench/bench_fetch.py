"""How fast an input channel of many small objects reaches the node, beside obstore alone: the same listing, the same
objects, written as files, without checksum, safe names or atomic replacement. Prints a JSON line.

    python tests/bench/bench_fetch.py [OBJECTS]

A real S3 server on loopback, which shares the cores; the two take turns. Goal: at least 0.8 of obstore's speed.
"""

import asyncio
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import obstore
from obstore.store import S3Store

from footplate.api.trainingjob import InputChannel
from footplate.devcluster.s3 import S3Server
from footplate_trainer.storage.fetch import fetch_inputs

SIZE, ROUNDS, AT_ONCE = 4096, 3, 32


async def put_objects(store: S3Store, count: int) -> None:
    limit = asyncio.Semaphore(AT_ONCE)

    async def put(number: int) -> None:
        async with limit:
            await obstore.put_async(store, f"small/{number % 1000:03d}/{number:07d}", os.urandom(SIZE))

    for first in range(0, count, 10_000):
        await asyncio.gather(*(put(number) for number in range(first, min(count, first + 10_000))))


async def fetch_by_obstore(store: S3Store, folder: Path) -> int:
    limit, fetched = asyncio.Semaphore(AT_ONCE), 0

    async def get(key: str) -> None:
        async with limit:
            content = await (await obstore.get_async(store, key)).bytes_async()
            target = folder / key
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

    async for page in obstore.list(store, "small", chunk_size=1000):
        await asyncio.gather(*(get(item["path"]) for item in page))
        fetched += len(page)
    return fetched


def objects_a_second(fetch: Callable[[Path], int], folder: Path) -> float:
    began = time.perf_counter()
    count = fetch(folder)
    seconds = time.perf_counter() - began
    assert sum(path.is_file() for path in folder.rglob("*")) == count
    shutil.rmtree(folder)
    return count / seconds


async def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        async with S3Server(root / "s3") as server:
            os.environ.update(server.environment)
            store = S3Store("datasets", client_options={"allow_http": True})
            await put_objects(store, count)
            channel = InputChannel.model_validate({"name": "train", "uri": "s3://datasets/small/"})

            def ours(folder: Path) -> int:
                return fetch_inputs([channel], folder, endpoint=None)["train"].files

            def alone(folder: Path) -> int:
                return asyncio.run(fetch_by_obstore(store, folder))

            pairs = [
                [await asyncio.to_thread(objects_a_second, fetch, root / "to") for fetch in (ours, alone)]
                for _ in range(ROUNDS)
            ]
    mine, obstores = (statistics.median(column) for column in zip(*pairs, strict=True))
    result = {
        "bench": "fetch",
        "objects": count,
        "bytes_each": SIZE,
        "objects_a_second": round(mine),
        "objects_a_second_of_obstore": round(obstores),
        "ratio": round(statistics.median(a / b for a, b in pairs), 3),
        "of_each_round": [round(a / b, 3) for a, b in pairs],
        "goal": 0.8,
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000))
