"""Which Python a container runs in: a host has no images, so virtual environments stand in for them.

An image for which none does runs in Footplate's own Python. That is right for the trainer image, and said of any.
"""

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

OWN_BIN = Path(sys.executable).parent
OWN_PYTHON = f"Footplate's own Python {platform.python_version()} ({OWN_BIN})"


def _path_here() -> str:
    return os.environ.get("PATH", os.defpath)


@dataclass(frozen=True)
class Images:
    """What stands for the images that pods name."""

    pythons: Mapping[str, Path] = field(default_factory=dict)
    """Folder of a virtual environment by image, as pods write it."""
    path: str = field(default_factory=_path_here)
    """What is on a container's PATH after its Python's folder; by default this process's own."""

    def search_path(self, image: str, own: str | None) -> str:
        """The PATH of a container whose own environment sets it to `own`, where it does.

        The Python stays first, as it lies here in a folder that no PATH meant for the image would name. Of Footplate's
        environment nothing is found from another one: what that lacks must be missing, as from the image.
        """
        rest = (self.path if own is None else own).split(":")
        if image not in self.pythons:
            return ":".join([str(OWN_BIN), *rest])
        if sys.prefix != sys.base_prefix:
            rest = [each for each in rest if Path(each).resolve() != OWN_BIN.resolve()]
        return ":".join([str(self.pythons[image] / "bin"), *rest])

    def note(self, image: str) -> str | None:
        """What to tell of a container whose image stands for nothing; None where it does."""
        if image in self.pythons:
            return None
        return (
            f'image "{image}" isn\'t pulled here, the container runs in {OWN_PYTHON}; '
            f"`footplate dev up --python {image}=VENV` gives it another"
        )
