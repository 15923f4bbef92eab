"""`restore`, `maybe_save` and `save` of one rank, with checkpoints in a folder."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from footplate.contract import Env, JobConfig
from footplate_trainer.checkpoint import CONTINUE, SAVED, STOP, TrainState, beginning, saves
from footplate_trainer.checkpoint import session as sessions
from footplate_trainer.checkpoint.session import Session
from footplate_trainer.checkpoint.state import NotToBeSaved
from footplate_trainer.data.indexed import Batching, IndexedData, Order, SliceTensors
from footplate_trainer.data.loader import Loader
from footplate_trainer.errors import ConfigError, DataError, NotFound, StorageError
from footplate_trainer.rank import stopping
from footplate_trainer.rank.environment import Context
from footplate_trainer.rank.report import Reporter
from footplate_trainer.storage.store import Store


def make_loader(samples: int = 40) -> Loader:
    order = Order(samples, 0, shuffle=True)
    fetch = SliceTensors([torch.zeros(samples, 1)])
    return Loader(IndexedData(Batching(samples, 4, drop_last=False), order, fetch, rank=0, world_size=1), epochs=1)


@dataclass
class Bench:
    """Makes sessions of one job's attempts, and holds what they say."""

    root: Path
    monkeypatch: pytest.MonkeyPatch
    now: float = 0.0
    step_seconds: float = 1.0
    said: Reporter = field(default_factory=Reporter)
    sessions: dict[TrainState, Session] = field(default_factory=dict)

    def place(self, *, attempt: int = 0, run: int = 1, uid: str = "1234567890", **checkpoint: Any) -> Context:
        block = {"uri": f"file://{self.root}/checkpoints", "every": {"steps": 2}, **checkpoint}
        config = JobConfig.model_validate(
            {
                "metadata": {"name": "job", "uid": uid},
                "run": run,
                "spec": {"trainer": {"image": "i", "entrypoint": "e.py"}, "checkpoint": block},
            }
        )
        path = self.root / "job.json"
        path.write_text(config.model_dump_json(by_alias=True))
        self.monkeypatch.setenv(Env.CONFIG, str(path))
        return Context(
            device=torch.device("cpu"),
            job="job",
            uid=uid,
            run=run,
            attempt=attempt,
            config=config,
            checkpoint=config.spec.checkpoint,
            checkpoint_dir=self.root / "staging",
        )

    def restore(self, place: Context | None = None, *, model: nn.Module | None = None, **parts: Any) -> TrainState:
        self.said = Reporter()
        session = Session(place or self.place(), clock=lambda: self.now)
        state = TrainState({"model": model or nn.Linear(2, 1), **parts}, parts.get("loader"))
        self.sessions[state] = session
        session.restore(state)
        return state

    def train(self, state: TrainState, *, until: int) -> list[Any]:
        outcomes = []
        while state.step < until:
            state.step += 1
            self.now += self.step_seconds
            outcomes.append(self.sessions[state].maybe_save(state))
            self.sessions[state].finish()
        return outcomes

    @property
    def run_folder(self) -> Path:
        return self.root / "checkpoints/job/run-1-12345678"

    def step_folder(self, step: int) -> Path:
        return self.run_folder / f"step-{step:08d}"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench(tmp_path, monkeypatch)
    for module in (sessions, beginning, saves):
        monkeypatch.setattr(module, "reporter", lambda: bench.said)
    return bench


def weights(state: TrainState) -> list[float]:
    weight: torch.Tensor = state.parts["model"].weight
    return weight.detach().flatten().tolist()


def test_a_fresh_state_is_saved_when_due_and_restored(bench: Bench) -> None:
    state = bench.restore(loader=make_loader())
    assert (state.step, state.epoch) == (0, 0)
    assert bench.train(state, until=5) == [CONTINUE, SAVED, CONTINUE, SAVED, CONTINUE]
    place = bench.place(attempt=1)
    restored = bench.restore(place, loader=make_loader())
    assert restored.step == place.resumed_from == 4
    assert weights(restored) == weights(state)


