"""The operator in a process of its own, and what that process costs: memory, CPU, files, tasks, requests.

Run as a program, this file is that process: the operator as `footplate operator` runs it, but that it tells the number
of its tasks on a signal, and ends with the process that started it.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

WRITES = ("create", "update", "patch", "delete")
PATIENCE_SECONDS = 180.0
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Metrics:
    """One scrape of /metrics."""

    samples: Sequence[tuple[str, Mapping[str, str], float]]

    def total(self, name: str, **labels: str | Sequence[str]) -> float:
        """Sum of the samples of this name whose labels have these values, or one of these."""
        wanted = {key: (value,) if isinstance(value, str) else value for key, value in labels.items()}
        return sum(
            value
            for sample, has, value in self.samples
            if sample == name and all(has[key] in values for key, values in wanted.items())
        )

    @property
    def requests(self) -> float:
        """Requests to the API server so far, kopf's own lists and watches not among them."""
        return self.total("footplate_api_requests_total")

    @property
    def writes(self) -> float:
        """Of these, those that change something but a Lease."""
        kinds = {has["resource"] for name, has, _ in self.samples if name == "footplate_api_requests_total"}
        return self.total("footplate_api_requests_total", verb=WRITES, resource=sorted(kinds - {"leases"}))

    @property
    def settled(self) -> float:
        """Looks at a job that found nothing to do."""
        return self.total("footplate_reconciliations_total", result="settled")


class OperatorProcess:
    """`async with OperatorProcess(kubeconfig, log=path) as operator`; its log is added to the file."""

    def __init__(self, kubeconfig: Path, *, log: Path, **settings: Any) -> None:
        self._settings = {
            "kubeconfig": str(kubeconfig),
            "host": "127.0.0.1",
            "port": _free_port(),
            "leader_election": False,
            **settings,
        }
        self._log = log

    async def __aenter__(self) -> Self:
        with self._log.open("ab") as log:
            self.began = time.perf_counter()
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                __file__,
                json.dumps(self._settings),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self._session = aiohttp.ClientSession(f"http://127.0.0.1:{self._settings['port']}")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), 20)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def is_ready(self) -> bool:
        """What /readyz says."""
        with suppress(aiohttp.ClientConnectionError):
            async with self._session.get("/readyz") as response:
                return response.status == 200
        return False

    async def metrics(self) -> Metrics:
        """A scrape."""
        async with self._session.get("/metrics") as response:
            families = text_string_to_metric_families(await response.text())
        return Metrics([(each.name, each.labels, each.value) for family in families for each in family.samples])

    async def until_ready(self) -> float:
        """Seconds from the start of the process to its first 200 at /readyz."""
        await self._until(self.is_ready)
        return time.perf_counter() - self.began

    async def until_settled(self, jobs: int) -> float:
        """Seconds from the start of the process until it had looked at so many jobs and found nothing to do."""

        async def is_settled() -> bool:
            return (await self.metrics()).settled >= jobs

        await self.until_ready()
        await self._until(is_settled, every=0.25)  # a scrape costs the operator a few milliseconds
        return time.perf_counter() - self.began

    async def count_tasks(self) -> int:
        """Its asyncio tasks now."""
        assert self._process.stdout is not None
        self._process.send_signal(signal.SIGUSR1)
        return int(await asyncio.wait_for(self._process.stdout.readline(), 20))

    def count_files(self) -> int:
        """Its open file descriptors."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))  # noqa: PTH208

    def resident_bytes(self) -> int:
        """Its resident memory."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE_BYTES

    def cpu_seconds(self) -> float:
        """CPU time that it has used, in user and kernel mode."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    async def _until(self, holds: Callable[[], Awaitable[bool]], *, every: float = 0.05) -> None:
        deadline = time.perf_counter() + PATIENCE_SECONDS
        while not await holds():
            assert self.alive, f"the operator ended with {self._process.returncode}: {self._tail()}"
            assert time.perf_counter() < deadline, f"not within {PATIENCE_SECONDS} s: {self._tail()}"
            await asyncio.sleep(every)

    def _tail(self) -> str:
        return self._log.read_text()[-3000:]


def _free_port() -> int:
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        return int(each.getsockname()[1])


async def _run(settings: Mapping[str, Any]) -> None:
    from footplate.operator import OperatorSettings, run_operator

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, lambda: print(len(asyncio.all_tasks()), flush=True))
    loop.add_reader(sys.stdin.fileno(), os._exit, 1)  # nothing is ever written to it: its end is the parent's
    await run_operator(OperatorSettings(**settings))


def _main() -> None:
    from footplate.machinery.logs import configure_logging

    configure_logging()
    asyncio.run(_run(json.loads(sys.argv[1])))


if __name__ == "__main__":
    _main()
