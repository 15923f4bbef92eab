"""Callbacks that write files, average weights and end a spoilt training: what Keras doesn't tell, and after a kill."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from footplate_trainer import Trainer, checkpoint
from footplate_trainer.callbacks import (
    Callback,
    EarlyStopping,
    LambdaCallback,
    ModelCheckpoint,
    SwapEMAWeights,
    TensorBoard,
    TerminateOnNaN,
    tensorboard,
)
from footplate_trainer.checkpoint.state import NotToBeSaved, capture
from footplate_trainer.errors import ConfigError, UserError
from footplate_trainer.rank.context import context
from footplate_trainer.rank.report import reporter
from unit.trainer.test_callbacks import NAN, STEPS, VALUES, Script, kill_and_resume, loader, make_trainer
from unit.trainer.test_callbacks_keras import events


def spoil(epoch: int, batch: int) -> Callback:
    """Makes a weight NaN after a batch, so that the next one's loss is."""
    now = [0]

    def at(number: int, logs: Any) -> None:
        if (now[0], number) == (epoch, batch):
            with torch.no_grad():
                spoiler.trainer.module.weight.fill_(NAN)

    spoiler = LambdaCallback(on_epoch_begin=lambda number, logs: now.__setitem__(0, number), on_train_batch_end=at)
    return spoiler


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filepath": "best.keras"}, r"filepath='best.keras'\): .* let it end in .safetensors"),
        ({"save_weights_only": False}, r"save_weights_only=False\): a file holds the weights alone"),
        ({"save_freq": 0}, r"save_freq=0\): this is 'epoch', or a number of batches"),
        ({"save_freq": "batch"}, r"save_freq='batch'\)"),
        ({"monitor": "val_f1"}, "say mode='min' or mode='max'"),
    ],
)
def test_what_model_checkpoint_cannot_do_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelCheckpoint(**{"filepath": "a.safetensors", **options})


def test_the_best_weights_are_in_the_output_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trainer, weights = make_trainer(), []
    keep = LambdaCallback(on_epoch_end=lambda epoch, logs: weights.append(trainer.module.weight.detach().clone()))
    save = ModelCheckpoint("best/it.safetensors", save_best_only=True)
    trainer.fit(loader(), epochs=4, callbacks=[Script("val_loss", [3, NAN, 1, 2]), keep, save])
    path = context().output_dir / "best" / "it.safetensors"
    assert [entry.name for entry in path.parent.iterdir()] == ["it.safetensors"]
    assert torch.equal(load_file(path)["weight"], weights[2])
    again = nn.Linear(2, 2)
    again.load_state_dict(load_file(path))


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "it.safetensors"
    make_trainer().fit(loader(), epochs=1, callbacks=[ModelCheckpoint(path, monitor="loss")])
    before = path.read_bytes()

    def full(_: Any, aside: Path, **__: Any) -> None:
        aside.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("footplate_trainer.callbacks.model_checkpoint.save_file", full)
    with pytest.raises(UserError, match=r"it.safetensors can't be written: .*No space left"):
        make_trainer().fit(loader(), epochs=1, callbacks=[ModelCheckpoint(path, monitor="loss")])
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [(path.name, before)]


@pytest.mark.parametrize("pattern", ["{val_f1:.2f}", "{epoch:s}", "{}", "{loss.x}"])
def test_a_name_that_cannot_be_filled_in_is_told(tmp_path: Path, pattern: str) -> None:
    save = ModelCheckpoint(tmp_path / (pattern + ".safetensors"))
    with pytest.raises(UserError, match=r"can't be filled in \(.*there are loss, epoch"):
        make_trainer().fit(loader(), epochs=1, callbacks=[save])


def test_tied_weights_are_in_the_file_under_each_name(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    trainer = Trainer(model, nn.functional.cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1))
    path = tmp_path / "it.safetensors"
    trainer.fit(loader(), epochs=1, callbacks=[SwapEMAWeights(), ModelCheckpoint(path, monitor="loss")])
    assert set(load_file(path)) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    model.load_state_dict(load_file(path))


