"""What a recipe's settings, channels and formats say of each other, told where a manifest is judged."""

from typing import Any

import pytest

from footplate.policy.rules import broken


def said(
    trainer: dict[str, Any], *, complete: bool = True, inputs: tuple[str, ...] = ("train",), **spec: Any
) -> list[str]:
    channels = [{"name": name, "uri": f"s3://b/{name}/"} for name in inputs]
    job = {"trainer": {"image": "i", **trainer}, "inputs": channels, **spec}
    return [str(problem) for problem in broken(job, complete=complete)]


def of(recipe: str, **values: Any) -> dict[str, Any]:
    return {"recipe": recipe, "hyperparameters": values}


@pytest.mark.parametrize("formats", [["onnx"], ["safetensors", "torchscript", "onnx"]])
def test_models_of_texts_have_one_format(formats: list[str]) -> None:
    (problem,) = said(of("text-classification"), output={"uri": "s3://m/", "formats": formats})
    assert problem.startswith("spec.output.formats = ")
    assert problem.endswith(f"; leave {', '.join(name for name in formats if name != 'safetensors')} out")
    assert said(of("image-classification"), output={"uri": "s3://m/", "formats": formats}) == []
    assert said({"entrypoint": "train.py"}, output={"uri": "s3://m/", "formats": formats}) == []


@pytest.mark.parametrize(
    ("recipe", "values"),
    [
        ("image-classification", {"imageSize": 32, "width": 8, "hidden": 8, "dropout": 0.5}),
        ("text-classification", {"vocabularySize": 400, "hidden": 8, "layers": 1, "dropout": 0.5}),
    ],
)
def test_a_model_that_is_brought_is_as_it_is(recipe: str, values: dict[str, Any]) -> None:
    problems = said(of(recipe, **values), inputs=("train", "model"))
    assert len(problems) == 4
    for name, problem in zip(values, problems, strict=True):
        assert problem == (
            f"spec.trainer.hyperparameters.{name} = {values[name]}: describes a model that is made without an input "
            "'model', and there is one; leave it out"
        )
    assert said(of(recipe, **values)) == []


@pytest.mark.parametrize("recipe", ["image-classification", "text-classification"])
def test_fine_tuning_needs_a_model(recipe: str) -> None:
    tuned = of(recipe, fineTuning="lora", loraRank=4)
    problems = said(tuned)
    assert [problem.split(" = ")[0] for problem in problems] == [
        "spec.trainer.hyperparameters.fineTuning",
        "spec.trainer.hyperparameters.loraRank",
    ]
    assert "add {name: model, uri: s3://bucket/folder/} to spec.inputs, or leave it out" in problems[0]
    assert said(tuned, complete=False) == [], "a runtime may bring it"
    assert said(tuned, inputs=("train", "model")) == []
    (problem,) = said(of(recipe, loraRank=4), inputs=("train", "model"))
    assert (
        problem == "spec.trainer.hyperparameters.loraRank = 4: is of fineTuning: lora; add that, or leave loraRank out"
    )


def test_a_language_model_goes_on_with_one() -> None:
    tuned = of("language-model", fineTuning="lora", loraRank=4)
    (problem,) = said(tuned)
    assert "spec.inputs: recipe language-model goes on training a pretrained model, and there is no" in problem
    assert "add {name: model, uri: s3://bucket/folder/}" in problem
    assert said(tuned, complete=False) == [], "a runtime may bring it"
    assert said(tuned, inputs=("train", "model")) == []
    (problem,) = said(of("language-model", loraRank=4), inputs=("train", "model"))
    assert "is of fineTuning: lora" in problem
    assert said(of("language-model"), inputs=("model",), output={"uri": "s3://m/", "formats": ["onnx"]})


def test_wrong_values_are_told_first() -> None:
    (problem,) = said(of("text-classification", loraRank=0))
    assert "loraRank = 0: must be at least 1" in problem


@pytest.mark.parametrize("formats", [None, "onnx", [1, {}]])
def test_formats_that_are_none_are_others_to_tell(formats: Any) -> None:
    assert said(of("text-classification"), output={"uri": "s3://m/", "formats": formats}) == []
