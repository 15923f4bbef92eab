"""Which Python runs a framework: a test module names its `VENV`, whose requirements are in requirements/<VENV>.txt."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def python(request: pytest.FixtureRequest) -> str:
    """The Python of the module's framework, with Footplate in it."""
    venv = ROOT / ".venvs" / request.module.VENV
    if not (venv / ".ready").exists():
        pytest.skip(f"{venv.relative_to(ROOT)} isn't there: make test-frameworks FRAMEWORKS={venv.name}")
    return str(venv / "bin/python")
