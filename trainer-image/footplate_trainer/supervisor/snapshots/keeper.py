"""Takes snapshots of a node's folder while its processes train, and once more when they are gone.

It runs in a thread beside the supervisor, looks every few seconds, and works for a tenth of the time at most. What
goes wrong costs no training: it is told, and tried again.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence

import structlog

from footplate.api.reports import CheckpointStatus
from footplate_trainer.errors import TrainerError
from footplate_trainer.supervisor.pod import Pod
from footplate_trainer.supervisor.snapshots.archive import LAST, Archive, Number, complete, newest_of
from footplate_trainer.supervisor.snapshots.content import ALWAYS, Content, saved_before
from footplate_trainer.supervisor.snapshots.manifest import Manifest
from footplate_trainer.supervisor.snapshots.quiet import PATIENCE_SECONDS, QUIET_SECONDS, Watcher
from footplate_trainer.supervisor.snapshots.restore import Restored
from footplate_trainer.supervisor.snapshots.scan import MAX_FILES, Scan, State, scan
from footplate_trainer.supervisor.snapshots.sending import Closed, Sender, Torn

LOOK_SECONDS = 2.0
ASK_SECONDS = 10.0
"""How often a node of several looks whether another has begun a snapshot."""
SHARE = 10
"""A snapshot that took a second is followed by so many in which none is begun; a look by five times as many of rest."""
MAX_REST_SECONDS = 600.0
WAIT_SECONDS = 10.0
"""How long the first node waits at the end for the others' last words, which only tell what is safe."""
TRIES = 3
"""Before the user is told that what he writes can't be caught."""
LISTED = 3

log = structlog.get_logger()