def test_old_checkpoints_are_deleted(bench: Bench) -> None:
    state = bench.restore(bench.place(keep=2))
    bench.train(state, until=10)
    bench.sessions[state].save(state)  # begun only when the ones before are deleted
    assert sorted(path.parent.name for path in bench.run_folder.glob("*/manifest.json")) == [
        "step-00000008",
        "step-00000010",
    ]


def test_seconds_count_on_the_clock(bench: Bench) -> None:
    bench.step_seconds = 4.0
    state = bench.restore(bench.place(every={"seconds": 10}))
    assert bench.train(state, until=6) == [CONTINUE, CONTINUE, SAVED, CONTINUE, CONTINUE, SAVED]


def test_the_same_step_is_no_place_to_save(bench: Bench) -> None:
    state = bench.restore()
    bench.train(state, until=1)
    bench.sessions[state].stopped = False
    assert [bench.sessions[state].maybe_save(state) for _ in range(3)] == [CONTINUE] * 3


def test_a_state_that_is_not_to_be_saved_is_noted_and_training_goes_on(bench: Bench) -> None:
    class Spoilt:
        now = False

        def state_dict(self) -> dict[str, Any]:
            if self.now:
                raise NotToBeSaved("the weights are spoilt")
            return {}

        def load_state_dict(self, tree: dict[str, Any]) -> None:
            pass

    part = Spoilt()
    state = bench.restore(part=part)
    bench.train(state, until=2)
    part.now = True
    assert bench.train(state, until=4) == [CONTINUE, CONTINUE]
    assert bench.sessions[state].save(state) is CONTINUE
    assert "no checkpoint of step 4: the weights are spoilt" in bench.said._notes
    bench.sessions[state]._postponed = True
    bench.sessions[state].conclude()
    part.now = False
    assert bench.train(state, until=6) == [CONTINUE, SAVED]
    assert [path.parent.name[-1] for path in sorted(bench.run_folder.glob("*/manifest.json"))] == ["2", "6"]


def test_a_loop_without_a_loader_counts_its_own_epochs(bench: Bench) -> None:
    state = bench.restore()
    state.epoch = 3
    bench.train(state, until=2)
    assert bench.restore(bench.place(attempt=1)).epoch == 3


def test_save_waits_until_the_checkpoint_is_complete(bench: Bench) -> None:
    state = bench.restore()
    state.step = 1
    assert bench.sessions[state].save(state) is SAVED
    assert (bench.step_folder(1) / "manifest.json").exists()


def test_a_save_that_fails_is_noted_and_training_goes_on(bench: Bench) -> None:
    state = bench.restore()
    bench.run_folder.joinpath("step-00000002").write_text("in the way")
    assert bench.train(state, until=4) == [CONTINUE, SAVED, CONTINUE, SAVED]
    failed, back = bench.said._notes
    assert "step 2 could not be saved" in failed
    assert "training goes on, and it is tried again. There is no complete checkpoint yet: all 2 steps" in failed
    assert "storage is back: step 4 is saved" in back
    assert bench.restore(bench.place(attempt=1)).step == 4


def test_an_asked_for_save_that_fails_is_an_error(bench: Bench) -> None:
    state = bench.restore()
    bench.run_folder.joinpath("step-00000001").write_text("in the way")
    state.step = 1
    with pytest.raises(StorageError):
        bench.sessions[state].save(state)


@pytest.mark.parametrize(
    ("place", "step"),
    [
        pytest.param({"attempt": 1}, 4, id="the next attempt goes on"),
        pytest.param({"attempt": 1, "resume": "run"}, 4, id="the next attempt goes on in its run"),
        pytest.param({"run": 2}, 4, id="a new run goes on"),
        pytest.param({"run": 9, "resume": "latest"}, 4, id="whatever runs were between"),
        pytest.param({"run": 2, "resume": "run"}, 0, id="a new run begins anew where only its own count"),
        pytest.param({"run": 2, "resume": "never"}, 0, id="a new run, never"),
        pytest.param({"run": 2, "uid": "0987654321"}, 0, id="a new run of another job of the same name"),
        pytest.param({"uid": "0987654321"}, 0, id="another job of the same name begins anew"),
        pytest.param({"attempt": 1, "resume": "never"}, 0, id="never"),
    ],
)
def test_who_goes_on_from_whose_checkpoints(bench: Bench, place: dict[str, Any], step: int) -> None:
    bench.train(bench.restore(), until=4)
    assert bench.restore(bench.place(**place)).step == step


