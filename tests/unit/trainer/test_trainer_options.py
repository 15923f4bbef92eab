"""Options of `Trainer` and `fit`: each computes what one would write by hand, or is refused with what to write."""

import copy
import logging
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD
from torch.utils.data import IterableDataset, TensorDataset

from footplate_trainer import Trainer, callbacks, data, metrics, prepare
from footplate_trainer import prepare as prepare_module
from footplate_trainer.data import indexed
from footplate_trainer.data.loader import Loader
from footplate_trainer.errors import ConfigError, DataError, UserError
from footplate_trainer.rank.environment import Context
from footplate_trainer.training.epoch_line import epoch_line
from footplate_trainer.training.training_step import MAX_SKIPPED, Scaler

LABELS = torch.arange(21) % 3
POINTS = torch.randn(21, 4, generator=torch.Generator().manual_seed(1)) + LABELS[:, None]
WEIGHTS = torch.linspace(0, 2, 21)


def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 3)


def make_trainer(loss: Any = cross_entropy, *, lr: float = 0.1, model: Any = None, **options: Any) -> Trainer:
    model = model or linear()
    return Trainer(model, loss, SGD(model.parameters(), lr=lr), **options)


def loader(*tensors: Tensor, batch_size: int = 21) -> data.Loader:
    return data.loader(TensorDataset(*(tensors or (POINTS, LABELS))), batch_size=batch_size)


def weights(trainer: Trainer) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in trainer.module.parameters()])


