"""The S3 server beside a test that is no coroutine."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from footplate.devcluster.s3 import S3Server


@contextmanager
def s3_in_a_thread(folder: Path) -> Iterator[S3Server]:
    loop, server = asyncio.new_event_loop(), S3Server(folder)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(60)
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
