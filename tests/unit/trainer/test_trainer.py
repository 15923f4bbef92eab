"""`Trainer` in one process: what it computes, when it calls whom, and what it refuses."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import TensorDataset

from footplate_trainer import Trainer, callbacks, checkpoint, data, metrics
from footplate_trainer.errors import ConfigError, UserError
from footplate_trainer.metrics import Means
from footplate_trainer.training.fit_state import FiniteGuard
from footplate_trainer.training.trainer import status_names

CPU = torch.device("cpu")


def points(samples: int = 20) -> TensorDataset:
    generator = torch.Generator().manual_seed(samples)
    labels = torch.arange(samples) % 3
    return TensorDataset(torch.randn(samples, 4, generator=generator) + labels[:, None], labels)


def make_trainer(*, lr: float = 0.1, **options: Any) -> Trainer:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    options.setdefault("metrics", [metrics.accuracy])
    return Trainer(model, nn.functional.cross_entropy, torch.optim.SGD(model.parameters(), lr=lr), **options)


def loader(samples: int = 20, *, shuffle: bool = True) -> data.Loader:
    return data.loader(points(samples), batch_size=8, shuffle=shuffle)


def weights(trainer: Trainer) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in trainer.module.parameters()])


def test_fit_is_the_plain_loop() -> None:
    trainer = make_trainer()
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for inputs, targets in data.loader(points(), batch_size=8, epochs=3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    history = trainer.fit(loader(), epochs=3)
    assert torch.equal(weights(trainer), torch.cat([weight.detach().flatten() for weight in model.parameters()]))
    assert history.epoch == [0, 1, 2]
    assert history.history["loss"][2] < history.history["loss"][0]


def test_fit_knows_its_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the loader doesn't: what is due there is saved before anything that follows can change the model."""
    ended, maybe_save = [], checkpoint.maybe_save
    monkeypatch.setattr(checkpoint, "maybe_save", lambda state: (ended.append(state.ended), maybe_save(state))[1])
    make_trainer().fit(loader(), epochs=2)
    assert ended == [False] * 5 + [True]


def test_evaluation_is_the_mean_over_all_samples() -> None:
    trainer = make_trainer()
    inputs, targets = points(21).tensors
    outputs = trainer.module(inputs)
    result = trainer.evaluate(loader(21, shuffle=False))
    assert result["loss"] == pytest.approx(nn.functional.cross_entropy(outputs, targets).item())
    assert result["accuracy"] == (outputs.argmax(1) == targets).double().mean()


def test_a_loader_can_be_evaluated_again() -> None:
    trainer, held_out = make_trainer(), loader(shuffle=False)
    assert trainer.evaluate(held_out) == trainer.evaluate(held_out)


@pytest.mark.parametrize("accumulate", [2, 3, 100])
def test_accumulation_changes_nothing_but_memory(accumulate: int) -> None:
    whole, parts = make_trainer(), make_trainer(accumulate=accumulate)
    histories = [trainer.fit(loader(), epochs=3).history for trainer in (whole, parts)]
    torch.testing.assert_close(weights(parts), weights(whole))
    assert histories[1]["loss"] == pytest.approx(histories[0]["loss"])
    assert histories[1]["accuracy"] == histories[0]["accuracy"]


def test_accumulation_needs_tensors_with_a_row_a_sample() -> None:
    def collate(samples: list[Any]) -> Any:
        inputs, targets = zip(*samples, strict=True)
        return (torch.stack(inputs), torch.zeros(7)), torch.stack(targets)

    trainer = make_trainer(accumulate=2)
    with pytest.raises(UserError, match=r"can split tensors with a row a sample, not \[7\] of 4 samples"):
        trainer.fit(data.loader(list(points(4)), batch_size=4, collate=collate))


