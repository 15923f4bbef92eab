"""What a recipe's hyperparameters make of callbacks, and what comes of it."""

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from footplate.api.evaluation import full_name
from footplate.api.hyperparameters import HELD_OUT, Hyperparameters
from footplate.api.recipes import RegressionHyperparameters
from footplate_trainer import Trainer, data
from footplate_trainer.callbacks import Callback, EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, SwapEMAWeights
from footplate_trainer.errors import ConfigError, UserError
from footplate_trainer.rank.report import reporter
from footplate_trainer.recipes.callbacks import MustBeFinite, check_held_out, make_callbacks
from footplate_trainer.training.epoch_line import status_names


class Script(Callback):
    """Puts values of a test's choice into the logs, as if they were measured."""

    def __init__(self, *values: float) -> None:
        self.values = values

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        assert logs is not None
        logs["val_loss"] = self.values[epoch]


class Evaluated(Callback):
    """The weights that each evaluation has seen."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.seen.append(self.trainer.module.state_dict()["weight"].clone())


def asked(**settings: Any) -> Hyperparameters:
    return Hyperparameters.model_validate(settings)


def fit(*callbacks: Callback, epochs: int) -> Trainer:
    reporter.cache_clear()  # which counts the steps of all trainings of a process
    torch.manual_seed(0)
    model = nn.Linear(2, 2)
    trainer = Trainer(model, nn.functional.cross_entropy, torch.optim.SGD(model.parameters(), lr=0.5))
    points = torch.randn(12, 2)
    samples = TensorDataset(points, (points.sum(dim=1) > 0).long())
    validation = data.loader(samples, batch_size=12, shuffle=False)
    trainer.fit(data.loader(samples, batch_size=4), validation=validation, epochs=epochs, callbacks=callbacks)
    return trainer


def test_nothing_asked_is_no_callback() -> None:
    assert make_callbacks(asked()) == []


def test_what_is_asked_is_passed_on() -> None:
    stopping = {"monitor": "valAccuracy", "patience": 3, "minDelta": 0.25, "restoreBest": False}
    plateau = {"patience": 1, "minDelta": 0.5, "factor": 0.2, "cooldown": 4, "minLr": 0.001}
    average, _, stop, _, reduce = make_callbacks(
        asked(earlyStopping=stopping, reduceOnPlateau=plateau, emaMomentum=0.9)
    )
    assert isinstance(average, SwapEMAWeights)
    assert (average.swap_on_epoch, average.ema_momentum) == (True, 0.9)
    assert isinstance(stop, EarlyStopping)
    assert (stop.monitor, stop.patience, stop.min_delta, stop.restore_best_weights) == ("val_accuracy", 3, 0.25, False)
    assert stop.improves(1.0, 0.5)
    assert isinstance(reduce, ReduceLROnPlateau)
    assert (reduce.monitor, reduce.patience, reduce.min_delta, reduce.factor) == ("val_loss", 1, 0.5, 0.2)
    assert (reduce.cooldown, reduce.min_lr) == (4, 0.001)


def test_a_plateaus_defaults_are_those_of_the_hyperparameters() -> None:
    _, reduce = make_callbacks(asked(reduceOnPlateau={}))
    assert isinstance(reduce, ReduceLROnPlateau)
    assert (reduce.patience, reduce.factor, reduce.min_delta) == (2, 0.1, 1e-4)


@pytest.mark.parametrize("kind", [Hyperparameters, RegressionHyperparameters])
def test_what_is_watched_is_looked_up_by_its_name_in_the_logs(kind: type[Hyperparameters]) -> None:
    for name in kind.measures:
        settings = {"target": "y"} if kind is RegressionHyperparameters else {}
        for monitor, in_logs in ((name, name), (full_name(HELD_OUT, name), f"val_{name}")):
            found = make_callbacks(kind.model_validate({**settings, "earlyStopping": {"monitor": monitor}}))
            assert isinstance(found[1], EarlyStopping)
            assert found[1].monitor == in_logs
            found[0].on_epoch_end(0, {in_logs: 1.0})
            assert status_names({in_logs: 1.0}) == {monitor: 1.0}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_watched_value_that_is_no_number_ends_in_words(value: float) -> None:
    with pytest.raises(
        UserError, match=rf"hyperparameters\.earlyStopping\.monitor: valLoss is {value} after epoch 2, and"
    ):
        fit(Script(1.0, value), MustBeFinite("earlyStopping", "valLoss"), epochs=2)


def test_the_best_is_the_average_that_was_evaluated() -> None:
    evaluated = Evaluated()
    best = 1
    callbacks = make_callbacks(asked(emaMomentum=0.7, earlyStopping={"patience": 2}))
    average, *others = callbacks
    trainer = fit(average, evaluated, Script(3, 2, 4, 4), *others, epochs=6)
    assert len(evaluated.seen) == best + 1 + 2
    assert torch.equal(trainer.module.state_dict()["weight"], evaluated.seen[best])


def test_validation_data_that_is_watched_must_be_there() -> None:
    with pytest.raises(ConfigError, match=r"earlyStopping: it watches .* validation data, and there are none; add an"):
        check_held_out(asked(earlyStopping={}), None, divided=False)
    with pytest.raises(ConfigError, match="reduceOnPlateau: it watches"):
        check_held_out(asked(earlyStopping={"monitor": "loss"}, reduceOnPlateau={}), None, divided=False)
    with pytest.raises(ConfigError, match=r"there are none; give data\.split a part validation, or watch"):
        check_held_out(asked(earlyStopping={}), None, divided=True)
    check_held_out(asked(earlyStopping={"monitor": "loss"}), None, divided=False)
    check_held_out(asked(earlyStopping={}), [1], divided=False)


@pytest.mark.parametrize(
    ("callbacks", "values", "ended", "model"),
    [
        pytest.param([EarlyStopping(patience=1)], [3, 2, 2], "earlyStopping", None, id="stopped, not restored"),
        pytest.param(
            [EarlyStopping(patience=2, restore_best_weights=True)], [3, 2, 4, 4], "earlyStopping", (2, 6), id="restored"
        ),
        pytest.param(
            [EarlyStopping(patience=9, restore_best_weights=True)], [1, 2, 3, 4], "epochs", (1, 3), id="all epochs"
        ),
        pytest.param([], [1, 2, 3, 4], "epochs", None, id="no callback"),
    ],
)
def test_why_training_ended_and_what_the_model_is_of(
    callbacks: list[Callback], values: list[float], ended: str, model: tuple[int, int] | None
) -> None:
    fit(Script(*values), *callbacks, epochs=len(values))
    facts = reporter()._facts
    assert facts["ended"] == ended
    told = facts["model"]
    assert (None if told is None else (told.epoch, told.step)) == model
    if told is not None:
        assert told.metrics["valLoss"] == min(values)


def test_what_only_other_epochs_have_is_told_to_be_none_of_the_models() -> None:
    class Sometimes(Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            assert logs is not None
            logs["val_f1"] = math.nan if epoch == 1 else 0.9
            logs.update({"val_top_3": 0.9} if epoch != 1 else {})

    stopping = EarlyStopping(patience=9, restore_best_weights=True)
    fit(Script(3, 2, 4), Sometimes(), stopping, epochs=3)
    told = reporter()._facts["model"]
    assert told.epoch == 2
    assert set(told.without) == {"valF1", "valTop3"}


def test_a_callback_of_ones_own_that_ends_training() -> None:
    class Enough(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.trainer.stop_training = epoch == 1

    fit(Enough(), epochs=4)
    assert reporter()._facts["ended"] == "callback"


BEST = EarlyStopping(restore_best_weights=True)
BY_LOSS = EarlyStopping("loss", restore_best_weights=True)


@pytest.mark.parametrize(
    "callbacks",
    [
        pytest.param([SwapEMAWeights(), BEST], id="the weights, chosen by the average's values"),
        pytest.param([BEST, SwapEMAWeights(swap_on_epoch=True)], id="restored, then overwritten"),
        pytest.param([BY_LOSS, SwapEMAWeights()], id="the same by training's values"),
        pytest.param([SwapEMAWeights(), ModelCheckpoint("best.safetensors", save_best_only=True)], id="a file"),
        pytest.param([ModelCheckpoint("best.safetensors", save_best_only=True), SwapEMAWeights(True)], id="too early"),
    ],
)
def test_the_best_of_an_average_is_the_average(callbacks: list[Callback]) -> None:
    with pytest.raises(
        ConfigError, match=r"callbacks: .* keeps weights by .*; write \[SwapEMAWeights\(swap_on_epoch=T"
    ):
        fit(*callbacks, epochs=1)


@pytest.mark.parametrize(
    "callbacks",
    [
        pytest.param([SwapEMAWeights(True), BEST], id="after it"),
        pytest.param([SwapEMAWeights(), BY_LOSS], id="by training's values"),
        pytest.param([EarlyStopping(), SwapEMAWeights()], id="not restored"),
    ],
)
def test_an_average_beside_what_keeps_no_other(callbacks: list[Callback]) -> None:
    fit(*callbacks, epochs=1)