def test_a_new_run_goes_on_as_if_it_were_the_old_one(bench: Bench) -> None:
    """Position in the data included; it says so, and what it saves is its own."""
    old = bench.restore(loader=make_loader())
    bench.train(old, until=4)
    state = bench.restore(bench.place(run=2), loader=make_loader())
    assert (state.step, weights(state)) == (4, weights(old))
    assert bench.said._notes == [f"goes on from step 4 of run 1 (file://{bench.step_folder(4)}/)"]
    assert state.parts["loader"].state_dict() == old.parts["loader"].state_dict()
    assert bench.said.productive.node_seconds is None, "what run 1 has cost isn't run 2's"
    bench.train(state, until=6)
    assert bench.step_folder(4).is_dir(), "another run's checkpoints are left alone"
    assert bench.restore(bench.place(run=2, attempt=1), loader=make_loader()).step == 6
    assert bench.said._notes == []


def test_after_a_run_that_succeeded_a_new_one_begins_anew(bench: Bench) -> None:
    bench.train(bench.restore(), until=4)
    (bench.run_folder / "finished").touch()
    assert bench.restore(bench.place(attempt=1)).step == 4, "the run itself goes on, if only to upload"
    assert bench.restore(bench.place(run=2)).step == 0
    assert bench.said._notes == ["run 1 succeeded, so this run begins anew, not from its checkpoints"]
    bench.train(bench.restore(bench.place(run=2)), until=2)
    assert bench.restore(bench.place(run=3)).step == 2, "what came after it counts"


def test_a_new_run_begins_anew_where_all_of_the_old_are_damaged(bench: Bench) -> None:
    """As the message of the run that has found them so has promised."""
    bench.train(bench.restore(), until=4)
    for step in (2, 4):
        flip(next(bench.step_folder(step).glob("model-*")))
    assert bench.restore(bench.place(run=2)).step == 0
    assert [note.partition(" is damaged")[0] for note in bench.said._notes] == [
        f"checkpoint file://{bench.step_folder(step)}/" for step in (4, 2)
    ]


def test_checkpoints_of_another_job_are_not_gone_on_from(bench: Bench) -> None:
    """Eight digits of a UID may be those of another one."""
    bench.train(bench.restore(), until=4)
    assert bench.restore(bench.place(run=2, uid="12345678-another")).step == 0


def test_never_writes_over_what_an_older_attempt_has_left(bench: Bench) -> None:
    bench.train(bench.restore(), until=4)
    state = bench.restore(bench.place(attempt=1, resume="never"))
    bench.train(state, until=4)
    assert bench.said._notes == []
    assert weights(bench.restore(bench.place(attempt=2))) == weights(state)


