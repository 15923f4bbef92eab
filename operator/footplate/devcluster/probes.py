"""A container's livenessProbe, as a kubelet runs it. Only `httpGet` is known here."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Liveness:
    """What to ask of a container, how often, and how many failures in a row mean its end. Times are in seconds."""

    url: str
    delay: float
    period: float
    timeout: float
    failures: int
    grace: float
    """From SIGTERM to SIGKILL."""

    async def fails(self, tell: Callable[[str], Awaitable[None]]) -> None:
        """Asks until the container has failed for good. `tell` is told how, at the first failure of each row."""
        await asyncio.sleep(self.delay)
        loop, failed = asyncio.get_running_loop(), 0
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self.timeout)) as session:
            while True:
                asked = loop.time()
                problem = await self._ask(session)
                failed = failed + 1 if problem else 0
                if failed == 1:
                    await tell(f"Liveness probe failed: {problem}")
                if failed >= self.failures:
                    return
                await asyncio.sleep(asked + self.period - loop.time())

    async def _ask(self, session: aiohttp.ClientSession) -> str:
        """What is wrong, empty where nothing is."""
        try:
            async with session.get(self.url, headers={"Connection": "close"}) as response:
                return "" if response.status < 400 else f"HTTP probe failed with statuscode: {response.status}"
        except TimeoutError:
            return f'Get "{self.url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
        except (aiohttp.ClientError, OSError) as error:
            return f'Get "{self.url}": {error}'


def read_liveness(container: Object, pod: Object) -> Liveness | None:
    """The container's probe; None where it has none that is known here. The API server has filled in its defaults."""
    probe = container.get("livenessProbe") or {}
    get = probe.get("httpGet")
    if get is None:
        return None
    ports = {port.get("name"): port["containerPort"] for port in container.get("ports") or ()}
    address = get.get("host") or pod["status"]["podIP"]
    path = get["path"].removeprefix("/")
    return Liveness(
        url=f"{get['scheme'].lower()}://{address}:{ports.get(get['port'], get['port'])}/{path}",
        delay=probe.get("initialDelaySeconds") or 0,
        period=probe["periodSeconds"],
        timeout=probe["timeoutSeconds"],
        failures=probe["failureThreshold"],
        grace=probe.get("terminationGracePeriodSeconds") or pod["spec"]["terminationGracePeriodSeconds"],
    )
