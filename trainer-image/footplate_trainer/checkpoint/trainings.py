"""The trainings of one process, by name: each has checkpoints of its own, and they take the process in turn.

What they share is the process: its random numbers, which a checkpoint holds and `restore` sets, and its one line of
steps. So only the training that was restored last may go on alone; those that take turns within one loop are saved at
one moment, or a kill between two saves would leave them at moments that don't fit together.
"""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from footplate_trainer.checkpoint.names import MAIN
from footplate_trainer.checkpoint.session import Session
from footplate_trainer.checkpoint.state import TrainState
from footplate_trainer.errors import ConfigError, DataError
from footplate_trainer.rank.report import reporter

OBJECTS = ("model", "optimizer", "loader")


class Trainings:
    """See the module. All methods but `stopped` are collective."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._session_of: weakref.WeakKeyDictionary[TrainState, Session] = weakref.WeakKeyDictionary()
        """The same, of states that a second restore of their name may have left behind too."""
        self._states: weakref.WeakValueDictionary[str, TrainState] = weakref.WeakValueDictionary()
        self._objects: dict[str, list[Callable[[], Any]]] = {}
        """What each is of, by name; held weakly, so that models can go."""
        self._latest: Session | None = None

    @property
    def sessions(self) -> list[Session]:
        """Each once, in the order in which their trainings were first restored."""
        return list(dict.fromkeys(self._sessions.values()))

    def restore(self, state: TrainState, session: Session, objects: Sequence[Any], *, init_from: str | None) -> None:
        """Brings a training, with a new session, to where it is. See `checkpoint.restore`."""
        name = state.name
        self._refuse_another(name, objects)
        self.finish()
        self._begin(name)
        before = self._sessions.get(name)
        again = before is not None and before.has_trained and not self._others(name, objects)
        if before is not None and again:
            state.step = before.steps[name]
        session.restore(state, init_from=init_from, again=again)
        self._sessions[name], self._states[name], self._latest = session, state, session
        self._session_of[state] = session
        self._mend_torn(name, session)
        self._objects[name] = [_held(part) for part in objects]

    def session_of(self, states: Sequence[TrainState]) -> Session:
        """The session in which these are saved; from their first time on they are saved together."""
        session = self._session_of[states[0]]
        for state in states[1:]:
            if self._session_of[state] is not session:
                self._join(session, state)
        if len(states) != len(session.names):
            raise ConfigError(
                f"trainings that are saved together stay so: give maybe_save all of {_listed(session.names)} each time"
            )
        if session is not self._latest and session.saves_anything and self._latest is not None:
            raise ConfigError(
                f"training {_listed(session.names)} goes on after {_listed(self._latest.names)} was restored: restore "
                "each training right before its own loop; trainings that take turns in one loop are given to one call "
                "at the end of a turn, as in maybe_save(state, other), so that they are saved at one moment"
            )
        return session

    def should_stop(self) -> bool:
        """See `checkpoint.should_stop`."""
        asked = self._latest is not None and self._latest.should_stop()
        return asked and all(session.is_captured for session in self.sessions)

    def finish(self) -> None:
        """See `checkpoint.finish`."""
        for session in self.sessions:
            session.release()

    def conclude(self) -> None:
        """See `checkpoint.conclude`."""
        for session in self.sessions:
            session.conclude()

    def stopped(self) -> bool:
        """See `checkpoint.stopped`."""
        return any(session.stopped for session in self.sessions)

    def _begin(self, name: str) -> None:
        steps = [item for session in self.sessions for item in session.steps.items()]
        reporter().progress.begin(name, steps=dict(steps))

    def _join(self, session: Session, state: TrainState) -> None:
        other = self._session_of[state]
        if other is self._latest:
            self._latest = session
        session.join(other)
        self._sessions[state.name] = self._session_of[state] = session

    def _refuse_another(self, name: str, objects: Sequence[Any]) -> None:
        if name in self._sessions and len(self._sessions[name].names) > 1:
            raise ConfigError(
                f"training {name!r} is saved together with others, so that it can't be restored alone; what is trained "
                "after them needs a name of its own"
            )
        others = self._others(name, objects)
        if others and self._sessions[name].saves_anything:
            which = "without a name" if name == MAIN else f"called {name!r}"
            raise ConfigError(
                f"a second training {which} in one job, with another {' and another '.join(others)} than the first: "
                "the checkpoints of that name are the first training's, and would be loaded in place of the second's "
                "own beginning. Give each a name, as in fit(..., name='fold-1') or checkpoint.restore(..., "
                "name='fold-1'); or leave out spec.checkpoint, so that nothing is saved or loaded; to go on with the "
                "first training, use the same model, optimizer and loader"
            )

    def _others(self, name: str, objects: Sequence[Any]) -> list[str]:
        """Which of the objects aren't those that were trained under that name."""
        held = self._objects.get(name, ())
        return [kind for kind, old, new in zip(OBJECTS, held, objects, strict=False) if old() is not new]

    def _mend_torn(self, mine: str, session: Session) -> None:
        """Where this training had to go back further than one that it was saved together with, since its checkpoint is
        damaged, that one goes back too.
        """
        for name, other in list(self._sessions.items()):
            there = self._states.get(name)
            if other is session or there is None or not session.is_torn_from(other):
                continue
            self._begin(name)
            other.restore(there)
            self._begin(mine)
            if session.is_torn_from(other):
                raise DataError(
                    f"trainings {name!r} and {mine!r} were saved together, and no checkpoints of one moment are "
                    "left of them; set runPolicy.restartNonce to begin again"
                )


def _held(part: Any) -> Callable[[], Any]:
    """Gives the object again; one that is gone is none that could come a second time."""
    if part is None:
        return lambda: None
    try:
        reference = weakref.ref(part)
    except TypeError:
        return lambda: part
    return lambda: _GONE if (found := reference()) is None else found


_GONE = object()


def _listed(names: Any) -> str:
    return ", ".join(map(repr, names))
