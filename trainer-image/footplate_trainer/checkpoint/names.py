"""What trainings, their parts and files are called, and where the checkpoints of a training lie in its run's folder."""

import re
from collections.abc import Iterable

from footplate_trainer.errors import ConfigError

MAIN = "main"
"""The training that isn't given a name."""
WEIGHTS_FILE = "model.safetensors"
"""The weights of an exported model."""
RANK_PART = "rank"
"""The part of a checkpoint that each rank has of its own."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_PART = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")


def check_name(name: object) -> str:
    """Raises ConfigError unless a training may be called so: its name is a folder's."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise ConfigError(
        f"name={name!r} is no name for a training: it must be a text of 1 to 63 lower-case letters, digits, '-' and "
        "'_' that begins with a letter or digit, such as 'fold-0'"
    )


def check_part_names(parts: Iterable[str]) -> None:
    """Raises ConfigError unless a checkpoint's files can be called after its parts."""
    for part in parts:
        if part == RANK_PART:
            raise ConfigError(
                f"restore({part}=…): {part!r} is what each rank's random numbers are called in a checkpoint; call this "
                "part something else"
            )
        if not _PART.fullmatch(part):
            raise ConfigError(
                f"restore({part}=…): a part's name must be 1 to 63 letters (a to z), digits and '_', beginning with a "
                "letter, since its files are called after it; call it something else"
            )


def folder_of(name: str) -> str:
    """Where a training's checkpoints lie in the folder of its run: a prefix of their keys."""
    return "" if name == MAIN else f"trainings/{name}/"