def test_predictions_are_in_the_order_of_the_data() -> None:
    trainer = make_trainer()
    expected = trainer.module(points().tensors[0])
    torch.testing.assert_close(trainer.predict(loader(shuffle=False)), expected)
    torch.testing.assert_close(trainer.predict([points().tensors[0]]), expected)


def test_the_scheduler_steps_after_every_optimizer_step() -> None:
    trainer = make_trainer()
    trainer.scheduler = torch.optim.lr_scheduler.StepLR(trainer.optimizer, step_size=1, gamma=0.5)
    trainer.fit(loader(24), epochs=2)
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.5**6)


class Recorder(callbacks.Callback):
    """Writes down which hook was called with what."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("on_"):
            return super().__getattribute__(name)
        return lambda *arguments: self.calls.append((name, *(a for a in arguments if isinstance(a, int))))


def test_callbacks_are_called_as_keras_calls_them() -> None:
    recorder = Recorder()
    make_trainer().fit(loader(16), validation=loader(8, shuffle=False), epochs=2, callbacks=[recorder])
    epoch = [
        ("on_train_batch_begin", 0), ("on_train_batch_end", 0), ("on_train_batch_begin", 1), ("on_train_batch_end", 1),
        ("on_test_begin",), ("on_test_batch_begin", 0), ("on_test_batch_end", 0), ("on_test_end",),
    ]  # fmt: skip
    assert recorder.calls == [
        ("on_train_begin",),
        *[("on_epoch_begin", 0), *epoch, ("on_epoch_end", 0)],
        *[("on_epoch_begin", 1), *epoch, ("on_epoch_end", 1)],
        ("on_train_end",),
    ]


def test_predictions_have_the_shape_of_a_batchs_outputs() -> None:
    class Parts(nn.Module):
        def __init__(self, give: Any) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 3)
            self.give = give

        def forward(self, inputs: Tensor) -> Any:
            return self.give(self.linear(inputs))

    def predict(give: Any, batches: Any) -> Any:
        model = Parts(give)
        return Trainer(model, nn.functional.cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1)).predict(batches)

    found = predict(lambda logits: {"logits": logits, "best": (logits.argmax(1), logits.sum(1))}, loader(shuffle=False))
    samples = len(points())
    assert {name: len(value) for name, value in found.items()} == {"logits": samples, "best": 2}
    assert [len(values) for values in found["best"]] == [samples, samples]
    assert torch.equal(found["best"][0], found["logits"].argmax(1))
    with pytest.raises(UserError, match=r"predict: the model gave a single number for a batch, not a row for each"):
        predict(lambda logits: logits.sum(), [torch.zeros(2, 4)])
    with pytest.raises(ConfigError, match=r"predict: the data has no batches"):
        predict(lambda logits: logits, [])


def test_evaluate_and_predict_call_their_own_hooks() -> None:
    recorder = Recorder()
    trainer = make_trainer()
    trainer.evaluate(loader(8), callbacks=[recorder])
    trainer.predict(loader(8), callbacks=[recorder])
    assert [call[0] for call in recorder.calls] == [
        "on_test_begin", "on_test_batch_begin", "on_test_batch_end", "on_test_end",
        "on_predict_begin", "on_predict_batch_begin", "on_predict_batch_end", "on_predict_end",
    ]  # fmt: skip


class Stop(callbacks.Callback):
    """Stops after a batch or an epoch."""

    def __init__(self, *, batch: int | None = None, epoch: int | None = None) -> None:
        self._batch = batch
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self.trainer.stop_training |= batch == self._batch

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.trainer.stop_training |= epoch == self._epoch


@pytest.mark.parametrize(("stop", "epochs", "steps"), [(Stop(epoch=1), 2, 6), (Stop(batch=1), 1, 2)])
def test_stop_training_ends_fit(stop: Stop, epochs: int, steps: int) -> None:
    recorder = Recorder()
    history = make_trainer().fit(loader(24), epochs=5, callbacks=[stop, recorder])
    assert len(history.epoch) == epochs
    assert sum(call[0] == "on_train_batch_end" for call in recorder.calls) == steps


def test_logs_after_a_batch_are_the_means_so_far() -> None:
    seen: list[dict[str, float]] = []

    class Look(callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
            seen.append(dict(logs or {}))

    history = make_trainer(lr=0).fit(loader(16), callbacks=[Look()])
    assert [set(logs) for logs in seen] == [{"loss", "accuracy"}] * 2
    assert seen[-1] == {name: values[0] for name, values in history.history.items()}


def test_a_loss_that_is_no_number_names_the_step_and_what_to_try() -> None:
    spoilt = points(24)
    spoilt.tensors[0][9] = float("nan")
    with pytest.raises(UserError, match=r"the loss is nan at step 2\. The learning rate is 0\.1: try a tenth of it"):
        make_trainer().fit(data.loader(spoilt, batch_size=8, shuffle=False))


def test_the_guard_names_the_first_bad_step_of_a_window() -> None:
    trainer = make_trainer()
    guard = FiniteGuard(trainer.module, trainer.optimizer, torch.device("meta"))
    guard._losses = torch.zeros(8)
    for step, loss in enumerate([1.0, 2.0, float("inf"), float("nan")], start=5):
        guard.watch(step, torch.tensor(loss))
    with pytest.raises(UserError, match="the loss is inf at step 7"):
        guard.check()


def test_spoilt_weights_are_seen_though_the_loss_is_finite() -> None:
    trainer = make_trainer()
    guard = FiniteGuard(trainer.module, trainer.optimizer, CPU)
    guard.watch(3, torch.tensor(1.0))
    guard.check_weights()
    with torch.no_grad():
        next(trainer.module.parameters())[0, 0] = float("inf")
    with pytest.raises(UserError, match="no longer finite numbers after step 3"):
        guard.check_weights()


class Masked(nn.Module):
    """Holds constants that no sum of squares can take."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.norm = nn.BatchNorm1d(3)
        self.huge = nn.Parameter(torch.full((3,), 1e25), requires_grad=False)
        self.mask = nn.Parameter(torch.tensor([0.0, 0.0, -torch.inf]), requires_grad=False)
        self.register_buffer("causal", torch.full((3, 3), -torch.inf).triu(1))


