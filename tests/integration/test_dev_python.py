"""Images on a devcluster: virtual environments that stand in for them, and what is said where none does."""

import json
import os
import site
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from laptop import Laptop, run

pytestmark = pytest.mark.integration
PROGRAM = """
import pathlib, shutil, sys, tempfile
print("prefix", sys.prefix)
print("torchrun", shutil.which("torchrun"))
print("home", pathlib.Path.home())
print("temp", tempfile.gettempdir())
import only_here
"""

TALK = """
import os, sys
print("[bold]", sys.prefix, os.environ["PATH"].partition("/bin:")[2])
print("last words", end="")
sys.exit(os.environ["FOOTPLATE_ATTEMPT"] == "0")
"""


def make_venv(folder: Path, *, footplate: bool) -> Path:
    """A virtual environment with the package `only_here`, and with Footplate and all of this test's packages or not."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "only_here.py").write_text("print('only here')\n")
    if footplate:
        (packages / "all.pth").write_text(f"import site; site.addsitedir({site.getsitepackages()[0]!r})\n")
    return folder


def job(name: str, image: str, **trainer: Any) -> dict[str, Any]:
    return {
        "apiVersion": "footplate.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {
            "trainer": {"image": image, "source": {"configMap": {"name": "code"}}, **trainer},
            "nodes": 1,
            "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
            "runPolicy": {"maxRestarts": 0, "cleanPods": "never"},
        },
    }


@dataclass(frozen=True)
class Site:
    """A devcluster on which `acme/bare:1` and `acme/full:1` stand for virtual environments."""

    laptop: Laptop
    bare: Path
    full: Path

    def run(self, name: str, image: str, **trainer: Any) -> tuple[str, str, str]:
        """Phase, message and log of a job that has run."""
        self.laptop.apply(job(name, image, **trainer))
        status = self.laptop.wait(name, seconds=60)
        return status["phase"], status["message"], self.laptop.kubectl("logs", f"{name}-1-0-0").stdout

    def events(self, pod: str) -> list[str]:
        """Type, reason and message of what was said of a pod."""
        about = f"--field-selector=involvedObject.name={pod}"
        items = json.loads(self.laptop.kubectl("get", "events", about, "-o", "json").stdout)["items"]
        return [f"{each['type']} {each['reason']} {each['message']}" for each in items]


@pytest.fixture(scope="module")
def site_of_images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("images")
    bare, full = make_venv(folder / "bare", footplate=False), make_venv(folder / "full", footplate=True)
    (folder / "train.py").write_text(PROGRAM)
    mapped = [f"--python=acme/bare:1={bare}", f"--python=acme/full:1={full}"]
    with Laptop(folder / "home", options=mapped) as laptop:
        made = laptop.kubectl("create", "configmap", "code", f"--from-file={folder / 'train.py'}")
        assert made.returncode == 0, made.stderr
        yield Site(laptop, bare, full)


def test_up_says_what_pods_run_in(site_of_images: Site) -> None:
    site = site_of_images
    assert f"Pods of acme/bare:1 run in {site.bare}: Python 3." in site.laptop.said
    assert f"{site.bare}/bin/python -m pip install 'footplate[supervisor]'" in site.laptop.said
    assert f"{site.full}/bin/python -m pip" not in site.laptop.said
    assert "Pods of other images run in Footplate's own Python 3." in site.laptop.said


def test_a_bare_command_finds_the_environments_python_and_nothing_of_footplates(site_of_images: Site) -> None:
    phase, message, log = site_of_images.run("bare", "acme/bare:1", command=["python", "train.py"])
    assert phase == "Succeeded", message
    *said, home, temp, imported = log.splitlines()
    assert (said, imported) == ([f"prefix {site_of_images.bare}", "torchrun None"], "only here")
    assert home.startswith(f"home {site_of_images.laptop.home}/node/pods/"), "not the host's /tmp"
    assert not Path(temp.removeprefix("temp ")).exists(), "it is the pod's own, and goes with it"
    assert site_of_images.events("bare-1-0-0") == []


def test_an_entrypoint_runs_in_an_environment_that_has_footplate(site_of_images: Site) -> None:
    phase, message, log = site_of_images.run("full", "acme/full:1", entrypoint="train.py")
    assert phase == "Succeeded", message
    assert f"prefix {site_of_images.full}\n" in log
    assert "only here\n" in log


def test_an_entrypoint_fails_where_footplate_is_missing_as_from_an_image_without(site_of_images: Site) -> None:
    phase, message, _ = site_of_images.run("lacking", "acme/bare:1", entrypoint="train.py")
    assert phase == "Failed"
    assert "No module named footplate_trainer" in message
    assert "trainer.image" in message


def test_an_image_that_is_not_mapped_runs_in_footplates_own_python_and_says_so(site_of_images: Site) -> None:
    path = [{"name": "PATH", "value": "/usr/bin:/bin"}]
    phase, message, log = site_of_images.run("other", "acme/other:1", command=["python", "train.py"], env=path)
    assert phase == "Failed"
    assert "No module named 'only_here'" in message
    assert f"prefix {sys.prefix}\n" in log, "the job's own PATH took the image's Python away"
    [said] = site_of_images.events("other-1-0-0")
    assert said.startswith('Normal ImageNotMapped image "acme/other:1" isn\'t pulled here, the container runs in ')
    assert said.endswith("`footplate dev up --python acme/other:1=VENV` gives it another")


def test_run_shows_what_the_program_writes(tmp_path: Path) -> None:
    """Each attempt's words, the last ones of a pod that was deleted at once too, and none of them read as markup."""
    home, venv = tmp_path / "home", make_venv(tmp_path / "venv", footplate=False)
    manifest = job("talk", "acme/bare:1", command=["python", "-c", TALK])
    del manifest["spec"]["trainer"]["source"], manifest["spec"]["runPolicy"]
    (tmp_path / "job.yaml").write_text(json.dumps(manifest))
    command = [sys.executable, "-m", "footplate.cli.main", "dev", "run", "-f", str(tmp_path / "job.yaml")]
    options = [f"--python=acme/bare:1={venv}", "--path=/usr/bin:/bin"]
    output = run([*command, *options], {**os.environ, "FOOTPLATE_DEV_HOME": str(home)})
    said = [line.partition("│ ")[2] for line in output.splitlines() if "│ " in line]
    assert said == 2 * [f"[bold] {venv} /usr/bin:/bin", "last words"]
    logs = home / "node" / "logs" / "default"
    assert f"Logs       {logs}, until the next start" in output
    assert (logs / "talk-1-1-0" / "trainer.log").read_text().endswith("last words")
