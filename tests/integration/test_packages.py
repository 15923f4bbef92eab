"""What a job requires is installed, by the real pip, over what the image has; and what that may run into."""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from footplate.api.packages import PipPolicy
from footplate_trainer.errors import ConfigError, StorageUnavailable
from footplate_trainer.supervisor import packages
from footplate_trainer.supervisor.packages import Installed
from footplate_trainer.supervisor.pod import Pod, read_pod
from trainer_pods import RunningPod, pod_environment
from wheels import index_of, make_sdist, make_wheel

pytestmark = pytest.mark.integration

TRAIN = """
import json, os, pathlib, sys
import greet
out = pathlib.Path(os.environ["FOOTPLATE_OUTPUT_DIR"])
(out / "seen.json").write_text(json.dumps([greet.VERSION, sys.prefix]))
"""


@pytest.fixture(autouse=True)
def _only_what_the_job_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "0")


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "packages"
    make_wheel(folder, "greet", requires=["numpy"], code="VERSION = '1.0'\ndef main():\n    print('greetings')\n",
               programs={"greet": "main"})  # fmt: skip
    return folder


def pod_of(root: Path, *, wheels: Path | None = None, pip: PipPolicy | None = None, attempt: int = 0) -> Pod:
    channels = [{"name": "wheels", "uri": f"file://{wheels}/"}] if wheels else []
    spec = {"trainer": {"entrypoint": "train.py"}, "inputs": channels}
    pod = read_pod(pod_environment(root, spec, attempt=attempt))
    pod.make_folders()
    if wheels:
        (pod.input_dir / "wheels").symlink_to(wheels)
    return replace(pod, config=pod.config.model_copy(update={"pip": pip}))


def install(pod: Pod, requirements: str, **options: Any) -> Installed | None:
    source = pod.work_dir / "source"
    source.mkdir()
    (source / "requirements.txt").write_text(requirements)
    return packages.install(pod, source, **{"tell": lambda text: None, **options})


def refusal(pod: Pod, requirements: str, **options: Any) -> str:
    with pytest.raises(ConfigError) as error:
        install(pod, requirements, **options)
    return str(error.value)


@pytest.mark.parametrize("kind", ["entrypoint", "command"])
def test_a_program_finds_what_it_requires_and_the_manifest_says_so(kind: str, tmp_path: Path, wheels: Path) -> None:
    trainer = (
        {"entrypoint": "train.py"} if kind == "entrypoint" else {"command": ["sh", "-c", "greet; python train.py"]}
    )
    spec = {
        "trainer": trainer,
        "inputs": [{"name": "wheels", "uri": f"file://{wheels}/"}],
        "output": {"uri": f"file://{tmp_path}/models/"},
    }
    files = {"train.py": TRAIN, "requirements.txt": "greet\npydantic\n"}
    done = RunningPod(tmp_path / "pod", pod_environment(tmp_path / "pod", spec, files=files)).finish(seconds=280)
    assert done.exit_code == 0, done.log
    assert ("greetings" in done.log.splitlines()) == (kind == "command")
    model = tmp_path / "models/digits/1"
    environment = tmp_path / "pod/scratch/work/packages"
    assert (model / "seen.json").read_text() == f'["1.0", "{environment}"]'
    manifest = (model / "manifest.json").read_text()
    assert '"installed": {\n      "greet": "1.0"\n    }' in manifest
    assert '"greet": "1.0",\n' in manifest.partition('"packages"')[2]


def test_what_the_image_has_needs_no_index(tmp_path: Path) -> None:
    assert install(pod_of(tmp_path, pip=PipPolicy(install="fromFiles")), "numpy\ntorch>=2\n") is None


def test_the_images_programs_are_run_by_the_environments_python(tmp_path: Path, wheels: Path) -> None:
    installed = install(pod_of(tmp_path, wheels=wheels), "greet\n")
    assert installed is not None
    assert installed.versions == {"greet": "1.0"}
    program = (installed.folder / "bin/torchrun").read_text()
    assert f'\'\'\'exec\' "{installed.python}" "$0" "$@"' in program
    assert Path(sys.executable).with_name("torchrun").read_text().partition("\n")[2] in program


def test_an_index_that_the_runtime_names(tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")  # the user's own, which doesn't count
    with index_of(wheels) as index:
        installed = install(pod_of(tmp_path, pip=PipPolicy(indexes=[index])), "greet\n")
    assert installed is not None
    assert installed.versions == {"greet": "1.0"}


def test_a_private_index_without_credentials(tmp_path: Path, wheels: Path) -> None:
    with index_of(wheels, status=401) as index:
        said = refusal(pod_of(tmp_path, pip=PipPolicy(indexes=[index])), "greet\n")
    assert said.startswith("requirements.txt of the source can't be installed: ERROR: ")
    assert "its index wants credentials" in said


@pytest.mark.parametrize("attempt", [0, 1])
def test_an_index_that_is_away(attempt: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple/")
    error = StorageUnavailable if attempt else ConfigError
    with pytest.raises(error, match="its index can't be reached from the pod"):
        install(pod_of(tmp_path, attempt=attempt), "nobody-has-this\n")


def test_contradictions_with_the_image(tmp_path: Path, wheels: Path) -> None:
    make_wheel(wheels, "old", requires=["torch<2"])
    make_wheel(wheels, "torch", "1.0")
    said = refusal(pod_of(tmp_path, wheels=wheels), "greet\nold\n")
    assert "old 1.0 depends on torch<2 The user requested (constraint) torch==2" in said.replace("<=2.14.1,", "")
    assert "leave out what contradicts trainer.image" in said
    assert said.endswith("Where the image has all that is needed, trainer.requirements: [] installs nothing")


def test_what_is_nowhere(tmp_path: Path, wheels: Path) -> None:
    said = refusal(pod_of(tmp_path, wheels=wheels), "greet\nnobody-has-this==3\n")
    assert "Could not find a version that satisfies the requirement nobody-has-this==3" in said


def test_a_build_that_fails(tmp_path: Path, wheels: Path) -> None:
    make_sdist(wheels, "broken", build="raise RuntimeError('no compiler here')")
    assert "RuntimeError: no compiler here" in refusal(pod_of(tmp_path, wheels=wheels), "broken\n")


def test_a_build_that_hangs(tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = tmp_path / "started"
    build = f"import os, pathlib, time; pathlib.Path({str(started)!r}).write_text(str(os.getpid())); time.sleep(600)"
    make_sdist(wheels, "slow", build=build)
    monkeypatch.setattr(packages, "TOLD_SECONDS", 0.0)
    told: list[str] = []
    pod = pod_of(tmp_path, wheels=wheels)
    said = refusal(pod, "slow\n", seconds=60, tell=told.append)
    assert "wasn't installed in 60 s; pip was at: " in said
    assert len(told) == 1
    assert "It is given 60 s in all" in told[0]
    builder = int(started.read_text())
    deadline = time.monotonic() + 10
    while Path(f"/proc/{builder}/cmdline").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{builder}/cmdline").exists() or not Path(f"/proc/{builder}/cmdline").read_bytes()


def test_a_runtime_that_installs_nothing(tmp_path: Path, wheels: Path) -> None:
    told: list[str] = []
    pod = pod_of(tmp_path, wheels=wheels, pip=PipPolicy(install="never"))
    assert install(pod, "greet\n", tell=told.append) is None
    assert told == [
        "requirements.txt of the source isn't installed: the policy of the job's runtime lets jobs have what is in "
        "their image"
    ]


def test_an_image_without_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "trainer.image has no pip; install 'footplate[supervisor]' there" in refusal(pod_of(tmp_path), "greet\n")
