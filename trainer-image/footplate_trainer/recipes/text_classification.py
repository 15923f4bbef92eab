"""Recipe text-classification: labelled texts in, a fine-tuned or freshly trained transformer out."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from footplate.api.recipe_inputs import MODEL
from footplate.api.recipes import TextHyperparameters
from footplate_trainer.data.inputs import TextInput
from footplate_trainer.data.splits import TEST, VALIDATION, check_channels
from footplate_trainer.data.texts import Asked, TextSplits, read_splits
from footplate_trainer.data.tokens import check_packages, keep_to_threads
from footplate_trainer.models.cards import ModelCard
from footplate_trainer.models.folders import add_adapters
from footplate_trainer.models.pretrained import check_folder, find_folder, read_network, read_tokens, stay_offline
from footplate_trainer.models.texts import NAME as NETWORK
from footplate_trainer.models.texts import TextClassifier, make_network
from footplate_trainer.rank.environment import Context
from footplate_trainer.rank.report import reporter
from footplate_trainer.recipes.evaluating import table_slices
from footplate_trainer.recipes.inputs import choose_inputs
from footplate_trainer.recipes.training import train_classifier
from footplate_trainer.recipes.tuning import check_conflicts, with_rate

NAME = "text-classification"
EXAMPLES = 8


def train(ctx: Context, hyperparameters: TextHyperparameters) -> None:
    """Reads the model and the data, trains, evaluates, exports. Collective."""
    inputs, fractions = choose_inputs(ctx, hyperparameters)
    check_channels(inputs, recipe=NAME, also=[MODEL])
    check_packages()
    check_conflicts(ctx, NAME, hyperparameters)
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
