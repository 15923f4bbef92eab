"""TensorBoard: event files in the run's folder in storage, beside its records.

An object can't be appended to, so the newest file is sent again when it has grown, until it is large enough.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from footplate.records import Line
from footplate_trainer.errors import StorageError, words_of
from footplate_trainer.storage.store import Store
from footplate_trainer.supervisor.tracking import event_file
from footplate_trainer.supervisor.tracking.tracker import End, TrackerTrouble

FOLDER: Final = "tensorboard"
MAX_FILE_BYTES: Final = 1 << 20


class TensorBoard:
    """The event files of one attempt. See `Tracker`.

    Args:
        uri: the folder of all attempts' files.
        open_store: opens it, once storage is needed.
        attempt: which these are of.
    """

    name = "tensorboard"
    seconds = 15.0
    environment: Mapping[str, str] = {}

    def __init__(
        self, uri: str, open_store: Callable[[str], Store], attempt: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._uri = uri
        self._open_store = open_store
        self._store: Store | None = None
        self._attempt = attempt
        self._clock = clock
        self._number = 0
        self._content = b""
        self._last = None if attempt == 0 else -1
        """Step of the newest record; None where there can be none before it."""

    @property
    def url(self) -> str:
        """The folder, once it can be written to."""
        return f"{self._uri}/" if self._store is not None else ""

    def begin(self) -> None:
        """Opens the folder."""
        try:
            self._store = self._open_store(self._uri)
        except StorageError as error:
            raise TrackerTrouble(words_of(error)) from None

    def send(self, lines: Sequence[Line]) -> None:
        """Writes what was reported behind what is there. It counts as written once storage has it."""
        number, content, last = self._number, self._content, self._last
        if len(content) >= MAX_FILE_BYTES:
            number, content = number + 1, b""
        content = content or event_file.header(self._clock())
        for line in lines:
            if last is not None and (last < 0 or line.step < last):
                content += event_file.restart(line.time, line.step)
            content += b"".join(
                event_file.scalar(line.time, line.step, name, value) for name, value in line.metrics.items()
            )
            last = line.step
        try:
            if self._store is not None:
                self._store.put(f"events.out.tfevents.{self._attempt:08d}.{number:06d}", content)
        except StorageError as error:
            raise TrackerTrouble(words_of(error)) from None
        self._number, self._content, self._last = number, content, last

    def end(self, end: End) -> None:
        """All is there."""
