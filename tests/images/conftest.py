"""The images, built once a session."""

import os
import shutil
from collections.abc import Iterator

import pytest

from images import builder
from images.containers import Image, mounted


@pytest.fixture(scope="session")
def base() -> str:
    """Name of what both are built on, once both are built."""
    missing = [program for program in builder.PROGRAMS if shutil.which(program) is None]
    if os.getuid() != 0:
        missing.append("root")
    if missing:
        reason = f"needs {', '.join(missing)}: run make test-images as root"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    name = builder.base_image()
    builder.build(name)
    return name


@pytest.fixture(scope="session")
def operator_image(base: str) -> Iterator[Image]:
    """The operator's."""
    with mounted(builder.OPERATOR) as image:
        yield image


@pytest.fixture(scope="session")
def trainer_image(base: str) -> Iterator[Image]:
    """The trainer's."""
    with mounted(builder.TRAINER) as image:
        yield image


@pytest.fixture(scope="session")
def base_size(base: str) -> int:
    """Bytes of the files that the images have from their base."""
    with mounted(base) as image:
        return image.size()
