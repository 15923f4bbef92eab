"""Recipe text-classification: labelled texts in, a fine-tuned or freshly trained transformer out."""

from collections.abc import Sequence
from pathlib import Path

from pydantic.alias_generators import to_camel
from torch import Tensor, nn

from footplate.api.recipes import PATH, LanguageHyperparameters, TextHyperparameters
from footplate_trainer.data.inputs import TextInput
from footplate_trainer.data.splits import TEST, VALIDATION, check_channels
from footplate_trainer.data.texts import Asked, TextSplits, read_splits
from footplate_trainer.data.tokens import check_packages, keep_to_threads
from footplate_trainer.errors import ConfigError
from footplate_trainer.models.cards import ModelCard
from footplate_trainer.models.export import asked_formats
from footplate_trainer.models.pretrained import check_folder, find_folder, read_network, read_tokens, stay_offline
from footplate_trainer.models.texts import NAME as NETWORK
from footplate_trainer.models.texts import TextClassifier, add_adapters, make_network
from footplate_trainer.rank.environment import Context
from footplate_trainer.rank.report import reporter
from footplate_trainer.recipes.evaluating import table_slices
from footplate_trainer.recipes.inputs import choose_inputs
from footplate_trainer.recipes.training import train_classifier

NAME = "text-classification"
MODEL = "model"
"""The channel of a pretrained model's folder."""
EXAMPLES = 8
FULL_RATE, OTHER_RATE = 5e-5, 1e-3
"""Learning rates: of weights that know something already, and of those that don't."""
WITH_MODEL = ("fine_tuning", "lora_rank")
WITHOUT_MODEL = ("vocabulary_size", "hidden", "layers", "dropout")


def train(ctx: Context, hyperparameters: TextHyperparameters) -> None:
    """Reads the model and the data, trains, evaluates, exports. Collective."""
    inputs, fractions = choose_inputs(ctx, hyperparameters)
    check_channels(inputs, recipe=NAME, also=[MODEL])
    check_packages()
    check_settings(hyperparameters, pretrained=MODEL in ctx.inputs)
    check_fine_tuning(hyperparameters, formats=asked_formats(ctx))
    stay_offline()
    keep_to_threads()
    reporter().enter("loading")
    folder, tokens = None, None
    if MODEL in ctx.inputs:
        folder = find_folder(ctx.inputs[MODEL])
        tokens = read_tokens(folder, check_folder(folder), hyperparameters.max_length)
    asked = Asked(
        inputs={name: path for name, path in inputs.items() if name != MODEL},
        text=hyperparameters.text,
        target=hyperparameters.target,
        fractions={TEST: fractions[TEST], VALIDATION: fractions[VALIDATION]},
        seed=hyperparameters.seed,
        vocabulary_size=hyperparameters.vocabulary_size,
    )
    splits = read_splits(asked, tokens=tokens, max_length=hyperparameters.max_length)
    network, notes = _make_network(folder, splits, hyperparameters)
    notes = [*splits.notes, *notes]
    for note in notes:
        reporter().note(note)
    train_classifier(
        ctx,
        with_rate(hyperparameters, pretrained=folder is not None),
        TextClassifier(network, splits.tokens),
        make_card(splits, notes),
        train=splits.train,
        validation=splits.validation,
        test=splits.test,
        slices=table_slices(ctx, (), None),
        example=splits.tokens.collate([splits.train[place] for place in range(min(EXAMPLES, len(splits.train)))])[0],
        collate=splits.tokens.collate,
        lengths=splits.train.lengths,
        class_weight=balance(splits.train.labels) if hyperparameters.class_weight == "balanced" else None,
    )


def check_settings(hyperparameters: TextHyperparameters, *, pretrained: bool) -> None:
    """Raises ConfigError for settings that have no meaning with a pretrained model, or without one."""
    foreign = WITHOUT_MODEL if pretrained else WITH_MODEL
    named = [to_camel(name) for name in foreign if name in hyperparameters.model_fields_set]
    if named:
        raise ConfigError(
            f"{PATH}: {', '.join(named)} "
            + (
                "describe a model that is made without an input 'model', and there is one; leave them out"
                if pretrained
                else "are of fine-tuning, and there is no input 'model' to be fine-tuned; add {name: model, uri: "
                "s3://bucket/folder/} to spec.inputs, or leave them out"
            )
        )


def check_fine_tuning(
    hyperparameters: TextHyperparameters | LanguageHyperparameters, *, formats: Sequence[str]
) -> None:
    """Raises ConfigError for settings that have no meaning together, and for formats that texts can't have."""
    if hyperparameters.fine_tuning == "full" and "lora_rank" in hyperparameters.model_fields_set:
        raise ConfigError(f"{PATH}: loraRank is of fineTuning: lora; add that, or leave loraRank out")
    if others := [name for name in formats if name != "safetensors"]:
        raise ConfigError(
            f"spec.output.formats: models of texts are written as safetensors, which all of transformers reads, not as "
            f"{', '.join(others)}: such a file would be right for texts of one length alone; leave it out"
        )


def with_rate(hyperparameters: TextHyperparameters, *, pretrained: bool) -> TextHyperparameters:
    """The same with a learning rate."""
    if hyperparameters.learning_rate is not None:
        return hyperparameters
    full = pretrained and hyperparameters.fine_tuning == "full"
    return hyperparameters.model_copy(update={"learning_rate": FULL_RATE if full else OTHER_RATE})


def balance(labels: Tensor) -> dict[int, float]:
    """Weights with which each class of the labels [N] counts as much as any other; of a mean sample 1."""
    counts = labels.bincount().tolist()
    present = sum(count > 0 for count in counts)
    return {place: len(labels) / (present * count) for place, count in enumerate(counts) if count}


def make_card(splits: TextSplits, notes: Sequence[str]) -> ModelCard:
    """The card of a model that has learnt from such texts."""
    return ModelCard(
        recipe=NAME,
        network=NETWORK,
        arguments={},
        classes=splits.classes,
        input=TextInput(max_length=splits.tokens.max_length),
        notes=tuple(notes),
    )


def _make_network(
    folder: Path | None, splits: TextSplits, hyperparameters: TextHyperparameters
) -> tuple[nn.Module, list[str]]:
    if folder is None:
        sizes = {name: getattr(hyperparameters, name) for name in ("hidden", "layers", "dropout")}
        return make_network(splits.tokens, splits.classes, **sizes), []
    network, notes = read_network(folder, splits.classes)
    if hyperparameters.fine_tuning == "lora":
        network = add_adapters(network, hyperparameters.lora_rank)
    return network, notes
