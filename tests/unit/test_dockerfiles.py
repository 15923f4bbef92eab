"""The Dockerfiles, as far as they can be checked where no builder runs: `tests/images` runs what they make."""

import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILES = [ROOT / "operator/Dockerfile", ROOT / "trainer-image/Dockerfile"]
by_image = pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)


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
def test_final_stage_is_unprivileged_and_says_what_it_is(dockerfile: Path) -> None:
    lines = final_stage(dockerfile)
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users, "the final stage must say USER"
    assert all(int(part) >= 10_000 for part in users[-1].split(":"))
    assert any(line.startswith("LABEL ") and "org.opencontainers.image.licenses" in line for line in lines)


@by_image
def test_bases_are_pinned_and_can_be_replaced(dockerfile: Path) -> None:
    lines = instructions(dockerfile)
    assert any(re.fullmatch(r"ARG PYTHON_IMAGE=python:\d+\.\d+\.\d+-slim-\w+", line) for line in lines)
    assert {line.split()[1] for line in lines if line.startswith("FROM ")} == {"${PYTHON_IMAGE}"}


@by_image
def test_what_changes_with_each_commit_comes_last(dockerfile: Path) -> None:
    """Else each commit builds all anew, and each node pulls all anew: our own code is a small layer of its own."""
    kinds = [line.split()[0] for line in final_stage(dockerfile)]
    assert kinds[-3:] == ["ARG", "ARG", "LABEL"]
    copies = [line for line in final_stage(dockerfile) if line.startswith("COPY ")]
    assert copies == ["COPY --from=build /opt/footplate /opt/footplate", "COPY --from=build /opt/code /opt/footplate"]


def test_make_passes_on_what_was_said() -> None:
    said = {
        "PYTHON_IMAGE": "registry.example.com/python:3.11",
        "MIRROR": "https://pypi.example.com/simple",
        "TORCH": "torch==2.9.0",
        "TORCH_WHEELS": "https://wheels.example.com/cpu",
        "EXTRA_PACKAGES": "transformers datasets",
    }
    variables = [f"{name}={value}" for name, value in said.items()]
    command = ["make", "-n", "images", "BUILDER=buildah", "BUILD_OPTIONS=--layers", "OPERATOR_IMAGE=o:1", *variables]
    # Within `make test` its variables would make this make tell of directories.
    outside = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(command, cwd=ROOT, env=outside, capture_output=True, text=True, check=True)
    operator, trainer = (shlex.split(line) for line in done.stdout.splitlines())
    assert (operator[:2], trainer[:2]) == (["buildah", "build"], ["buildah", "build"])
    assert ("--layers" in operator, "--layers" in trainer) == (True, True)
    assert operator[operator.index("-t") + 1] == "o:1"
    both = {"PYTHON_IMAGE", "PIP_INDEX_URL", "VERSION", "REVISION"}
    assert arguments(operator).keys() == both
    assert arguments(trainer).keys() == both | {"TORCH", "TORCH_WHEELS", "EXTRA_PACKAGES"}
    assert arguments(trainer)["EXTRA_PACKAGES"] == said["EXTRA_PACKAGES"]
    assert arguments(operator)["PIP_INDEX_URL"] == said["MIRROR"]
    for dockerfile, given in zip(DOCKERFILES, (operator, trainer), strict=True):
        assert all(f"ARG {name}" in dockerfile.read_text() for name in arguments(given))


def arguments(command: Sequence[str]) -> dict[str, str]:
    values = [command[i + 1] for i, word in enumerate(command) if word == "--build-arg"]
    return dict(value.split("=", 1) for value in values)
