"""Several trainings in one process: each has a name, checkpoints of its own, and goes on from them."""

import gc
import json
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from footplate_trainer import checkpoint, data
from footplate_trainer.checkpoint import CONTINUE, SAVED, STOP
from footplate_trainer.checkpoint.manifest import Manifest
from footplate_trainer.checkpoint.names import check_name
from footplate_trainer.errors import ConfigError, PeerLost, StorageError
from footplate_trainer.rank import stopping
from footplate_trainer.storage.store import Store
from training_program import Program, Training, complete_steps, flip


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    program = Program(tmp_path, monkeypatch)
    program.begin()
    return program


@pytest.mark.parametrize("name", ["main", "fold-0", "a", "0", "x" * 63, "generator_2"])
def test_names_that_can_be(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "Fold", "a/b", "..", "-a", "_a", "x" * 64, "fold 0", "fold.0", "é", "a\n", 0, None]
)
def test_names_that_cannot_be_are_refused_with_the_rule(program: Program, name: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"is no name for a training: it must be a text of 1 to 63 lower-case letters"
    ):
        checkpoint.restore(model=nn.Linear(1, 1), name=name)


def test_each_training_goes_on_from_its_own_checkpoints(program: Program) -> None:
    whole = []
    for fold in range(3):
        training = Training(f"fold-{fold}").restore()
        training.train(until=4)
        whole.append(training.weights)
    program.begin(uid="another")
    Training("fold-0").restore().train(until=4)
    Training("fold-1").restore().train(until=3)
    program.begin(uid="another", attempt=1)
    resumed = []
    for fold, steps in enumerate((4, 2, 0)):
        training = Training(f"fold-{fold}").restore()
        assert training.state.step == steps
        training.train(until=4)
        resumed.append(training.weights)
    assert resumed == whole
    assert len({tuple(weights) for weights in whole}) == 3


def test_main_lies_where_it_did_and_names_beside_it(program: Program) -> None:
    Training().restore().train(until=2)
    Training("fold-1").restore().train(until=4)
    assert complete_steps(program.folder()) == [2]
    assert complete_steps(program.folder("fold-1")) == [2, 4]
    content = json.loads((program.folder() / "step-00000002/manifest.json").read_text())
    assert not {"training", "together"} & content.keys(), "as versions before this one have written it"
    assert Manifest.from_bytes((program.folder("fold-1") / "step-00000002/manifest.json").read_bytes()).training == (
        "fold-1"
    )


def test_a_second_training_of_a_name_is_refused_and_the_way_out_told(program: Program) -> None:
    first = Training().restore()
    first.train(until=4)
    again = checkpoint.restore(model=first.model, optimizer=first.optimizer)
    assert again.step == 4, "the same one goes on"
    other = nn.Linear(2, 1)
    before = [weight.clone() for weight in other.parameters()]
    refused: list[tuple[dict[str, Any], str]] = [
        ({"model": other, "optimizer": first.optimizer}, "another model than"),
        ({"model": first.model, "optimizer": None}, "another optimizer than"),
        ({"model": other}, "another model and another optimizer than"),
    ]
    for parts, named in refused:
        message = rf"a second training without a name in one job, with {named}.*Give each a name, as in fit\(..., name="
        with pytest.raises(ConfigError, match=message):
            checkpoint.restore(**parts)
    assert all(map(torch.equal, other.parameters(), before))


def test_a_first_training_whose_objects_are_gone_still_has_the_name(program: Program) -> None:
    Training("fold-0").restore().train(until=2)
    gc.collect()
    with pytest.raises(ConfigError, match="a second training called 'fold-0'"):
        Training("fold-0").restore()


