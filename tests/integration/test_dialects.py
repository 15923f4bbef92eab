"""Real launchers in the environment that the table makes: what each of their processes believes of its gang."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from footplate.api.trainingjob import TrainingJobSpec
from footplate.dialects import Place, environment
from trainer_pods import free_port

TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_MAX_RESTARTS")
TELL = f"""
import json, os, pathlib, sys
said = {{name: os.environ[name] for name in {NAMES}}}
pathlib.Path(sys.argv[1], f"{{os.getpid()}}.json").write_text(json.dumps(said))
"""


def run_nodes(folder: Path, flags: list[str], *, nodes: int, port: int) -> list[dict[str, str]]:
    """Starts torchrun once a node, and returns what its ranks found, by rank."""
    script = folder / "tell.py"
    script.write_text(TELL)
    spec = TrainingJobSpec.model_validate({"trainer": {"image": "any", "command": ["torchrun"]}})
    agents = []
    for rank in range(nodes):
        place = Place(
            spec=spec, job="digits", run=1, attempt=3, hosts=["127.0.0.1"] * nodes, port=port, node_rank=rank,
            processes=2, output_dir="", checkpoint_dir="", tensorboard_dir="",
        )  # fmt: skip
        command = [*TORCHRUN, *flags, str(script), str(folder)]
        agents.append(subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1", **environment(place)}))
    assert [agent.wait(300) for agent in agents] == [0] * nodes
    found = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    return sorted(found, key=lambda said: int(said["RANK"]))


@pytest.mark.parametrize("backend", ["static", "c10d"])
def test_torchrun_on_two_nodes(tmp_path: Path, backend: str) -> None:
    port = free_port()
    flags = [] if backend == "static" else ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}"]
    found = run_nodes(tmp_path, flags, nodes=2, port=port)
    assert [(said["RANK"], said["WORLD_SIZE"], said["LOCAL_RANK"]) for said in found] == [
        ("0", "4", "0"), ("1", "4", "1"), ("2", "4", "0"), ("3", "4", "1"),
    ]  # fmt: skip
    assert {said["TORCHELASTIC_RUN_ID"] for said in found} == {"digits-1-3"}
    assert {said["TORCHELASTIC_MAX_RESTARTS"] for said in found} == {"0"}


def test_torchrun_standalone_on_one_node(tmp_path: Path) -> None:
    found = run_nodes(tmp_path, ["--standalone"], nodes=1, port=free_port())
    assert [(said["RANK"], said["WORLD_SIZE"]) for said in found] == [("0", "2"), ("1", "2")]
