"""A replica of the operator as a kubelet keeps it: started anew whenever it ended, and asked whether it is ready."""

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

import aiohttp

from realcluster.chart import NAMESPACE
from trainer_pods import free_port

_RESTART_SECONDS = 1.0
_PROBE_SECONDS = 5.0
"""The timeout of the chart's probes."""


class Replica:
    """`async with Replica(kubeconfig, log) as replica`: at work, with leader election as the chart has it."""

    def __init__(self, kubeconfig: Path, log: Path, *options: str) -> None:
        self._port = free_port()
        here = (f"--kubeconfig={kubeconfig}", "--host=127.0.0.1", f"--port={self._port}")
        self._command = (sys.executable, "-m", "footplate.cli.main", "operator", *here, *options)
        self._log = log
        self._gone = False
        self.ends = 0
        """How often it has ended by itself."""
        self.silent: list[str] = []
        """Probes that weren't answered in time though the process lived, with the reason."""

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=_PROBE_SECONDS)
        self._session = aiohttp.ClientSession(f"http://127.0.0.1:{self._port}", timeout=timeout)
        await self._start()
        self._tasks = [asyncio.create_task(work) for work in (self._keep(), self._probe_for_ever())]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    async def kill(self) -> None:
        """Ends it without a warning, for good."""
        self._gone = True
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def is_ready(self) -> bool:
        """Whether /readyz says 200."""
        return (await self._ask("/readyz"))[0] == 200

    async def leads(self) -> bool:
        """What its metrics say."""
        return "\nfootplate_leader 1.0" in (await self._ask("/metrics"))[1]

    async def is_alive(self) -> bool:
        """Whether /livez says 200."""
        return (await self._ask("/livez"))[0] == 200

    async def has_ended(self) -> bool:
        """Whether it has ever ended by itself."""
        return self.ends > 0

    async def knows(self, jobs: int) -> bool:
        """Whether it believes that there are so many jobs."""
        lines = (await self._ask("/metrics"))[1].splitlines()
        return sum(float(line.split()[1]) for line in lines if line.startswith("footplate_jobs{")) == jobs

    async def says(self, what: str) -> bool:
        """Whether this is in its log."""
        return what in self._log.read_text()

    def tail(self) -> str:
        """The end of its log."""
        return self._log.read_text()[-4000:]

    async def _start(self) -> None:
        environment = {**os.environ, "POD_NAME": self._log.stem, "POD_NAMESPACE": NAMESPACE}
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(*self._command, env=environment, stderr=log)

    async def _keep(self) -> None:
        while True:
            await self._process.wait()
            if self._gone:
                return
            self.ends += 1
            await asyncio.sleep(_RESTART_SECONDS)
            await self._start()

    async def _probe_for_ever(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            for path in ("/livez", "/readyz"):
                await self._ask(path)

    async def _ask(self, path: str) -> tuple[int, str]:
        """Status and text; 0 where nobody listens."""
        try:
            async with self._session.get(path) as response:
                return response.status, await response.text()
        except TimeoutError:
            self.silent.append(f"{path}: no answer within {_PROBE_SECONDS} s")
        except aiohttp.ClientConnectionError:
            pass
        return 0, ""
