"""A real Prometheus on loopback: Debian's package `prometheus`, which `make test` installs."""

import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import pytest
import yaml

T = TypeVar("T")
SECONDS = 200
"""Longer than counters are at 0, see `footplate.machinery.from_zero`."""
Sample = tuple[dict[str, str], float]


def find_tool(name: str) -> str:
    """A program of the package; without it the test fails in CI, and is skipped elsewhere."""
    found = shutil.which(name)
    if found is not None:
        return found
    why = f"no {name} in PATH: .ci/setup --package prometheus"
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


class Prometheus:
    """`with Prometheus(folder, scrape_configs) as prometheus`: scrapes every second, listens on a free port."""

    def __init__(self, folder: Path, scrape_configs: list[dict[str, Any]], rules: Path | None = None) -> None:
        folder.mkdir()
        self._log = folder / "prometheus.log"
        config = folder / "prometheus.yml"
        often = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        files = [str(rules)] if rules else []
        settings = {"global": often, "rule_files": files, "scrape_configs": scrape_configs}
        config.write_text(yaml.safe_dump(settings, width=10_000))
        self._command = [
            find_tool("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--web.listen-address=127.0.0.1:0",
        ]

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        try:
            self._url = wait_for(self._find_url, self._read_log)
            wait_for(self._is_ready, self._read_log)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop()

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._url

    def query(self, promql: str) -> list[Sample]:
        """The samples of an instant vector."""
        found = self._ask("query", query=promql)["result"]
        return [(each["metric"], float(each["value"][1])) for each in found]

    def query_range(self, promql: str, *, seconds: float) -> list[dict[str, str]]:
        """The labels of each series that has a sample within the last seconds, at whole ones."""
        now = time.time()
        found = self._ask("query_range", query=promql, start=now - seconds, end=now, step=1)["result"]
        return [each["metric"] for each in found]

    def rules(self) -> list[dict[str, Any]]:
        """The rules, with how their last evaluation went."""
        return [rule for group in self._ask("rules")["groups"] for rule in group["rules"]]

    def wait_for(self, promql: str, holds: Callable[[list[Sample]], bool]) -> list[Sample]:
        """The samples, once they are as they should be."""
        samples: list[Sample] = []

        def look() -> list[Sample] | None:
            nonlocal samples
            samples = self.query(promql)
            return samples if holds(samples) else None

        return wait_for(look, lambda: f"{promql} gives {samples}\n{read_url(f'{self._url}/api/v1/targets')}")

    def _ask(self, what: str, **parameters: Any) -> dict[str, Any]:
        url = f"{self._url}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        answer: dict[str, Any] = json.loads(read_url(url))["data"]
        return answer

    def _find_url(self) -> str | None:
        assert self._process.poll() is None, self._read_log()
        found = re.search(r'"Listening on" address=(\S+)', self._read_log())
        return f"http://{found[1]}" if found else None

    def _is_ready(self) -> bool:
        try:
            return bool(read_url(f"{self._url}/-/ready"))
        except urllib.error.HTTPError:
            return False

    def _read_log(self) -> str:
        return self._log.read_text()

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def wait_for(look: Callable[[], T | None], explain: Callable[[], str]) -> T:
    """What `look` finds, once it finds something."""
    deadline = time.monotonic() + SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, explain()
        time.sleep(0.2)
    return found


def read_url(url: str) -> str:
    """The text at a URL."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
        return text
