"""Proof, before anybody trains for days, that a place can be written to and read, and that storage keeps its word."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from footplate_trainer.errors import ConfigError, Denied, Exists, StorageUnavailable
from footplate_trainer.storage.store import Store


@contextmanager
def keys_may_come(attempt: int) -> Iterator[None]:
    """In a later attempt, keys that are refused end the attempt, and not the run: they may have run out while it lived,
    and what it has trained is in its checkpoints.
    """
    try:
        yield
    except Denied as error:
        if attempt == 0:
            raise
        raise StorageUnavailable(f"{error}. Once that is done, the next attempt goes on") from error


def prove_writing(store: Store, key: str) -> None:
    """Creates an empty object, reads it, and makes sure that it can't be created twice. An earlier proof's will do.

    Raises:
        Denied: the credentials don't allow one of the three, or storage has no conditional puts.
        ConfigError: storage ignores their condition.
    """
    with suppress(Exists):
        store.put(key, b"", create=True)
    if store.get(key):
        raise StorageUnavailable(f"{store.uri}/{key} was read back with other bytes than were written")
    try:
        store.put(key, b"", create=True)
    except Exists:
        return
    raise ConfigError(
        f"{store.uri}: storage ignores conditional puts (If-None-Match: *): it overwrites what it was told not to, so "
        "that nothing would keep two jobs, or two attempts, from mixing what they write; use storage that has them, or "
        "switch them on"
    )