def by_hand(loss: Callable[[Tensor], Tensor], *, clip: float | None = None) -> Tensor:
    """The weights after a step on all points at once, whose loss is made of the outputs."""
    model = linear()
    loss(model(POINTS)).backward()
    if clip:
        nn.utils.clip_grad_norm_(model.parameters(), clip)
    SGD(model.parameters(), lr=0.1).step()
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def each(outputs: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(outputs, targets, reduction="none")


def of_odd(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The sum over samples that count, and their number."""
    counts = targets != 0
    return (each(outputs, targets) * counts).sum(), counts.sum()


# The loss


@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize(
    "loss",
    [cross_entropy, each, nn.CrossEntropyLoss(), nn.CrossEntropyLoss(reduction="none")],
    ids=["mean", "each", "module", "module each"],
)
def test_a_loss_is_a_mean_or_a_value_a_sample(loss: Any, accumulate: int) -> None:
    trainer = make_trainer(loss, accumulate=accumulate)
    history = trainer.fit(loader())
    torch.testing.assert_close(weights(trainer), by_hand(lambda outputs: cross_entropy(outputs, LABELS)))
    assert history.history["loss"] == pytest.approx([cross_entropy(linear()(POINTS), LABELS).item()])


@pytest.mark.parametrize("accumulate", [1, 4])
def test_a_loss_may_say_what_it_is_divided_by(accumulate: int) -> None:
    trainer = make_trainer(of_odd, accumulate=accumulate, metrics=[metrics.accuracy])
    before = trainer.evaluate(loader(batch_size=5))
    history = trainer.fit(loader())
    odd = LABELS != 0
    torch.testing.assert_close(weights(trainer), by_hand(lambda outputs: cross_entropy(outputs[odd], LABELS[odd])))
    expected = cross_entropy(linear()(POINTS)[odd], LABELS[odd]).item()
    assert before["loss"] == pytest.approx(expected)
    assert history.history["loss"] == pytest.approx([expected])
    assert history.history["accuracy"] == pytest.approx([before["accuracy"]])


def test_a_batch_in_which_nothing_counts_changes_nothing() -> None:
    trainer = make_trainer(of_odd)
    targets = torch.cat([torch.zeros(7, dtype=torch.long), torch.ones(7, dtype=torch.long)])
    trainer.fit(data.loader(TensorDataset(POINTS[:14], targets), batch_size=7, shuffle=False), epochs=1)
    assert torch.isfinite(weights(trainer)).all()
    with pytest.raises(DataError, match="weight of 0 for all 7 samples"):
        trainer.evaluate([(POINTS[:7], targets[:7])])


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (
            lambda outputs, targets: outputs[:3],
            r"the loss gave \[3, 3\] of a batch of 21 samples: it must return",
        ),
        (lambda outputs, targets: (outputs.sum(),), "the loss gave a tuple of 1 of a batch of 21 samples"),
        (lambda outputs, targets: 1.0, "the loss gave a float of a batch"),
    ],
)
def test_a_loss_of_another_shape_is_refused(loss: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        make_trainer(loss).fit(loader())


def test_a_sum_alone_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"CrossEntropyLoss\(reduction='sum'\).* returns \(sum, weight\)"):
        make_trainer(nn.CrossEntropyLoss(reduction="sum"))


# Weights


@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize(
    "loss", [cross_entropy, each, nn.CrossEntropyLoss(), partial(cross_entropy, label_smoothing=0)]
)
def test_sample_weights_are_taken_as_keras_takes_them(loss: Any, accumulate: int) -> None:
    """The sum of the weighted losses by the number of samples."""
    trainer = make_trainer(loss, accumulate=accumulate, metrics=[metrics.accuracy])
    before = trainer.evaluate([(POINTS, LABELS, WEIGHTS)])
    assert before["accuracy"] == pytest.approx(trainer.evaluate([(POINTS, LABELS)])["accuracy"])
    history = trainer.fit(loader(POINTS, LABELS, WEIGHTS))
    torch.testing.assert_close(
        weights(trainer), by_hand(lambda outputs: (each(outputs, LABELS) * WEIGHTS).sum() / len(LABELS))
    )
    expected = (each(linear()(POINTS), LABELS) * WEIGHTS).mean().item()
    assert before["loss"] == pytest.approx(expected)
    assert history.history["loss"] == pytest.approx([expected])


def test_weights_may_be_a_column_or_of_each_loss() -> None:
    targets = torch.randn(21, 3, generator=torch.Generator().manual_seed(2))
    of_each = WEIGHTS[:, None] * torch.tensor([0.0, 1.0, 2.0])
    found = [
        make_trainer(mse_loss).evaluate([(POINTS, targets, weight)])["loss"] for weight in (WEIGHTS[:, None], of_each)
    ]
    losses = (linear()(POINTS) - targets) ** 2
    assert found == pytest.approx([(losses * weight).mean().item() for weight in (WEIGHTS[:, None], of_each)])


@pytest.mark.parametrize("accumulate", [1, 4])
def test_class_weights_are_weights_of_the_classes_samples(accumulate: int) -> None:
    by_class = torch.tensor([2.0, 1.0, 0.5])[LABELS]
    expected, found, both = (make_trainer(accumulate=accumulate) for _ in range(3))
    expected.fit(loader(POINTS, LABELS, by_class), epochs=2)
    found.fit(loader(), epochs=2, class_weight={0: 2.0, 2: 0.5, 7: 100.0})
    both.fit(loader(POINTS, LABELS, by_class / 4), epochs=2, class_weight={0: 4, 1: 4.0, 2: 4.0})
    assert torch.equal(weights(found), weights(expected))
    torch.testing.assert_close(weights(both), weights(expected))


def test_class_weights_are_for_training_alone_and_take_values_for_each_class() -> None:
    one_hot = nn.functional.one_hot(LABELS, 3).float()
    labels, values = make_trainer(), make_trainer()
    labels.fit(loader(), class_weight={1: 3.0})
    history = values.fit(loader(POINTS, one_hot), class_weight={1: 3.0}, validation=[(POINTS, one_hot)])
    torch.testing.assert_close(weights(values), weights(labels))
    assert history.history["val_loss"] == pytest.approx([values.evaluate([(POINTS, LABELS)])["loss"]])


@pytest.mark.parametrize(
    ("options", "batch", "error", "said"),
    [
        ({"class_weight": {"cat": 1.0}}, None, ConfigError, r"fit\(class_weight\): 'cat' is no class"),
        ({"class_weight": {0: -1.0}}, None, ConfigError, "class 0 has weight -1.0; it must be a number ≥ 0"),
        ({"class_weight": {0: math.nan}}, None, ConfigError, "class 0 has weight nan"),
        ({}, WEIGHTS[:, None].expand(21, 2), UserError, r"sample weights \[21, 2\] fit neither 21 samples nor"),
    ],
)
def test_weights_that_mean_nothing_are_refused(options: Any, batch: Any, error: Any, said: str) -> None:
    batches = loader() if batch is None else loader(POINTS, LABELS, batch)
    with pytest.raises(error, match=said):
        make_trainer().fit(batches, **options)


def test_class_weights_of_several_labels_a_sample_are_refused() -> None:
    """The greatest label of a sequence isn't its class."""
    model = nn.Sequential(nn.Linear(4, 15), nn.Unflatten(1, (3, 5)))
    labels = torch.arange(21 * 5).reshape(21, 5) % 3
    with pytest.raises(UserError, match=r"labels \[N\], or of classes .* not \[21, 5\]; .* label for each token"):
        make_trainer(model=model).fit(loader(POINTS, labels), class_weight={0: 2.0})


def test_weights_need_a_loss_of_each_sample() -> None:
    for loss in (of_odd, lambda outputs, targets: cross_entropy(outputs, targets)):
        with pytest.raises(UserError, match=r"need a loss for each sample, and this loss gave .*\[21\], or give"):
            make_trainer(loss).fit(loader(), class_weight={0: 2.0})


# Gradients


@pytest.mark.parametrize("accumulate", [1, 4])
def test_the_gradient_is_clipped_by_its_norm_over_all_parameters(accumulate: int) -> None:
    trainer = make_trainer(clip_norm=0.1, accumulate=accumulate)
    trainer.fit(loader())
    torch.testing.assert_close(weights(trainer), by_hand(lambda outputs: cross_entropy(outputs, LABELS), clip=0.1))
    assert torch.dist(weights(trainer), weights(make_trainer())) == pytest.approx(0.1 * 0.1, rel=1e-4)


def test_fp16_scales_the_loss_and_computes_the_same_but_for_rounding() -> None:
    single = make_trainer(clip_norm=1.0)
    half = make_trainer(clip_norm=1.0, precision="fp16", model=nn.Sequential(linear()))
    types: list[torch.dtype] = []
    half.module[0].register_forward_hook(lambda module, inputs, outputs: types.append(outputs.dtype))
    for trainer in (single, half):
        trainer.fit(loader(batch_size=7), epochs=2)
    assert set(types) == {torch.float16}
    torch.testing.assert_close(weights(half), weights(single), atol=2e-3, rtol=1e-2)


class Overflow(callbacks.Callback):
    """Makes the gradients of some steps infinite."""

    def __init__(self, steps: set[int]) -> None:
        self._steps = steps

    def on_train_begin(self, logs: callbacks.Logs | None = None) -> None:
        self._number = 0
        self.trainer.module.weight.register_hook(self._spoil)  # type: ignore[union-attr]

    def _spoil(self, gradient: Tensor) -> Tensor:
        self._number += 1
        return gradient * math.inf if self._number in self._steps else gradient


def test_a_step_that_overflows_in_fp16_is_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    trainer = make_trainer(precision="fp16")
    trainer.scheduler = torch.optim.lr_scheduler.StepLR(trainer.optimizer, step_size=1, gamma=0.5)
    seen: list[Tensor] = []
    look = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(weights(trainer)))
    with caplog.at_level(logging.INFO):
        trainer.fit(loader(batch_size=7), callbacks=[Overflow({2}), look])
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.5**2)
    assert "1 steps skipped" in caplog.text
    again = Scaler(torch.device("cpu"))
    assert trainer._step.scaler is not None
    again.load_state_dict(trainer._step.scaler.state_dict())
    assert again.skipped == 1
    assert again.state_dict() == trainer._step.scaler.state_dict()


