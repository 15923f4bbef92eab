"""Pretrained models of images: what is trained of them, what is refused, and what is left of a training."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.modules.batchnorm import _BatchNorm

from footplate.api.recipes import ImageHyperparameters
from footplate_trainer import load_model
from footplate_trainer.data.images import Images, ImageSplits
from footplate_trainer.errors import ConfigError, DataError
from footplate_trainer.models.export import export_model
from footplate_trainer.models.images import PretrainedImageClassifier, read_preprocessor
from footplate_trainer.models.pretrained import IMAGES
from footplate_trainer.rank.environment import Context
from footplate_trainer.recipes.image_models import Made, choose
from image_cases import SIDE, make_model
from text_cases import make_model as make_text_model

CLASSES = ("cat", "dog", "emu")


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("pretrained"))


@pytest.fixture
def folder(pretrained: Path, tmp_path: Path) -> Path:
    """A copy of the model to be damaged."""
    return Path(shutil.copytree(pretrained, tmp_path / "model"))


def change(folder: Path, file: str = "preprocessor_config.json", **values: Any) -> None:
    settings = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**settings, **values}))


def pixels(count: int = 4, *, channels: int = 3, side: int = SIDE) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, side, side), dtype=torch.uint8, generator=draw)


def data(taken: torch.Tensor, classes: tuple[str, ...] = CLASSES) -> ImageSplits:
    labels = torch.arange(len(taken)) % len(classes)
    return ImageSplits(Images(taken, labels, classes, "input train"), None, None)


def begin(folder: Path, splits: ImageSplits | None = None, **values: Any) -> Made:
    place = Context(device=torch.device("cpu"), inputs={"train": Path(), "model": folder})
    return choose(place, ImageHyperparameters.model_validate(values)).make(splits or data(pixels()), ())


LORA = {"fineTuning": "lora", "loraRank": 4}
LINEAR = {"convnext", "convnextv2", "swin", "vit"}


@pytest.mark.parametrize(
    ("kind", "values"),
    [(kind, {}) for kind in IMAGES.architectures] + [(kind, LORA) for kind in sorted(LINEAR)],
    ids=lambda each: each if isinstance(each, str) else "lora" if each else "full",
)
def test_every_weight_that_may_learn_does(kind: str, values: dict[str, Any], tmp_path: Path) -> None:
    """On several ranks DistributedDataParallel would wait for the gradient of one that has none."""
    model = begin(make_model(tmp_path, kind=kind), **values).network.train()
    before = {name: value.clone() for name, value in model.named_buffers()}
    logits = model(pixels())
    assert logits.shape == (4, 3)
    logits.logsumexp(dim=1).sum().backward()
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert trained
    assert [name for name, weight in model.named_parameters() if name in trained and weight.grad is None] == []
    if values:
        assert all("lora_" in name or "modules_to_save" in name for name in trained)
    assert not any(module.training for module in model.modules() if isinstance(module, _BatchNorm))
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers()), "statistics stay"


@pytest.mark.parametrize("kind", sorted({*IMAGES.architectures} - LINEAR))
def test_adapters_need_linear_layers(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"fineTuning = lora: adapters are for linear layers, and a {kind} has none"):
        begin(make_model(tmp_path, kind=kind), **LORA)


@pytest.mark.parametrize("values", [{}, LORA], ids=["full", "lora"])
def test_what_is_left_is_transformers_own_and_ours(pretrained: Path, tmp_path: Path, values: dict[str, Any]) -> None:
    model, card, _ = begin(pretrained, **values)
    for name, weight in model.named_parameters():
        if "lora_B" in name:  # else adapters change nothing
            torch.nn.init.normal_(weight, std=0.1)
    taken = pixels(6)
    with torch.no_grad():
        expected = torch.softmax(model.eval()(taken), dim=1)
    export_model(model, taken, card=card, formats=["safetensors"], folder=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json",
        "model.json",
        "model.safetensors",
        "preprocessor_config.json",
    }
    assert str(pretrained) not in "".join(path.read_text() for path in tmp_path.glob("*.json"))
    loaded = load_model(tmp_path)
    torch.testing.assert_close(loaded.probabilities(taken), expected, atol=1e-4, rtol=1e-3)
    assert loaded.predict(taken) == [CLASSES[place] for place in expected.argmax(dim=1)]
    assert loaded.predict(taken.numpy()) == loaded.predict(taken)

    from transformers import AutoModelForImageClassification, ViTImageProcessorPil

    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (50, 40, 3)).astype(np.uint8))
    picture.save(tmp_path / "picture.png")
    theirs = ViTImageProcessorPil.from_pretrained(tmp_path)(picture, return_tensors="pt")
    with torch.no_grad():
        logits = AutoModelForImageClassification.from_pretrained(tmp_path)(**theirs).logits
    ours = loaded.probabilities(tmp_path / "picture.png")
    torch.testing.assert_close(ours, torch.softmax(logits, dim=1), atol=1e-4, rtol=1e-3)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # of sizes, which are always the same
@pytest.mark.parametrize("kind", ["resnet", "vit"])
def test_other_formats_give_the_same(kind: str, tmp_path: Path) -> None:
    """Each file is compared with the model when it is written."""
    model, card, _ = begin(make_model(tmp_path / "model", kind=kind))
    formats = ["safetensors", "torchscript", "torch-export", "onnx"]
    files = export_model(model, pixels(), card=card, formats=formats, folder=tmp_path / "out")
    assert [path.name for path in files] == ["model.safetensors", "model.ts", "model.pt2", "model.onnx", "model.json"]


@pytest.mark.parametrize(("channels", "side"), [(1, SIDE), (3, 20), (1, 50)], ids=["grey", "small", "grey and large"])
def test_images_of_another_kind_are_made_to_fit(pretrained: Path, tmp_path: Path, channels: int, side: int) -> None:
    """As Pillow resizes them: IDX images are any size, and a model is asked for what it was trained on."""
    taken = pixels(2, channels=channels, side=side)
    model, card, _ = begin(pretrained, data(taken))
    assert isinstance(model, PretrainedImageClassifier)
    assert card.input.shape == (channels, side, side)  # type: ignore[union-attr]
    resized = [
        Image.fromarray(each.permute(1, 2, 0).squeeze(2).numpy()).convert("RGB").resize((SIDE, SIDE)) for each in taken
    ]
    alike = torch.stack([torch.from_numpy(np.array(each)).permute(2, 0, 1) for each in resized])
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(taken), model(alike), atol=0.02, rtol=0.02)
    export_model(model, taken, card=card, formats=["safetensors"], folder=tmp_path)
    assert len(load_model(tmp_path).predict(taken[:, 0] if channels == 1 else taken)) == 2


def test_values_are_scaled_as_the_preprocessor_says(folder: Path) -> None:
    change(
        folder,
        rescale_factor=0.01,
        do_normalize=False,
        size=24,
        do_center_crop=True,
        crop_size={"height": SIDE, "width": SIDE},
    )
    wants = read_preprocessor(folder)
    assert (wants.height, wants.width, wants.factor) == (SIDE, SIDE, 0.01)
    assert (wants.mean, wants.std) == ((0.0,) * 3, (1.0,) * 3)
    change(
        folder, do_normalize=True, image_mean=0.5, do_rescale=False, do_center_crop=False, size={"shortest_edge": 24}
    )
    wants = read_preprocessor(folder)
    assert (wants.height, wants.width, wants.factor, wants.mean) == (24, 24, 1.0, (0.5,) * 3)
    assert wants.std == (0.5, 0.25, 0.2)


def test_a_head_for_other_classes_is_made_anew_and_told(folder: Path) -> None:
    network, card, _ = begin(folder)
    assert card.notes == ("input model: its head for other classes is left out (classifier.bias, classifier.weight)",)
    body = begin(folder).network.network.vit.state_dict()  # type: ignore[union-attr]
    assert all(torch.equal(value, body[name]) for name, value in network.network.vit.state_dict().items())  # type: ignore[union-attr]
    network.save(folder)  # type: ignore[operator]
    again, card, _ = begin(folder)
    assert card.notes == ()
    assert torch.equal(again.network.classifier.weight, network.network.classifier.weight)  # type: ignore[union-attr]
    renamed, card, _ = begin(folder, data(pixels(), ("x", "y", "z")))
    assert card.notes == ("input model: its head for other classes is left out (classifier.bias, classifier.weight)",)
    assert not torch.equal(renamed.network.classifier.weight, network.network.classifier.weight)  # type: ignore[union-attr]


def own_model(folder: Path) -> Path:
    fresh = choose(Context(device=torch.device("cpu")), ImageHyperparameters(imageSize=16, width=4, hidden=8))
    network, card, _ = fresh.make(data(pixels(side=16)), ())
    export_model(network, pixels(side=16), card=card, formats=["safetensors"], folder=folder)
    return folder


def test_the_recipes_own_model_is_trained_on(tmp_path: Path) -> None:
    old = load_model(own_model(tmp_path)).network
    network, card, splits = begin(tmp_path, data(pixels(side=16, channels=1)))
    assert splits.train.pixels.shape == (4, 3, 16, 16), "as the model takes them"
    assert all(torch.equal(value, old.state_dict()[name]) for name, value in network.state_dict().items())
    assert network.training
    assert card.notes == ()
    network, card, _ = begin(tmp_path, data(pixels(side=16), ("x", "y")))
    assert card.arguments["classes"] == 2
    assert card.notes == ("input model: its head for other classes is left out",)
    assert network(pixels(side=16)).shape == (4, 2)
    assert torch.equal(network.features[0].weight, old.features[0].weight)  # type: ignore[union-attr,index]
    with pytest.raises(DataError, match="input train has images of 20 × 20 pixels, but the model of 16 × 16"):
        begin(tmp_path, data(pixels(side=20)))
    with pytest.raises(ConfigError, match="adapters are for models of transformers; use full"):
        begin(tmp_path, **LORA)


def test_a_model_of_another_recipe_is_told(tmp_path: Path) -> None:
    own_model(tmp_path)
    change(tmp_path, "model.json", recipe="tabular-classification", input={"kind": "table", "columns": []})
    with pytest.raises(
        DataError, match=r"model\.json is a model's of recipe tabular-classification; image-classificat"
    ):
        begin(tmp_path)


def no_preprocessor(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()


def other_size(**values: Any) -> Callable[[Path], None]:
    return lambda folder: change(folder, **values)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(
            no_preprocessor,
            r"no preprocessor_config\.json; AutoImageProcessor\.from.*\.save_pretrained\(folder\) writes",
            id="no preprocessor",
        ),
        pytest.param(
            lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
            r"no model\.safetensors, only pytorch_model\.bin, which may run code", id="pickle",
        ),
        pytest.param(
            lambda folder: change(folder, "config.json", patch_size=16),
            r"aren't those of the vit that config\.json describes: 2 are missing or of another shape", id="shape",
        ),
        pytest.param(
            lambda folder: (folder / "preprocessor_config.json").write_text("[]"),
            r"preprocessor_config\.json holds no settings", id="a list",
        ),
        pytest.param(
            lambda folder: change(folder, auto_map={"AutoImageProcessor": "evil.P"}),
            r"preprocessor_config\.json asks for code that comes with the model", id="remote code",
        ),
        pytest.param(
            lambda folder: change(folder, "config.json", model_type="clip"),
            r"has model_type 'clip'; image-classification trains convnext, ", id="another architecture",
        ),
        pytest.param(
            other_size(size={"longest_edge": 9}), r'size of images is {"longest_edge": 9}; it must be a', id="no size"
        ),
        pytest.param(other_size(size=100_000), "the size of images is 100000; .* from 8 to 1,024", id="monstrous"),
        pytest.param(other_size(size=True), "the size of images is true", id="no number"),
        pytest.param(other_size(image_mean=[0.5]), r"image_mean is \[0\.5\]; it must be a list of numbers", id="mean"),
        pytest.param(other_size(image_std=None), r"image_std is null", id="no std"),
        pytest.param(other_size(image_mean=[0, 0, float("nan")]), r"image_mean is \[0, 0, NaN\]", id="NaN"),
        pytest.param(other_size(image_std=[1, 0, 1]), "image_std must be greater than 0", id="std of 0"),
        pytest.param(other_size(rescale_factor="x"), "rescale_factor and image_std must be", id="factor"),
        pytest.param(
            other_size(size={"height": 40, "width": 40}), r"or_config\.json can't be read \(.*40", id="other size"
        ),
        pytest.param(
            lambda folder: change(folder, "config.json", num_channels=5), "num_channels = 5; images have", id="channels"
        ),
    ],
)  # fmt: skip
def test_what_is_not_loaded_is_named(folder: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(folder)
    with pytest.raises(DataError, match=message):
        begin(folder)


def test_a_model_of_texts_belongs_to_its_recipe(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has model_type 'bert'; .*; recipe text-classification trains this one"):
        begin(make_text_model(tmp_path))