def test_after_a_failure_just_what_was_lost_counts_no_longer(bench: Bench) -> None:
    state = bench.restore()
    for cost in (2.0, 4.0, 5.0):
        bench.said.productive.start_from(cost)
        bench.train(state, until=state.step + 1)
    bench.restore(bench.place(attempt=1))
    assert bench.said.productive.node_seconds == 4.0


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def remove_one(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def swap(path: Path) -> None:
    """Puts another file of the checkpoint in its place."""
    path.write_bytes(next(other for other in sorted(path.parent.iterdir()) if other != path).read_bytes())


@pytest.mark.parametrize("part", ["model", "loader", "rank", "ema", "manifest"])
@pytest.mark.parametrize("damage", [flip, remove_one, cut, empty, swap])
def test_damage_to_any_file_is_seen(bench: Bench, part: str, damage: Callable[[Path], None]) -> None:
    bench.train(bench.restore(loader=make_loader(), ema=nn.Linear(1, 1)), until=4)
    damage(next(bench.step_folder(4).glob(f"{part}*")))
    state = bench.restore(bench.place(attempt=1), loader=make_loader(), ema=nn.Linear(1, 1))
    assert state.step == 2
    if (part, damage) != ("manifest", remove_one):
        assert "step-00000004/ is damaged" in bench.said._notes[0]
    assert bench.restore(bench.place(attempt=2), loader=make_loader(), ema=nn.Linear(1, 1)).step == 2
    assert bench.said._notes == []


def test_a_checkpoint_of_a_newer_version_is_left_as_it_is(bench: Bench) -> None:
    bench.train(bench.restore(bench.place(keep=2)), until=4)
    path = bench.step_folder(4) / "manifest.json"
    newer = (
        path.read_bytes().replace(b"footplate-checkpoint/1", b"footplate-checkpoint/2").replace(b"{", b'{"a": 1,', 1)
    )
    path.write_bytes(newer)
    before = {file for file in bench.root.rglob("checkpoints/**/*") if "attempts" not in file.parts}
    place = bench.place(attempt=1)
    with pytest.raises(
        ConfigError, match=r"footplate-checkpoint/2 is of a newer version .*reads footplate-checkpoint/1"
    ):
        bench.restore(place, model=nn.Linear(2, 1))
    assert {file for file in bench.root.rglob("checkpoints/**/*") if "attempts" not in file.parts} == before


def test_where_all_are_damaged_nothing_begins_anew_unasked(bench: Bench) -> None:
    bench.train(bench.restore(), until=4)
    for path in bench.run_folder.glob("*/model*"):
        flip(path)
    for attempt, notes in ((1, 2), (2, 0)):
        with pytest.raises(DataError, match=r"all 2 checkpoints of this run are damaged \(steps 4, 2; .*restartNonce"):
            bench.restore(bench.place(attempt=attempt))
        assert len(bench.said._notes) == notes
    assert bench.restore(bench.place(run=2)).step == 0


def test_an_outage_is_not_an_empty_folder(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.train(bench.restore(), until=4)
    place = bench.place(attempt=1)

    def gone(*_: Any, **__: Any) -> None:
        raise NotFound("no such bucket")

    monkeypatch.setattr(Store, "list", gone)
    with pytest.raises(StorageError, match="no such bucket"):
        bench.restore(place)


@pytest.mark.parametrize(
    ("model", "named"),
    [
        pytest.param(nn.Linear(3, 1), r"weight \(checkpoint \(1, 2\), model \(1, 3\)\)", id="shape"),
        pytest.param(nn.Linear(2, 1, bias=False), "unknown to the model: bias", id="unknown"),
        pytest.param(nn.Bilinear(2, 1, 1), r"of another shape: weight", id="another kind"),
        pytest.param(nn.Sequential(nn.Linear(2, 1)), "missing from the checkpoint: 0.weight, 0.bias", id="missing"),
    ],
)
def test_a_model_that_doesnt_fit_is_a_configuration_error(bench: Bench, model: nn.Module, named: str) -> None:
    bench.train(bench.restore(), until=2)
    with pytest.raises(ConfigError, match=named):
        bench.restore(bench.place(attempt=1), model=model)


def test_a_part_that_wasnt_saved_is_a_configuration_error(bench: Bench) -> None:
    bench.train(bench.restore(), until=2)
    with pytest.raises(ConfigError, match="holds model, but no ema"):
        bench.restore(bench.place(attempt=1), ema=nn.Linear(1, 1))


@pytest.mark.parametrize(
    ("grace", "saved"),
    [pytest.param(30.0, True, id="time enough"), pytest.param(0.0, False, id="no time left")],
)
def test_a_stop_saves_if_there_is_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, grace: float, saved: bool
) -> None:
    state = bench.restore()
    bench.train(state, until=2)
    with monkeypatch.context() as asked:
        asked.setattr(stopping, "requested", lambda: True)
        asked.setattr(stopping, "grace_left", lambda: grace)
        assert bench.train(state, until=3) == [STOP]
    assert bench.sessions[state].stopped
    assert bench.restore(bench.place(attempt=1)).step == (3 if saved else 2)


@pytest.mark.parametrize(("grace", "step"), [(30.0, 4), (0.0, 2)], ids=["time enough", "no time left"])
def test_a_stop_at_the_end_saves_what_was_postponed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, grace: float, step: int
) -> None:
    """The last step's checkpoint is due while the one before is being written; then the ranks are asked to stop."""
    state, written, put_file = bench.restore(), threading.Event(), Store.put_file
    with monkeypatch.context() as slow:
        slow.setattr(Store, "put_file", lambda *args: (written.wait(10), put_file(*args)))
        outcomes = []
        for _ in range(4):
            state.step, bench.now = state.step + 1, bench.now + 1.0
            outcomes.append(bench.sessions[state].maybe_save(state))
        assert outcomes == [CONTINUE, SAVED, CONTINUE, CONTINUE]
        written.set()
        bench.sessions[state].finish()
    with monkeypatch.context() as asked:
        asked.setattr(stopping, "requested", lambda: True)
        asked.setattr(stopping, "grace_left", lambda: grace)
        bench.sessions[state].conclude()
    assert bench.sessions[state].stopped
    assert bench.restore(bench.place(attempt=1)).step == step