@pytest.mark.parametrize("name", ["linear.weight", "linear.bias", "norm.running_mean", "norm.running_var", "huge"])
def test_what_was_finite_at_first_must_stay_so(name: str) -> None:
    model = Masked()
    guard = FiniteGuard(model, torch.optim.SGD(model.parameters(), lr=0.1), CPU)
    guard.watch(3, torch.tensor(1.0))
    guard.check_weights()
    with torch.no_grad():
        model.linear.weight[0, 0] = 3e38
        guard.check_weights()
        model.state_dict()[name].view(-1)[-1] = float("nan")
    with pytest.raises(UserError, match=rf"no longer finite numbers after step 3 \(first {name}\)"):
        guard.check_weights()


def absolute_error(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (outputs - targets).abs()


def test_means_go_on_from_their_totals() -> None:
    outputs, targets = torch.eye(3)[[0, 1, 1]], torch.tensor([0, 1, 2])
    means = Means([metrics.accuracy], CPU)
    means.add(torch.tensor(0.5), outputs, targets, size=3)
    again = Means([metrics.accuracy], CPU)
    again.start_from(means.totals())
    again.add(torch.tensor(0.1), outputs[:1], targets[:1], size=1)
    assert dict(again) == pytest.approx({"loss": 0.4, "accuracy": 0.75})
    with pytest.raises(KeyError):
        again["f1"]


@pytest.mark.parametrize("scale", [1e-12, 1e-9, 1.0, 1e5])
def test_means_are_right_to_the_last_digits_at_any_scale(scale: float) -> None:
    losses = torch.rand(1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * scale
    whole, other_order = Means([], CPU), Means([], CPU)
    for loss in losses:
        whole.add(loss, torch.zeros(2), torch.zeros(2), size=2)
    for loss in losses.flip(0)[:700]:
        other_order.add(loss, torch.zeros(2), torch.zeros(2), size=2)
    again = Means([], CPU)
    again.start_from(other_order.totals())
    for loss in losses.flip(0)[700:]:
        again.add(loss, torch.zeros(2), torch.zeros(2), size=2)
    assert again.totals() == whole.totals()
    assert whole.over_all_ranks()["loss"] == whole["loss"] == pytest.approx(losses.mean().item(), rel=1e-12)


@pytest.mark.parametrize("scale", [1e-15, 1e-18, 1e-30, 1e-200])
def test_means_of_what_is_tiny_are_not_0(scale: float) -> None:
    """Lengths in metres that are nanometres have squared errors below any grain."""
    losses = torch.rand(200, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * scale
    whole, first = Means([absolute_error], CPU), Means([absolute_error], CPU)
    for number, loss in enumerate(losses):
        for means in (whole, first) if number < 150 else (whole,):
            means.add(loss, loss.expand(2), torch.zeros(2), size=2)
    again = Means([absolute_error], CPU)
    again.start_from(first.totals())
    for loss in losses[150:]:
        again.add(loss, loss.expand(2), torch.zeros(2), size=2)
    expected = pytest.approx(losses.mean().item(), rel=1e-12, abs=0)
    assert dict(whole) == whole.over_all_ranks() == {"loss": expected, "absolute_error": expected}
    assert dict(again) == {"loss": expected, "absolute_error": expected}


def test_a_small_weight_divides_as_a_large_one() -> None:
    means = Means([], CPU)
    means.add(torch.tensor(6e-9), torch.zeros(2), torch.zeros(2), size=2, weight=torch.tensor(3e-9))
    assert means.over_all_ranks()["loss"] == pytest.approx(2.0)


def test_an_infinite_loss_is_told_as_it_is() -> None:
    means = Means([], CPU)
    means.add(torch.tensor(math.inf), torch.zeros(2), torch.zeros(2), size=2)
    assert means["loss"] == math.inf


@pytest.mark.parametrize(("totals", "loss"), [([6.0, 1.0, 4.0], 1.5), ([6.0, 1.0, 3.0, 4.0], 2.0)])
def test_means_of_earlier_versions_are_read(totals: list[float], loss: float) -> None:
    means = Means([metrics.accuracy], CPU)
    means.start_from(totals)
    assert dict(means) == {"loss": loss, "accuracy": 0.25}


def test_means_of_other_metrics_are_refused() -> None:
    with pytest.raises(ValueError, match="aren't those of loss, accuracy"):
        Means([metrics.accuracy], CPU).start_from(Means([metrics.accuracy, mse_loss], CPU).totals())


def test_status_names_are_in_camel_case() -> None:
    assert status_names({"loss": 1, "val_accuracy": 0.5}) == {"loss": 1, "valAccuracy": 0.5}
    assert status_names({"accuracy": 0.5}, prefix="test_") == {"testAccuracy": 0.5}


def test_a_step_has_one_loss_and_an_epochs_last_its_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, Any]] = []
    monkeypatch.setattr(
        "footplate_trainer.training.trainer.report", lambda *, step, loss=None, **_: told.append((step, loss))
    )
    model = nn.Linear(2, 2)
    trainer = Trainer(model, nn.functional.cross_entropy, torch.optim.SGD(model.parameters(), lr=0.5))
    samples = TensorDataset(torch.randn(12, 2), torch.arange(12) % 2)
    history = trainer.fit(data.loader(samples, batch_size=4), epochs=2)
    losses = [(step, loss) for step, loss in told if loss is not None]
    assert [step for step, _ in losses] == [1, 2, 3, 4, 5, 6]
    assert [loss for step, loss in losses if step in (3, 6)] == history.history["loss"]
