"""Drives one tracker in a thread of its own, and never lets anybody wait for it longer than it was said."""

import threading
import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

import structlog

from footplate.records import Line
from footplate_trainer.errors import words_of
from footplate_trainer.supervisor.tracking.feed import MOST_LINES, Feed
from footplate_trainer.supervisor.tracking.tracker import End, Tracker, TrackerTrouble

MAX_PAUSE_SECONDS: Final = 60.0
LAST_PAUSES: Final = (0.0, 1.0, 3.0)
"""Before each try at the end, of a tracker that has answered before; another is tried once."""
MOST_NOTES: Final = 3
"""About one tracker: of what goes wrong by turns the log tells the rest."""

log = structlog.get_logger()


class Worker:
    """One tracker's thread. `note` tells the user something; `earlier` is what earlier attempts have reported."""

    def __init__(
        self,
        tracker: Tracker,
        feed: Feed,
        note: Callable[[str], object],
        earlier: Callable[[], Iterable[Line]] = tuple,
    ) -> None:
        self.tracker = tracker
        self._feed = feed
        self._earlier: Callable[[], Iterable[Line]] | None = earlier
        self._note = note
        self._notes_left = MOST_NOTES
        self._is_well = True
        self._end: End | None = None
        self._ending = threading.Event()
        self._begun = threading.Event()
        self._tried = threading.Event()
        """Set once the run is known, or a first try has failed."""
        self._done = threading.Event()

    def start(self) -> None:
        """Begins the run, and goes on with what is reported."""
        threading.Thread(target=self._run, name=f"tracking-{self.tracker.name}", daemon=True).start()

    def wait_until_begun(self, deadline: float) -> bool:
        """Waits for the run to be known, until `deadline` by `time.monotonic()` at most, or until it is known to be in
        trouble; False where it isn't known then.
        """
        self._tried.wait(max(0.0, deadline - time.monotonic()))
        return self._begun.is_set()

    def finish(self, end: End) -> None:
        """Asks it to send the rest, and how the pod ends."""
        self._end = end
        self._ending.set()

    def wait_until_done(self, deadline: float) -> bool:
        """Waits until all is told, or given up; False where neither was so by then."""
        return self._done.wait(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        pause = 0.0
        while not self._ending.wait(pause):
            pause = self.tracker.seconds if self._go() else min(max(2 * pause, 1.0), MAX_PAUSE_SECONDS)
        for pause in LAST_PAUSES if self._is_well else (0.0,):
            time.sleep(pause)
            if self._go() and self._do(self._tell_end):
                break
        else:
            self._note(
                f"{self.tracker.name} may lack the end of this run: it didn't take it in the last seconds of the pod"
            )
        self._done.set()

    def _go(self) -> bool:
        """One look: begins, if that is yet to be done, and sends all that is new."""
        return self._do(self._look)

    def _look(self) -> None:
        if not self._begun.is_set():
            self.tracker.begin()
            self._begun.set()
            self._tried.set()
        self._catch_up()
        while lines := self._feed.read():
            self.tracker.send(lines)
            self._feed.taken()

    def _catch_up(self) -> None:
        """Sends what earlier attempts may have had no time for."""
        if self._earlier is None:
            return
        lines = iter(self._earlier())
        while chunk := list(islice(lines, MOST_LINES)):
            self.tracker.send(chunk)
        self._earlier = None

    def _tell_end(self) -> None:
        if self._end is not None:
            self.tracker.end(self._end)

    def _do(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except Exception as error:  # whatever it is, it is the tracker's alone
            if not isinstance(error, TrackerTrouble):
                log.exception("a tracker failed", tracker=self.tracker.name)
            self._tried.set()
            self._tell(words_of(error) if isinstance(error, TrackerTrouble) else type(error).__name__)
            return False
        if not self._is_well:
            log.info("a tracker is told again", tracker=self.tracker.name)
        self._is_well = True
        return True

    def _tell(self, why: str) -> None:
        """Once until it goes well again."""
        if self._is_well and self._notes_left:
            self._notes_left -= 1
            self._note(
                f"{self.tracker.name} isn't told of this run for now: {why}. Training goes on; what is reported is "
                "kept on the node, and sent when it can be"
            )
        else:
            log.warning("a tracker isn't told", tracker=self.tracker.name)
        self._is_well = False
