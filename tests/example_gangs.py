"""An example's job as its pods run it, without a cluster: the pods are those that the operator would make, and of each
the supervisor is a real process, in the Python that the job's image would have.
"""

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from footplate.api.trainingjob import TrainingJob
from footplate.contract import JOB_FILE, JobConfig, MountPath
from footplate.devcluster.environment import Rewriter, expand, pod_address, resolve_environment
from footplate.podspec import AttemptSpec, build_pods
from laptop import EXAMPLES
from trainer_pods import Done, RunningPod

RUN = "run-1"
UID = "uid-1"
PATIENCE_SECONDS = 900.0


class Example:
    """A folder of examples/ with its job.yaml, whose files are its source. What the job would put into buckets lies
    below `root`.

    `args` are the script's.
    """

    def __init__(self, name: str, root: Path, python: str, args: Sequence[str] = ()) -> None:
        self.root = root
        self._folder = EXAMPLES / name
        self._python = python
        manifest = yaml.safe_load((self._folder / "job.yaml").read_text())
        self.spec: dict[str, Any] = {**manifest["spec"], "storage": {}}
        self.spec["trainer"]["args"] = [*self.spec["trainer"].get("args", ()), *args]
        for part in {"output", "checkpoint"} & self.spec.keys():
            self.spec[part] = {**self.spec[part], "uri": f"file://{root}/{part}/"}
        for channel in self.spec.get("inputs", ()):
            channel["uri"] = channel["uri"].replace("s3://", f"file://{root}/")
        self._job: str = manifest["metadata"]["name"]
        TrainingJob.model_validate({**manifest, "spec": self.spec})

    @property
    def output(self) -> Path:
        """Where the model of run 1 lies."""
        return self.root / "output" / self._job / "1"

    @property
    def snapshot(self) -> dict[str, Path]:
        """The newest complete snapshot of what was left in the first node's checkpoint folder: contents by path."""
        run = self.root / "checkpoint" / self._job / f"run-1-{UID}"
        parts = [sorted(folder.glob("node-*.json")) for folder in sorted((run / "snapshots").glob("*"))]
        whole = [files for files in parts if len(files) == self.spec["nodes"]]
        listed = json.loads(whole[-1][0].read_text())["files"] if whole else []
        return {file["path"]: run / "snapshot-files" / "node-0" / file["sha256"] for file in listed}

    def run(self) -> list[Done]:
        """How its pods end, from first to last."""
        with self.attempt() as pods:
            return [pod.finish(seconds=PATIENCE_SECONDS) for pod in pods]

    @contextmanager
    def attempt(self, number: int = 0) -> Iterator[list[RunningPod]]:
        """The pods of one attempt, a supervisor each; what still runs at the end is killed."""
        pods = [self._start(pod, rank, number) for rank, pod in enumerate(self._pods(number))]
        try:
            yield pods
        finally:
            for pod in pods:
                pod.kill()

    def _pods(self, attempt: int) -> list[Any]:
        config = JobConfig.model_validate(
            {"metadata": {"name": self._job, "namespace": "team", "uid": UID}, "run": 1, "spec": self.spec}
        )
        (self.root / JOB_FILE).write_text(config.model_dump_json(by_alias=True, exclude_none=True))
        nodes = config.spec.nodes
        return build_pods(AttemptSpec(config, config.spec, RUN, attempt=attempt, nodes=nodes), range(nodes))

    def _start(self, pod: Any, rank: int, attempt: int) -> RunningPod:
        home = self.root / f"{attempt}-{rank}"
        for folder in ("run", "scratch"):
            (home / folder).mkdir(parents=True)
        paths = {
            MountPath.CONFIG: self.root,
            MountPath.SOURCE: self._folder,
            MountPath.SCRATCH: home / "scratch",
            MountPath.RUN: home / "run",
            MountPath.TERMINATION_LOG: home / "termination-log",
        }
        name, (container,) = pod["metadata"]["name"], pod["spec"]["containers"]
        rewrite = Rewriter({str(path): there for path, there in paths.items()}, namespace="team", subdomain=RUN)
        placed = {**pod, "metadata": {**pod["metadata"], "uid": name}, "status": {"podIP": pod_address("team", name)}}
        variables = asyncio.run(resolve_environment(container, placed, _no_secrets))
        image = {
            "PATH": f"{Path(self._python).parent}:/usr/bin:/bin",
            "HOME": str(home),
            "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0",
        }
        return RunningPod(
            home,
            {variable: rewrite(value) for variable, value in {**variables, **image}.items()},
            python=self._python,
            arguments=[rewrite(expand(argument, variables)) for argument in container["args"]],
        )


async def _no_secrets(_resource: str, _name: str) -> None:
    return None
