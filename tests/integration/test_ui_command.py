"""`footplate ui` as a user starts it, against the devcluster's API server."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from client_site import site_in

pytestmark = pytest.mark.integration


def start(kubeconfig: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "footplate.cli.main", "ui", "--no-browser", *options]
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )


def ask(host: str, path: str, *, method: str = "GET", cookie: str = "") -> tuple[int, http.client.HTTPMessage, str]:
    connection = http.client.HTTPConnection(host, timeout=30)
    headers = {"Cookie": cookie, **({"Origin": f"http://{host}"} if method == "POST" else {})}
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.headers, text


def test_the_page_shows_a_cluster_and_acts_on_it(tmp_path: Path) -> None:
    with site_in(tmp_path) as site:
        made = site.create("digits")
        page = start(Path(site.kubeconfig))
        try:
            assert page.stdout is not None
            _, _, host, place, enter = page.stdout.readline().split()[-1].split("/")
            assert host.startswith("127.0.0.1:")
            _, headers, _ = ask(host, f"/{place}/{enter}")
            cookie = headers["Set-Cookie"].partition(";")[0]
            for path in ("", "jobs/default/digits", "jobs/default/digits/spec", "jobs/default/digits/logs", "cluster"):
                status, _, text = ask(host, f"/{place}/{path}", cookie=cookie)
                assert status == 200, text
                assert "digits" in text, path
            suspend = f"/{place}/jobs/default/digits/suspend?uid={made['metadata']['uid']}"
            status, headers, text = ask(host, suspend, method="POST", cookie=cookie)
            assert (status, headers["Location"]) == (303, f"/{place}/jobs/default/digits?done=suspend"), text
            assert site.job("digits")["spec"]["runPolicy"]["suspend"] is True
            status, _, text = ask(host, f"/{place}/jobs/default/digit", cookie=cookie)
            assert status == 404
            assert "did you mean digits?" in text
            page.send_signal(signal.SIGINT)
            assert page.wait(20) in (0, 130)
        finally:
            page.kill()
            page.communicate()


def test_mistakes_have_a_message(tmp_path: Path) -> None:
    nowhere = tmp_path / "kubeconfig"
    nowhere.write_text(
        json.dumps(
            {
                "clusters": [{"name": "a", "cluster": {"server": "http://127.0.0.1:1"}}],
                "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
                "users": [{"name": "a", "user": {}}],
                "current-context": "a",
            }
        )
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        page = start(nowhere, f"--port={port}")
        _, said = page.communicate(timeout=60)
    assert page.returncode == 1
    assert f"--port {port}" in said
    assert "Traceback" not in said
