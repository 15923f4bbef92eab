"""What `Trainer` takes from its user: batches, loaders, metrics; nothing of it gives wrong numbers without a word."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from footplate_trainer import Trainer, callbacks, data, metrics, prepare
from footplate_trainer.errors import ConfigError, UserError
from footplate_trainer.training import compilers


def points(samples: int = 20) -> TensorDataset:
    generator = torch.Generator().manual_seed(samples)
    labels = torch.arange(samples) % 3
    return TensorDataset(torch.randn(samples, 4, generator=generator) + labels[:, None], labels)


def make_trainer(*, loss: Any = cross_entropy, **options: Any) -> Trainer:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    return Trainer(model, loss, torch.optim.SGD(model.parameters(), lr=0.1), **options)


def weights(trainer: Trainer) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in trainer.module.parameters()])


def own_samples(workers: int) -> data.Loader:
    """A loader that makes its samples one by one."""
    return data.loader(list(zip(*points().tensors, strict=True)), batch_size=8, num_workers=workers)


class CountBatches(callbacks.Callback):
    batches = 0

    def on_train_batch_end(self, batch: int, logs: callbacks.Logs | None = None) -> None:
        self.batches += 1


class Evaluate(CountBatches):
    """Evaluates in the middle of an epoch."""

    def __init__(self, held_out: data.Loader) -> None:
        self.held_out = held_out
        self.samples = 0

    def on_train_batch_end(self, batch: int, logs: callbacks.Logs | None = None) -> None:
        super().on_train_batch_end(batch)
        self.samples += len(self.trainer.predict(self.held_out))


@pytest.mark.parametrize("workers", [0, 1])
def test_validating_on_the_train_loader_leaves_its_epochs_as_they_are(workers: int) -> None:
    plain, validated = make_trainer(), make_trainer()
    plain.fit(own_samples(workers), epochs=4)
    train = own_samples(workers)
    inside = Evaluate(train)
    history = validated.fit(train, validation=train, epochs=4, callbacks=[inside])
    assert history.epoch == [0, 1, 2, 3]
    assert inside.batches == 4 * 3
    assert inside.samples == 4 * 3 * 20
    assert torch.equal(weights(validated), weights(plain))


class EvaluateBetween(callbacks.Callback):
    """Evaluates and predicts after the first batch of each epoch."""

    def __init__(self, held_out: data.Loader) -> None:
        self.held_out = held_out

    def on_train_batch_end(self, batch: int, logs: callbacks.Logs | None = None) -> None:
        if batch == 0:
            self.trainer.evaluate(self.held_out)
            self.trainer.predict(self.held_out)


def test_the_rest_of_an_epoch_trains_on_after_an_evaluation() -> None:
    """With dropout and a batch's own statistics; what the user has set to evaluate stays so."""

    def trained(*hooks: callbacks.Callback) -> Tensor:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
        trainer = Trainer(model, cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1))
        frozen = callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: batch or model[1].eval())
        trainer.fit(data.loader(points(), batch_size=8), epochs=2, callbacks=[frozen, *hooks])
        return weights(trainer)

    assert torch.equal(trained(EvaluateBetween(data.loader(points(), batch_size=8))), trained())


def test_an_evaluation_sees_all_samples_once_wherever_its_loader_is() -> None:
    trainer, whole = make_trainer(), data.loader(points(), batch_size=8)
    expected = trainer.evaluate(whole)
    begun = data.loader(points(), batch_size=8, epochs=3)
    next(iter(begun))
    assert trainer.evaluate(begun) == expected
    assert begun.samples_done == 8


def test_a_loader_with_epochs_of_its_own_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"epochs=10 of its own.*leave them out.*fit\(train, epochs=10\)"):
        make_trainer().fit(data.loader(points(), batch_size=8, epochs=10), epochs=10)


def mean_accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    return metrics.accuracy(outputs, targets).double().mean()


def plain_number(outputs: Tensor, targets: Tensor) -> float:
    return mean_accuracy(outputs, targets).item()


def column(outputs: Tensor, targets: Tensor) -> Tensor:
    return metrics.accuracy(outputs, targets)[:, None]


@pytest.mark.parametrize("metric", [mean_accuracy, plain_number, column])
def test_a_metric_may_be_a_batchs_mean(metric: Callable[[Tensor, Tensor], Any]) -> None:
    result = make_trainer(metrics=[metrics.accuracy, metric]).evaluate(data.loader(points(21), batch_size=8))
    assert result[metric.__name__] == pytest.approx(result["accuracy"])


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_accuracy_of_one_output_a_sample_is_refused(shape: tuple[int, ...]) -> None:
    """Its greatest is always the first: the share of zeros would be reported."""
    outputs = torch.linspace(-1, 1, 6).reshape(shape)
    with pytest.raises(UserError, match=r"accuracy: outputs \[6(, 1)?\] are one number a sample.*binary_accuracy"):
        metrics.accuracy(outputs, torch.tensor([0.0, 0, 0, 1, 1, 1]))


