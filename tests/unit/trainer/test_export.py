"""Exported files give what the model gives; what can't be exported says so."""

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from footplate_trainer import export_model, load_model, prepare
from footplate_trainer.data.inputs import Column, ImageInput, TableInput
from footplate_trainer.errors import ConfigError, DataError
from footplate_trainer.models import export_check
from footplate_trainer.models.cards import ModelCard
from footplate_trainer.models.export import FORMATS
from footplate_trainer.models.networks import build_network
from footplate_trainer.rank.report import Reporter

IMAGES = ModelCard(
    recipe="image-classification",
    network="image-classifier",
    arguments={"image_shape": [1, 8, 8], "classes": 3, "width": 4, "hidden": 8, "dropout": 0.5},
    classes=("ant", "bee", "cow"),
    input=ImageInput(shape=(1, 8, 8)),
)
TABLE = ModelCard(
    recipe="tabular-classification",
    network="table-classifier",
    arguments={"numeric": 2, "categories": [3], "classes": 2, "hidden": 8, "layers": 1, "dropout": 0.5},
    classes=("no", "yes"),
    input=TableInput(columns=(Column(name="x"), Column(name="y"), Column(name="z", categories=("a", "b")))),
)
PIXELS = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
COLUMNS = torch.tensor([[0.5, -1.0, 1.0], [float("nan"), 2.0, 0.0], [1.0, 1.0, 2.0]])


def make_network(card: ModelCard) -> nn.Module:
    torch.manual_seed(0)
    return build_network(card.network, card.arguments)


def export(
    folder: Path, *, model: nn.Module | None = None, example: Any = PIXELS, formats: Sequence[str], **options: Any
) -> list[Path]:
    return export_model(model or make_network(IMAGES), example, formats=formats, folder=folder, **options)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("card", "example"), [(IMAGES, PIXELS), (TABLE, COLUMNS)], ids=["images", "table"])
def test_every_format_gives_the_models_outputs_for_any_number_of_inputs(
    name: str, card: ModelCard, example: Tensor, tmp_path: Path
) -> None:
    network = make_network(card)
    (path,) = export(tmp_path, model=network, example=example, formats=[name])
    assert path.parent == tmp_path
    more = torch.cat([example, example])
    with torch.no_grad():
        torch.testing.assert_close(FORMATS[name].read(path, network.eval())(more), network(more), rtol=1e-4, atol=1e-5)


def test_exporting_changes_nothing_of_the_model(tmp_path: Path) -> None:
    network = make_network(IMAGES).train()
    prepare(network, precision="bf16")
    forward = network.forward
    export(tmp_path, model=network, formats=["safetensors"], card=IMAGES)
    assert network.training
    assert network.forward is forward
    del network.forward
    expected = torch.softmax(network.eval()(PIXELS), dim=1)
    torch.testing.assert_close(load_model(tmp_path).probabilities(PIXELS), expected)


def test_torch_export_stores_no_pickle(tmp_path: Path) -> None:
    (path,) = export(tmp_path, formats=["torch-export"])
    with zipfile.ZipFile(path) as archive:
        assert not [name for name in archive.namelist() if archive.read(name).startswith((b"\x80", b"PK"))]


@pytest.mark.parametrize(
    ("inputs", "count"),
    [
        (PIXELS, 5),
        (PIXELS[:, 0], 5),
        (PIXELS[0, 0].numpy(), 1),
        (np.frombuffer(PIXELS.numpy().tobytes(), np.uint8).reshape(5, 8, 8), 5),
        (PIXELS[0, 0].tolist(), 1),
    ],
)
def test_images_are_classified_in_any_usual_form(inputs: Any, count: int, tmp_path: Path) -> None:
    export(tmp_path, formats=["safetensors"], card=IMAGES)
    model = load_model(str(tmp_path))
    assert model.predict(inputs) == model.predict(PIXELS)[:count]
    assert set(model.predict(inputs)) <= set(IMAGES.classes)
    assert model.probabilities(inputs).sum(dim=1).tolist() == pytest.approx([1] * count)