class Keeper:
    """The snapshots of one node in one attempt. `run` and `last` block; `close` may be called by any thread."""

    def __init__(
        self,
        pod: Pod,
        archive: Archive,
        restored: Restored | None,
        *,
        note: Callable[[str], object],
        safe: Callable[[CheckpointStatus], object],
        clock: Callable[[], float] = time.monotonic,
        quiet: float = QUIET_SECONDS,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._pod = pod
        self._archive = archive
        self._note = note
        self._safe = safe
        self._clock = clock
        self._patience = patience
        self._closed = threading.Event()
        others = restored.others if restored is not None else ()
        there = scan(pod.checkpoint_dir, max_files=MAX_FILES + len(others)).files
        self._others = {path: there[path] for path in others if path in there}
        """What other nodes keep, as it was put back here."""
        saved = saved_before(restored, archive, there)
        self._watcher = Watcher(there, now=clock(), quiet=quiet, patience=patience)
        sender = Sender(pod.checkpoint_dir, archive.send, closed=self._closed)
        self._content = Content(pod, archive, saved, sender=sender, watcher=self._watcher, tell=self._tell, clock=clock)
        self._number = 0
        """The newest that this node has its part in, in this attempt."""
        self._told: set[str] = set()
        """What kinds of trouble the user knows of."""
        self._safe_number: Number | None = None
        self._asked_at = float("-inf")
        self._asked = 0
        self._free_at = float("-inf")
        """When nobody had begun that number yet, as far as this node knows."""
        self._rest_until = float("-inf")
        self._torn = 0
        self._open_since: float | None = None
        """Since when another node has been waiting for this one's part."""

    def run(self) -> None:
        """Looks until closed."""
        pause = LOOK_SECONDS
        while not self._closed.wait(pause):
            began, took = self._clock(), True
            try:
                took = self.look()
            except Closed:
                return
            except TrainerError as error:
                self._tell("trouble", f"$FOOTPLATE_CHECKPOINT_DIR can't be saved now, and is tried again: {error}")
            except Exception as error:
                log.exception("a snapshot failed")
                self._tell("trouble", f"$FOOTPLATE_CHECKPOINT_DIR can't be saved now, and is tried again: {error}")
            now = self._clock()
            if took:
                self._rest_until = now + min(SHARE * (now - began), MAX_REST_SECONDS)
            else:
                pause = min(max(LOOK_SECONDS, 5 * SHARE * (now - began)), MAX_REST_SECONDS)

    @property
    def holds_files(self) -> bool:
        """True where there is something to lose."""
        return bool(scan(self._pod.checkpoint_dir).files)

    def close(self) -> None:
        """Ends `run` soon."""
        self._closed.set()

    def look(self) -> bool:
        """Looks once, and takes a snapshot if one is due; True where one was taken.

        Raises:
            TrainerError: it couldn't be saved.
        """
        found, now = self._scan(), self._clock()
        self._watcher.look(found.files, now=now)
        self._tell_restless(now)
        is_due = now >= self._rest_until and self._watcher.is_due(self._content.states, now=now)
        asked = self._number_asked(now, at_once=is_due or not self._watcher.is_settled(now=now))
        if self._is_emptied(found.files) or not (is_due or (asked > self._number and self._may_answer(now))):
            return False
        at_rest = self._watcher.finished(self._content.saved, now=now, times=ALWAYS)
        if self._is_half(at_rest, now) or (asked <= self._number and not self._content.is_news(at_rest)):
            return False
        number = max(asked, self._number + is_due)
        if asked > self._number and self._watcher.changed_at(now=now) > self._free_at:
            # Another node's part may be of an older moment than what lies here now.
            if now < self._rest_until:
                return False
            number = asked + 1
        self._open_since = None
        try:
            self._content.take(at_rest, Number(self._pod.attempt, number))
        except Torn as error:
            self._torn += 1
            if self._torn >= TRIES:
                raise
            log.info("no snapshot", why=str(error))
            return True
        self._number, self._torn = number, 0
        self._tell_safe()
        self._content.prune()
        return True

    def last(self, *, whole: bool, prune: bool, held: Collection[str] = ()) -> None:
        """Saves what is there now that the processes are gone. Several nodes each say what they have.

        Args:
            whole: they ended by themselves. Else they may have been writing, and nothing is taken unless the folder was
                left alone for a while before.
            prune: older snapshots may be deleted: there is time.
            held: files that were being written to when their writer was ended.

        Raises:
            TrainerError: it couldn't be saved.
        """
        self._closed.clear()
        found, now = self._scan(), self._clock()
        self._watcher.look(found.files, now=now)
        if not whole and (
            not self._watcher.is_settled(now=now)
            or self._is_half(self._watcher.finished(self._content.saved, now=now, times=ALWAYS), now)
        ):
            self._tell(
                "half",
                "the processes were ended within seconds of writing to $FOOTPLATE_CHECKPOINT_DIR: what they wrote "
                "there last may be half, and isn't saved",
            )
            return
        at_rest = found.files if whole else self._watcher.finished(self._content.saved, now=now, times=ALWAYS)
        if half := sorted(at_rest.keys() & set(held)):
            self._tell(
                "half", f"not saved of $FOOTPLATE_CHECKPOINT_DIR: {half[0]} was being written when its writer was ended"
            )
            at_rest = {path: state for path, state in at_rest.items() if path not in held}
        if self._is_emptied(found.files):
            return
        if self._pod.nodes > 1 or self._content.is_news(at_rest):
            self._content.take(at_rest, Number(self._pod.attempt, LAST))
        if self._content.newest is None:
            return
        try:
            if whole and self._content.saved:
                self._wait_for_others()
            if prune:
                self._content.prune()
        except TrainerError as error:  # what is there is safe
            log.warning("what else is to be done after the last snapshot failed", error=str(error))

    def _wait_for_others(self) -> None:
        deadline = self._clock() + WAIT_SECONDS
        while not self._tell_safe() and self._clock() < deadline:
            if self._closed.wait(0.5):
                return

    def _scan(self) -> Scan:
        found = scan(self._pod.checkpoint_dir, max_files=MAX_FILES + len(self._others))
        if found.left_out:
            more = f" and {len(found.left_out) - LISTED:,} more" if len(found.left_out) > LISTED else ""
            self._tell(
                "left out",
                f"not saved of $FOOTPLATE_CHECKPOINT_DIR: {', '.join(found.left_out[:LISTED])}{more}. Only files, and "
                "links within it, are put back before the next attempt",
            )
        own = {path: state for path, state in found.files.items() if self._others.get(path) != state}
        return Scan(own, found.left_out)

    def _is_half(self, finished: Mapping[str, State], now: float) -> bool:
        """True where this node hasn't written yet what others, who write with it, may have."""
        return self._pod.nodes > 1 and len(finished) < len(self._watcher.at_rest(now=now))

    def _is_emptied(self, found: Mapping[str, State]) -> bool:
        """True where the code has removed all that was saved, as it may before it writes it anew."""
        return bool(self._content.saved) and not found

    def _number_asked(self, now: float, *, at_once: bool) -> int:
        """The newest number that any node has begun, as far as is known."""
        if self._pod.nodes == 1 or (now - self._asked_at < ASK_SECONDS and not at_once):
            return self._asked
        asked_before, self._asked_at = self._asked_at, now
        self._tell_safe()
        newest = newest_of(self._archive.listing(), self._pod.attempt)
        if newest > self._asked:
            self._free_at = asked_before
        self._asked = newest
        return newest

    def _may_answer(self, now: float) -> bool:
        if self._open_since is None:
            self._open_since = now
        return self._watcher.is_settled(now=now) or now - self._open_since >= self._patience

    def _tell_safe(self) -> bool:
        """Tells the newest complete snapshot of this attempt; False where others have no part in this node's yet."""
        if self._pod.node_rank != 0:
            return True
        listing = self._archive.listing()
        newest = next(iter(complete(listing)), None)
        if newest is not None and newest.attempt == self._pod.attempt and newest != self._safe_number:
            parts = sorted(part for part in listing[newest] if part is not None)
            manifests = [self._archive.read(newest, part) for part in parts]
            if any(manifest.files for manifest in manifests):
                self._safe(describe(self._archive.uri(newest), manifests))
            self._safe_number = newest
        return self._content.newest is None or (newest is not None and newest >= self._content.newest)

    def _tell_restless(self, now: float) -> None:
        for path in self._watcher.restless(now=now)[:1]:
            self._tell(
                "restless",
                f"{path} in $FOOTPLATE_CHECKPOINT_DIR has been written to without a pause for {self._patience:.0f} s: "
                "what can't be caught at rest is saved only at the end, once its writer is gone",
            )

    def _tell(self, kind: str, text: str) -> None:
        """Once an attempt."""
        if kind not in self._told:
            self._told.add(kind)
            self._note(text)


def describe(uri: str, manifests: Sequence[Manifest]) -> CheckpointStatus:
    """A complete snapshot as the job's status shows it: which step it is of only the code knows. It is as old as the
    look at the first node's folder.
    """
    return CheckpointStatus(
        uri=uri, time=manifests[0].time, size_bytes=sum(manifest.size_bytes for manifest in manifests)
    )