def files_in(folder: Path) -> dict[str, bytes]:
    """Event files have the time in their name and in each event, so what counts of them is what they say."""
    plain = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("events.")
    }
    return plain | {"events": repr(sorted(events(folder))).encode()}


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda to: [ModelCheckpoint(to / "it.safetensors", save_best_only=True)], id="the best weights"),
        pytest.param(lambda to: [ModelCheckpoint(to / "{epoch}.safetensors")], id="each epoch's"),
        pytest.param(lambda to: [ModelCheckpoint(to / "{epoch}-{batch}.safetensors", save_freq=2)], id="of batches"),
        pytest.param(lambda to: [SwapEMAWeights(ema_momentum=0.8)], id="an average"),
        pytest.param(
            lambda to: [
                SwapEMAWeights(swap_on_epoch=True, ema_momentum=0.8),
                ModelCheckpoint(to / "{epoch}.safetensors"),
            ],
            id="an average in files",
        ),
        pytest.param(lambda to: [TensorBoard(to, histogram_freq=1)], id="TensorBoard"),
        pytest.param(lambda to: [TensorBoard(to, update_freq=2)], id="TensorBoard, batches"),
        pytest.param(
            lambda to: [
                spoil(7, 1),
                TerminateOnNaN(),
                EarlyStopping("val_loss", patience=99, restore_best_weights=True),
                ModelCheckpoint(to / "it.safetensors", save_best_only=True),
            ],
            id="an end by NaN",
        ),
    ],
)
@pytest.mark.parametrize(
    ("saved", "killed", "new_pod"), [(4, 2, True), (6, 9, False), (13, 4, True)], ids=["4-2", "6-9, same pod", "13-4"]
)
def test_what_was_written_outlives_a_kill(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    make: Callable[[Path], list[Callback]],
    saved: int,
    killed: int,
    new_pod: bool,
) -> None:
    made: list[Callback] = []

    def hooks(to: Path) -> list[Callback]:
        for board in [callback for callback in made if isinstance(callback, TensorBoard)]:
            board._close()  # its thread isn't killed
        if new_pod:
            shutil.rmtree(to, ignore_errors=True)
        made[:] = make(to)
        return [Script("val_loss", VALUES), *made]

    undisturbed = make_trainer()
    expected = undisturbed.fit(loader(), epochs=len(VALUES), callbacks=hooks(tmp_path / "expected"))
    trainer, history = kill_and_resume(
        monkeypatch, lambda: hooks(tmp_path / "killed"), epochs=len(VALUES), saved=saved, killed=saved + killed
    )
    assert history.epoch == expected.epoch
    assert repr(history.history) == repr(expected.history)  # NaN included
    assert torch.equal(trainer.module.weight, undisturbed.module.weight)
    assert files_in(tmp_path / "killed") == files_in(tmp_path / "expected")


def test_a_file_that_the_user_has_removed_stays_away(tmp_path: Path) -> None:
    save = ModelCheckpoint(tmp_path / "{epoch}.safetensors", monitor="loss")
    make_trainer().fit(loader(), epochs=3, callbacks=[save])
    (tmp_path / "1.safetensors").unlink()
    assert [Path(name).name for name in save.state_dict()["files"]] == ["2.safetensors", "3.safetensors"]


@pytest.mark.parametrize(
    "argument",
    [
        {"write_graph": True},
        {"write_images": True},
        {"profile_batch": 2},
        {"embeddings_freq": 1},
        {"embeddings_metadata": {"a": "b"}},
    ],
)
def test_what_tensorboard_cannot_do_is_refused(argument: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"TensorBoard\({next(iter(argument))}=.* can't be had: .*leave .* out"):
        TensorBoard(**argument)


@pytest.mark.parametrize("every", [0, -1, "epochs", 1.5])
def test_how_often_tensorboard_writes_must_be_said_rightly(every: Any) -> None:
    with pytest.raises(ConfigError, match=r"update_freq=.*: this is 'epoch', 'batch', or a number of batches"):
        TensorBoard(update_freq=every)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"which this image lacks; pip install 'footplate\[tensorboard\]'"):
        TensorBoard()


def test_where_events_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIP_TENSORBOARD_LOG_DIR", raising=False)
    assert TensorBoard().log_dir == context().output_dir / "logs"
    assert TensorBoard("mine").log_dir == context().output_dir / "mine"
    monkeypatch.setenv("AIP_TENSORBOARD_LOG_DIR", str(tmp_path))
    assert TensorBoard().log_dir == tmp_path
    assert TensorBoard("/mine").log_dir == Path("/mine")


def test_events_beside_this_runs_are_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / "train" / "events.out.tfevents.1.host.1.0"
    theirs.parent.mkdir()
    theirs.write_bytes(b"")
    first = TensorBoard(tmp_path)
    make_trainer().fit(loader(), epochs=1, callbacks=[first])
    state = {**first.state_dict(), "files": {}}
    again = TensorBoard(tmp_path)
    again.load_state_dict(state)
    assert list(tmp_path.rglob("events.*")) == [theirs]


