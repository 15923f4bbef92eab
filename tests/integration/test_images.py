"""The Dockerfiles, as far as they can be checked where no builder runs.

Each COPY source exists and is let through by .dockerignore, the final stage is non-root and has no compiler, and the
very `pip install` of each file, run in a fresh virtual environment, gives a package whose entry point starts.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILES = [ROOT / "operator/Dockerfile", ROOT / "trainer-image/Dockerfile"]
by_image = pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)

pytestmark = pytest.mark.integration


def instructions(dockerfile: Path) -> list[str]:
    """The instructions, continuation lines joined, comments left out."""
    text = re.sub(r"\\\n\s*", "", dockerfile.read_text())
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def final_stage(dockerfile: Path) -> list[str]:
    lines = instructions(dockerfile)
    return lines[max(i for i, line in enumerate(lines) if line.startswith("FROM ")) :]


@by_image
def test_every_copied_path_exists_and_is_in_the_build_context(dockerfile: Path) -> None:
    context = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copies = [line.split()[1:-1] for line in instructions(dockerfile) if re.match(r"COPY (?!--from)", line)]
    sources = {source for copy in copies for source in copy}
    assert sources, "no COPY found: this test doesn't understand the file any more"
    assert sources <= context
    assert [source for source in sources if not (ROOT / source).exists()] == []


@by_image
def test_final_stage_is_small_and_unprivileged(dockerfile: Path) -> None:
    lines = final_stage(dockerfile)
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users, "the final stage must say USER"
    assert all(int(part) >= 10_000 for part in users[-1].split(":"))
    installed = " ".join(line for line in lines if line.startswith("RUN "))
    assert not re.search(r"\b(gcc|g\+\+|build-essential|clang|make|python3-dev)\b", installed)
    assert any(line.startswith("LABEL ") and "org.opencontainers.image.licenses" in line for line in lines)


@by_image
def test_bases_are_pinned_and_can_be_replaced(dockerfile: Path) -> None:
    lines = instructions(dockerfile)
    assert any(re.fullmatch(r"ARG PYTHON_IMAGE=python:\d+\.\d+\.\d+-slim-\w+", line) for line in lines)
    assert {line.split()[1] for line in lines if line.startswith("FROM ")} == {"${PYTHON_IMAGE}"}


STARTS = {
    "operator": ("kopf, kubernetes, aiohttp, footplate.operator", "torch", ["footplate", "operator", "--help"]),
    "trainer-image": ("torch, obstore, footplate_trainer.supervisor", "kopf", ["python", "-m", "footplate_trainer"]),
}


@by_image
@pytest.mark.timeout(600)
def test_what_the_image_installs_starts(dockerfile: Path, tmp_path: Path) -> None:
    imports, absent, start = STARTS[dockerfile.parent.name]
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    for command in pip_commands(dockerfile, venv):
        subprocess.run(command, shell=True, check=True, cwd=ROOT)
    python = venv / "bin/python"
    subprocess.run([python, "-I", "-c", f"import {imports}"], check=True, cwd=tmp_path)
    missing = subprocess.run([python, "-I", "-c", f"import {absent}"], capture_output=True, check=False, cwd=tmp_path)
    assert missing.returncode != 0, f"{absent} has no business in this image"
    begun = subprocess.run(
        [venv / "bin" / start[0], *start[1:]], capture_output=True, check=False, cwd=tmp_path, env={}
    )
    expected = 0 if "--help" in start else 78  # a trainer without a job.json says that it was not configured
    assert begun.returncode == expected, begun.stderr.decode()


def pip_commands(dockerfile: Path, venv: Path) -> list[str]:
    """The file's own pip commands, with its build arguments' defaults and this machine's paths."""
    lines = instructions(dockerfile)
    defaults = dict(re.match(r'ARG (\w+)="?([^"]*)"?', line).groups() for line in lines if re.match(r"ARG \w+=", line))  # type: ignore[union-attr]
    commands = [line.removeprefix("RUN ") for line in lines if line.startswith("RUN ") and "/bin/pip install" in line]
    for name, value in defaults.items():
        commands = [command.replace(f"${{{name}}}", value) for command in commands]
    commands = [command.replace('PIP_EXTRA_INDEX_URL="" ', "").replace("--no-cache-dir ", "") for command in commands]
    return [
        command.replace("/opt/footplate", str(venv)).replace("-c constraints.txt", "-c .ci/constraints.txt")
        for command in commands
    ]
