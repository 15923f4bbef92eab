"""What a bare command is started with, by the shell that starts it."""

import os
import subprocess
from pathlib import Path

import pytest

from footplate.api.trainer import Trainer
from footplate.bare_command import bare_folders, bare_start
from footplate.contract import SCRATCH_FOLDERS, ExitCode

SHOW = "import os; print(os.getcwd(), sorted(os.listdir()), os.environ['PYTHONPATH']); open('new', 'w').close()"


def run(root: Path, command: list[str], *, working_dir: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a command whose source is a ConfigMap, mounted as a kubelet does: links into a hidden folder."""
    mount = root / "mount"
    (mount / "..data").mkdir(parents=True)
    for name in ("train.py", ".settings"):
        (mount / "..data" / name).touch()
        (mount / name).symlink_to(f"..data/{name}")
    mount.chmod(0o555)
    trainer = Trainer.model_validate(
        {"image": "any", "command": command, "source": {"configMap": {"name": "c"}}, "workingDir": working_dir}
    )
    start = bare_start(trainer, trainer.args)
    environ = {"PATH": os.environ["PATH"], "FOOTPLATE_SOURCE_DIR": str(mount), "FOOTPLATE_WORK_DIR": str(root)}
    return subprocess.run([*start["command"], *start["args"]], env=environ, capture_output=True, text=True, check=False)


def test_its_code_lies_in_a_folder_that_it_may_write_to(tmp_path: Path) -> None:
    done = run(tmp_path, ["python3", "-c", SHOW])
    code = tmp_path / "source"
    assert (done.returncode, done.stdout) == (0, f"{code} ['.settings', 'train.py'] {code}\n"), done.stderr
    assert (code / "new").is_file()


def test_it_takes_the_shells_place(tmp_path: Path) -> None:
    """Or SIGTERM would end at a shell that has no handler."""
    done = run(tmp_path, ["python3", "-c", "import os; print(open(f'/proc/{os.getpid()}/stat').read().split()[3])"])
    assert int(done.stdout) == os.getpid()


@pytest.mark.parametrize(
    ("command", "working_dir", "words"),
    [
        (["pyhton", "train.py"], None, "spec.trainer.command: there is no program 'pyhton'"),
        (["./train.py"], None, "there is no program './train.py'"),
        (["python3"], "src", "spec.trainer.workingDir=src: there is no such folder"),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, command: list[str], working_dir: str | None, words: str) -> None:
    done = run(tmp_path, command, working_dir=working_dir)
    assert done.returncode == ExitCode.CONFIG_ERROR
    assert words in done.stderr.splitlines()[-1]


def test_without_a_source_nothing_stands_before_it() -> None:
    trainer = Trainer.model_validate({"image": "any", "command": ["a"], "args": ["b"], "workingDir": "/app"})
    assert bare_start(trainer, trainer.args) == {"command": ["a"], "args": ["b"], "workingDir": "/app"}


def test_each_folder_of_the_contract_is_mounted() -> None:
    assert [mount["subPath"] for mount in bare_folders()] == [*SCRATCH_FOLDERS.values()]
