"""What a real API server passes on to a pod: the run's token, and nothing of the user's own credentials."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from footplate.client.connection import Connection
from footplate.client.live import POD_PROXY
from footplate.contract import TOKEN_HEADER
from footplate.machinery.resources import PODS
from realcluster.controlplane import ControlPlane

pytestmark = [pytest.mark.realcluster, pytest.mark.timeout(120)]


def own_address() -> str:
    """An address of this machine that isn't loopback, to which no API server connects; empty where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return ""
        address = str(probe.getsockname()[0])
    return "" if address.startswith("127.") else address


async def test_the_token_goes_on_and_the_user_s_credentials_stay(plane: ControlPlane, tmp_path: Path) -> None:
    address = own_address()
    if not address:
        pytest.skip("this machine has no address but loopback, where the API server connects to no pod")
    seen: list[dict[str, str]] = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(dict(request.headers))
        return web.Response(text="here")

    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, address, 0)
    await site.start()
    port = runner.addresses[0][1]
    pod: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "proxied"}}
    spec = {"containers": [{"name": "trainer", "image": "x"}], "automountServiceAccountToken": False}
    await asyncio.to_thread(plane.kubectl, "create", "-f", "-", stdin={**pod, "spec": spec})
    status = json.dumps({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}})
    patch = ("patch", "pod", "proxied", "--subresource=status", "--type=merge", "-p", status)
    await asyncio.to_thread(plane.kubectl, *patch)
    try:
        rules = [{"apiGroups": [""], "resources": ["pods/proxy"], "verbs": ["get"]}]
        user = plane.service_account("reader", folder=tmp_path, rules=rules)
        assert "token" in user.read_text(), "who shows a certificate has no header that could go on"
        said = await asyncio.to_thread(ask, user, port)
    finally:
        await runner.cleanup()
        await asyncio.to_thread(plane.kubectl, "delete", "pod", "proxied", "--force", "--grace-period=0")
    assert said == b"here"
    [headers] = seen
    assert headers[TOKEN_HEADER] == "ab" * 32
    assert not {"Authorization", "Cookie"} & headers.keys()


def ask(kubeconfig: Path, port: int) -> bytes:
    """As `footplate status` does."""
    connection = Connection(kubeconfig=str(kubeconfig), context=None)

    async def read() -> bytes:
        path = PODS.path("default", f"proxied:{port}", "proxy/progress")
        headers = {TOKEN_HEADER: "ab" * 32}
        stream = connection.stream(
            POD_PROXY, path, namespace="default", headers=headers, seconds=10, quiet_seconds=None
        )
        return b"".join([piece async for piece in stream])

    try:
        return connection.run(read())
    finally:
        connection.close()