def test_the_last_step_is_captured_before_the_loop_ends(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the checkpoint before is still being written: what follows the loop may change the model."""
    loader, put_file = make_loader(), Store.put_file
    state, written = bench.restore(loader=loader), threading.Event()
    monkeypatch.setattr(Store, "put_file", lambda *args: (written.wait(10), put_file(*args)))
    outcomes = []
    for _ in loader:
        state.step += 1
        if state.step == 10:
            threading.Timer(0.3, written.set).start()
        outcomes.append(bench.sessions[state].maybe_save(state))
    trained = weights(state)
    with torch.no_grad():
        state.parts["model"].weight.zero_()
    bench.sessions[state].conclude()
    assert outcomes == [CONTINUE, SAVED, *[CONTINUE] * 7, SAVED]
    restored = bench.restore(bench.place(attempt=1), loader=make_loader())
    assert (restored.step, weights(restored)) == (10, trained)


def test_what_was_postponed_is_captured_before_a_callback_changes_the_model(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that was ended in the middle, while the checkpoint before was being written."""
    state, written, put_file = bench.restore(), threading.Event(), Store.put_file
    monkeypatch.setattr(Store, "put_file", lambda *args: (written.wait(10), put_file(*args)))
    outcomes = []
    for _ in range(4):
        state.step, bench.now = state.step + 1, bench.now + 1.0
        outcomes.append(bench.sessions[state].maybe_save(state))
    assert outcomes == [CONTINUE, SAVED, CONTINUE, CONTINUE]
    threading.Timer(0.3, written.set).start()
    assert bench.sessions[state].settle(state) is SAVED
    trained = weights(state)
    with torch.no_grad():
        state.parts["model"].weight.zero_()
    bench.sessions[state].conclude()
    restored = bench.restore(bench.place(attempt=1))
    assert (restored.step, weights(restored)) == (4, trained)


def test_nothing_is_captured_where_nothing_was_postponed(bench: Bench) -> None:
    state = bench.restore()
    bench.train(state, until=3)
    assert bench.sessions[state].settle(state) is CONTINUE
    assert bench.restore(bench.place(attempt=1)).step == 2


def test_a_stop_after_the_end_saves_what_was_captured_and_not_what_became_of_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last save has failed, and the model has changed since: then the job is asked to stop."""
    state = bench.restore()
    with monkeypatch.context() as broken:
        broken.setattr(Store, "put_file", lambda *_: (_ for _ in ()).throw(StorageError("away")))
        bench.train(state, until=2)
    trained = weights(state)
    with torch.no_grad():
        state.parts["model"].weight.zero_()
    with monkeypatch.context() as asked:
        asked.setattr(stopping, "requested", lambda: True)
        asked.setattr(stopping, "grace_left", lambda: 30.0)
        bench.sessions[state].conclude()
    restored = bench.restore(bench.place(attempt=1))
    assert (restored.step, weights(restored)) == (2, trained)


@pytest.mark.parametrize(("step", "stops"), [(3, False), (4, True)], ids=["not captured", "captured"])
def test_an_evaluation_stops_only_when_the_last_step_is_captured(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, step: int, stops: bool
) -> None:
    state = bench.restore()
    bench.train(state, until=step)
    monkeypatch.setattr(stopping, "requested", lambda: True)
    assert bench.sessions[state].should_stop() is stops
    bench.now += 1.0
    assert bench.train(state, until=step + 1) == [STOP]
