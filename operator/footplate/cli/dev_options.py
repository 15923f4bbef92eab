"""How the options of `footplate dev` are written, and what is wrong with one that isn't so."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from footplate.devcluster.images import OWN_PYTHON, Images
from footplate.devcluster.s3 import BUCKETS
from footplate.errors import ConfigurationError

_ASK = """
import importlib.metadata, platform
found = [each.version for each in importlib.metadata.distributions(name="footplate")]
print("Python", platform.python_version(), *(f"with Footplate {version}" for version in found[:1]))
"""
"""Whatever its version: it need not be one that Footplate runs in."""
_ASK_SECONDS = 60


def parse_pair(text: str, *, option: str, form: str) -> tuple[str, str]:
    """Splits `A=B`; raises ConfigurationError where it isn't one."""
    first, equals, second = text.partition("=")
    if not (first and equals and second):
        raise ConfigurationError(f"{option} {text}: write it as {form}")
    return first, second


def parse_uri(uri: str, *, option: str) -> tuple[str, str]:
    """Bucket and prefix, which ends with a slash where it isn't empty."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or bucket not in BUCKETS:
        buckets = ", ".join(f"s3://{each}/" for each in BUCKETS)
        raise ConfigurationError(f"{option} {uri}: the devcluster has the buckets {buckets}")
    return bucket, f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""


def parse_images(pythons: Sequence[str], path: str | None) -> Images:
    """`--python IMAGE=VENV`, each, and `--path`; raises ConfigurationError with the way out."""
    found: dict[str, Path] = {}
    for text in pythons:
        image, folder = parse_pair(text, option="--python", form="IMAGE=VENV")
        if image in found:
            raise ConfigurationError(f"--python {text}: {found[image]} stands for {image} already; map each image once")
        found[image] = Path(folder).expanduser().absolute()
        if not (found[image] / "bin" / "python").exists():
            raise ConfigurationError(
                f"--python {text}: there is no {found[image]}/bin/python, so that is no virtual environment; "
                f"`python3 -m venv {folder}` makes one"
            )
    return Images(found) if path is None else Images(found, _checked_path(path))


def describe_images(images: Images) -> list[str]:
    """A line on each Python that pods run in; raises ConfigurationError for one that doesn't start."""
    lines = []
    for image, folder in images.pythons.items():
        python = _ask(image, folder)
        lines.append(f"Pods of {image} run in {folder}: {python}.")
        if "Footplate" not in python:
            lines.append(
                "  It has no Footplate: as from such an image, only a command that needs no supervisor runs in it. For "
                f"others: {folder}/bin/python -m pip install 'footplate[supervisor]', or [trainer] for an entrypoint."
            )
    if not lines:
        return [f"Pods run in {OWN_PYTHON}, whatever their image; --python IMAGE=VENV gives an image another."]
    return [*lines, f"Pods of other images run in {OWN_PYTHON}."]


def _ask(image: str, folder: Path) -> str:
    """Versions of a virtual environment's Python and Footplate."""
    python = folder / "bin" / "python"
    try:
        answer = subprocess.run(
            [python, "-I", "-c", _ASK], capture_output=True, text=True, errors="replace", timeout=_ASK_SECONDS
        )
        why = (answer.stderr.strip().splitlines() or [f"exit code {answer.returncode}"])[-1]
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"--python {image}={folder}: {error}") from error
    if answer.returncode:
        raise ConfigurationError(f"--python {image}={folder}: {python} doesn't run: {why}; make the environment anew")
    return answer.stdout.strip()


def _checked_path(path: str) -> str:
    for each in path.split(":"):
        if not each.startswith("/"):
            raise ConfigurationError(
                f"--path {path}: {each!r} is no absolute path, and each pod has a folder of its own; write it whole"
            )
    if shutil.which("sh", path=path) is None:
        raise ConfigurationError(
            f"--path {path}: there is no sh in it, without which commands don't run; to add folders, write "
            f"--path {path}:$PATH"
        )
    return path
