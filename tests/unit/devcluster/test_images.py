"""Which Python a container finds first, and what is said where its image stands for none."""

import sys
from pathlib import Path

import pytest

from footplate.devcluster.images import OWN_BIN, Images

IMAGES = Images({"acme/tf:1": Path("/venvs/tf")}, path=f"/opt/bin:{OWN_BIN}:/bin")


@pytest.mark.parametrize(
    ("image", "own", "path"),
    [
        pytest.param("any", None, f"{OWN_BIN}:/opt/bin:{OWN_BIN}:/bin", id="footplate's"),
        pytest.param("acme/tf:1", None, "/venvs/tf/bin:/opt/bin:/bin", id="mapped"),
        pytest.param("acme/tf", None, f"{OWN_BIN}:/opt/bin:{OWN_BIN}:/bin", id="another-tag"),
        pytest.param("any", "/usr/bin:/bin", f"{OWN_BIN}:/usr/bin:/bin", id="own-path"),
        pytest.param("acme/tf:1", "/usr/bin:/bin", "/venvs/tf/bin:/usr/bin:/bin", id="mapped-own-path"),
        pytest.param("acme/tf:1", f"{OWN_BIN}/../bin", "/venvs/tf/bin", id="nothing-of-footplate's"),
    ],
)
def test_the_path_of_a_container(image: str, own: str | None, path: str) -> None:
    assert IMAGES.search_path(image, own) == path


def test_a_footplate_of_the_system_does_not_take_the_system_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "base_prefix", sys.prefix)
    assert IMAGES.search_path("acme/tf:1", None) == f"/venvs/tf/bin:/opt/bin:{OWN_BIN}:/bin"


def test_by_default_the_path_is_this_processs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/opt/bin")
    assert Images().search_path("any", None) == f"{OWN_BIN}:/opt/bin"


def test_who_runs_in_footplates_own_python_is_told() -> None:
    assert IMAGES.note("acme/tf:1") is None
    assert "`footplate dev up --python acme/tf=VENV` gives it another" in (IMAGES.note("acme/tf") or "")
