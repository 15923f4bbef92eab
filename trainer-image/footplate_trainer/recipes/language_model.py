"""Recipe language-model: chats, prompts with completions, or texts in, a fine-tuned decoder out (SFT).

The loss is the mean over all tokens that are to be learnt, of all ranks' texts together: what the assistant says, a
completion, or all of a plain text. Perplexity is its exponential.
"""

import time
from collections.abc import Mapping
from functools import partial

from torch import Tensor, nn

from footplate.api.recipe_inputs import MODEL
from footplate.api.recipes import LanguageHyperparameters
from footplate_trainer.callbacks import Callback
from footplate_trainer.data.inputs import PromptInput
from footplate_trainer.data.language import NOT_COUNTED, AskedOfRecords, collate_rows, read_language
from footplate_trainer.data.prompts import Writer
from footplate_trainer.data.splits import TEST, VALIDATION, check_channels
from footplate_trainer.data.tokens import check_packages, keep_to_threads
from footplate_trainer.models.cards import ModelCard
from footplate_trainer.models.folders import add_adapters
from footplate_trainer.models.language import NAME, choose_length, read_language_model
from footplate_trainer.models.pretrained import DECODERS, find_folder, stay_offline
from footplate_trainer.rank.environment import Context
from footplate_trainer.rank.report import report, reporter
from footplate_trainer.recipes.evaluating import perplexity, table_slices
from footplate_trainer.recipes.inputs import choose_inputs
from footplate_trainer.recipes.training import train_network
from footplate_trainer.recipes.tuning import check_conflicts, with_rate
from footplate_trainer.training.epoch_line import status_names

FULL_RATE, ADAPTERS_RATE = 2e-5, 2e-4
EXAMPLE_TOKENS = 32
"""Of the text by which the files are checked."""


def train(ctx: Context, hyperparameters: LanguageHyperparameters) -> None:
    """Reads the model and the data, trains, evaluates, exports. Collective."""
    inputs, fractions = choose_inputs(ctx, hyperparameters)
    check_channels(inputs, recipe=NAME, also=[MODEL])
    check_conflicts(ctx, NAME, hyperparameters)
    check_packages()
    stay_offline()
    keep_to_threads()
    reporter().enter("loading")
    model, config = read_language_model(find_folder(ctx.inputs[MODEL], DECODERS))
    max_length = choose_length(hyperparameters.max_length, config)
    asked = AskedOfRecords(
        inputs={name: path for name, path in inputs.items() if name != MODEL},
        fractions={TEST: fractions[TEST], VALIDATION: fractions[VALIDATION]},
        seed=hyperparameters.seed,
        packing=hyperparameters.packing,
    )
    splits = read_language(asked, Writer(model.tokenizer, max_length))
    for note in splits.notes:
        reporter().note(note)
    if hyperparameters.fine_tuning == "lora":
        model.network = add_adapters(model.network, hyperparameters.lora_rank, classifies=False)
    collate = partial(collate_rows, pad=model.pad, max_length=max_length)
    batches = -(-len(splits.train) // hyperparameters.batch_size)
    ids, targets, positions = (part[:EXAMPLE_TOKENS] for part in splits.train[0])
    train_network(
        ctx,
        with_rate(hyperparameters, pretrained=True, full=FULL_RATE, other=ADAPTERS_RATE),
        model,
        ModelCard(
            recipe=NAME,
            network=NAME,
            arguments={},
            classes=(),
            input=PromptInput(max_length=max_length),
            notes=splits.notes,
        ),
        loss=loss_of_learnt,
        metrics=[],
        callbacks=[Perplexity(), TokenSpeed(int(splits.train.lengths.sum()), batches)],
        train=splits.train,
        validation=splits.validation,
        test=splits.test,
        slices=table_slices(ctx, (), None),
        example=collate([(ids, targets, positions)])[0],
        collate=collate,
    )


def loss_of_learnt(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The sum of the losses of logits [N, T, tokens] at those of the targets [N, T] that count, and their number."""
    losses = nn.functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=NOT_COUNTED, reduction="sum"
    )
    return losses, (targets != NOT_COUNTED).sum()


class Perplexity(Callback):
    """Adds to an epoch's values what follows from its losses."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Adds and reports them."""
        logs = {} if logs is None else logs
        losses = {prefix: logs[f"{prefix}loss"] for prefix in ("", "val_") if f"{prefix}loss" in logs}
        found = {f"{prefix}perplexity": perplexity(loss) for prefix, loss in losses.items()}
        logs.update(found)
        report(step=self.trainer.step, **status_names(found))


class TokenSpeed(Callback):
    """Reports how many tokens a second all ranks together train on, padding left out; of an epoch that was begun before
    a restart, about so many.

    Args:
        tokens: of an epoch.
        batches: of an epoch.
    """

    def __init__(self, tokens: int, batches: int) -> None:
        self._a_batch = tokens / batches
        self._done = 0
        self._began = self._ended = 0.0

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Begins to count."""
        self._done, self._began = 0, time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Counts a batch."""
        self._done, self._ended = self._done + 1, time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Reports it: beside the epoch's values, which a restart doesn't change."""
        if self._ended > self._began:
            speed = self._done * self._a_batch / (self._ended - self._began)
            report(step=self.trainer.step, tokensPerSecond=round(speed, 1))