def each_class(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs - targets[:, None]


def test_a_metric_of_another_shape_is_refused_at_the_first_batch() -> None:
    trainer, count = make_trainer(metrics=[each_class]), CountBatches()
    with pytest.raises(
        UserError, match=r"metric each_class gave values \[8, 3\] of a batch of 8 .*\[8\], or their mean"
    ):
        trainer.fit(data.loader(points(), batch_size=8), callbacks=[count])
    assert not count.batches


def of_first(outputs: Tensor, targets: Any) -> Tensor:
    return cross_entropy(outputs, targets[0])


def of_named(outputs: Tensor, targets: Any) -> Tensor:
    return cross_entropy(outputs, targets["label"])


@pytest.mark.parametrize(
    ("loss", "shape"),
    [
        pytest.param(of_first, lambda label: (label, label, label), id="tuple"),
        pytest.param(of_named, lambda label: {"label": label, "weight": 1.0}, id="dict"),
    ],
)
def test_targets_of_several_parts_have_the_batchs_gradient(loss: Any, shape: Callable[[Tensor], Any]) -> None:
    plain, parts = make_trainer(), make_trainer(loss=loss)
    samples = [(inputs, shape(label)) for inputs, label in zip(*points().tensors, strict=True)]
    expected = plain.fit(data.loader(points(), batch_size=8), epochs=2).history["loss"]
    assert parts.fit(data.loader(samples, batch_size=8), epochs=2).history["loss"] == pytest.approx(expected)
    torch.testing.assert_close(weights(parts), weights(plain))
    # A loader of torch's doesn't tell its batches' sizes.
    loaders = [data.loader(samples, batch_size=8), DataLoader(samples, batch_size=8)]
    of_ours, of_torchs = (parts.evaluate(loader)["loss"] for loader in loaders)
    assert of_torchs == pytest.approx(of_ours)


def test_a_batch_whose_size_cant_be_told_is_refused() -> None:
    batch = ({"a": torch.zeros(2, 4), "b": torch.zeros(3)}, [torch.zeros(5), torch.zeros(6)])
    with pytest.raises(UserError, match=r"number of samples in a batch can't be told.*data\.loader"):
        make_trainer().evaluate([batch])


class OfNamed(nn.Module):
    """Takes its inputs by name, among texts that it doesn't need."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, inputs: Any) -> Any:
        assert len(inputs["name"]) == len(inputs["point"])
        return self.linear(inputs["point"])


def test_batches_of_dicts_are_split_as_those_of_tensors() -> None:
    samples = [
        ({"point": inputs, "name": f"point {number}"}, {"label": label, "weight": 1.0})
        for number, (inputs, label) in enumerate(zip(*points().tensors, strict=True))
    ]
    plain, found = make_trainer(), []
    for accumulate in (1, 3):
        torch.manual_seed(0)
        model = OfNamed()
        trainer = Trainer(model, of_named, torch.optim.SGD(model.parameters(), lr=0.1), accumulate=accumulate)
        trainer.fit(data.loader(samples, batch_size=8), epochs=2)
        found.append(weights(trainer))
    plain.fit(data.loader(points(), batch_size=8), epochs=2)
    torch.testing.assert_close(found, [weights(plain)] * 2)


def test_torchs_own_loader_is_refused_with_what_to_write() -> None:
    loader: Any = DataLoader(points(), batch_size=8)
    with pytest.raises(ConfigError, match=r"a DataLoader has no position .*footplate_trainer\.data\.loader\(dataset, "):
        make_trainer().fit(loader)
    assert set(make_trainer().evaluate(loader)) == {"loss"}


@pytest.mark.parametrize(
    ("sample", "named"),
    [
        ({"pixels": torch.zeros(4), "label": 0}, "a dict of pixels, label"),
        ((torch.zeros(4), 0, 1.0, 1.0), "a list of 4"),
        (torch.zeros(4), "a Tensor"),
    ],
)
def test_a_batch_that_is_no_pair_is_refused_with_what_to_write(sample: Any, named: str) -> None:
    loader = data.loader([sample] * 4, batch_size=2)
    for run in (make_trainer().fit, make_trainer().evaluate):
        with pytest.raises(
            UserError,
            match=rf"a batch is {named}; Trainer takes \(inputs, targets\), or .* weights\)\. ",
        ):
            run(loader)


def test_a_copy_of_a_model_in_bf16_computes_with_its_own_weights() -> None:
    model = prepare(nn.Linear(4, 3), precision="bf16")
    average = copy.deepcopy(model)
    with torch.no_grad():
        for weight in average.parameters():
            weight.zero_()
    outputs = average(torch.ones(2, 4))
    assert not outputs.any()
    assert model(torch.ones(2, 4)).any()


class Own(nn.Linear):
    """A model of the user's own code."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs) * 2


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("make", [lambda: nn.Sequential(nn.Linear(4, 3)), lambda: nn.Linear(4, 3), lambda: Own(4, 3)])
def test_compile_compiles_containers_of_torchs_own_too(
    make: Callable[[], nn.Module], precision: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch._dynamo.reset()
    graphs = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=graphs))  # else it needs a compiler of C
    monkeypatch.setattr(compilers, "check_compiler", lambda device: None)
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    Trainer(model, cross_entropy, optimizer, precision=precision, compile=True).fit(
        data.loader(points(), batch_size=10)
    )
    assert graphs.frame_count
