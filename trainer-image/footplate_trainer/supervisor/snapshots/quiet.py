"""Whether a folder has come to rest, so that what lies in it is whole. Pure: the looks and the clock are arguments.

Code writes a checkpoint as several files, one after the other, and says nothing. So the folder counts as a whole: only
when none of its files was changed for some seconds is it kept. A file that is written to all the time, such as a log,
would keep it from ever being at rest: after a while it is restless, and isn't waited for.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from footplate_trainer.supervisor.snapshots.scan import State

QUIET_SECONDS = 5.0
"""How long a file must have been left alone."""
PATIENCE_SECONDS = 60.0
"""How long a file may change without a pause until it isn't waited for, and anything at rest waits for the rest."""


@dataclass(slots=True)
class _Seen:
    state: State
    since: float
    rested: float
    """When it was last seen at rest, or first seen at all."""


class Watcher:
    """What was seen of a folder's files. `before` lay there already, at rest."""

    def __init__(
        self,
        before: Mapping[str, State],
        *,
        now: float,
        quiet: float = QUIET_SECONDS,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._quiet = quiet
        self._patience = patience
        self._seen = {path: _Seen(state, float("-inf"), now) for path, state in before.items()}
        self._gone_at = float("-inf")
        self._busy_since: dict[str, float] = {}
        """Of each folder in which something isn't at rest."""
        self._news_since: float | None = None

    def __contains__(self, path: object) -> bool:
        """True where a file of this path was there at the last look."""
        return path in self._seen

    def look(self, files: Mapping[str, State], *, now: float) -> None:
        """Takes note of what lies there."""
        seen: dict[str, _Seen] = {}
        for path, state in files.items():
            before = self._seen.get(path)
            if before is None:
                seen[path] = _Seen(state, now, now)
            elif before.state != state:
                seen[path] = _Seen(state, now, before.rested)
            else:
                seen[path] = _Seen(state, before.since, now if now - before.since >= self._quiet else before.rested)
        if not self._seen.keys() <= seen.keys():
            self._gone_at = now
        self._seen = seen
        busy = {_folder_of(path) for path in seen.keys() - self.at_rest(now=now).keys()}
        self._busy_since = {folder: self._busy_since.get(folder, now) for folder in busy}

    def changed_at(self, *, now: float) -> float:
        """When the folder was last seen to change, apart from what changes all the time."""
        restless = set(self.restless(now=now))
        return max([self._gone_at, *(seen.since for path, seen in self._seen.items() if path not in restless)])

    def at_rest(self, *, now: float) -> dict[str, State]:
        """The files that were left alone for long enough."""
        return {path: seen.state for path, seen in self._seen.items() if now - seen.since >= self._quiet}

    def restless(self, *, now: float, times: int = 1) -> list[str]:
        """The files that have changed for so long that they aren't waited for, or so many times as long."""
        resting = self.at_rest(now=now).keys()
        return [
            path
            for path, seen in self._seen.items()
            if path not in resting and now - seen.rested >= times * self._patience
        ]

    def finished(self, saved: Collection[str], *, now: float, times: int) -> dict[str, State]:
        """The files at rest, without new ones beside which, or below, a new one is still being written: a checkpoint of
        many files, each of which takes long. One that is written to for so many times the patience is none.
        """
        resting = self.at_rest(now=now)
        busy = {_folder_of(path) for path in self._seen if path not in resting and path not in saved}
        busy = {folder for folder in busy if now - self._busy_since[folder] < times * self._patience}
        return {path: state for path, state in resting.items() if path in saved or not _is_beside(path, busy)}

    def is_settled(self, *, now: float) -> bool:
        """True where all files are at rest that are waited for."""
        return len(self.at_rest(now=now)) + len(self.restless(now=now)) == len(self._seen)

    def wait_anew(self) -> None:
        """What is new was taken: what comes now is waited for as long as ever."""
        self._news_since = None

    def is_due(self, saved: Mapping[str, State], *, now: float) -> bool:
        """True where there is something new at rest, and nothing to wait for."""
        gone = any(path not in self._seen for path in saved)
        if not gone and all(saved.get(path) == state for path, state in self.at_rest(now=now).items()):
            self._news_since = None
            return False
        if self._news_since is None:
            self._news_since = now
        return self.is_settled(now=now) or now - self._news_since >= self._patience


def _folder_of(path: str) -> str:
    return path.rpartition("/")[0]


def _is_beside(path: str, folders: Collection[str]) -> bool:
    """True where one of the folders is the file's own, lies in that, or holds it; all are in the first."""
    own = _folder_of(path)
    return any(
        own == each or (own and each.startswith(f"{own}/")) or (each and own.startswith(f"{each}/")) for each in folders
    )
