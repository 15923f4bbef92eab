"""What processes of a pod are started with."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from footplate.contract import ExitCode
from footplate_trainer.errors import ConfigError, WrongJob
from footplate_trainer.supervisor.launch import Launch, plan_launches
from footplate_trainer.supervisor.packages import Installed
from footplate_trainer.supervisor.pod import Pod, read_pod
from trainer_pods import pod_environment

ENTRYPOINT = {"trainer": {"entrypoint": "train.py", "args": ["--depth", "18"]}}
COMMAND = {"trainer": {"command": ["torchrun", "train.py"], "args": ["--depth", "18"]}}

PLACE = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "NODE_RANK", "GROUP_RANK")


def plan(root: Path, spec: dict[str, Any], environ: dict[str, str] | None = None, **place: Any) -> list[Launch]:
    pod = read_pod(pod_environment(root, spec, **place))
    (root / "code").mkdir(exist_ok=True)
    return plan_launches(
        pod, root / "code", {"PATH": "/bin", "MASTER_ADDR": "a", "MASTER_PORT": "1", **(environ or {})}
    )


def test_an_entrypoint_is_started_once_a_rank(tmp_path: Path) -> None:
    launches = plan(tmp_path, ENTRYPOINT, node_rank=1, nodes=2, processes=2)
    assert [launch.command for launch in launches] == [
        [sys.executable, "-m", "footplate_trainer.rank.program", "--depth", "18"]
    ] * 2
    assert [[launch.env[name] for name in PLACE] for launch in launches] == [
        ["2", "0", "4", "2", "1", "1"],
        ["3", "1", "4", "2", "1", "1"],
    ]
    assert {launch.folder for launch in launches} == {tmp_path / "code"}


@pytest.mark.parametrize("spec", [ENTRYPOINT, COMMAND], ids=["entrypoint", "command"])
def test_one_rank_alone_has_no_place_among_others(tmp_path: Path, spec: dict[str, Any]) -> None:
    (launch,) = plan(tmp_path, spec)
    assert launch.env.keys().isdisjoint(PLACE)


def test_a_commands_place_is_its_pods(tmp_path: Path) -> None:
    """The supervisor adds none, so that a bare command has the same."""
    (launch,) = plan(tmp_path, COMMAND, {"RANK": "1", "WORLD_SIZE": "3"}, node_rank=1, nodes=3, processes=8)
    assert {name: launch.env[name] for name in PLACE if name in launch.env} == {"RANK": "1", "WORLD_SIZE": "3"}


@pytest.mark.parametrize("spec", [ENTRYPOINT, COMMAND], ids=["entrypoint", "command"])
def test_what_was_installed_is_found_by_ranks_and_commands(spec: dict[str, Any], tmp_path: Path) -> None:
    pod, installed = read_pod(pod_environment(tmp_path, spec)), Installed(tmp_path / "packages", {"greet": "1.0"})
    (launch,) = plan_launches(pod, tmp_path, {"PATH": "/bin"}, installed=installed)
    assert launch.env["PATH"] == f"{tmp_path}/packages/bin:/bin"
    assert launch.command[0] == ("torchrun" if spec is COMMAND else f"{tmp_path}/packages/bin/python")


def test_a_command_is_started_once_a_node_and_knows_torchruns_names(tmp_path: Path) -> None:
    (launch,) = plan(tmp_path, COMMAND, node_rank=1, nodes=3, processes=8)
    assert [*launch.command] == ["torchrun", "train.py", "--depth", "18"]
    assert launch.rank == 8
    expected = {
        "PET_NNODES": "3", "PET_NPROC_PER_NODE": "8", "PET_NODE_RANK": "1", "PET_MASTER_ADDR": "a",
        "PET_MASTER_PORT": "1", "PET_MAX_RESTARTS": "0", "PET_RDZV_BACKEND": "static",
    }  # fmt: skip
    assert expected.items() <= launch.env.items()


@pytest.mark.parametrize(("before", "after"), [({}, "{code}"), ({"PYTHONPATH": "/lib"}, "{code}:/lib")])
def test_the_source_goes_before_the_python_path(tmp_path: Path, before: dict[str, str], after: str) -> None:
    (launch,) = plan(tmp_path, ENTRYPOINT, before)
    assert launch.env["PYTHONPATH"] == after.format(code=tmp_path / "code")


CODE = {"source": {"uri": "s3://code/a.tar"}}


@pytest.mark.parametrize(
    ("trainer", "folder"),
    [
        pytest.param({"entrypoint": "train.py", **CODE}, "code", id="entrypoint"),
        pytest.param({"command": ["x"], **CODE}, "code", id="command"),
        pytest.param({"command": ["x"], "workingDir": "src", **CODE}, "code/src", id="a folder of the source"),
        pytest.param({"entrypoint": "train.py", "workingDir": "src", **CODE}, "code/src", id="an entrypoint's"),
        pytest.param({"command": ["x"]}, "image", id="a command without a source"),
        pytest.param({"entrypoint": "mine"}, "code", id="an entrypoint without a source"),
        pytest.param({"entrypoint": "mine", "workingDir": "{root}/image"}, "image", id="absolute"),
    ],
)
def test_where_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trainer: dict[str, Any], folder: str) -> None:
    for each in ("code/src", "image"):
        (tmp_path / each).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path / "image")
    named = {key: value.format(root=tmp_path) if key == "workingDir" else value for key, value in trainer.items()}
    (launch,) = plan(tmp_path, {"trainer": named})
    assert launch.folder == tmp_path / folder


def test_a_working_directory_that_isnt_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"spec\.trainer\.workingDir=lib: there is no such folder"):
        plan(tmp_path, {"trainer": {"command": ["x"], "workingDir": "lib", **CODE}})


@pytest.mark.parametrize(
    ("resources", "processes", "environ", "threads"),
    [
        ({"limits": {"cpu": "8"}}, 2, {}, "4"),
        ({"requests": {"cpu": "3500m"}}, 1, {}, "3"),
        ({"limits": {"cpu": "500m"}}, 2, {}, "1"),
        ({"limits": {"cpu": "8"}}, 2, {"OMP_NUM_THREADS": "7"}, "7"),
    ],
)
def test_ranks_share_the_cores(
    tmp_path: Path, resources: dict[str, Any], processes: int, environ: dict[str, str], threads: str
) -> None:
    launches = plan(tmp_path, {**ENTRYPOINT, "resources": resources}, environ, processes=processes)
    assert [launch.env["OMP_NUM_THREADS"] for launch in launches] == [threads] * processes


@pytest.mark.parametrize("name", ["FOOTPLATE_CONFIG", "FOOTPLATE_UID", "FOOTPLATE_NODE_RANK", "FOOTPLATE_RUN_DIR"])
def test_a_missing_variable_is_named(tmp_path: Path, name: str) -> None:
    environment = pod_environment(tmp_path, ENTRYPOINT)
    del environment[name]
    with pytest.raises(ConfigError, match=name):
        read_pod(environment)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("FOOTPLATE_NODE_RANK", "first", "FOOTPLATE_NODE_RANK='first'"),
        ("FOOTPLATE_CONFIG", "/no/job.json", "No such file"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, name: str, value: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_pod({**pod_environment(tmp_path, ENTRYPOINT), name: value})


def test_a_config_that_is_no_job_names_the_field(tmp_path: Path) -> None:
    environment = pod_environment(tmp_path, ENTRYPOINT)
    (tmp_path / "job.json").write_text('{"metadata": {"name": "x"}, "run": 1, "spec": {"nodez": 1}}')
    with pytest.raises(ConfigError, match="nodez"):
        read_pod(environment)


def test_the_words_that_kubernetes_has_expanded_count(tmp_path: Path) -> None:
    """An entrypoint's and a command's alike."""
    for spec, words in ((ENTRYPOINT, ["--depth", "digits"]), (COMMAND, ["torchrun", "train.py", "digits"])):
        pod = read_pod(pod_environment(tmp_path, spec), words)
        (launch,) = plan_launches(pod, tmp_path, {})
        assert [*launch.command][-len(words) :] == words
        assert "18" not in launch.command


@pytest.mark.parametrize(("name", "value"), [("FOOTPLATE_UID", "uid-2"), ("FOOTPLATE_RUN", "2")])
def test_what_another_job_or_run_was_asked_for_is_not_trained(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(WrongJob, match=r"run 1 of a job with the UID uid-1, but this pod is of run") as refused:
        read_pod({**pod_environment(tmp_path, ENTRYPOINT), name: value})
    assert refused.value.exit_code == ExitCode.PEER_LOST


@pytest.mark.parametrize(("grace", "working"), [(120, 115.0), (10, 8.0)])
def test_some_of_the_grace_is_kept_for_the_way_out(tmp_path: Path, grace: int, working: float) -> None:
    pod: Pod = read_pod(pod_environment(tmp_path, ENTRYPOINT, grace_seconds=grace))
    assert pod.working_grace == working


def test_the_supervisor_never_imports_torch() -> None:
    program = "import sys, footplate_trainer.supervisor.lifecycle; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
