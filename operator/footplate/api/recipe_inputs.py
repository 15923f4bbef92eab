"""What a recipe's hyperparameters, channels and formats say of each other: told by `footplate validate`, by the
operator before there is a pod, and by the trainer.
"""

from collections.abc import Collection, Iterator, Mapping

from pydantic.alias_generators import to_camel

from footplate.api.errors import Problem, alternatives
from footplate.api.hyperparameters import Settings
from footplate.api.recipes import PATH, TuningHyperparameters

MODEL = "model"
"""The channel of a pretrained model's folder."""
OF_TUNING = ("fine_tuning", "lora_rank")
OF_NEW_MODEL: Mapping[str, tuple[str, ...]] = {
    "image-classification": ("image_size", "width", "hidden", "dropout"),
    "text-classification": ("vocabulary_size", "hidden", "layers", "dropout"),
}
"""Hyperparameters that describe a model which is made without one, by recipe; others need one."""
FORMATS: Mapping[str, tuple[str, ...]] = {
    "text-classification": ("safetensors",),
    "language-model": ("safetensors",),
}
"""Formats of the recipes whose models can't have all."""


def find_conflicts(
    recipe: str, settings: Settings, *, channels: Collection[str], formats: Collection[str]
) -> Iterator[Problem]:
    """What has no meaning together.

    Args:
        settings: the recipe's hyperparameters, each right by itself.
        channels: names of the job's inputs.
        formats: of its output.
    """
    if isinstance(settings, TuningHyperparameters):
        yield from _of_model(recipe, settings, pretrained=MODEL in channels)
    known = FORMATS.get(recipe, formats)
    if others := [name for name in formats if name not in known]:
        yield Problem(
            "spec.output.formats",
            others,
            f"models of recipe {recipe} are written as {alternatives([*known])}, which all of transformers reads: any "
            "other file would be right for texts of one length alone",
            f"leave {', '.join(others)} out",
        )


def _of_model(recipe: str, settings: TuningHyperparameters, *, pretrained: bool) -> Iterator[Problem]:
    if not pretrained and recipe not in OF_NEW_MODEL:
        yield Problem(
            "spec.inputs",
            None,
            f"recipe {recipe} goes on training a pretrained model, and there is no input {MODEL!r}",
            "add {name: model, uri: s3://bucket/folder/}",
            is_missing=True,
        )
        return
    named = settings.model_fields_set
    foreign = [name for name in (OF_NEW_MODEL.get(recipe, ()) if pretrained else OF_TUNING) if name in named]
    for name in foreign:
        yield Problem(
            f"{PATH}.{to_camel(name)}",
            getattr(settings, name),
            "describes a model that is made without an input 'model', and there is one"
            if pretrained
            else "is of fine-tuning, and there is no input 'model' to be fine-tuned",
            "leave it out"
            if pretrained
            else "add {name: model, uri: s3://bucket/folder/} to spec.inputs, or leave it out",
            is_missing=not pretrained,
        )
    if pretrained and settings.fine_tuning == "full" and "lora_rank" in named:
        yield Problem(
            f"{PATH}.loraRank", settings.lora_rank, "is of fineTuning: lora", "add that, or leave loraRank out"
        )
