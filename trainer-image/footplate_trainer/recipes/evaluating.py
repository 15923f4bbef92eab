"""How recipes evaluate what they have trained, on the test data, as `spec.evaluation` asks; and that it can be done at
all, found out before training.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from footplate.api.errors import nearest
from footplate.api.evaluation import HEADLINES, PATH, REPORTED, TEST, Evaluation, Task, full_name, suggest, value_names
from footplate_trainer.callbacks import History
from footplate_trainer.data.inputs import Column, PromptInput
from footplate_trainer.data.loader import Loader
from footplate_trainer.data.tables import Rows
from footplate_trainer.errors import ConfigError
from footplate_trainer.evaluation.card import CARD_NAME, card_text
from footplate_trainer.evaluation.compute import MAX_SLICES
from footplate_trainer.evaluation.evaluate import drawing, evaluate, leave
from footplate_trainer.evaluation.measured import Measured, Numbers
from footplate_trainer.evaluation_file import PLOTS, DataEvaluation, read_evaluation
from footplate_trainer.gates import hold
from footplate_trainer.models.cards import ModelCard
from footplate_trainer.rank.context import context
from footplate_trainer.rank.environment import Context
from footplate_trainer.rank.gang import all_ranks
from footplate_trainer.rank.report import report, reporter
from footplate_trainer.training.collected import Collected
from footplate_trainer.training.epoch_line import status_names
from footplate_trainer.training.trainer import Trainer

OTHER = "(missing or not seen in training)"


def asked_of(ctx: Context) -> Evaluation:
    """The job's `spec.evaluation`."""
    asked = ctx.config.spec.evaluation if ctx.config is not None else None
    return asked or Evaluation()


def task_of(card: ModelCard) -> Task:
    """What a model does."""
    if isinstance(card.input, PromptInput):
        return "text-generation"
    return "classification" if card.classes else "regression"


def check_gates(ctx: Context, card: ModelCard, *, has_test: bool) -> None:
    """Raises ConfigError for a gate on what won't be measured: it would show only after training."""
    asked = asked_of(ctx)
    task = task_of(card)
    names, reported = value_names(task, metrics=asked.metrics, classes=card.classes), REPORTED[task]
    measured = [full_name(TEST, name) for name in names]
    for number, gate in enumerate(asked.gates):
        where = f'{PATH}.gates[{number}].metric = "{gate.metric}"'
        if gate.metric not in (*measured, *reported):
            raise ConfigError(f"{where}: the evaluation has no such metric; {suggest(gate.metric, measured, reported)}")
        if gate.metric in measured and not has_test:
            raise ConfigError(
                f"{where}: there are no test data to measure it on; bring a channel named {TEST}, or raise testFraction"
            )


def evaluate_test(
    trainer: Trainer,
    batches: Loader,
    card: ModelCard,
    *,
    slices: Mapping[str, Numbers] | None = None,
) -> dict[str, float]:
    """Evaluates a model on all batches, each sample once, and leaves evaluation.json. Collective.

    Args:
        batches: of a loader that keeps the data's order.
        card: the model's.
        slices: columns [N] of these data, in their order.

    Returns:
        What was measured, by its names in the job's metrics.
    """
    if task_of(card) == "text-generation":
        return _evaluate_texts(trainer, batches)
    collected = Collected()
    tested = status_names(trainer.evaluate(batches, collect=collected), prefix="test_")
    report(step=reporter().progress.step, **tested)
    whole, task = collected.on_main(), task_of(card)

    def measure() -> dict[str, float]:
        outputs, targets = whole or ((), ())
        logits = task == "classification"
        classes = card.classes or None
        done = evaluate(
            outputs, targets, name=TEST, task=task, classes=classes, logits=logits, slices=slices, whole=True
        )
        return {full_name(TEST, name): done.values[name] for name in HEADLINES if name in done.values}

    return tested | all_ranks("evaluation").from_main(measure)


