"""`footplate_trainer.evaluate`: for any code, on any rank, inside a job and outside."""

import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import numpy as np

from footplate.api.errors import nearest
from footplate.api.evaluation import VALUES, Evaluation, EvaluationMetric, Task
from footplate.contract import Env
from footplate_trainer.errors import UserError, words_of
from footplate_trainer.evaluation.compute import evaluate_samples
from footplate_trainer.evaluation.measured import Numbers
from footplate_trainer.evaluation.samples import make_samples, to_array
from footplate_trainer.evaluation_file import DATA_PATTERN, PLOTS, DataEvaluation, EvaluationFile, add_evaluation
from footplate_trainer.rank.environment import read_config, read_place
from footplate_trainer.rank.report import enter, report, reporter

TASKS: Sequence[str] = [task for task in get_args(Task) if task != "text-generation"]
"""What predictions and targets can be of."""

log = logging.getLogger("footplate_trainer")


def evaluate(
    predictions: Any,
    targets: Any,
    *,
    name: str = "test",
    task: Task | None = None,
    classes: Sequence[object] | None = None,
    logits: bool = False,
    ids: Any = None,
    slices: Mapping[str, Any] | None = None,
    metrics: Collection[EvaluationMetric] | None = None,
    whole: bool = False,
    folder: Path | None = None,
) -> DataEvaluation:
    """Measures how good predictions are, exactly over all ranks, and leaves evaluation.json and plots in the job's
    output folder, of which the gates of `spec.evaluation` are held. Collective, unless `whole`.

    Args:
        predictions: of this rank's samples: probabilities [N, classes], or of the second of two classes [N]; classes
            [N], as numbers or names; of a regression estimates [N]. Tensors, arrays or lists.
        targets: what is right [N]: numbers of classes, their names, or of a regression numbers.
        name: of the data, which its metrics' names begin with: testAccuracy.
        task: where the types don't tell it.
        classes: their names, in the order of their numbers and columns; or, where labels are other numbers, such as 1
            to 5, these, as scikit-learn's `classes_` has them. Default: the numbers from 0.
        logits: predictions are a network's outputs before softmax, or before the sigmoid.
        ids: of the samples [N], where some come twice, as a DistributedSampler's padding does: each counts once.
        slices: columns [N] by name, for each of whose values everything is measured too.
        metrics: what to measure. Default: what spec.evaluation.metrics says, else all.
        whole: this rank has all the samples, and no other one is asked.
        folder: where evaluation.json goes. Default: in a job $FOOTPLATE_OUTPUT_DIR, outside nowhere.

    Returns:
        What was measured, on every rank that called. What has no value is in `undefined`, with the reason.

    Raises:
        UserError: the arrays don't fit each other, or it can't be told what they are; or there is no such metric or
            task.
    """
    _check(name, task, metrics)
    enter("evaluating")
    place, config = read_place(os.environ), read_config(os.environ)
    asked = (config.spec.evaluation if config is not None else None) or Evaluation()
    shard = {"predictions": to_array(predictions), "targets": to_array(targets)}
    shard |= {} if ids is None else {"ids": to_array(ids)}
    shard |= {f"slice {column}": to_array(values) for column, values in (slices or {}).items()}
    if folder is None and config is not None:
        folder = Path(os.environ[Env.OUTPUT_DIR])

    def work(shards: Sequence[Mapping[str, Numbers]]) -> DataEvaluation:
        arrays = _each_once(_joined(shards))
        missing = [column for column in asked.slices if f"slice {column}" not in arrays]
        if missing:
            raise UserError(
                f"spec.evaluation.slices names {missing[0]!r}, and evaluate(slices=…) has no such column; give it the "
                "values of all samples, or leave it out there"
            )
        samples = make_samples(arrays["predictions"], arrays["targets"], task=task, classes=classes, logits=logits)
        columns = {key.removeprefix("slice "): values for key, values in arrays.items() if key.startswith("slice ")}
        chosen = metrics if metrics is not None else asked.metrics
        return evaluate_samples(samples, metrics=chosen, slices=columns)

    done = work([shard]) if whole else _over_all_ranks(shard, work, world_size=place.world_size)
    if place.rank == 0:
        leave(done, name, folder)
    return done


