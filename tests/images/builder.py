"""Both images as `make images` builds them, by Debian's buildah, without a registry of images.

What they are built on is $PYTHON_IMAGE, or a Debian with Python made by debootstrap. pip in the build goes by the
settings that pip has here. Everything is kept in buildah's store, so that the next build has little to do.
"""

import hashlib
import os
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlparse

from images.containers import output

ROOT = Path(__file__).parents[2]
OPERATOR, TRAINER = "localhost/footplate/operator:test", "localhost/footplate/trainer:test"
PROGRAMS = ("buildah", "debootstrap", "runc")

_SUITE = "bookworm"
_PACKAGES = "python3-venv,libpython3.11-dev"
_PREPARE = """
folder=$(buildah mount "$1")
debootstrap --variant=minbase --include="$2" "$3" "$folder" $4
ln -s /usr/bin/python3 "$folder/usr/local/bin/python"
rm -rf "$folder"/var/cache/apt/* "$folder"/var/lib/apt/lists/*
"""
"""As Python's own images: `python`, its headers and `venv`. $4 is a mirror of Debian's packages."""


def build(base: str) -> None:
    """`make images`, both at once."""
    options = ["--isolation=chroot", "--layers", *_pip_options()]
    variables = [
        "BUILDER=buildah",
        f"PYTHON_IMAGE={base}",
        f"BUILD_OPTIONS={shlex.join(options)}",
        f"OPERATOR_IMAGE={OPERATOR}",
        f"TRAINER_IMAGE={TRAINER}",
        "EXTRA_PACKAGES=matplotlib",  # with which a test sees that caches have a place
    ]
    _run("make", "-j2", "--output-sync=target", "images", *variables)


def base_image() -> str:
    """Name of what both are built on."""
    return os.environ.get("PYTHON_IMAGE") or _debian()


def _debian() -> str:
    mirror = os.environ.get("DEBIAN_MIRROR", "")
    recipe = hashlib.sha256(f"{_SUITE} {_PACKAGES} {_PREPARE}".encode()).hexdigest()[:12]
    name = f"localhost/footplate/python:{_SUITE}-{recipe}"
    if subprocess.run(["buildah", "inspect", "--type=image", name], capture_output=True).returncode == 0:
        return name
    container = output("buildah", "from", "scratch")
    try:
        _run("bash", "-euc", _PREPARE, "debian", container, _PACKAGES, _SUITE, mirror)
        output("buildah", "commit", container, name)
    finally:
        output("buildah", "rm", container)
    return name


def _pip_options() -> list[str]:
    """pip's settings here as options of a build: addresses as they are, certificates and folders of wheels mounted."""
    options: list[str] = []
    for name, value in _pip_settings().items():
        inside = []
        for number, each in enumerate(value.split()):
            path = Path(urlparse(each).path).resolve()
            if "://" in each and not each.startswith("file:"):
                inside.append(each)
            elif name in ("cert", "find-links") and path.exists():
                inside.append(f"/mnt/{name}-{number}")
                options.append(f"--volume={path}:{inside[-1]}:ro")
            elif name == "trusted-host":
                inside.append(each)
        if inside:
            options.append(f"--build-arg=PIP_{name.upper().replace('-', '_')}={' '.join(inside)}")
    return options


def _pip_settings() -> dict[str, str]:
    """Of what the Dockerfiles take; the environment outdoes files, and the last file the first."""
    taken = ("index-url", "extra-index-url", "find-links", "trusted-host", "cert")
    lines = output(sys.executable, "-m", "pip", "config", "list").splitlines()
    found = {}
    for line in sorted(lines, key=lambda each: each.startswith(":env:")):
        name, _, value = line.partition("=")
        found[name.rpartition(".")[2]] = value.strip("'\"").replace("\\n", " ")
    return {name: found[name] for name in taken if name in found}


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout.decode(errors='replace')[-6000:]}"
