"""Which Python runs a framework: a test module names its `VENV`, whose requirements are in requirements/<VENV>.txt."""

from pathlib import Path

import pytest

from laptop import make_data

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def python(request: pytest.FixtureRequest) -> str:
    """The Python of the module's framework, with Footplate in it."""
    venv = ROOT / ".venvs" / request.module.VENV
    if not (venv / ".ready").exists():
        pytest.skip(f"{venv.relative_to(ROOT)} isn't there: make test-frameworks FRAMEWORKS={venv.name}")
    return str(venv / "bin/python")


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of examples/digits/make_data.py."""
    return make_data("digits", tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="session")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of examples/tabular/make_data.py, in `train` and `test`."""
    return make_data("tabular", tmp_path_factory.mktemp("wine"))
