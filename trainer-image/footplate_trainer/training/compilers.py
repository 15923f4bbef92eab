"""What torch.compile needs of an image."""

import os
import shutil
import sys

import torch

from footplate_trainer.errors import ConfigError


def check_compiler(device: torch.device) -> None:
    """Refuses, before training, what torch.compile would end in at the first step: for CPUs it writes C++, and for
    accelerators Triton compiles a launcher in C.

    Raises:
        ConfigError: there is no such compiler.
    """
    if device.type == "cpu":
        variable, language, names = "CXX", "C++", ["clang++" if sys.platform == "darwin" else "g++"]
    else:
        variable, language, names = "CC", "C", ["gcc", "clang"]
    chosen = os.environ.get(variable)
    if not any(map(shutil.which, [chosen] if chosen else names)):
        wanted = f"{variable}={chosen}" if chosen else " or ".join(names)
        raise ConfigError(
            f"compile: torch.compile needs a compiler of {language}, and this image has no {wanted}; use footplate's "
            f"trainer image, install {names[0]} in yours (Debian: apt-get install g++), or leave compile out"
        )