def test_rows_are_classified_by_their_columns_names(tmp_path: Path) -> None:
    export(tmp_path, model=make_network(TABLE), example=COLUMNS, formats=["safetensors"], card=TABLE)
    model = load_model(tmp_path)
    rows = [{"z": "a", "x": 0.5, "y": -1}, {"x": None, "y": 2, "z": "other"}, {"x": 1, "y": 1, "z": "b"}]
    expected = torch.softmax(make_network(TABLE).eval()(COLUMNS), dim=1)
    torch.testing.assert_close(model.probabilities(rows), expected)
    assert len(model.predict(rows[0])) == 1


@pytest.mark.parametrize(
    ("card", "inputs", "message"),
    [
        (IMAGES, torch.zeros(2, 7, 8), r"takes pixels \[N, 1, 8, 8\], not \[2, 7, 8\]"),
        (IMAGES, ["nowhere.png"], "nowhere.png leads to no file"),
        (TABLE, [{"x": 1, "y": 2}], "lack the column 'z'"),
        (TABLE, [{"x": "many", "y": 2, "z": "a"}], "column 'x' should hold numbers"),
        (TABLE, [], "takes rows"),
        (TABLE, [[1, 2, 3]], "takes rows"),
    ],
)
def test_other_inputs_are_refused(card: ModelCard, inputs: Any, message: str, tmp_path: Path) -> None:
    example = PIXELS if card is IMAGES else COLUMNS
    export(tmp_path, model=make_network(card), example=example, formats=["safetensors"], card=card)
    with pytest.raises(DataError, match=message):
        load_model(tmp_path).predict(inputs)


def test_a_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no model\.json, .*but nothing; download all"):
        load_model(tmp_path)
    export(tmp_path, formats=["safetensors"], card=IMAGES)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(DataError, match="holds no whole model"):
        load_model(tmp_path)


