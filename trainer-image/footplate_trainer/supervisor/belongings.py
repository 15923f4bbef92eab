"""What code leaves in a pod besides its model, and where that is kept: its own logs, and files nobody has claimed.

    <uri>/<job>/records-<run>-<first 8 of the UID>/
      logs/attempt-00000000/node-00000/…              $FOOTPLATE_LOGS_DIR, and runs/, wandb/, … of the working directory
      unclaimed/attempt-00000000/node-00000/work/…    files that the code left beside the output folder

The URI is that of `output`, else that of `checkpoint`. None of it decides over a run: what can't be kept costs a note.
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import structlog

from footplate import records
from footplate_trainer.errors import words_of
from footplate_trainer.storage.runs import OUTAGE_SECONDS
from footplate_trainer.storage.store import Store
from footplate_trainer.supervisor import strays
from footplate_trainer.supervisor.history.history import History
from footplate_trainer.supervisor.model_files import free, is_excluded, listed, storable
from footplate_trainer.supervisor.pod import Pod

MAX_FILES: Final = 1_000
MAX_LOG_BYTES: Final = 1 << 30
MAX_UNCLAIMED_BYTES: Final = 10 << 30
FILES_AT_ONCE: Final = 4
OUTPUT: Final = "output"
"""Among the unclaimed files, those of the output folder of a pod that failed."""

log = structlog.get_logger()


class Belongings:
    """The belongings of one pod. Make it right before the ranks start: what they leave is what is new after that."""

    def __init__(self, pod: Pod, working_directory: Path, history: History, note: Callable[[str], object]) -> None:
        self._pod = pod
        self._base = records.base_uri(pod.spec)
        self._folder = working_directory
        self._history = history
        self._note = note
        self._work = strays.working_directory(working_directory, pod.work_dir)
        self._home = strays.home(Path(os.environ.get("HOME", "/nonexistent")))
        self._has_kept_unclaimed = False
        self._lock = threading.Lock()

    def keep(self, *, unclaimed: bool, output: bool) -> None:
        """Sends all of it; whatever goes wrong is in a note.

        Args:
            unclaimed: with the files that nobody has claimed.
            output: with the output folder, of which no model is made.
        """
        if self._base is None:
            return
        try:
            self._history.finish()
            self._send("logs", strays.log_files(self._pod.logs_dir, self._work), MAX_LOG_BYTES)
            if unclaimed:
                self.keep_unclaimed(output=output)
        except Exception as error:  # none of it is worth a verdict
            self._note(f"not all that node {self._pod.node_rank} has left could be kept: {words_of(error)}")

    def keep_unclaimed(self, *, output: bool = False) -> bool:
        """Sends the files that the code has left beside the output folder. False where there is none.

        Raises:
            StorageError: storage doesn't take them.
        """
        with self._lock:
            if self._has_kept_unclaimed or self._base is None:
                return self._has_kept_unclaimed
            files = self._find_unclaimed(output=output)
            if files:
                place = self._send("unclaimed", files, MAX_UNCLAIMED_BYTES)
                self._tell_unclaimed(sorted(files), place)
                self._has_kept_unclaimed = True
            return bool(files)

    def _tell_unclaimed(self, files: Sequence[str], place: str) -> None:
        left = [name for name in files if name.startswith(f"{OUTPUT}/")]
        beside = [name for name in files if name not in left]
        if beside:
            self._note(
                f"saved where no model is looked for, and kept in {place}/: {listed(beside)}; what is to be the model, "
                "save in $FOOTPLATE_OUTPUT_DIR on node 0"
            )
        if left:  # which is the right place: there is nothing to be moved
            self._note(
                "what lay in $FOOTPLATE_OUTPUT_DIR when the pod failed is no model, as it may be half of one, and is "
                f"kept in {place}/: {listed(left)}"
            )

    def _find_unclaimed(self, *, output: bool) -> dict[str, Path]:
        pod = self._pod
        ours = (pod.input_dir, pod.output_dir, pod.checkpoint_dir, pod.logs_dir, pod.work_dir, pod.run_dir)
        files: dict[str, Path] = {}
        for place, others in ((self._work, ours), (self._home, (*ours, self._folder))):
            files |= place.new_files(apart_from=others) if place is not None else {}
        if output:
            exclude = pod.spec.output.exclude if pod.spec.output is not None else ()
            left = strays.Place(OUTPUT, pod.output_dir).new_files()
            files |= {
                name: path for name, path in left.items() if not is_excluded(name.removeprefix(f"{OUTPUT}/"), exclude)
            }
        return files

    def _send(self, kind: str, files: Mapping[str, Path], most_bytes: int) -> str:
        """Sends files, and returns where they are then."""
        store = self._store(kind, records.attempt_name(self._pod.attempt), records.node_name(self._pod.node_rank))
        chosen, left = _newest(files, most_bytes)
        if left:
            self._note(
                f"of {len(files):,} files in {kind} the newest {len(chosen):,} are kept, as {MAX_FILES:,} and "
                f"{most_bytes >> 30} GiB are the most: not {listed(left)}"
            )
        with ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="keep") as pool:
            unread = [name for name in pool.map(lambda name: _put(store, name, chosen[name]), chosen) if name]
        if unread:
            self._note(f"could not be read, and so isn't kept in {kind}: {listed(unread)}")
        return store.uri

    def _store(self, *folder: str) -> Store:
        pod = self._pod
        uri = "/".join((records.records_uri(str(self._base), job=pod.job, run=pod.run, uid=pod.uid), *folder))
        return Store.open(uri, endpoint=pod.spec.storage.endpoint, outage_seconds=OUTAGE_SECONDS)


def _newest(files: Mapping[str, Path], most_bytes: int) -> tuple[dict[str, Path], list[str]]:
    """The newest files for which there is room, by the names that storage can have, and the names of the others: what
    is saved last is worth most, and what was downloaded at the start least.
    """
    chosen: dict[str, Path] = {}
    left, room = [], most_bytes
    for name in sorted(files, key=lambda name: _changed(files[name]), reverse=True):
        size = _size(files[name])
        if size > room or len(chosen) >= MAX_FILES:
            left.append(storable(name))
        else:
            chosen[free(storable(name), chosen)] = files[name]
            room -= size
    return chosen, left


def _changed(path: Path) -> int:
    return path.lstat().st_mtime_ns if path.exists() else 0


def _size(path: Path) -> int:
    return path.lstat().st_size if path.exists() else 0


def _put(store: Store, name: str, path: Path) -> str:
    """Sends a file. Returns its name where it can't be read, or is gone."""
    try:
        path.open("rb").close()
    except OSError:
        return name
    store.put_file(name, path)
    return ""
