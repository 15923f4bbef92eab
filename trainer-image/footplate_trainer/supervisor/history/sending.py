"""Sends texts that grow into storage: what is new while the pod lives, the whole at its end. See `records`."""

import gzip
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from footplate import records
from footplate_trainer.errors import StorageError
from footplate_trainer.storage.store import Store
from footplate_trainer.supervisor.history.parts import Parts
from footplate_trainer.supervisor.secrets import mask


class Sending:
    """One text on its way. `name` is what it is called in its folder, without an end.

    Each part is one object, sent again only where it has grown. `secrets` gives the values that must not leave.
    """

    def __init__(self, parts: Parts, folder: str, name: str, secrets: Callable[[], Sequence[bytes]] = list) -> None:
        self._parts = parts
        self._folder = folder
        self._name = name
        self._secrets = secrets
        self._sent: dict[int, int] = {}
        self._lock = threading.Lock()

    def send(self, store: Store) -> None:
        """Sends what is new, and removes what is given up.

        Raises:
            StorageError: storage doesn't take it.
        """
        with self._lock:
            self._send(store)

    def finish(self, store: Store, scratch: Path) -> None:
        """Sends what is new, then the whole, which takes the place of the parts. `scratch` is a file to pack it in.

        Raises:
            StorageError: storage doesn't take it; then the parts are there.
            OSError: the disk is full.
        """
        with self._lock:
            self._send(store)
            if not self._sent:
                return
            secrets = self._secrets()
            self._parts.pack(scratch, lambda text: mask(text, secrets))
            store.put_file(f"{self._folder}/{records.whole(self._name)}", scratch)
            self._remove(store, list(self._sent))

    def _send(self, store: Store) -> None:
        secrets, sizes = self._secrets(), self._parts.sizes()
        for number, size in sizes.items():
            if self._sent.get(number) != size:
                with suppress(OSError):  # given up meanwhile
                    text = gzip.compress(mask(self._parts.read(number, size), secrets), compresslevel=1)
                    store.put(self._key(number), text)
                    self._sent[number] = size
        self._remove(store, [number for number in self._sent if number not in sizes])

    def _remove(self, store: Store, numbers: Sequence[int]) -> None:
        with suppress(StorageError):  # what is there besides harms no reader
            store.delete([self._key(number) for number in numbers])
        for number in numbers:
            self._sent.pop(number, None)

    def _key(self, number: int) -> str:
        return f"{self._folder}/{records.part(self._name, number)}"