def test_what_a_second_time_undoes_is_told(program: Program) -> None:
    """What was changed between two trainings of one name: a schedule of one's own, weights that are pruned."""
    training = Training().restore()
    training.train(until=2)

    def again() -> list[str]:
        told = len(program.notes)
        training.state = checkpoint.restore(model=training.model, optimizer=training.optimizer)
        return program.notes[told:]

    assert again() == [], "nothing was changed"
    training.train(until=4)
    training.optimizer.param_groups[0]["lr"] = 0.01
    with torch.no_grad():
        training.model.bias.zero_()
    (note,) = again()
    assert "'main' goes on a second time, from its newest checkpoint (" in note
    assert "is undone (of the model and optimizer: bias, lr of parameter group 0)" in note
    assert "a name of its own, such as name='main-2'" in note
    assert training.optimizer.param_groups[0]["lr"] == 0.1
    program.begin(attempt=1)
    training = Training().restore()
    training.model.bias.data.zero_()
    assert again() == [], "a restarted program comes to the second one with nothing of its own"


def test_without_checkpoints_a_process_may_train_as_often_as_it_likes(program: Program) -> None:
    program.monkeypatch.undo()
    for _ in range(2):
        training = Training().restore()
        assert training.state.step == 0
        training.train(until=3)
    assert checkpoint.restore(model=training.model, optimizer=training.optimizer).step == 3, "the same objects go on"


def test_a_training_that_is_over_leaves_no_memory_behind(program: Program) -> None:
    training = Training("fold-0").restore()
    training.train(until=2)
    gone = weakref.ref(training.model)
    del training
    Training("fold-1").restore()
    gc.collect()
    assert gone() is None


def test_random_numbers_are_the_trainings_own(program: Program) -> None:
    """Whatever was trained before it; and two don't draw the same."""
    drawn = {}
    for order in (["a", "b"], ["b", "a"]):
        program.begin(uid="".join(order))
        for name in order:
            Training(name).restore()
            drawn.setdefault(name, set()).add(torch.rand(1).item())
    assert {name: len(values) for name, values in drawn.items()} == {"a": 1, "b": 1}
    assert drawn["a"] != drawn["b"]


def test_a_zombie_commits_nothing_of_any_training(program: Program) -> None:
    """Though its heir has only come to another one."""
    zombie = Training("fold-1").restore()
    (session,) = checkpoint._trainings.sessions
    program.begin(attempt=1)
    Training("fold-0").restore()
    zombie.step()
    with pytest.raises(PeerLost, match="replaced by attempt 1"):
        session.save(zombie.state)
    assert complete_steps(program.folder("fold-1")) == []


def test_each_training_keeps_its_own(program: Program) -> None:
    program.begin(keep=2)
    Training("fold-0").restore().train(until=4)
    training = Training("fold-1").restore()
    training.train(until=8)
    checkpoint.save(training.state)  # begun only when the ones before are deleted
    assert complete_steps(program.folder("fold-0")) == [2, 4]
    assert complete_steps(program.folder("fold-1")) == [6, 8]


