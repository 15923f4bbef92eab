"""`load_model`: every recipe's model is loaded and asked alike, and what can't be is told."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from footplate_trainer import load_model
from footplate_trainer.data.inputs import Column, ImageInput, TableInput, TextInput
from footplate_trainer.data.tokens import learn_tokenizer, tokens_of
from footplate_trainer.errors import DataError
from footplate_trainer.models import images
from footplate_trainer.models.cards import ModelCard
from footplate_trainer.models.export import export_model
from footplate_trainer.models.networks import build_network
from footplate_trainer.models.pretrained import IMAGES, read_network
from footplate_trainer.models.texts import NAME as TEXT
from footplate_trainer.models.texts import TextClassifier, make_network
from image_cases import SIDE, make_model
from text_cases import make_sentences

CLASSES = ("bad", "good")
COLUMNS = TableInput(columns=(Column(name="age"), Column(name="country", categories=("DE", "FR"))))
SHAPE = (3, SIDE, SIDE)
ROWS: list[dict[str, Any]] = [{"age": 3, "country": "DE"}, {"age": None, "country": "IT"}]
TEXTS = ["a lovely day", "a sad song", ""]
PIXELS = torch.arange(2 * 3 * SIDE * SIDE).remainder(256).to(torch.uint8).reshape(2, *SHAPE)
RECIPES = ("image-classification", "image-classification, pretrained", "tabular-classification", "tabular-regression")
ALL = (*RECIPES, "text-classification")


def save(recipe: str, folder: Path) -> Path:
    """A model as the recipe leaves it, its weights random."""
    torch.manual_seed(0)
    name, _, pretrained = recipe.partition(", ")
    network: torch.nn.Module
    if pretrained:
        source = make_model(folder / "source")
        tuned, _ = read_network(source, CLASSES, IMAGES)
        network, kind, arguments = (
            images.PretrainedImageClassifier(tuned, images.read_preprocessor(source)),
            images.NAME,
            {},
        )
        takes, example = ImageInput(shape=SHAPE), PIXELS
    elif name == "text-classification":
        tokens = tokens_of(learn_tokenizer([text for text, _ in make_sentences(200)], size=400), 16)
        network = TextClassifier(make_network(tokens, CLASSES, hidden=16, layers=1, dropout=0.1), tokens)
        kind, arguments, takes, example = TEXT, {}, TextInput(max_length=16), tokens.batch(TEXTS)
    elif name == "image-classification":
        kind, arguments = "image-classifier", {"image_shape": SHAPE, "classes": 2, "width": 4, "hidden": 8}
        network, takes, example = build_network(kind, arguments), ImageInput(shape=SHAPE), PIXELS
    else:
        what = {"classes": 2} if name == "tabular-classification" else {"target_mean": 3.0, "target_std": 2.0}
        kind = "table-classifier" if name == "tabular-classification" else "table-regressor"
        arguments = {"numeric": 1, "categories": [3], **what}
        network, takes, example = build_network(kind, arguments), COLUMNS, torch.zeros(2, 2)
    card = ModelCard(
        recipe=name,
        network=kind,
        arguments=arguments,
        classes=() if name == "tabular-regression" else CLASSES,
        input=takes,
    )
    export_model(network, example, card=card, formats=["safetensors"], folder=folder / "model")
    return folder / "model"


@pytest.fixture(scope="module", params=ALL)
def recipe(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(recipe: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(recipe, tmp_path_factory.mktemp("saved"))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """The model, to be damaged."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def inputs_of(recipe: str) -> Any:
    return TEXTS if recipe.startswith("text") else ROWS if recipe.startswith("tab") else PIXELS


def test_every_recipes_model_is_asked_alike(recipe: str, folder: Path) -> None:
    model, inputs = load_model(folder), inputs_of(recipe)
    answers = model.predict(inputs)
    assert len(answers) == len(inputs)
    if recipe == "tabular-regression":
        assert all(isinstance(answer, float) for answer in answers)
        with pytest.raises(DataError, match="gives a quantity for each row; ask predict"):
            model.probabilities(inputs)
    else:
        shares = model.probabilities(inputs)
        assert answers == [CLASSES[place] for place in shares.argmax(dim=1)]
        torch.testing.assert_close(shares.sum(dim=1), torch.ones(len(inputs)))
    with pytest.raises(DataError, match=r"the model takes .*at least"):
        model.predict(inputs[:0])
    if not isinstance(inputs, torch.Tensor):
        assert model.predict(iter(inputs)) == answers
        alone = [answer for one in inputs for answer in model.predict(one)]
        assert alone == (pytest.approx(answers, rel=1e-5) if recipe == "tabular-regression" else answers)


