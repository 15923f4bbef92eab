import asyncio
import json
import stat
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from certificates import Authority
from footplate.errors import ConfigurationError, LeaseLost
from footplate.machinery.credentials import Credentials
from unit.machinery.support import serve


def write_kubeconfig(folder: Path, server: str, user: dict[str, Any], **cluster: Any) -> str:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return str(path)


class Guard:
    """A server that lets one token in, and remembers what it was shown."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.shown: list[str | None] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.shown.append(request.headers.get("Authorization"))
        return web.Response(status=200 if self.shown[-1] == f"Bearer {self.token}" else 401)


async def ask(credentials: Credentials, *, times: int = 1) -> list[int]:
    answers = []
    async with credentials.open_session() as session:
        for _ in range(times):
            async with session.post(f"{credentials.server}/x", data=b"{}") as response:
                answers.append(response.status)
    return answers


async def test_a_token_is_shown(tmp_path: Path) -> None:
    guard = Guard("first")
    async with serve(guard) as url:
        credentials = Credentials(kubeconfig=write_kubeconfig(tmp_path, url + "/", {"token": "first"}))
        await credentials.load()
        assert credentials.server == url
        assert await ask(credentials, times=2) == [200, 200]


async def test_a_rotated_token_is_read_again_within_the_request(tmp_path: Path) -> None:
    guard = Guard("first")
    async with serve(guard) as url:
        credentials = Credentials(kubeconfig=write_kubeconfig(tmp_path, url, {"token": "first"}))
        await credentials.load()
        assert await ask(credentials) == [200]
        guard.token = "second"
        write_kubeconfig(tmp_path, url, {"token": "second"})
        assert await ask(credentials) == [200]
        assert guard.shown == ["Bearer first", "Bearer first", "Bearer second"]


async def test_a_token_that_stays_wrong_is_a_lost_connection_and_no_storm_of_reading(tmp_path: Path) -> None:
    guard = Guard("right")
    async with serve(guard) as url:
        path = write_kubeconfig(tmp_path, url, {"token": "wrong"})
        credentials = Credentials(kubeconfig=path)
        await credentials.load()
        for _ in range(5):
            with pytest.raises(aiohttp.ClientConnectionError, match="401 Unauthorized"):
                await ask(credentials)
        assert len(guard.shown) == 6


async def test_a_token_file_is_read_again(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    guard = Guard("first")
    async with serve(guard) as url:
        credentials = Credentials(kubeconfig=write_kubeconfig(tmp_path, url, {"tokenFile": str(token)}))
        await credentials.load()
        guard.token = "second"
        token.write_text("second")
        assert await ask(credentials) == [200]


async def test_a_new_authority_is_read_within_the_request(tmp_path: Path) -> None:
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    bundle = tmp_path / "ca.crt"
    bundle.write_text(old.certificate.read_text())
    async with serve(Guard("t"), tls=new.issue()) as url:
        user = {"token": "t"}
        config = write_kubeconfig(tmp_path, url, user, **{"certificate-authority": str(bundle)})
        credentials = Credentials(kubeconfig=config)
        await credentials.load()
        with pytest.raises(aiohttp.ClientConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            await ask(credentials)
        bundle.write_text(old.certificate.read_text() + new.certificate.read_text())
        credentials._renewed_at = -1000.0  # the last look at the files was long ago
        assert await ask(credentials) == [200]


async def test_a_new_client_certificate_is_shown_though_connections_with_the_old_one_are_open(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    names = iter(("old", "new"))
    accepted = {"old"}

    def issue() -> dict[str, str]:
        certificate, key = authority.issue_pair(next(names))
        return {"client-certificate": str(certificate), "client-key": str(key)}

    async def judge(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        [[_, name]] = next(each for each in request.transport.get_extra_info("peercert")["subject"])
        return web.Response(status=200 if name in accepted else 401)

    async with serve(judge, tls=authority.issue(mutual=True)) as url:
        trust = {"certificate-authority": str(authority.certificate)}
        credentials = Credentials(kubeconfig=write_kubeconfig(tmp_path, url, issue(), **trust))
        await credentials.load()
        async with credentials.open_session() as session:

            async def get() -> int:
                async with session.get(f"{credentials.server}/x") as response:
                    return response.status

            assert [*await asyncio.gather(get(), get())] == [200, 200]
            accepted = {"new"}
            write_kubeconfig(tmp_path, url, issue(), **trust)
            assert [*await asyncio.gather(get(), get())] == [200, 200]


async def test_an_exec_plugin_is_asked(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    api = "client.authentication.k8s.io/v1"
    answer = {"apiVersion": api, "kind": "ExecCredential", "status": {"token": "plugged"}}
    plugin.write_text(f"#!{sys.executable}\nprint({json.dumps(answer)!r})\n")
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    user = {
        "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}
    }
    async with serve(Guard("plugged")) as url:
        credentials = Credentials(kubeconfig=write_kubeconfig(tmp_path, url, user))
        await credentials.load()
        assert await ask(credentials) == [200]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(None, id="no file"),
        pytest.param("{}", id="empty"),
        pytest.param("]", id="no YAML"),
        pytest.param('{"current-context": "x", "contexts": [], "clusters": [], "users": []}', id="no such context"),
    ],
)
async def test_what_cant_be_used_is_told_with_the_way_out(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "kubeconfig"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationError, match="--kubeconfig"):
        await Credentials(kubeconfig=str(path)).load()


async def test_a_kubeconfig_that_isn_t_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/a:{tmp_path}/b")
    with pytest.raises(ConfigurationError, match=f"there is no file {tmp_path}/a:{tmp_path}/b; run inside a cluster"):
        await Credentials().load()


async def test_a_pod_s_service_account_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kubernetes.aio.config import incluster_config

    (tmp_path / "token").write_text("mounted\n")
    (tmp_path / "ca.crt").write_text("")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "missing"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    with pytest.raises(ConfigurationError, match="Service certification file does not exist"):
        await Credentials().load()


async def test_what_was_given_up_is_reset_and_never_sent_later(tmp_path: Path) -> None:
    """A proper close would leave it to the kernel to deliver it whenever the network is back."""
    ended: asyncio.Queue[BaseException | None] = asyncio.Queue()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(1000):
                pass
            ended.put_nowait(None)
        except ConnectionResetError as error:
            ended.put_nowait(error)
        finally:
            writer.transport.abort()

    async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        credentials = Credentials(kubeconfig=write_kubeconfig(tmp_path, url, {}))
        await credentials.load()
        async with credentials.open_session(fenced=True) as session:
            with pytest.raises(TimeoutError):
                await session.post(f"{url}/x", data=b"{}", timeout=aiohttp.ClientTimeout(total=0.2))
            assert isinstance(await asyncio.wait_for(ended.get(), 5), ConnectionResetError)


async def test_the_last_look_is_in_the_moment_before_anything_goes_out(tmp_path: Path) -> None:
    guard = Guard("")

    async with serve(guard) as url:
        credentials = Credentials(kubeconfig=write_kubeconfig(tmp_path, url, {}))
        await credentials.load()

        def lost() -> None:
            raise LeaseLost("it ran out while this process stood still")

        async with credentials.open_session(fenced=True) as session:
            with pytest.raises((LeaseLost, aiohttp.ClientError)):
                await session.post(f"{url}/x", data=b"{}", trace_request_ctx=lost)
    assert guard.shown == []
