"""Recipes read the parts that the job has made of its data, and hold nothing out of them."""

from pathlib import Path

import torch

from footplate.api.recipes import TableHyperparameters
from footplate_trainer.rank.environment import Context, read_context
from footplate_trainer.recipes.inputs import choose_inputs

ASKED = TableHyperparameters.model_validate({"target": "y", "validationFraction": 0.2, "testFraction": 0.3})
CHANNELS = {"train": Path("in")}


def test_parts_go_before_channels() -> None:
    parts = {"train": Path("a"), "test": Path("b")}
    ctx = Context(device=torch.device("cpu"), inputs=CHANNELS, splits=parts)
    assert choose_inputs(ctx, ASKED) == (parts, {"validation": 0.0, "test": 0.0})


def test_without_parts_the_recipe_holds_out() -> None:
    ctx = Context(device=torch.device("cpu"), inputs=CHANNELS)
    assert choose_inputs(ctx, ASKED) == (CHANNELS, {"validation": 0.2, "test": 0.3})


def test_the_context_has_the_parts_that_are_there(tmp_path: Path) -> None:
    for name in ("train", "test", "other"):
        (tmp_path / name).mkdir()
    found = read_context({"SPLITS": str(tmp_path)}).splits
    assert found == {"train": tmp_path / "train", "test": tmp_path / "test"}
    assert read_context({}).splits == {}
