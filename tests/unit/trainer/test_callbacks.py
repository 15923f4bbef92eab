"""Callbacks on numbers whose outcome Keras 3's documentation tells, and after a kill."""

import csv
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from footplate_trainer import Trainer, callbacks, checkpoint, data
from footplate_trainer.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ReduceLROnPlateau,
)
from footplate_trainer.checkpoint.codec import flatten
from footplate_trainer.errors import ConfigError, UserError
from footplate_trainer.rank.report import reporter
from footplate_trainer.training.epoch_line import epoch_line

NAN = float("nan")
STEPS = 3
"""Of an epoch."""


class Script(Callback):
    """Puts values of a test's choice into the logs, as if they were measured."""

    def __init__(self, name: str, values: Sequence[float]) -> None:
        self.name, self.values = name, values

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if logs is not None:
            logs[self.name] = self.values[epoch]


class Rates(Callback):
    """The learning rate in each epoch."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == 0:
            self.seen.append(self.trainer.optimizer.param_groups[0]["lr"])


class Killed(BaseException):
    """The process is gone."""


def make_trainer(**options: Any) -> Trainer:
    torch.manual_seed(0)
    model = nn.Linear(2, 2)
    return Trainer(model, nn.functional.cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1), **options)


def loader() -> data.Loader:
    generator = torch.Generator().manual_seed(1)
    return data.loader(TensorDataset(torch.randn(24, 2, generator=generator), torch.arange(24) % 2), batch_size=8)


def epochs_of(*hooks: Callback, epochs: int, trainer: Trainer | None = None) -> int:
    return len((trainer or make_trainer()).fit(loader(), epochs=epochs, callbacks=hooks).epoch)


def stops_after(values: Sequence[float], monitor: str = "val_loss", **options: Any) -> int:
    return epochs_of(Script(monitor, values), EarlyStopping(monitor, **options), epochs=len(values))


FLAT = [1.0] * 8


@pytest.mark.parametrize(
    ("values", "options", "epochs"),
    [
        pytest.param([3, 2, 1, 1, 1], {}, 4, id="at the first epoch without improvement"),
        pytest.param([3, 2, 2.5, 2.5, 1, 1], {"patience": 2}, 4, id="after patience epochs without one"),
        pytest.param([3, 2, 2.5, 1, 2, 2, 2], {"patience": 2}, 6, id="an improvement begins the count anew"),
        pytest.param([1, 0.95, 0.9, 0.5, 0.5], {"min_delta": 0.1}, 2, id="by no more than min_delta is none"),
        pytest.param([1, 0.95, 0.9, 0.5, 0.5], {"min_delta": -0.1}, 2, id="the sign of min_delta means nothing"),
        pytest.param([1, 2, 3, 3], {"mode": "max"}, 4, id="more is better"),
        pytest.param(FLAT, {"patience": 3}, 4, id="the first epoch is an improvement"),
        pytest.param([3, 2.5, 2, 1.5, 1], {"baseline": 1, "patience": 3}, 5, id="better than before doesn't stop"),
        pytest.param([3, 3, 3, 3, 1], {"baseline": 1, "patience": 3}, 3, id="epochs above the baseline are counted"),
        pytest.param([3, 2, 0.5, 0.6, 0.6], {"baseline": 1, "patience": 2}, 5, id="below it the count begins anew"),
        pytest.param(FLAT, {"start_from_epoch": 3}, 5, id="a warm-up counts for nothing"),
        pytest.param([1, 5, 5, 4, 3, 3], {"start_from_epoch": 2}, 6, id="nor is the best value of it known"),
        pytest.param([NAN, 3, 2, 2], {"patience": 1}, 4, id="NaN isn't the best value"),
        pytest.param([3, NAN, NAN, 1], {"patience": 2}, 3, id="NaN is no improvement"),
    ],
)
def test_early_stopping(values: list[float], options: dict[str, Any], epochs: int) -> None:
    assert stops_after(values, **options) == epochs


@pytest.mark.parametrize("restore", [False, True])
def test_early_stopping_knows_the_best_epoch(restore: bool) -> None:
    stopping = EarlyStopping(patience=2, restore_best_weights=restore)
    make_trainer().fit(loader(), epochs=5, callbacks=[Script("val_loss", [3, 1, 2, 2, 2]), stopping])
    assert (stopping.best_epoch, stopping.stopped_epoch) == (1, 3)


def test_what_mode_auto_knows() -> None:
    assert stops_after([1, 2, 3, 3], "val_accuracy") == 4
    assert stops_after([3, 2, 1, 1], "val_loss") == 4
    with pytest.raises(ConfigError, match=r"EarlyStopping\(monitor='val_f1'\).* say mode='min' or mode='max'"):
        EarlyStopping("val_f1")
    with pytest.raises(ConfigError, match="a mode is one of auto, min, max"):
        EarlyStopping(mode="less")  # type: ignore[arg-type]


def test_a_value_that_is_not_there_is_named() -> None:
    assert epochs_of(EarlyStopping("val_losss", mode="min"), epochs=3) == 3
    assert "EarlyStopping does nothing: there is no 'val_losss' among loss; did you mean loss?" in reporter()._notes


@pytest.mark.parametrize(("values", "best"), [([3, 1, 2, 2], 1), ([3, 2, 1, 0], 3), ([NAN, NAN, NAN], 0)])
def test_early_stopping_restores_the_best_weights(values: list[float], best: int) -> None:
    weights: list[torch.Tensor] = []
    trainer = make_trainer()
    keep = LambdaCallback(on_epoch_end=lambda epoch, logs: weights.append(trainer.module.weight.detach().clone()))
    stop = EarlyStopping(patience=2, restore_best_weights=True)
    trainer.fit(loader(), epochs=len(values), callbacks=[Script("val_loss", values), keep, stop])
    assert torch.equal(trainer.module.weight, weights[best])
    assert all(not torch.equal(trainer.module.weight, other) for n, other in enumerate(weights) if n != best)


def test_one_callback_can_be_used_for_several_trainings() -> None:
    stop = EarlyStopping(patience=2)
    assert [epochs_of(Script("val_loss", FLAT), stop, epochs=8) for _ in range(2)] == [3, 3]


@pytest.mark.parametrize(
    ("values", "options", "rates"),
    [
        pytest.param(FLAT[:6], {"patience": 2}, [0.1, 0.1, 0.1, 0.01, 0.01, 0.001], id="after patience epochs"),
        pytest.param(FLAT[:4], {"patience": 1, "factor": 0.5}, [0.1, 0.1, 0.05, 0.025], id="by a factor"),
        pytest.param(FLAT[:5], {"patience": 1, "min_lr": 0.04}, [0.1, 0.1, 0.04, 0.04, 0.04], id="not below min_lr"),
        pytest.param([5, 4, 3, 2, 1], {"patience": 1}, [0.1] * 5, id="not while it gets better"),
        pytest.param([1, 0.99995, 0.99], {"patience": 1}, [0.1, 0.1, 0.01], id="by less than min_delta isn't better"),
        pytest.param(
            FLAT[:7], {"patience": 1, "cooldown": 2}, [0.1, 0.1, 0.01, 0.01, 0.001, 0.001, 0.0001], id="cooldown"
        ),
    ],
)
def test_the_rate_is_reduced_on_a_plateau(values: list[float], options: dict[str, Any], rates: list[float]) -> None:
    seen = Rates()
    history = make_trainer().fit(
        loader(), epochs=len(values), callbacks=[Script("val_loss", values), ReduceLROnPlateau(**options), seen]
    )
    assert seen.seen == pytest.approx(rates)
    assert history.history["learning_rate"] == pytest.approx(rates)


@pytest.mark.parametrize(
    "schedule",
    [lambda epoch, rate: rate * 0.5 if epoch else rate, lambda epoch: 0.1 * 0.5**epoch],
    ids=["of the present rate", "of the epoch"],
)
def test_a_schedule_sets_the_rate_of_each_epoch(schedule: Callable[..., float]) -> None:
    seen = Rates()
    history = make_trainer().fit(loader(), epochs=3, callbacks=[LearningRateScheduler(schedule), seen])
    assert seen.seen == history.history["learning_rate"] == pytest.approx([0.1, 0.05, 0.025])


@pytest.mark.parametrize("answer", [None, "fast", NAN, -0.1])
def test_a_schedule_must_give_a_rate(answer: Any) -> None:
    with pytest.raises(UserError, match=f"the schedule gave {answer!r} for epoch 0; it must return a learning rate"):
        epochs_of(LearningRateScheduler(lambda epoch: answer), epochs=1)


@pytest.mark.parametrize("callback", [LearningRateScheduler(lambda epoch: 0.1), ReduceLROnPlateau("loss")])
def test_two_cannot_set_the_rate(callback: Callback) -> None:
    trainer = make_trainer()
    trainer.scheduler = torch.optim.lr_scheduler.StepLR(trainer.optimizer, step_size=1)
    with pytest.raises(ConfigError, match=r"and Trainer\(scheduler=...\) would both set the learning rate"):
        epochs_of(callback, epochs=1, trainer=trainer)


def test_a_factor_reduces() -> None:
    with pytest.raises(ConfigError, match=r"ReduceLROnPlateau\(factor=1.0\): a factor is at least 0 and less than 1"):
        ReduceLROnPlateau(factor=1.0)


def test_functions_are_called_at_the_points_of_their_names() -> None:
    seen: list[tuple[Any, ...]] = []
    callback = LambdaCallback(
        on_train_begin=lambda logs: seen.append(("train begins",)),
        on_train_batch_begin=lambda batch, logs: seen.append(("batch", batch)),
        on_epoch_end=lambda epoch, logs: seen.append(("epoch", epoch, set(logs))),
        on_train_end=None,
    )
    epochs_of(callback, epochs=1)
    assert seen == [("train begins",), ("batch", 0), ("batch", 1), ("batch", 2), ("epoch", 0, {"loss"})]
    with pytest.raises(ConfigError, match="there is no such point; there are on_train_begin, "):
        LambdaCallback(on_epoch_ends=print)
    with pytest.raises(ConfigError, match="this must be a function"):
        LambdaCallback(on_epoch_end=1)  # type: ignore[arg-type]


def rows(path: Path, separator: str = ",") -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file, delimiter=separator))


def test_a_line_an_epoch_is_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "log.csv"
    script = Script("val_loss", [0.5, 0.25])
    history = make_trainer().fit(loader(), epochs=2, callbacks=[script, CSVLogger(path, separator=";")])
    losses = [str(loss) for loss in history.history["loss"]]
    assert rows(path, ";") == [["epoch", "loss", "val_loss"], ["0", losses[0], "0.5"], ["1", losses[1], "0.25"]]
    epochs_of(CSVLogger(path), epochs=1)
    assert rows(path) == [["epoch", "loss", "val_loss"], ["0", losses[0], "NA"]]
    epochs_of(CSVLogger(path, append=True), epochs=1)
    assert rows(path)[2:] == [["0", losses[0], "NA"]]


def test_a_relative_path_lies_in_the_output_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    epochs_of(CSVLogger("log.csv"), epochs=1)
    assert len(rows(tmp_path / "output" / "log.csv")) == 2


def kill_and_resume(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[], list[Callback]], *, epochs: int, saved: int, killed: int
) -> tuple[Trainer, callbacks.History]:
    """Trains until the end of step `killed`, is killed, and goes on from what was saved at step `saved`."""
    held: dict[str, Any] = {}
    step = [0]

    def maybe_save(state: checkpoint.TrainState) -> checkpoint.Outcome:
        step[0] += 1
        if step[0] == saved:
            held.update({name: _copy(flatten(part.state_dict()).tree()) for name, part in state.parts.items()})
            for name, part in state.parts.items():
                if name in ("model", "optimizer"):
                    held[name] = _copy(part.state_dict())
        if step[0] == killed:
            raise Killed
        return checkpoint.CONTINUE

    restore = checkpoint.restore

    def resume(**parts: Any) -> checkpoint.TrainState:
        state = restore(**parts)
        for name, tree in held.items():
            state.parts[name].load_state_dict(tree)
        state.step = saved
        return state

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "maybe_save", maybe_save)
        with pytest.raises(Killed):
            make_trainer().fit(loader(), epochs=epochs, callbacks=make())
        assert held
        step[0] = -1000
        patch.setattr(checkpoint, "restore", resume)
        trainer = make_trainer()
        return trainer, trainer.fit(loader(), epochs=epochs, callbacks=make())


def _copy(tree: Any) -> Any:
    if isinstance(tree, torch.Tensor):
        return tree.clone()
    if isinstance(tree, dict):
        return {name: _copy(value) for name, value in tree.items()}
    return [_copy(value) for value in tree] if isinstance(tree, list) else tree


VALUES = [5, 4, 4, 3, 3, 3, 3, 3, 2, 1]


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda _: [EarlyStopping(patience=4)], id="EarlyStopping"),
        pytest.param(
            lambda _: [EarlyStopping(patience=4, restore_best_weights=True)], id="EarlyStopping, best weights"
        ),
        pytest.param(lambda _: [ReduceLROnPlateau(patience=2, factor=0.5)], id="ReduceLROnPlateau"),
        pytest.param(
            lambda _: [ReduceLROnPlateau(patience=1, cooldown=2), EarlyStopping(patience=4)], id="both, and a cooldown"
        ),
        pytest.param(lambda _: [LearningRateScheduler(lambda epoch, rate: rate * 0.9)], id="LearningRateScheduler"),
        pytest.param(lambda path: [CSVLogger(path)], id="CSVLogger"),
    ],
)
@pytest.mark.parametrize(("saved", "killed"), [(4, 2), (6, 9), (13, 4)])
def test_what_callbacks_remember_outlives_a_kill(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    make: Callable[[Path], list[Callback]],
    saved: int,
    killed: int,
) -> None:
    """Saved in mid-epoch and at the end of one, killed a few steps later, perhaps after what is decided there."""

    def hooks(path: Path) -> list[Callback]:
        return [Script("val_loss", VALUES), *make(path)]

    undisturbed = make_trainer()
    expected = undisturbed.fit(loader(), epochs=len(VALUES), callbacks=hooks(tmp_path / "expected.csv"))
    trainer, history = kill_and_resume(
        monkeypatch,
        lambda: hooks(tmp_path / "log.csv"),
        epochs=len(VALUES),
        saved=saved,
        killed=min(saved + killed, STEPS * len(expected.epoch)),
    )
    assert history.epoch == expected.epoch
    assert history.history == expected.history
    assert torch.equal(trainer.module.weight, undisturbed.module.weight)
    if (tmp_path / "expected.csv").exists():
        assert (tmp_path / "log.csv").read_bytes() == (tmp_path / "expected.csv").read_bytes()


class StopAt(Callback):
    """Stops after a batch, and forgets that it did."""

    def __init__(self, epoch: int, batch: int) -> None:
        self.epoch, self.batch, self.now = epoch, batch, 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.now = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if (self.now, batch) == (self.epoch, self.batch):
            self.trainer.stop_training = True


@pytest.mark.parametrize("batch", [0, 1, 2])
def test_a_decision_to_stop_outlives_a_kill(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    """The epoch that it cut short is ended, and no other is begun."""
    undisturbed = make_trainer()
    expected = undisturbed.fit(loader(), epochs=5, callbacks=[StopAt(1, batch)])
    step = STEPS + batch + 1
    attempts = iter([[StopAt(1, batch)], []])
    trainer, history = kill_and_resume(monkeypatch, lambda: next(attempts), epochs=5, saved=step, killed=step)
    assert history.epoch == expected.epoch == [0, 1]
    assert history.history == expected.history
    assert torch.equal(trainer.module.weight, undisturbed.module.weight)


def test_a_checkpoint_of_before_callbacks_had_state_still_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    restore = checkpoint.restore

    def resume(**parts: Any) -> checkpoint.TrainState:
        state = restore(**parts)
        state.parts["fit"].load_state_dict({"means": [0.0, 0], "epochs": [0], "history": {"loss": [1.0]}})
        state.parts["loader"].load_state_dict({**state.parts["loader"].state_dict(), "epoch": 1})
        return state

    monkeypatch.setattr(checkpoint, "restore", resume)
    history = make_trainer().fit(loader(), epochs=3, callbacks=[EarlyStopping("loss")])
    assert history.epoch == [0, 1, 2]


def test_callbacks_of_one_class_have_each_their_own_state() -> None:
    trainer = make_trainer()
    first, second = EarlyStopping("loss"), EarlyStopping("val_loss")
    first.wait, second.wait = 1, 2
    state = callbacks.CallbackList([first, second], trainer).state_dict()
    again = [ReduceLROnPlateau(), EarlyStopping("loss"), EarlyStopping("val_loss")]
    callbacks.CallbackList(again, trainer).load_state_dict(state)
    assert [callback.wait for callback in again] == [0, 1, 2]  # type: ignore[attr-defined]


def test_an_epoch_is_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="footplate_trainer")
    epochs_of(epochs=2)
    lines = [record.message for record in caplog.records if record.message.startswith("epoch ")]
    assert len(lines) == 2
    assert lines[1].startswith("epoch 2/2: loss 0.")
    assert "samples/s" in lines[1]


def test_what_an_epochs_line_says() -> None:
    optimizer = torch.optim.SGD([{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (0.1, 0.1, 1e-5)])
    logs = {"loss": 0.123456, "val_accuracy": 1.0}
    assert epoch_line(2, 10, logs, optimizer, samples=50_000, seconds=4.0) == (
        "epoch 3/10: loss 0.1235, val_accuracy 1, lr 0.1 1e-05, 12,500 samples/s"
    )
    assert epoch_line(0, 1, {}, optimizer, samples=0, seconds=1.0) == "epoch 1/1: lr 0.1 1e-05"