def test_speed_and_histograms_are_written_and_nan_has_none(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path, histogram_freq=2, write_steps_per_second=True, update_freq=3)
    make_trainer().fit(loader(), epochs=3, callbacks=[spoil(2, 2), TerminateOnNaN(), board])
    seen = [(tag, step) for _, tag, step, value in events(tmp_path) if "steps_per_second" in tag and value > 0]
    assert sorted(seen) == [
        *(("batch_steps_per_second", 3 * n) for n in (1, 2, 3)),
        *(("epoch_steps_per_second", n) for n in (0, 1, 2)),
    ]
    histograms = [(tag, step) for _, tag, step, _ in events(tmp_path) if "histogram" in tag]
    assert sorted(histograms) == [("bias/histogram", 0), ("bias/histogram", 2), ("weight/histogram", 0)]


def test_a_loss_that_is_no_number_ends_fit_and_is_never_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []

    def maybe_save(state: checkpoint.TrainState) -> checkpoint.Outcome:
        try:
            capture(state.parts, is_main=True)
            saved.append(state.step)
        except NotToBeSaved:
            pass
        return checkpoint.CONTINUE

    monkeypatch.setattr(checkpoint, "maybe_save", maybe_save)
    trainer = make_trainer()
    history = trainer.fit(loader(), epochs=3, callbacks=[spoil(1, 0), TerminateOnNaN()])
    assert history.epoch == [0, 1]
    assert saved == [1, 2, 3], "the weights are spoilt after step 4, and the loss of step 5 is"
    assert any(note.startswith("the loss is NaN or infinite at batch 2 of epoch 2") for note in reporter()._notes)


@pytest.mark.parametrize("callbacks", [[], [TerminateOnNaN(raise_error=True)]])
def test_unless_that_is_asked_for_it_ends_the_program(callbacks: list[Callback]) -> None:
    with pytest.raises(UserError, match=r"the loss is (nan at step 5|NaN or infinite at batch 2 of epoch 2)"):
        make_trainer().fit(loader(), epochs=3, callbacks=[spoil(1, 0), *callbacks])


def test_a_spoilt_training_can_still_end_with_the_best_weights() -> None:
    trainer = make_trainer()
    stop = EarlyStopping("loss", patience=9, restore_best_weights=True)
    trainer.fit(loader(), epochs=3, callbacks=[spoil(1, 0), TerminateOnNaN(), stop])
    assert trainer.module.weight.isfinite().all()


def test_an_average_needs_a_training_first() -> None:
    with pytest.raises(ConfigError, match="SwapEMAWeights has no average of this model's weights: give it to fit"):
        make_trainer().evaluate(loader(), callbacks=[SwapEMAWeights()])
    with pytest.raises(ConfigError, match=r"ema_momentum=2\): a momentum is from 0 to 1"):
        SwapEMAWeights(ema_momentum=2)


@pytest.mark.parametrize("on_epoch", [True, False])
def test_training_goes_on_with_the_weights_and_ends_with_the_average(on_epoch: bool) -> None:
    """Averaging changes no step; frozen weights and buffers are left alone; predictions are the average's."""
    plain, averaged = make_trainer(), make_trainer()
    steps: list[list[torch.Tensor]] = [[], []]

    def note(trainer: Trainer, which: int) -> Callback:
        return LambdaCallback(
            on_train_batch_end=lambda batch, logs: steps[which].append(trainer.module.weight.detach().clone())
        )

    plain.module.bias.requires_grad_(False)
    averaged.module.bias.requires_grad_(False)
    swap = SwapEMAWeights(on_epoch, ema_momentum=0.9)
    validation = list(loader())
    plain.fit(loader(), epochs=3, validation=validation, callbacks=[note(plain, 0)])
    averaged.fit(loader(), epochs=3, validation=validation, callbacks=[note(averaged, 1), swap])
    assert len(steps[0]) == 3 * STEPS
    assert all(map(torch.equal, *steps))
    average = steps[0][0].clone()
    for weight in steps[0][1:]:
        average = 0.9 * average + 0.1 * weight
    torch.testing.assert_close(averaged.module.weight.detach(), average)
    assert torch.equal(averaged.module.bias, plain.module.bias)
    assert torch.equal(averaged.predict(validation, callbacks=[swap]), averaged.predict(validation))
    assert set(swap.state_dict()["averages"]) == {"weight"}
