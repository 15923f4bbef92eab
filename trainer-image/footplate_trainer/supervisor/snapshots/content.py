"""What a snapshot of a node's folder holds: what is new at rest in it, and what the one before has already."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from footplate_trainer.supervisor.pod import Pod
from footplate_trainer.supervisor.snapshots.archive import LAST, Archive, Number
from footplate_trainer.supervisor.snapshots.manifest import File, Manifest
from footplate_trainer.supervisor.snapshots.quiet import Watcher
from footplate_trainer.supervisor.snapshots.restore import Restored
from footplate_trainer.supervisor.snapshots.scan import State
from footplate_trainer.supervisor.snapshots.sending import Sender, Torn

ALWAYS = 10
"""A file that has been written anew for so many times what others are waited for is no checkpoint that takes long."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Saved:
    """A file of this node that is in the newest manifest, and what it looked like."""

    state: State
    file: File


class Content:
    """The files of this node in its newest manifest, and the commit of the next one. `tell` tells the user of trouble,
    by its kind, once.
    """

    def __init__(
        self,
        pod: Pod,
        archive: Archive,
        saved: dict[str, Saved],
        *,
        sender: Sender,
        watcher: Watcher,
        tell: Callable[[str, str], object],
        clock: Callable[[], float],
    ) -> None:
        self.saved = saved
        self.newest: Number | None = None
        """What this attempt has committed last."""
        self._pod = pod
        self._archive = archive
        self._sender = sender
        self._watcher = watcher
        self._tell = tell
        self._clock = clock
        sender.sent.update(str(each.file.sha256) for each in saved.values() if each.file.sha256)

    def take(self, at_rest: dict[str, State], number: Number) -> None:
        """Sends and commits. A log that isn't at rest stays as it was in the snapshot before.

        Raises:
            Torn: what lies there is of two moments by now.
        """
        began = self._clock()
        there = {path: each for path, each in self.saved.items() if path in self._watcher}
        same = {path: each for path, each in there.items() if at_rest.get(path, each.state) == each.state}
        new = {path: state for path, state in at_rest.items() if path not in same}
        sent = {path: Saved(new[path], file) for path, file in self._sender.send(new).items()}
        dropped = self._without(there, at_rest, new.keys() - sent.keys(), last=number.number == LAST)
        saved = {path: each for path, each in {**there, **sent}.items() if not _is_in(path, dropped)}
        manifest = Manifest(
            job=self._pod.job,
            uid=self._pod.uid,
            run=self._pod.run,
            attempt=self._pod.attempt,
            node=self._pod.node_rank,
            nodes=self._pod.nodes,
            time=datetime.now(UTC),
            files=tuple(each.file for _, each in sorted(saved.items())),
        )
        self._archive.commit(number, manifest)
        self.saved, self.newest = saved, number
        self._watcher.wait_anew()
        log.info(
            "snapshot of the checkpoint folder",
            number=str(number),
            files=len(saved),
            sent=len(sent),
            seconds=round(self._clock() - began, 3),
        )

    def _without(
        self, there: Mapping[str, Saved], at_rest: Mapping[str, State], unsent: Collection[str], *, last: bool
    ) -> list[str]:
        """The files and folders that a snapshot is whole without: they are gone, or can't be read. What is only added
        to, a log, may stay as it was.
        """
        dropped: list[str] = []
        always = self._watcher.restless(now=self._clock(), times=ALWAYS)
        busy = {path for path in there if path not in at_rest}.difference(always)
        for path in sorted(busy.union(unsent)):
            before = self.saved.get(path)
            fate = self._sender.fate(path, None if before is None else before.file)
            if fate == "longer" and not (last and path in unsent):
                continue
            if before is not None or last or fate == "other":
                raise Torn(f"{path} was written to, or couldn't be read, while it was saved")
            folder = path.rpartition("/")[0]
            gone = fate == "gone" and not (self._pod.checkpoint_dir / folder).is_dir()
            dropped.append(folder if gone else path)
            if fate == "unreadable":
                self._tell("unreadable", f"not saved of $FOOTPLATE_CHECKPOINT_DIR: {path} can't be read")
        return dropped

    def is_news(self, at_rest: Mapping[str, State]) -> bool:
        """True where what lies at rest, or is gone, isn't what is saved."""
        saved = self.states
        return any(path not in self._watcher for path in saved) or any(
            saved.get(path) != state for path, state in at_rest.items()
        )

    @property
    def states(self) -> dict[str, State]:
        """What the saved files looked like."""
        return {path: each.state for path, each in self.saved.items()}

    def prune(self) -> None:
        """Deletes the snapshots that are too old to be kept, and what they alone hold."""
        block = self._pod.spec.checkpoint
        if block is not None:
            self._sender.sent = self._archive.prune(block.keep)


def _is_in(path: str, folders: Collection[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def saved_before(restored: Restored | None, archive: Archive, there: dict[str, State]) -> dict[str, Saved]:
    """Of what was put back, the files whose contents this run's folder has as this node's."""
    if restored is None or not archive.has(restored.uri):
        return {}
    return {path: Saved(there[path], file) for path, file in restored.own.items() if path in there}
