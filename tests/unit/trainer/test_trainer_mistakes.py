"""Natural mistakes of who comes from Keras or from a loop of their own: none trains or scores something else than was
meant, and each is told with what to write.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, huber_loss, mse_loss
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR, StepLR
from torch.utils.data import DataLoader, TensorDataset

from footplate_trainer import Trainer, checkpoint, data, exchange, prepare
from footplate_trainer.callbacks import Callback, EarlyStopping, LambdaCallback
from footplate_trainer.errors import ConfigError, UserError
from footplate_trainer.metrics import accuracy
from footplate_trainer.rank.report import reporter

LABELS = torch.arange(20) % 3
POINTS = torch.randn(20, 4, generator=torch.Generator().manual_seed(1)) + LABELS[:, None]
POINTS_AND_LABELS = TensorDataset(POINTS, LABELS)


def make_trainer(loss: Any = cross_entropy, *, outputs: int = 3, **options: Any) -> Trainer:
    torch.manual_seed(0)
    model = nn.Linear(4, outputs)
    return Trainer(model, loss, SGD(model.parameters(), lr=0.1), **options)


def loader(targets: Tensor = LABELS) -> data.Loader:
    return data.loader(TensorDataset(POINTS, targets), batch_size=8)


# Data


@pytest.mark.parametrize("samples", [POINTS_AND_LABELS, POINTS, POINTS.numpy(), {"x": POINTS, "y": LABELS}])
def test_samples_arent_taken_for_batches(samples: Any) -> None:
    said = "hands out samples, and batches are needed; give footplate_trainer.data.loader"
    with pytest.raises(ConfigError, match=rf"^predict: .*{said}"):
        make_trainer().predict(samples)
    with pytest.raises(ConfigError, match=rf"^evaluate: .*{said}"):
        make_trainer().evaluate(samples)
    with pytest.raises(ConfigError, match=rf"^fit\(validation\): .*{said}"):
        make_trainer().fit(loader(), validation=samples)


def test_batches_of_any_kind_are() -> None:
    expected = make_trainer().predict([POINTS])
    for batches in (DataLoader(POINTS, batch_size=7), [(POINTS, LABELS)], iter([POINTS[:10], POINTS[10:]])):
        torch.testing.assert_close(make_trainer().predict(batches), expected)


def test_what_can_be_gone_through_once_is_no_validation() -> None:
    with pytest.raises(ConfigError, match=r"fit\(validation\): a generator can be gone through only once"):
        make_trainer().fit(loader(), validation=(batch for batch in loader()))


@pytest.mark.parametrize(
    ("dataset", "options", "said"),
    [
        (POINTS_AND_LABELS, {"epochs": 0}, r"epochs=0\): it must be a whole number, at least 1"),
        (POINTS_AND_LABELS, {"epochs": 2.5}, r"epochs=2\.5\): it must be a whole number"),
        (POINTS_AND_LABELS, {"batch_size": 8.0}, r"batch_size=8\.0\): it must be a whole number"),
        (POINTS_AND_LABELS, {"num_workers": -1}, r"num_workers=-1\): it must be a whole number, at least 0"),
        (DataLoader(POINTS_AND_LABELS), {}, r"a DataLoader has no samples by number .*give the dataset itself"),
        ((POINTS, POINTS), {}, r"a tuple of 2 arrays would be 2 samples.*TensorDataset\(\*tensors\)"),
        ({"train": POINTS}, {}, r"a dict has names \('train'\).*as in dataset\['train'\]"),
    ],
)
def test_what_makes_no_batches_is_refused(dataset: Any, options: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^data.loader.*{said}"):
        data.loader(dataset, **{"batch_size": 2, **options})


def test_whole_numbers_may_be_of_any_kind() -> None:
    assert len(data.loader(POINTS_AND_LABELS, batch_size=torch.tensor(8))) == 3  # type: ignore[arg-type]


# Loss and metrics


@pytest.mark.parametrize("loss", [mse_loss, nn.MSELoss(), nn.L1Loss(reduction="none"), partial(huber_loss, delta=0.5)])
def test_values_of_another_shape_arent_compared_each_with_every_other(loss: Any) -> None:
    values = POINTS.sum(dim=1)
    with pytest.raises(UserError, match=r"outputs are \[8, 1\] and the targets \[8\].*targets by unsqueeze\(1\)"):
        make_trainer(loss, outputs=1).evaluate(loader(values))
    history = make_trainer(loss, outputs=1).fit(loader(values[:, None]), epochs=5).history["loss"]
    assert history[-1] < history[0]


@pytest.mark.parametrize("loss", ["mse", nn.CrossEntropyLoss, {"main": cross_entropy}])
def test_a_loss_is_a_function(loss: Any) -> None:
    with pytest.raises(ConfigError, match=r"Trainer\(loss=.*it must be a function of \(outputs, targets\)"):
        make_trainer(loss)


def test_a_loss_that_has_lost_its_weights_is_refused() -> None:
    with pytest.raises(UserError, match=r"doesn't depend on the model's weights.*without detach\(\), item\(\)"):
        make_trainer(lambda outputs, targets: cross_entropy(outputs.detach(), targets)).fit(loader())


def test_torchs_own_errors_tell_shapes_and_types_of_the_batch(tmp_path: Path) -> None:
    doubles = [(POINTS.double(), LABELS)]
    for use in (lambda trainer: trainer.evaluate(doubles), lambda trainer: trainer.predict(doubles)):
        with pytest.raises(RuntimeError) as wrong_type:
            use(make_trainer())
        assert "calls model(inputs), then loss(outputs, targets)" in wrong_type.value.__notes__[0]
        assert "inputs float64 [20, 4]" in wrong_type.value.__notes__[0]
    with pytest.raises(RuntimeError) as wrong_shape:
        make_trainer().fit(loader(LABELS[:, None]))
    exchange.write_error(tmp_path, rank=0, error=wrong_shape.value)
    told = exchange.read_error(tmp_path, 0)
    assert told is not None
    assert told.failure.message.endswith("inputs float32 [8, 4], targets int64 [8, 1], outputs float32 [8, 3]")


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return accuracy(outputs, targets)


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (["accuracy"], r"'accuracy' is no function .*footplate_trainer\.metrics\.accuracy"),
        (accuracy, r"a list, also if it is one, as in metrics=\[accuracy\]"),
        ([nn.Linear], "is no function"),
        ([lambda outputs, targets: outputs[:, 0], lambda outputs, targets: outputs[:, 1]], "'<lambda>' is taken"),
        ([loss], "'loss' is taken"),
    ],
)
def test_metrics_are_functions_whose_names_differ(metrics: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_trainer(metrics=metrics)


# Schedulers, and what is prepared


def scheduled(make: Callable[[SGD], Any]) -> Trainer:
    model = nn.Linear(4, 3)
    optimizer = SGD(model.parameters(), lr=0.1)
    return Trainer(model, cross_entropy, optimizer, scheduler=make(optimizer))


def one_cycle(steps: int) -> Trainer:
    return scheduled(lambda optimizer: OneCycleLR(optimizer, max_lr=0.1, total_steps=steps))


def test_a_scheduler_of_fewer_steps_is_refused_before_they_are_done() -> None:
    with pytest.raises(ConfigError, match=r"OneCycleLR\): it was made for 2 steps, and fit makes 6 .*total_steps="):
        one_cycle(2).fit(loader(), epochs=2)
    trainer, train = one_cycle(12), loader()
    trainer.fit(train, epochs=2)
    trainer.fit(train, epochs=4)
    with pytest.raises(ConfigError, match="made for 12 steps, and fit makes 15"):
        trainer.fit(train, epochs=5)


@pytest.mark.parametrize(
    "make", [StepLR, lambda optimizer: [StepLR(optimizer, 1)], lambda optimizer: lambda epoch: 0.1]
)
def test_a_scheduler_is_an_object_that_is_stepped(make: Any) -> None:
    with pytest.raises(ConfigError, match=r"Trainer\(scheduler=.*an object that is stepped, such as"):
        scheduled(lambda optimizer: make if make is StepLR else make(optimizer))


@pytest.mark.parametrize(("step_size", "told"), [(1, True), (5 * 3, False), (4 * 3, False)])
def test_a_rate_that_vanishes_early_is_told(step_size: int, told: bool, caplog: pytest.LogCaptureFixture) -> None:
    reporter.cache_clear()
    scheduled(lambda optimizer: StepLR(optimizer, step_size, gamma=1e-2)).fit(loader(), epochs=5)
    assert ("steps it after every optimizer step: multiply numbers of epochs" in caplog.text) == told
    reporter.cache_clear()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([nn.DataParallel(nn.Linear(4, 3))], "it is in DataParallel, .*give the model itself"),
        ([nn.Linear], "a type is no torch.nn.Module; the model comes first"),
        ([nn.Linear(4, 3), DataLoader(POINTS)], r"a DataLoader is no optimizer.*data\.loader\(dataset, batch_size=…\)"),
    ],
)
def test_what_prepare_would_leave_as_it_is_is_refused(given: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        prepare(*given)


@pytest.mark.parametrize("counts", [True, False])
def test_steps_that_arent_counted_are_told(counts: bool, caplog: pytest.LogCaptureFixture) -> None:
    reporter.cache_clear()
    state = checkpoint.restore(model=nn.Linear(4, 3), name=f"counts-{counts}".lower())
    for _ in range(150):
        state.step += counts
        assert checkpoint.maybe_save(state) is checkpoint.CONTINUE
    assert ("called 100 times in a row, and state.step has stayed 0" in caplog.text) != counts
    reporter.cache_clear()


def test_sparse_gradients_cant_be_clipped() -> None:
    model = nn.Sequential(nn.Embedding(10, 3, sparse=True))
    optimizer = SGD(model.parameters(), lr=0.1)
    with pytest.raises(ConfigError, match=r"clip_norm=1\.0\): Embedding has sparse=True, .*leave out clip_norm"):
        Trainer(model, cross_entropy, optimizer, clip_norm=1.0)


# Callbacks


class OldName(Callback):
    def on_batch_end(self, batch: int, logs: Any = None) -> None: ...


class NoCallback:
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None: ...


@pytest.mark.parametrize(
    ("callbacks", "said"),
    [
        (EarlyStopping(), r"a list is meant, also of one or none, as in \[EarlyStopping\(\)\]"),
        (None, "a list is meant, also of one or none"),
        ([EarlyStopping], "is no footplate_trainer.callbacks.Callback; .*made by calling it"),
        ([NoCallback()], "is no footplate_trainer.callbacks.Callback; derive a class from it"),
        ([print], r"give functions to LambdaCallback\(on_epoch_end="),
        ([OldName()], "OldName.on_batch_end is never called: .*did you mean .*on_train_batch_end"),
    ],
)
def test_callbacks_that_nobody_would_call_are_refused(callbacks: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_trainer().fit(loader(), callbacks=callbacks)


class ReadsModel(Callback):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.model.stop_training = True


def test_keras_names_are_answered_with_ours() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'model'; self\.trainer\.module is .*stop_training"):
        make_trainer().fit(loader(), callbacks=[ReadsModel()])
    assert not hasattr(Callback(), "anything_else")


# Frozen parts


@pytest.mark.parametrize(("frozen", "fixed"), [(True, True), (True, False), (False, True)])
def test_what_is_frozen_and_in_eval_mode_stays_so(frozen: bool, fixed: bool) -> None:
    backbone = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5)).requires_grad_(not frozen)
    model = nn.Sequential(backbone, nn.Linear(8, 3))
    backbone.train(not fixed)
    trainer = Trainer(model, cross_entropy, SGD(model.parameters(), lr=0.1))
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    modes = []
    look = LambdaCallback(on_train_batch_begin=lambda batch, logs: modes.append([m.training for m in model.modules()]))
    trainer.evaluate(loader())
    trainer.fit(loader(), validation=loader(), epochs=2, callbacks=[look])
    stays = frozen and fixed
    assert modes == 6 * [[True, *[not stays] * 4, True]]
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items()) == stays


def test_a_model_in_eval_mode_as_a_whole_is_trained_whole() -> None:
    trainer = make_trainer()
    trainer.module.eval()
    trainer.fit(loader())
    assert trainer.module.training
