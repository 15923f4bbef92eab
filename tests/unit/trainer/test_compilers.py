"""`compile` is refused before training where it could only fail at the first step."""

from pathlib import Path

import pytest
import torch
from torch import nn

from footplate_trainer import Trainer
from footplate_trainer.errors import ConfigError
from footplate_trainer.training.compilers import check_compiler


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A path on which nothing is."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def put(folder: Path, name: str) -> None:
    (folder / name).write_text("")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(("device", "compiler"), [("cpu", "g++"), ("cuda", "gcc"), ("cuda", "clang")])
def test_a_compiler_is_needed_for_the_device(bare: Path, device: str, compiler: str) -> None:
    with pytest.raises(ConfigError, match=r"compile: torch\.compile needs a compiler of C.*apt-get install g\+\+"):
        check_compiler(torch.device(device))
    put(bare, compiler)
    check_compiler(torch.device(device))


def test_the_one_that_the_environment_names_must_be_there(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(bare, "g++")
    monkeypatch.setenv("CXX", "mine++")
    with pytest.raises(ConfigError, match=r"this image has no CXX=mine\+\+"):
        check_compiler(torch.device("cpu"))
    put(bare, "mine++")
    check_compiler(torch.device("cpu"))


def test_trainer_asks_before_it_trains(bare: Path) -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(ConfigError, match="needs a compiler"):
        Trainer(
            model,
            nn.functional.cross_entropy,
            torch.optim.SGD(model.parameters(), lr=0.1),
            precision="fp32",
            compile=True,
        )
