"""The `footplate` command: its subcommands, and what it says where one isn't installed."""

import importlib
import subprocess
import sys
from types import ModuleType

import pytest
from typer.testing import CliRunner

from footplate import __version__
from footplate.cli.main import SUBCOMMANDS, app


def fail_to_import(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    def import_module(name: str) -> ModuleType:
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    monkeypatch.setattr(importlib, "import_module", import_module)


def test_version() -> None:
    assert CliRunner().invoke(app, ["version"]).stdout == f"{__version__}\n"


def test_help_says_what_every_command_is_for_and_imports_none() -> None:
    code = "import sys; from footplate.cli.main import app; app(['--help'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    words = " ".join(done.stdout.split())
    for name, subcommand in SUBCOMMANDS.items():
        assert f"{name} {subcommand.help}" in words
        assert f"footplate.cli.{subcommand.place.partition(':')[0]} " not in words
    assert "pydantic" not in words


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_a_command_says_of_itself_what_the_table_says(name: str) -> None:
    help_text = CliRunner().invoke(app, [name, "--help"]).stdout
    assert SUBCOMMANDS[name].help in " ".join(help_text.split())


def test_a_command_that_is_mistyped_is_guessed() -> None:
    assert "Did you mean 'validate'?" in CliRunner().invoke(app, ["valdate"]).stderr


@pytest.mark.parametrize("arguments", [["operator", "--port", "1"], ["operator"]])
def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    fail_to_import(monkeypatch, "kopf")
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stderr == "footplate operator: kopf isn't installed; run: pip install 'footplate[operator]'\n"


def test_our_own_missing_module_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_to_import(monkeypatch, "footplate.cli.operator")
    assert isinstance(CliRunner().invoke(app, ["operator"]).exception, ModuleNotFoundError)


def test_validate_imports_neither_operator_nor_devcluster() -> None:
    heavy = "[name for name in ('kopf', 'kubernetes', 'torch', 'footplate.devcluster') if name in sys.modules]"
    code = f"import sys, footplate.cli.validate; sys.exit(str({heavy}) if {heavy} else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
