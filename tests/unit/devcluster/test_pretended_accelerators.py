"""Pods of a devcluster know that their accelerators are there to be counted."""

from pathlib import Path

from footplate.contract import PRETENDED_ACCELERATORS
from footplate.devcluster.container import _image_environment


def test_ranks_are_told_to_compute_on_the_cpu(tmp_path: Path) -> None:
    variables = _image_environment({}, {"metadata": {"name": "digits-1-0-0"}}, home=tmp_path, scratch="/scratch")
    assert variables[PRETENDED_ACCELERATORS]