def test_gradients_that_are_never_finite_are_an_error() -> None:
    with pytest.raises(UserError, match=r"gradients of 32 steps in a row .* nothing is learnt: use precision='bf16'"):
        make_trainer(precision="fp16").fit(loader(), epochs=50, callbacks=[Overflow(set(range(1, 50)))])
    assert MAX_SKIPPED == 32


# The model


class Block(nn.Module):
    """Counts its forward passes."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.dropout, self.calls = nn.Linear(4, 4), nn.Dropout(0.5), 0

    def forward(self, inputs: Tensor, *, scale: float = 1.0) -> Any:
        self.calls += 1
        return inputs + self.dropout(self.linear(inputs).relu()) * scale


def blocks() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(Block(), Block(), nn.Linear(4, 3))


@pytest.mark.parametrize("names", ["Block", ["Block", "Linear"]])
def test_activation_checkpointing_computes_the_same_twice(names: Any) -> None:
    found: list[Tensor] = []
    for model, options in ((blocks(), {}), (blocks(), {"activation_checkpointing": names})):
        trainer = make_trainer(model=model, **options)
        torch.manual_seed(5)
        trainer.fit(loader(batch_size=7), epochs=2)
        found.append(weights(trainer))
        assert model[0].calls == (12 if options else 6)
        trainer.evaluate(loader())
        assert model[0].calls == (13 if options else 7)
        assert list(model.state_dict()) == list(blocks().state_dict())
    assert torch.equal(*found)
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed[0].linear.weight.zero_(), changed[0].linear.bias.zero_()
    changed.train()
    torch.testing.assert_close(changed[0](POINTS), POINTS)


class Remembers(Block):
    """Has what each forward pass in training changes: a batch norm's statistics, a spectral norm's vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)), nn.BatchNorm1d(4))


