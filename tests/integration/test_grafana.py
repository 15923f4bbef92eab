"""A real Grafana, where the machine has one, takes the dashboards as its sidecar lays them. Elsewhere they are held
against its schema alone, in tests/unit/observability.
"""

import json
import os
import shutil
import subprocess
import urllib.error
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from documents import DOCS
from prometheus_server import read_url, wait_for
from trainer_pods import free_port

pytestmark = [pytest.mark.integration]

DASHBOARDS = DOCS.parent / "helm/footplate/files/dashboards"
SETTINGS = {
    "GF_SERVER_HTTP_ADDR": "127.0.0.1",
    "GF_AUTH_ANONYMOUS_ENABLED": "true",
    "GF_AUTH_ANONYMOUS_ORG_ROLE": "Admin",
    "GF_ANALYTICS_REPORTING_ENABLED": "false",
    "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
    "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
    "GF_PLUGINS_PREINSTALL_DISABLED": "true",
}


def find_command() -> list[str]:
    """How Grafana is started here, from a package or from an unpacked archive."""
    found = shutil.which("grafana")
    if found is None:
        pytest.skip("no grafana in PATH: the dashboards are held against its schema only")
    homes = (Path(found).resolve().parent.parent, Path("/usr/share/grafana"))
    home = next(home for home in homes if (home / "conf/defaults.ini").is_file())
    return [found, "server", f"--homepath={home}"]


@pytest.fixture
def grafana(tmp_path: Path) -> Iterator[str]:
    """Its address, once it answers."""
    command = find_command()
    provider = {"name": "footplate", "type": "file", "options": {"path": str(DASHBOARDS)}}
    provisioning = tmp_path / "provisioning/dashboards"
    provisioning.mkdir(parents=True)
    (provisioning / "footplate.yaml").write_text(yaml.safe_dump({"apiVersion": 1, "providers": [provider]}))
    port = free_port()
    paths = {"GF_PATHS_DATA": str(tmp_path / "data"), "GF_PATHS_PROVISIONING": str(provisioning.parent)}
    said = tmp_path / "grafana.log"
    environment = {**os.environ, **SETTINGS, **paths, "GF_SERVER_HTTP_PORT": str(port)}
    with said.open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        wait_for(lambda: process.poll() is not None or look(f"http://127.0.0.1:{port}/api/health"), said.read_text)
        assert process.poll() is None, said.read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def look(url: str) -> Any:
    """The document at a URL; None where there is none yet."""
    try:
        return json.loads(read_url(url))
    except (urllib.error.URLError, ConnectionError):
        return None


def test_grafana_takes_every_dashboard(grafana: str) -> None:
    for raw in (json.loads(file.read_text()) for file in sorted(DASHBOARDS.iterdir())):
        address = f"{grafana}/api/dashboards/uid/{raw['uid']}"
        taken = wait_for(partial(look, address), partial(str, address))["dashboard"]
        assert taken["title"] == raw["title"]
        assert [each["title"] for each in taken["panels"]] == [each["title"] for each in raw["panels"]]
