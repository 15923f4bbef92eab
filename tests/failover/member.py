"""One replica as a kubelet keeps it, with a network, a gateway and a wall clock of its own.

Its processes are called `NAME-1`, `NAME-2`, …, and so are the holders that they write into the Lease.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp

from failover import launch
from failover.wire import Wire
from footplate.devcluster.faults import Fault
from gateway import Gateway
from trainer_pods import free_port

NAMESPACE = "footplate-system"
RESTART_SECONDS = 1.0
_PROBE_SECONDS = 5.0

SLOW = 3600.0
FLAPS = (Fault(status=500), Fault(status=429, retry_after=1), Fault(cut="before"), Fault(cut="after"))
FLAP_RATE = 0.08


class Member:
    """`async with Member(…) as member`: at work. `user` are its credentials; `options` go to `footplate operator`."""

    def __init__(
        self,
        name: str,
        kubeconfig: Mapping[str, Any],
        folder: Path,
        *,
        user: Mapping[str, str] | None = None,
        options: tuple[str, ...] = (),
        namespace: str = NAMESPACE,
    ) -> None:
        self.name = name
        self.gateway = Gateway(kubeconfig)
        self.started: list[float] = []
        self.ends: list[int] = []
        """Exit codes of processes that ended by themselves."""
        self._folder = folder
        self._user = dict(user or {})
        self._options = options
        self._namespace = namespace
        self._clock = folder / f"{name}.clock"
        self._wanted = True
        self._frozen = False

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.gateway)
            wire = Wire(urlsplit(self.gateway.url).port or 0)
            self.wire = await stack.enter_async_context(wire)
            self._port = free_port()
            timeout = aiohttp.ClientTimeout(total=_PROBE_SECONDS)
            session = aiohttp.ClientSession(f"http://127.0.0.1:{self._port}", timeout=timeout)
            self._session = await stack.enter_async_context(session)
            self.set_clock_ahead(0.0)
            self._kubeconfig = self.gateway.kubeconfig(self._folder / f"{self.name}.kubeconfig", **self._user)
            through = self._kubeconfig.read_text().replace(self.gateway.url, f"http://127.0.0.1:{self.wire.port}")
            self._kubeconfig.write_text(through)
            await self._start()
            self._keeping = asyncio.create_task(self._keep())
            stack.push_async_callback(self._end)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def process(self) -> str:
        """Name of the process that is at work now."""
        return f"{self.name}-{len(self.started)}"

    def process_at(self, moment: float) -> str:
        """Name of the process that was at work then."""
        return f"{self.name}-{sum(started <= moment for started in self.started)}"

    @property
    def log(self) -> Path:
        """Of all its processes."""
        return self._folder / f"{self.name}.log"

    def kill(self) -> None:
        """Ends it without a warning; the kubelet starts it anew."""
        self._signal(signal.SIGKILL)

    async def retire(self) -> None:
        """Ends it as a kubelet does, for good."""
        self._wanted = False
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), 20)
        except TimeoutError:
            self.kill()

    def freeze(self) -> None:
        """Nothing of it goes on."""
        self._frozen = True
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self._frozen = False
        self._signal(signal.SIGCONT)

    def set_clock_ahead(self, seconds: float) -> None:
        """Steps its wall clock, that of processes to come too."""
        if self._clock.exists():
            with self._clock.open("r+b") as file:
                file.write(launch.AHEAD.pack(seconds))
        else:
            self._clock.write_bytes(launch.AHEAD.pack(seconds))

    def slow_down(self, seconds: float) -> None:
        """Each of its requests takes so much longer."""
        self.gateway.faults.add(Fault(delay=seconds))

    def cut_lease(self) -> None:
        """What it asks of the lease is never answered, and never done."""
        self.gateway.faults.add(Fault(delay=SLOW), path="/leases")

    def flap(self) -> None:
        """Every third of its requests fails, some of them after they were done."""
        for fault in FLAPS:
            self.gateway.faults.add(fault, rate=FLAP_RATE)

    def mend(self) -> None:
        """Its way to the API server is as it should be."""
        self.gateway.faults.clear()
        self.gateway.flowing.set()
        self.wire.mend()

    async def is_ready(self) -> bool:
        """Whether /readyz says 200."""
        return (await self.ask("/readyz"))[0] == 200

    async def ask(self, path: str) -> tuple[int, str]:
        """Status and text; 0 where nobody answers."""
        with suppress(aiohttp.ClientConnectionError, TimeoutError):
            async with self._session.get(path) as response:
                return response.status, await response.text()
        return 0, ""

    async def _start(self) -> None:
        self.started.append(time.monotonic())
        here = (f"--kubeconfig={self._kubeconfig}", "--host=127.0.0.1", f"--port={self._port}")
        command = (sys.executable, launch.__file__, str(self._clock), "operator", *here, *self._options)
        environment = {**os.environ, "POD_NAME": self.process, "POD_NAMESPACE": self._namespace}
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=log, stdout=log)

    async def _keep(self) -> None:
        while True:
            code = await self._process.wait()
            if not self._wanted:
                return
            self.ends.append(code)
            await asyncio.sleep(RESTART_SECONDS)
            await self._start()

    async def _end(self) -> None:
        self._wanted = False
        self._keeping.cancel()
        await asyncio.gather(self._keeping, return_exceptions=True)
        self.kill()
        await self._process.wait()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)


async def until(holds: Callable[[], Any], what: str, *, seconds: float = 120.0) -> None:
    """Waits for a condition, which may be a coroutine's answer."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        answer = holds()
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer:
            return
        assert asyncio.get_running_loop().time() < deadline, f"not within {seconds:.0f} s: {what}"
        await asyncio.sleep(0.05)