@pytest.mark.parametrize("accumulate", [1, 3])
def test_what_is_computed_anew_changes_no_buffers(accumulate: int) -> None:
    found = []
    for options in ({}, {"activation_checkpointing": "Remembers"}):
        torch.manual_seed(0)
        model = nn.Sequential(Remembers(), Remembers(), nn.Linear(4, 3))
        trainer = make_trainer(model=model, accumulate=accumulate, **options)
        torch.manual_seed(5)
        trainer.fit(loader(batch_size=7), epochs=2)
        assert model[0].calls == 6 * accumulate * (2 if options else 1)
        found.append(model.state_dict())
    plain, recomputed = found
    for name, value in plain.items():
        assert torch.equal(recomputed[name], value), name


def test_a_class_that_the_model_hasnt_is_named_with_near_ones() -> None:
    with pytest.raises(ConfigError, match=r"'Blocks': the model has no module of that class; did you mean Block\?"):
        make_trainer(model=blocks(), activation_checkpointing="Blocks")
    with pytest.raises(ConfigError, match="its classes are Block, Dropout, Linear, Sequential"):
        make_trainer(model=blocks(), activation_checkpointing=["Transformer"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"ddp_options": {"find_unused_params": True}},
            r"'find_unused_params' .* mean find_unused_parameters\?",
        ),
        ({"ddp_options": {"device_ids": [0]}}, "'device_ids' can't be given to DistributedDataParallel here"),
        ({"ddp_options": {"static_graph": True}, "strategy": "fsdp"}, "there is no DistributedDataParallel"),
        ({"precision": "fp8"}, "there is fp32, tf32, bf16 and fp16"),
        ({"sync_batch_norm": True}, "this Linear has no batch norm"),
        ({"clip_norm": 0}, "the greatest norm that gradients may have is a number above 0"),
        ({"clip_norm": math.nan}, "number above 0"),
        ({"accumulate": 0}, "it is a number of parts, at least 1"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_trainer(**options)


@pytest.fixture
def one_rank() -> Iterator[None]:
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("one_rank")
def test_a_models_own_ddp_is_kept_and_not_wrapped() -> None:
    model = linear()
    own = DistributedDataParallel(model, find_unused_parameters=True)
    assert prepare(own) is own
    trainer = make_trainer(model=own, accumulate=2)
    assert trainer.module is model
    trainer.fit(loader())
    torch.testing.assert_close(weights(trainer), by_hand(lambda outputs: cross_entropy(outputs, LABELS)))
    with pytest.raises(ConfigError, match="in DistributedDataParallel already"):
        prepare(own, ddp_options={"static_graph": True})


def test_batch_norm_is_synchronised_inside_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    module = __import__("sys").modules["footplate_trainer.training.prepare"]
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    held = list(model.parameters())
    module._synchronise_batch_norm(model, Context(device=torch.device("cuda"), world_size=2))
    assert isinstance(model[1], nn.SyncBatchNorm)
    assert [id(parameter) for parameter in model.parameters()] == [id(parameter) for parameter in held]
    with pytest.raises(ConfigError, match="needs accelerators, and these 2 ranks compute on CPUs"):
        module._synchronise_batch_norm(model, Context(device=torch.device("cpu"), world_size=2))
    with pytest.raises(ConfigError, match="can't replace this BatchNorm1d itself"):
        module._synchronise_batch_norm(nn.BatchNorm1d(3), Context(device=torch.device("cuda"), world_size=2))
    plain = nn.Sequential(nn.BatchNorm1d(3))
    prepare_module(plain, sync_batch_norm=True)
    assert type(plain[0]) is nn.BatchNorm1d


# Epochs


class Log(callbacks.Callback):
    """Writes down epochs, batches and evaluations."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def on_epoch_begin(self, epoch: int, logs: callbacks.Logs | None = None) -> None:
        self.lines.append(f"epoch {epoch}")

    def on_train_batch_end(self, batch: int, logs: callbacks.Logs | None = None) -> None:
        self.lines.append(f"{batch}")

    def on_test_batch_end(self, batch: int, logs: callbacks.Logs | None = None) -> None:
        self.lines.append(f"test {batch}")


def run(train: Any, **options: Any) -> str:
    log = Log()
    make_trainer().fit(train, callbacks=[log], **options)
    return ", ".join(log.lines)


def test_an_epoch_may_be_a_number_of_steps() -> None:
    """Which goes on in the data where the one before has ended."""
    assert run(loader(batch_size=7), epochs=2, steps_per_epoch=2) == "epoch 0, 0, 1, epoch 1, 0, 1"
    plain, stepped = make_trainer(), make_trainer()
    plain.fit(loader(batch_size=7), epochs=4)
    history = stepped.fit(loader(batch_size=7), epochs=3, steps_per_epoch=4)
    assert torch.equal(weights(stepped), weights(plain))
    assert history.epoch == [0, 1, 2]


def test_epochs_before_the_initial_one_count_as_done() -> None:
    assert run(loader(), epochs=4, initial_epoch=2) == "epoch 2, 0, epoch 3, 0"
    whole, rest = loader(batch_size=7), loader(batch_size=7)
    whole.start_at(2)
    expected = [batch[1].tolist() for batch in whole]
    seen: list[list[int]] = []
    model = linear()
    record = lambda outputs, targets: (seen.append(targets.tolist()), cross_entropy(outputs, targets))[1]  # noqa: E731
    make_trainer(record, model=model).fit(rest, epochs=3, initial_epoch=2)
    assert seen == expected


@pytest.mark.parametrize(
    ("freq", "expected"),
    [(2, "epoch 0, 0, epoch 1, 0, test 0, epoch 2, 0"), ([1, 3], "epoch 0, 0, test 0, epoch 1, 0, epoch 2, 0, test 0")],
)
def test_the_model_is_evaluated_as_often_as_asked(freq: Any, expected: str) -> None:
    assert run(loader(), epochs=3, validation=loader(), validation_freq=freq) == expected


def test_an_evaluation_may_be_a_number_of_steps() -> None:
    assert run(loader(), validation=loader(batch_size=7), validation_steps=2) == "epoch 0, 0, test 0, test 1"


class Endless(IterableDataset[tuple[Tensor, Tensor]]):
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from zip(POINTS, LABELS, strict=True)


def test_a_stream_is_trained_and_evaluated_by_steps() -> None:
    stream = data.loader(Endless(), batch_size=21)
    found = run(stream, epochs=2, steps_per_epoch=2, validation=stream, validation_steps=1)
    assert found == "epoch 0, 0, 1, test 0, epoch 1, 0, 1, test 0"
    plain, streamed = make_trainer(), make_trainer()
    plain.fit(loader(), epochs=4)
    streamed.fit(data.loader(Endless(), batch_size=21), epochs=2, steps_per_epoch=2)
    torch.testing.assert_close(weights(streamed), weights(plain))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epochs": 0}, r"fit\(epochs=0\): it must be a whole number, at least 1"),
        ({"epochs": 2.5}, r"fit\(epochs=2.5\)"),
        ({"epochs": "3"}, r"fit\(epochs='3'\)"),
        ({"epochs": True}, r"fit\(epochs=True\)"),
        ({"initial_epoch": 3, "epochs": 3}, "nothing would be trained; for one more write epochs=4"),
        ({"initial_epoch": -1}, "at least 0"),
        ({"steps_per_epoch": 0}, r"fit\(steps_per_epoch=0\)"),
        ({"validation_steps": 0}, r"fit\(validation_steps=0\)"),
        ({"validation_freq": 0}, r"fit\(validation_freq=0\)"),
        ({"validation_freq": [0]}, r"fit\(validation_freq=\[…\], an epoch=0\)"),
        ({"validation_freq": "2"}, r"fit\(validation_freq='2'\)"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(options: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_trainer().fit(loader(), **options)


def test_a_second_fit_that_would_train_nothing_is_refused() -> None:
    trainer, train = make_trainer(), loader()
    trainer.fit(train, epochs=2)
    with pytest.raises(ConfigError, match=r"gone through 2 epochs already, .* for 2 more write fit\(train, epochs=4\)"):
        trainer.fit(train, epochs=2)
    assert trainer.fit(train, epochs=4).epoch == [2, 3]


def test_batches_that_leave_a_rank_without_a_sample_are_refused() -> None:
    """Others would train on theirs, and wait for it. An evaluation may have such."""
    fetch = indexed.SliceTensors([POINTS, LABELS])
    split, order = indexed.Batching(21, 10, drop_last=False), indexed.Order(21, 7, shuffle=False)
    train = Loader(indexed.IndexedData(split, order, fetch, rank=0, world_size=7), epochs=None)
    with pytest.raises(ConfigError, match="a batch of 5 samples is too small for 7 ranks"):
        make_trainer().fit(train)


def test_the_line_of_an_epoch_has_the_peak_memory_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3 * 2**29)
    line = epoch_line(1, 5, {"loss": 0.25}, optimizer_of(linear()), samples=600, seconds=2)
    assert line == "epoch 2/5: loss 0.25, lr 0.1, 300 samples/s, 1.5 GiB"


# Parts that don't fit


def test_labels_out_of_range_are_named_with_the_number_of_outputs() -> None:
    for loss in (cross_entropy, nn.CrossEntropyLoss(), partial(cross_entropy, label_smoothing=0.1)):
        for label in (5, -1):
            with pytest.raises(UserError, match=rf"label {label} is out of range\. .*\[21, 3\], so labels are 0 to 2"):
                make_trainer(loss).fit(loader(POINTS, torch.where(LABELS == 2, label, LABELS)))
    own = lambda outputs, targets: cross_entropy(outputs, targets)  # noqa: E731
    with pytest.raises(UserError, match=r"Target 5 is out of bounds\. .*so labels are 0 to 2"):
        make_trainer(own).fit(loader(POINTS, torch.where(LABELS == 2, 5, LABELS)))
    ignored = torch.where(LABELS == 2, -100, LABELS)
    make_trainer().fit(loader(POINTS, ignored))


def test_one_output_for_cross_entropy_is_refused() -> None:
    with pytest.raises(UserError, match=r"one output a sample, .*always 0.* use binary_cross_entropy_with_logits"):
        make_trainer(model=nn.Linear(4, 1)).fit(loader(POINTS, torch.zeros(21, dtype=torch.long)))


def test_one_class_can_be_learnt() -> None:
    history = make_trainer().fit(loader(POINTS, torch.ones(21, dtype=torch.long)), epochs=5).history["loss"]
    assert history[-1] < history[0]


def test_a_batch_larger_than_the_data_is_all_of_it() -> None:
    assert run(loader(batch_size=1000), epochs=2) == "epoch 0, 0, epoch 1, 0"


def test_an_absurd_learning_rate_ends_with_its_name() -> None:
    with pytest.raises(UserError, match=r"The learning rate is 1e\+30: try a tenth of it"):
        make_trainer(mse_loss, lr=1e30).fit(loader(POINTS, torch.zeros(21, 3)), epochs=20)


def test_an_evaluation_of_nothing_is_an_error() -> None:
    with pytest.raises(DataError, match="there was no batch"):
        make_trainer().evaluate([])


def frozen() -> nn.Module:
    return linear().requires_grad_(False)


def optimizer_of(*models: nn.Module) -> SGD:
    return SGD([parameter for model in models for parameter in model.parameters()], lr=0.1)


@pytest.mark.parametrize(
    ("model", "optimizer", "said"),
    [
        (nn.ReLU(), optimizer_of(linear()), r"model=ReLU\): it has no parameters, so there is nothing to train"),
        (frozen(), optimizer_of(linear()), "only frozen parameters"),
        (linear(), optimizer_of(linear()), "none of the model's parameters, so the model would never change"),
        (nn.Linear, optimizer_of(linear()), "a type is no torch.nn.Module; give one, not its class"),
        (linear(), SGD, "a type is no torch.optim.Optimizer"),
    ],
)
def test_parts_that_dont_belong_together_are_refused(model: Any, optimizer: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Trainer(model, cross_entropy, optimizer)


def test_an_optimizer_of_more_than_the_model_is_refused() -> None:
    model = linear()
    with pytest.raises(ConfigError, match=r"2 of its 4 parameters are no part of the model \(\[3, 4\], \[3\]\)"):
        Trainer(model, cross_entropy, optimizer_of(model, linear()))
    with pytest.raises(ConfigError, match=r"LBFGS.*loop of your own"):
        Trainer(model, cross_entropy, torch.optim.LBFGS(model.parameters()))


def test_schedulers_that_dont_fit_are_refused_with_what_to_write() -> None:
    model, other = linear(), linear()
    optimizer = optimizer_of(model)
    plateau: Any = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    with pytest.raises(ConfigError, match=r"callbacks=\[footplate_trainer\.callbacks\.ReduceLROnPlateau\("):
        Trainer(model, cross_entropy, optimizer, scheduler=plateau)
    foreign = torch.optim.lr_scheduler.StepLR(optimizer_of(other), step_size=1)
    with pytest.raises(ConfigError, match=r"StepLR.*of another optimizer than the SGD"):
        Trainer(model, cross_entropy, optimizer, scheduler=foreign)