class OneOfTwo(nn.Module):
    """Gives something else each time, as dropout would that is never switched off."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8))

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.float() * self.weight + torch.rand(())


def test_a_file_that_gives_other_outputs_does_not_count(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.pt2 gives other outputs than the model"):
        export(tmp_path, model=OneOfTwo(), formats=["torch-export"])
    assert not list(tmp_path.iterdir())


def test_models_of_ones_own_and_tied_weights_are_saved_whole(tmp_path: Path) -> None:
    linear, tied = nn.Linear(64, 64), nn.Linear(64, 64)
    tied.weight = linear.weight
    model = nn.Sequential(nn.Flatten(), linear, tied)
    (path,) = export(tmp_path, model=model, example=PIXELS.float(), formats=["safetensors"])
    assert torch.equal(load_file(path)["1.weight"], linear.weight)


def test_unknown_formats_and_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="'pickle' is not a format; use one of safetensors, torchscript"):
        export(tmp_path, formats=["pickle"])
    monkeypatch.setattr("footplate_trainer.models.export.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="onnx needs the package onnxscript"):
        export(tmp_path, formats=["onnx"])


class DependsOnData(nn.Module):
    """Takes a branch by the value of its input, which no graph can hold."""

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.float() if pixels.float().sum() > 0 else pixels.float() + 1


def test_a_model_that_can_not_be_written_is_told_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"this DependsOnData can't be written as torch-export \(.*\); leave"):
        export(tmp_path, model=DependsOnData(), formats=["torch-export"])


class Nested(nn.Module):
    """Takes and gives more than one tensor, in a shape of the test's choice."""

    def __init__(self, take: Callable[[Any], tuple[Tensor, Tensor]], give: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.take, self.give = take, give

    def forward(self, inputs: Any) -> Any:
        points, offsets = self.take(inputs)
        logits = self.linear(points) + offsets[:, None]
        return self.give(logits, logits.argmax(dim=1))


def by_name(inputs: Any) -> tuple[Tensor, Tensor]:
    return inputs["points"], inputs["offsets"]


def in_order(inputs: Any) -> tuple[Tensor, Tensor]:
    return inputs[0], inputs[1]


POINTS, OFFSETS = torch.arange(20.0).reshape(5, 4) / 20, torch.arange(5.0)
NESTED = {
    "dict to tuple": (by_name, {"points": POINTS, "offsets": OFFSETS}, lambda logits, best: (logits, best)),
    "tuple to list": (in_order, (POINTS, OFFSETS), lambda logits, best: [logits, logits.exp()]),
    "list to dict": (in_order, [POINTS, OFFSETS], lambda logits, best: {"logits": logits, "again": logits * 2}),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("take", "example", "give"), NESTED.values(), ids=NESTED.keys())
def test_models_of_several_inputs_and_outputs(name: str, take: Any, example: Any, give: Any, tmp_path: Path) -> None:
    model = Nested(take, give)
    (path,) = export(tmp_path, model=model, example=example, formats=[name])
    outputs = FORMATS[name].read(path, model)(example)
    with torch.no_grad():
        expected = model(example)
    found = list(outputs.values() if isinstance(outputs, dict) else outputs)
    for values, others in zip(found, expected.values() if isinstance(expected, dict) else expected, strict=True):
        torch.testing.assert_close(values, others, rtol=1e-4, atol=1e-5)


def test_one_of_several_outputs_that_differs_is_seen(tmp_path: Path) -> None:
    model = Nested(in_order, lambda logits, best: (logits, best + torch.randint(1, 1000, ())))
    with pytest.raises(ConfigError, match=r"gives other outputs than the model .*\(shapes \(5, 3\), \(5,\) and"):
        export(tmp_path, model=model, example=(POINTS, OFFSETS), formats=["torch-export"])


@pytest.mark.parametrize(
    ("example", "give", "words"),
    [
        ({"points": [1.0]}, None, r"export_model\(example\): a dict that holds no tensors; give a batch"),
        ((POINTS, OFFSETS), lambda logits, best: "x", r"Nested gives a str without tensors"),
    ],
)
def test_what_holds_no_tensors_is_named(example: Any, give: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        export(tmp_path, model=Nested(in_order, give), example=example, formats=["safetensors"])


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_a_model_and_its_example_are_exported_in_float32(kind: torch.dtype, tmp_path: Path) -> None:
    model = nn.Linear(4, 3).to(kind)
    (path,) = export(tmp_path, model=model, example=POINTS.to(kind), formats=["safetensors"])
    assert load_file(path)["weight"].dtype == torch.float32


def test_blocks_that_were_compiled_one_by_one_have_their_own_names(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 3))
    expected = model.state_dict().keys()
    model[1][0] = torch.compile(model[1][0], backend="eager")
    model[2] = torch.compile(model[2], backend="eager")
    (path,) = export(tmp_path, model=model, example=POINTS, formats=["safetensors"])
    assert load_file(path).keys() == expected
    assert "_orig_mod" in ".".join(model.state_dict()), "the model itself was changed"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["torchscript", "torch-export"])
def test_a_forward_pass_that_the_user_has_put_in_place_is_exported(name: str, precision: Any, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    model.forward = MethodType(lambda self, inputs: self[1](self[0](inputs).relu()) * 10, model)
    expected = model(POINTS)
    prepare(prepare(model, precision=precision), precision=precision)  # for two trainings
    (path,) = export(tmp_path, model=model, example=POINTS, formats=[name])
    torch.testing.assert_close(FORMATS[name].read(path, model)(POINTS), expected)


class OneByOne(nn.Module):
    """Goes through samples in a loop of Python's, which a trace unrolls."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.stack([self.linear(inputs[place]) for place in range(len(inputs))])


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize(("model", "told"), [(OneByOne(), True), (nn.Linear(4, 3), False)], ids=["loop", "plain"])
def test_a_trace_of_one_number_of_samples_is_told(
    model: nn.Module, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = Reporter()
    monkeypatch.setattr(export_check, "reporter", lambda: said)
    (path,) = export(tmp_path, model=model, example=POINTS, formats=["torchscript"])
    more = torch.cat([POINTS, POINTS])
    assert (len(FORMATS["torchscript"].read(path, model)(more)) == len(more)) is not told
    notes = " ".join(said._notes)
    assert (f"model.ts gives the model's outputs for {len(POINTS)} samples, as the example has" in notes) is told
