"""Asks a Prometheus that the platform has named: an instant query, bounded in time and size.

It is asked without credentials, follows no redirect, and what it answers is other programs' text: a shape that isn't
Prometheus' is an error like no answer.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import orjson

from footplate.errors import ConfigurationError, Retryable
from footplate.machinery.responses import TooLong, read_within

TIMEOUT_SECONDS = 10.0
MAX_ANSWER_BYTES = 4 * 2**20
"""About 15,000 series with a dozen labels each."""


class PrometheusError(Retryable):
    """No usable answer."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of an instant vector. Its value is a finite number."""

    labels: Mapping[str, str]
    value: float


def check_url(url: str) -> None:
    """Raises ConfigurationError for what can't be a Prometheus' address."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or "@" in url:
        raise ConfigurationError(
            f"--prometheus: {url!r} can't be asked; write http:// or https://, a host and, where it has one, a port "
            "and a path, such as http://prometheus.monitoring:9090, without user, query or fragment"
        )


class Prometheus:
    """`async with Prometheus(url) as prometheus`: queries go below `url`/api/v1."""

    def __init__(self, url: str) -> None:
        check_url(url)
        self._url = f"{url.rstrip('/')}/api/v1/query"

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        self._session = aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def query(self, promql: str) -> list[Sample]:
        """The samples of an instant vector, now.

        Raises:
            PrometheusError: no answer, another than a vector, or one that is too large.
        """
        try:
            async with self._session.post(self._url, data={"query": promql}, allow_redirects=False) as answer:
                body = await read_within(answer, most=MAX_ANSWER_BYTES)
                if answer.status != 200:
                    raise PrometheusError(f"{self._url} answers {answer.status}: {body[:200]!r}")
        except TooLong as error:
            raise PrometheusError(f"an answer of {error}; ask for fewer series") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise PrometheusError(f"{self._url} doesn't answer: {type(error).__name__}: {error}") from error
        return _samples(body)


def _samples(body: bytes) -> list[Sample]:
    try:
        data = orjson.loads(body)["data"]
        if data["resultType"] != "vector":
            raise PrometheusError(f"the answer is no vector but {str(data['resultType'])[:64]!r}")
        return [sample for each in data["result"] if (sample := _sample(each)) is not None]
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise PrometheusError(f"the answer isn't Prometheus': {type(error).__name__}: {error}") from error


def _sample(raw: Any) -> Sample | None:
    value = float(raw["value"][1])
    labels = {str(name): str(text) for name, text in raw["metric"].items()}
    return Sample(labels, value) if math.isfinite(value) else None