def _check(name: str, task: str | None, metrics: Collection[str] | None) -> None:
    if not re.fullmatch(DATA_PATTERN, name):
        raise UserError(
            f"evaluate(name={name!r}): of up to 20 letters and digits, with a small letter first, such as 'validation'"
        )
    for argument, given, known in (("metrics", metrics or (), [*VALUES]), ("task", filter(None, [task]), TASKS)):
        for each in given:
            if each not in known:
                hint = nearest(str(each), known) or f"it may be {', '.join(known)}"
                raise UserError(f"evaluate({argument}): there is no {each!r}; {hint}")


def drawing(draw: Callable[[Any], object]) -> None:
    """Draws by the module `plots`; what goes wrong with pictures costs no model."""
    if Env.CONFIG in os.environ:  # a pod has no home that matplotlib could write its list of fonts to
        os.environ.setdefault("MPLCONFIGDIR", str(Path(tempfile.gettempdir(), "matplotlib")))
    try:
        draw(import_module("footplate_trainer.evaluation.plots"))
    except Exception as error:
        log.warning("plots could not be drawn: %s", words_of(error))


def _over_all_ranks(
    shard: Mapping[str, Numbers], work: Callable[[Sequence[Mapping[str, Numbers]]], DataEvaluation], *, world_size: int
) -> DataEvaluation:
    dist = getattr(sys.modules.get("torch"), "distributed", None)
    if dist is None or not dist.is_available() or not dist.is_initialized():
        if world_size > 1:
            raise UserError(
                f"evaluate: {world_size} ranks have shares of the samples, and torch.distributed isn't set up to bring "
                "them together: call footplate_trainer.context() before, or give rank 0 all of them and whole=True"
            )
        return work([shard])
    from footplate_trainer.rank.gang import all_ranks

    gang = all_ranks("evaluation")
    shards = gang.to_main(shard)
    return gang.from_main(lambda: work(shards or []))


def _joined(shards: Sequence[Mapping[str, Numbers]]) -> dict[str, Numbers]:
    """All ranks' samples, in their order. A rank without samples may not know of what shape they would be."""
    full = [shard for shard in shards if len(shard["targets"])] or [shards[0]]
    for shard in full[1:]:
        if shard.keys() != full[0].keys() or any(shard[key].ndim != full[0][key].ndim for key in shard):
            raise UserError("evaluate: ranks have given arrays of different kinds; call it alike on all of them")
    lengths = {key: [len(shard[key]) for shard in full] for key in full[0]}
    for key, own in lengths.items():
        if own != lengths["targets"]:
            raise UserError(f"evaluate({key}): {sum(own):,} values for {sum(lengths['targets']):,} targets")
    return {key: np.concatenate([shard[key] for shard in full]) for key in full[0]}


def _each_once(arrays: dict[str, Numbers]) -> dict[str, Numbers]:
    ids = arrays.pop("ids", None)
    if ids is None:
        return arrays
    if ids.ndim != 1:
        raise UserError(f"evaluate(ids): {list(ids.shape)}; give one number or text a sample, [N]")
    first = np.sort(np.unique(ids, return_index=True)[1])
    return {key: values[first] for key, values in arrays.items()}


def leave(done: DataEvaluation, name: str, folder: Path | None) -> None:
    """Tells what was measured, and writes it into the folder, with plots; on rank 0."""
    told = EvaluationFile(data={name: done}).headlines()
    words = ", ".join(f"{key} {value:.4g}" for key, value in told.items())
    why = next(iter(done.undefined.values()), "nothing was asked for")
    log.info("evaluated on %s samples: %s", f"{done.samples:,}", words or why)
    if folder is not None:
        add_evaluation(folder, {name: done})
        drawing(lambda plots: plots.draw(name, done, folder / PLOTS))
    if step := reporter().progress.step:  # of code that counts no steps by `report`, its log may tell them
        report(step=step, **told)
