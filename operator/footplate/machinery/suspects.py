"""Asks a Prometheus from time to time which nodes' GPUs have failed, where one is named. No answer is no suspects."""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager

import structlog

from footplate.machinery.clock import Clock
from footplate.machinery.metrics import Metrics
from footplate.machinery.prometheus import Prometheus, PrometheusError
from footplate.policy.suspects import QUERY, find

log = structlog.get_logger(__name__)

ASK_EVERY_SECONDS = 30.0
SUSPECT_SECONDS = 3600.0


class Suspects:
    """The nodes that new attempts keep away from, with why, each for an hour from when it was first seen."""

    def __init__(
        self,
        prometheus: AbstractAsyncContextManager[Prometheus],
        nodes: Callable[[], Collection[str]],
        *,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._prometheus = prometheus
        self._nodes = nodes
        self._clock = clock
        self._metrics = metrics
        self._since: dict[tuple[str, str], float] = {}

    def now(self) -> Mapping[str, str]:
        """Why, by node."""
        oldest = self._clock.monotonic() - SUSPECT_SECONDS
        return {node: why for (node, why), since in self._since.items() if since > oldest}

    async def run(self) -> None:
        """Asks until cancelled."""
        async with self._prometheus as prometheus:
            while True:
                await self._ask(prometheus)
                await self._clock.sleep(ASK_EVERY_SECONDS)

    async def _ask(self, prometheus: Prometheus) -> None:
        result = "failed"
        try:
            found = find(await prometheus.query(QUERY), self._nodes())
            self._remember(found)
            result = "ok"
        except PrometheusError as error:
            log.warning("prometheus_not_asked", error=str(error))
        except Exception:
            log.exception("suspects_not_found")
        self._metrics.prometheus_queries.labels(result).inc()
        self._metrics.suspect_nodes.set(len(self.now()))

    def _remember(self, found: Mapping[str, str]) -> None:
        now = self._clock.monotonic()
        # What is still said after an hour is known, so that it doesn't count as seen anew.
        known = {
            key: since for key, since in self._since.items() if since > now - SUSPECT_SECONDS or key in found.items()
        }
        for node, why in found.items():
            if (node, why) not in known:
                log.warning("node_suspect", node=node, why=why)
            known.setdefault((node, why), now)
        self._since = known