def test_what_goes_on_tells_its_percent_with_its_step(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it waited for its first report, percent went away for as long after each resume."""

    def loader() -> data.Loader:
        return data.loader(TensorDataset(torch.zeros(8, 2)), batch_size=2, epochs=1)

    batches = loader()
    training = Training().restore(loader=batches)
    for _ in batches:
        training.train(until=training.state.step + 1)
        if training.state.step == 2:
            break
    program.begin(attempt=1)
    told: list[tuple[int | None, float | None]] = []

    def tell() -> None:
        progress = program.said._snapshot().progress
        told.append((progress.step, progress.percent))

    monkeypatch.setattr(program.said, "flush", tell)
    Training().restore(loader=loader())
    assert told[-1] == (2, 50.0)


@pytest.mark.parametrize(("finished", "step"), [(False, 4), (True, 0)])
def test_a_new_run_goes_on_with_every_training_unless_the_old_one_succeeded(
    program: Program, finished: bool, step: int
) -> None:
    for name in ("main", "fold-1"):
        Training(name).restore().train(until=4)
    if finished:
        (program.folder() / "finished").touch()
    program.begin(run=2)
    assert [Training(name).restore().state.step for name in ("main", "fold-1")] == [step, step]


def test_the_jobs_steps_are_those_of_all_its_trainings(program: Program) -> None:
    """So that an attempt which gets further is seen to."""
    Training("fold-0").restore().train(until=4)
    training = Training("fold-1").restore()
    program.said.progress.expect(total_steps=8, epochs=2)
    training.train(until=2)
    program.said.step_done(2, None, 1, {})
    shown = program.said._snapshot()
    assert (shown.progress.step, shown.progress.total_steps, shown.progress.percent) == (6, 12, 25.0)
    assert shown.checkpoint is not None
    assert (shown.checkpoint.step, shown.checkpoint.uri) == (6, f"file://{program.folder('fold-1')}/step-00000002/")
    program.begin(attempt=1)
    Training("fold-0").restore()
    assert program.said._snapshot().resumed_from_step == 4
    Training("fold-1").restore()
    assert program.said._snapshot().resumed_from_step == 6
    shown = program.said._snapshot()
    assert shown.checkpoint is not None
    assert (shown.progress.step, shown.checkpoint.step) == (6, 6)


def test_what_another_training_has_told_isnt_this_ones(program: Program) -> None:
    Training("fold-0").restore()
    program.said.progress.expect(total_steps=8, epochs=2)
    program.said.step_done(8, None, 2, {})
    Training("fold-1").restore()
    shown = program.said._snapshot().progress
    assert (shown.epoch, shown.epochs, shown.total_steps, shown.percent) == (None, None, None, None)


def pair() -> tuple[Training, Training]:
    return Training("d").restore(), Training("g").restore()


def take_turns(d: Training, g: Training, *, until: int) -> list[Any]:
    """As adversarial networks do: what one learns depends on the other."""
    outcomes = []
    while d.state.step < until:
        for one, other in ((d, g), (g, d)):
            one.step()
            with torch.no_grad():
                one.model.weight += 0.1 * other.model.weight
        outcomes.append(checkpoint.maybe_save(d.state, g.state))
        checkpoint.finish()
    return outcomes


def test_trainings_that_take_turns_go_on_from_one_moment(program: Program) -> None:
    d, g = pair()
    assert take_turns(d, g, until=6) == [SAVED] * 6, "every two steps, of both together"
    whole = d.weights, g.weights
    program.begin(uid="another", every={"steps": 8})
    take_turns(*pair(), until=5)
    program.begin(uid="another", attempt=1)
    d, g = pair()
    assert (d.state.step, g.state.step) == (4, 4)
    assert program.said._snapshot().resumed_from_step == 8
    take_turns(d, g, until=6)
    assert (d.weights, g.weights) == whole


def fail_manifest(patch: pytest.MonkeyPatch, part: str) -> None:
    """The process dies before this manifest is put."""
    put = Store.put

    def dies(store: Store, key: str, data: bytes, *, create: bool = False) -> None:
        if part in key and key.endswith("manifest.json"):
            raise StorageError("the process dies here")
        put(store, key, data, create=create)

    patch.setattr(Store, "put", dies)


@pytest.mark.parametrize("order", [("d", "g"), ("g", "d")])
@pytest.mark.parametrize("died", ["d", "g"])
def test_a_kill_between_two_commits_leaves_both_at_the_moment_before(
    program: Program, order: tuple[str, str], died: str
) -> None:
    d, g = pair()
    take_turns(d, g, until=2)
    with program.monkeypatch.context() as patch:
        fail_manifest(patch, f"trainings/{died}/step-00000003")
        take_turns(d, g, until=3)
    program.begin(attempt=1)
    assert [Training(name).restore().state.step for name in order] == [2, 2]
    assert program.notes == []


def test_a_kill_in_the_first_save_of_both_begins_both_anew(program: Program) -> None:
    with program.monkeypatch.context() as patch:
        fail_manifest(patch, "trainings/g/step-00000001")
        take_turns(*pair(), until=1)
    assert complete_steps(program.folder("d")) == [1]
    program.begin(attempt=1)
    assert [training.state.step for training in pair()] == [0, 0]


@pytest.mark.parametrize("damaged", ["d", "g"])
def test_where_one_is_damaged_the_other_goes_back_with_it(program: Program, damaged: str) -> None:
    """Also where it was restored before the damage was found."""
    take_turns(*pair(), until=3)
    flip(next((program.folder(damaged) / "step-00000003").glob("model-*")))
    program.begin(attempt=1)
    d, g = pair()
    assert (d.state.step, g.state.step) == (2, 2)
    assert [note.partition(" is damaged")[0] for note in program.notes] == [
        f"checkpoint file://{program.folder(damaged)}/step-00000003/"
    ]
    take_turns(d, g, until=3)
    weights = d.weights, g.weights
    program.begin(attempt=2)
    d, g = pair()
    assert (d.state.step, d.weights, g.weights) == (3, *weights)


def test_turns_that_are_saved_one_by_one_are_refused(program: Program) -> None:
    d, g = pair()
    d.step()
    with pytest.raises(ConfigError, match=r"training 'd' goes on after 'g' was restored: .*maybe_save\(state, other\)"):
        checkpoint.maybe_save(d.state)
    g.step()
    assert checkpoint.maybe_save(d.state, g.state) is SAVED
    d.step()
    with pytest.raises(ConfigError, match="saved together stay so: give maybe_save all of 'd', 'g' each time"):
        checkpoint.maybe_save(d.state)
    checkpoint.finish()
    with pytest.raises(ConfigError, match="training 'g' is saved together with others"):
        checkpoint.restore(model=g.model, optimizer=g.optimizer, name="g")


def test_a_stop_saves_both(program: Program) -> None:
    d, g = pair()
    take_turns(d, g, until=1)
    with program.monkeypatch.context() as asked:
        asked.setattr(stopping, "requested", lambda: True)
        asked.setattr(stopping, "grace_left", lambda: 30.0)
        assert take_turns(d, g, until=2) == [STOP]
        assert checkpoint.stopped()
        checkpoint.conclude()
    program.begin(attempt=1)
    assert [training.state.step for training in pair()] == [2, 2]


def test_an_evaluation_stops_only_when_every_trainings_last_step_is_captured(program: Program) -> None:
    Training("fold-0").restore().train(until=4)
    training = Training("fold-1").restore()
    training.train(until=3)
    program.monkeypatch.setattr(stopping, "requested", lambda: True)
    assert not checkpoint.should_stop()
    program.monkeypatch.setattr(stopping, "grace_left", lambda: 30.0)
    assert training.train(until=4) == [STOP]
    assert checkpoint.should_stop()


def test_at_the_end_a_save_that_failed_is_tried_again_for_every_training(program: Program) -> None:
    with program.monkeypatch.context() as patch:
        fail_manifest(patch, "trainings/fold-0/")
        Training("fold-0").restore().train(until=2)
    training = Training("fold-1").restore()
    assert training.train(until=2) == [CONTINUE, SAVED]
    assert complete_steps(program.folder("fold-0")) == []
    session = checkpoint._trainings.sessions[0]
    program.monkeypatch.setattr(type(session), "_is_worth_waiting", lambda *_: True)
    program.monkeypatch.setattr(type(session), "_pause", lambda *_: None)
    checkpoint.conclude()
    assert complete_steps(program.folder("fold-0")) == [2]


class Part:
    """A part whose state is this."""

    def __init__(self, state: Any) -> None:
        self._state = state

    def state_dict(self) -> Any:
        return self._state

    def load_state_dict(self, state: Any) -> None:
        """Nothing to load."""


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        pytest.param({"rank": Part({})}, "'rank' is what each rank's random numbers are called", id="rank"),
        pytest.param({"_ema": Part({})}, r"restore\(_ema=…\): a part's name must be 1 to 63 letters", id="underscore"),
        pytest.param({"modèle": Part({})}, "a part's name must be", id="not ASCII"),
        pytest.param({"model.shards": Part({})}, "a part's name must be", id="a file's ending"),
        pytest.param({"x" * 64: Part({})}, "a part's name must be", id="too long"),
        pytest.param(
            {"ema": {"w": 1}}, r"restore\(ema=…\): a dict has no state_dict and no load_state_dict", id="dict"
        ),
        pytest.param({"ema": Part({"seen": {1}})}, r"restore\(ema=…\): checkpoint: seen is a set", id="set"),
        pytest.param({"ema": Part({"f": [print]})}, "f.0 is a builtin_function_or_method", id="function"),
    ],
)
def test_what_cannot_be_saved_is_refused_before_training(program: Program, parts: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Training().restore(**parts)