def _evaluate_texts(trainer: Trainer, batches: Loader) -> dict[str, float]:
    """Of a language model, whose outputs are too many to be kept."""
    tested = status_names(trainer.evaluate(batches), prefix="test_")

    def measure() -> dict[str, float]:
        found = Measured()
        value = perplexity(tested["testLoss"])
        found.add("perplexity", value if math.isfinite(value) else f"the loss is {tested['testLoss']:g}")
        done = DataEvaluation(
            task="text-generation",
            samples=batches.samples or 0,
            values=found.values,
            undefined=found.undefined,
        )
        leave(done, TEST, context().output_dir)
        return {full_name(TEST, name): one for name, one in found.values.items()}

    report(step=reporter().progress.step, **tested)
    return tested | all_ranks("evaluation").from_main(measure)


def perplexity(loss: float) -> float:
    """Of a mean loss in nats a token."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


def leave_card(
    ctx: Context,
    recipe: str,
    *,
    measured: Mapping[str, float],
    notes: Sequence[str] = (),
    history: History | None = None,
    loads: bool = True,
) -> None:
    """Draws how training has gone, and writes the model's card, README.md, on rank 0.

    Args:
        measured: of the model, by its names in the job's metrics.
        notes: what the data's owner should know of them.
        history: of the training.
        loads: whether `load_model` reads what lies in the output folder.
    """
    if not ctx.is_main:
        return
    folder = ctx.output_dir / PLOTS
    if history is not None:
        drawing(lambda plots: plots.draw_curves(history.epoch, history.history, folder))
    channels = ctx.config.spec.inputs if ctx.config is not None else ()
    evaluation = read_evaluation(ctx.output_dir)
    held = hold(asked_of(ctx).gates, evaluation, measured)
    text = card_text(
        job=ctx.job or recipe,
        recipe=recipe,
        evaluation=evaluation,
        gates=held.gates if held is not None else (),
        hyperparameters=ctx.hyperparameters,
        inputs={channel.name: channel.uri for channel in channels},
        notes=notes,
        plots=[path.relative_to(ctx.output_dir).as_posix() for path in sorted(folder.glob("*.png"))],
        loads=loads,
    )
    (ctx.output_dir / CARD_NAME).write_text(text)


def table_slices(ctx: Context, columns: Sequence[Column], rows: Rows | None) -> dict[str, Numbers]:
    """What `spec.evaluation.slices` asks for, of a table's test data.

    Raises:
        ConfigError: the network sees no such column, or it has too many values.
    """
    wanted = asked_of(ctx).slices
    places = {column.name: place for place, column in enumerate(columns) if column.part is None}
    for number, name in enumerate(wanted):
        if name not in places:
            hint = nearest(name, [*places]) or f"it sees {', '.join([*places][:8]) or 'none'}"
            raise ConfigError(f'{PATH}.slices[{number}] = "{name}": the model sees no such column; {hint}')
    if rows is None:
        return {}
    found = {name: _texts(columns[places[name]], rows.columns[:, places[name]]) for name in wanted}
    for number, (name, values) in enumerate(found.items()):
        if (count := len(set(values.tolist()))) > MAX_SLICES:
            raise ConfigError(
                f'{PATH}.slices[{number}] = "{name}": has {count:,} different values in the test data, the most is '
                f"{MAX_SLICES}; choose a column with fewer"
            )
    return found


def _texts(column: Column, numbers: torch.Tensor) -> Numbers:
    """A column's values as the data has them, [N]; numbers with as many digits as the network tells apart."""
    found, places = numbers.unique(return_inverse=True)
    texts: Numbers = np.asarray([_text(column, number) for number in found.tolist()])[places.numpy()]
    return texts


def _text(column: Column, number: float) -> str:
    if column.categories is not None:
        return column.categories[int(number) - 1] if number >= 1 else OTHER
    return _digits(number, column.origin) if number == number else OTHER


def _digits(number: float, origin: float) -> str:
    """The shortest number, of 6 digits or more, that is this float32 once the origin is subtracted."""
    exact = number + origin
    shorter = (float(f"{exact:.{digits}g}") for digits in range(6, 17))
    return repr(next((each for each in shorter if np.float32(each - origin) == number), exact)).removesuffix(".0")
