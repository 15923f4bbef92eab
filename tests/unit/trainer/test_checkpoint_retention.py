"""However attempts save, crash in the middle of a save or of pruning, meet damage, wake up as zombies and restore: once
a checkpoint was committed there is always one to go on from, and it is the newest that was undamaged.
"""

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from obstore.store import MemoryStore

from checkpoints import make_file, make_manifest
from footplate_trainer.checkpoint.folder import Damaged, Folder, Found, fetch_file, verify_file
from footplate_trainer.checkpoint.manifest import Manifest
from footplate_trainer.errors import PeerLost
from footplate_trainer.storage.store import Store


class Crash(Exception):
    """The process dies here."""


class Fragile(Store):
    """A folder whose client dies after so many writes."""

    writes_left: int | None = None

    def put(self, key: str, data: bytes, *, create: bool = False) -> None:
        self._count()
        super().put(key, data, create=create)

    def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._count()
            super().delete([key])

    def _count(self) -> None:
        if self.writes_left == 0:
            raise Crash
        if self.writes_left is not None:
            self.writes_left -= 1


class Attempt:
    """One attempt's hand in the run: what a `Session` does with its `Folder`, without training."""

    def __init__(self, backend: MemoryStore, number: int) -> None:
        self.store = Fragile("memory://run", backend, "run")
        self.folder = Folder(self.store, attempt=number)
        self.number = number
        self.step = 0
        self.protected: set[int] = set()
        self._backend = backend

    def restore(self) -> None:
        self.folder.claim()
        for step in self.folder.complete_steps():
            found = self._load(step)
            if found is not None:
                self.step, self.protected = step, {step}
                return

    def _load(self, step: int) -> Found | None:
        try:
            found = self.folder.find(step)
        except Damaged:
            return None
        if found is None:
            return None
        try:
            self._verify(found)
        except Damaged as error:
            self.folder.condemn(found, str(error))
            return None
        return found

    def _verify(self, found: Found) -> None:
        store = Store(found.uri, self._backend, f"run/step-{found.step:08d}")
        with tempfile.TemporaryDirectory() as scratch:
            for file in found.manifest.files:
                fetch_file(store, file, Path(scratch, file.name))
                verify_file(file, Path(scratch, file.name))

    def save(self, steps: int, keep: int) -> None:
        self.step += steps
        content = f"state at {self.step} of attempt {self.number}".encode()
        file = make_file("model", content)
        self.store.put(f"step-{self.step:08d}/{file.name}", content)
        self.folder.commit(make_manifest(self.step, attempt=self.number, files=(file,)))
        self.folder.prune(newest=self.step, keep=keep, protected=self.protected)


COUNTS = st.none() | st.integers(0, 6)


class Run(RuleBasedStateMachine):
    """Attempts of one run, one after the other, and what they leave in storage."""

    @initialize(keep=st.integers(1, 3))
    def begin(self, keep: int) -> None:
        self.keep = keep
        self.backend = MemoryStore()
        self.store = Store("memory://run", self.backend, "run")
        self.number = 0
        self.replaced: list[Attempt] = []
        self.live: Attempt | None = None
        self.floor = 0
        """The step that must not be lost."""

    @rule(writes=COUNTS)
    def next_attempt(self, writes: int | None) -> None:
        """The one before may be dead, or not know yet that it is replaced."""
        if self.live is not None:
            self.replaced.append(self.live)
        self.live = attempt = Attempt(self.backend, self.number)
        self.number += 1
        newest = self.newest_whole()
        with self.dying_after(attempt, writes):
            attempt.restore()
            assert attempt.step == newest
            assert attempt.step >= self.floor

    @rule(steps=st.integers(1, 4), writes=COUNTS)
    def save(self, steps: int, writes: int | None) -> None:
        if (attempt := self.live) is None:
            return
        with self.dying_after(attempt, writes):
            attempt.save(steps, self.keep)
            self.floor = attempt.step

    @rule(which=st.integers(0, 5), steps=st.integers(1, 4))
    def zombie_saves(self, which: int, steps: int) -> None:
        if not (zombies := self.zombies):
            return
        zombie = zombies[which % len(zombies)]
        with pytest.raises(PeerLost):
            zombie.save(steps, self.keep)

    @rule(which=st.integers(0, 5), steps=st.integers(1, 4))
    def zombie_commits_unseen(self, which: int, steps: int) -> None:
        """It has looked at the claims just before the new one was made."""
        if not (zombies := self.zombies):
            return
        zombie = zombies[which % len(zombies)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(zombie.folder, "_check_claim", lambda: None)
            patch.setattr(zombie.folder, "prune", Folder(zombie.store, attempt=zombie.number).prune)
            with pytest.raises(PeerLost):
                zombie.save(steps, self.keep)

    @rule(which=st.integers(0, 5), back=st.integers(0, 8))
    def a_manifest_lands_late(self, which: int, back: int) -> None:
        """A zombie's put arrives when its files may have been swept."""
        if (zombies := self.zombies) and self.floor > back:
            step = self.floor - back
            if step not in Folder(self.store, attempt=0).complete_steps():
                zombie = zombies[which % len(zombies)]
                self.store.put(f"step-{step:08d}/manifest.json", make_manifest(step, attempt=zombie.number).to_bytes())

    @rule(flip=st.booleans())
    def damage(self, flip: bool) -> None:
        """The newest is damaged in storage, where it isn't the only one."""
        whole = self.whole()
        if len(whole) < 2:
            return
        newest = f"step-{whole[0]:08d}/"
        key = next(item.key for item in self.store.list(newest.rstrip("/")) if "model" in item.key)
        if flip:
            self.store.put(key, self.store.get(key)[:-1] + b"?")
        else:
            self.store.delete([key])
        self.floor = min(self.floor, whole[1])

    @property
    def zombies(self) -> list[Attempt]:
        """Those that a newer claim has outrun."""
        claims = [int(item.key.removeprefix("attempts/")) for item in self.store.list("attempts")]
        return [attempt for attempt in self.replaced if attempt.number < max(claims, default=0)]

    @invariant()
    def something_to_go_on_from(self) -> None:
        assert self.newest_whole() >= self.floor

    @contextmanager
    def dying_after(self, attempt: Attempt, writes: int | None) -> Iterator[None]:
        attempt.store.writes_left = writes
        try:
            yield
        except Crash:
            self.live = None
        attempt.store.writes_left = None

    def newest_whole(self) -> int:
        return max(self.whole(), default=0)

    def whole(self) -> list[int]:
        """Steps whose files are all there, unharmed and not condemned, newest first."""
        return [step for step in Folder(self.store, attempt=0).complete_steps() if self.is_whole(step)]

    def is_whole(self, step: int) -> bool:
        folder = f"step-{step:08d}"
        objects = {item.key.rpartition("/")[2]: self.store.get(item.key) for item in self.store.list(folder)}
        manifest = Manifest.from_bytes(objects["manifest.json"])
        return not any(name.startswith("bad-") for name in objects) and all(
            hashlib.sha256(objects.get(file.name, b"")).hexdigest() == file.sha256 for file in manifest.files
        )


Run.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestRun = Run.TestCase