def test_other_kinds_of_input_are_told(recipe: str, folder: Path, tmp_path: Path) -> None:
    model = load_model(folder)
    others: list[Any] = [None, 5, [], object(), [object()], [None], {1}]
    others += [TEXTS[0] if recipe.startswith("tab") else ROWS, ROWS[0], [TEXTS[0], ROWS[0]], b"bytes"]
    if recipe.startswith("tab"):
        others = [other for other in others if other not in (ROWS, ROWS[0])]
    for other in others:
        with pytest.raises(DataError, match=r"the model takes (texts: strings|rows: mappings|images: pixels|pixels)"):
            model.predict(other)
    if recipe.startswith("image"):
        Image.new("L", (9, 9)).save(tmp_path / "a.png")
        assert len(model.predict([tmp_path / "a.png", str(tmp_path / "a.png")])) == 2
        with pytest.raises(DataError, match="leads to no file"):
            model.predict("a lovely day")


def test_numbers_that_are_none_give_no_answer(recipe: str, copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    weights[max(weights, key=lambda name: weights[name].numel())].fill_(math.nan)
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    count = len(inputs_of(recipe))
    with pytest.raises(
        DataError, match=rf"NaN or infinite numbers for \d of {count} inputs, the first of them number \d"
    ):
        load_model(copy).predict(inputs_of(recipe))


def half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def without_a_weight(path: Path) -> None:
    weights = load_file(path)
    del weights[next(iter(weights))]
    save_file(weights, path, metadata={"format": "pt"})


def of_another_shape(path: Path) -> None:
    weights = load_file(path)
    name = max(weights, key=lambda name: weights[name].numel())
    save_file({**weights, name: weights[name][:-1].clone()}, path, metadata={"format": "pt"})


@pytest.mark.parametrize("damage", [Path.unlink, half, without_a_weight, of_another_shape])
def test_damaged_weights_are_told(copy: Path, damage: Callable[[Path], None]) -> None:
    damage(copy / "model.safetensors")
    with pytest.raises(DataError, match=r"model\.safetensors|holds no whole model of a recipe"):
        load_model(copy)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "preprocessor_config.json"])
def test_files_that_are_missing_are_named(copy: Path, file: str) -> None:
    if not (copy / file).is_file():
        assert load_model(copy), "this kind of model has no such file"
        return
    (copy / file).unlink()
    with pytest.raises(DataError, match=file.replace(".", r"\.")):
        load_model(copy)


@pytest.mark.parametrize("key", ["transformers_weights", "attn_implementation"])
def test_nothing_else_is_loaded(tmp_path: Path, key: str) -> None:
    folder = save("image-classification, pretrained", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, key: "evil/adapter_model.bin"}))
    with pytest.raises(DataError, match=rf"config\.json .*{key}"):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "no-such"}, "no-such'; a newer footplate may know it"),
        ({"version": 2}, "holds no whole model of a recipe"),
        ({"surprise": 1}, "holds no whole model of a recipe"),
        ({"arguments": {"image_shape": [1]}}, "holds no whole model of a recipe"),
        ({"arguments": {"image_shape": [3, 32, 32], "classes": -1}}, "holds no whole model of a recipe"),
    ],
)
def test_cards_that_describe_no_model_are_told(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    folder = save("image-classification", tmp_path)
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**card, **change}))
    with pytest.raises(DataError, match=message):
        load_model(folder)


def test_folders_without_a_card_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no model\.json, which every recipe leaves .*, but nothing; download"):
        load_model(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DataError, match=r"but config\.json; download all"):
        load_model(tmp_path)
    with pytest.raises(DataError, match=r"reads folders, not s3://models/x/; footplate artifact get JOB FOLDER"):
        load_model("s3://models/x/")


def test_an_array_of_texts_is_as_a_list(tmp_path: Path) -> None:
    model = load_model(save("text-classification", tmp_path))
    assert model.predict(np.array(TEXTS)) == model.predict(TEXTS)
    assert len(model.predict(["x" * 10_000_000, "déjà \x00 vu \ud800"])) == 2
