"""What is proved of a place before training, on folders; `integration/test_model_is_kept.py` asks a real server."""

from pathlib import Path

import pytest

from footplate_trainer.checkpoint.folder import Folder
from footplate_trainer.errors import ConfigError, Denied, StorageUnavailable
from footplate_trainer.storage.proving import keys_may_come, prove_writing
from footplate_trainer.storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(f"file://{tmp_path}/place")


def test_what_can_be_proved_can_be_proved_again(store: Store) -> None:
    for _ in range(2):
        prove_writing(store, "proof")
    assert [item.key for item in store.list()] == ["proof"]


def test_storage_that_ignores_conditions_saves_no_checkpoints(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing would keep a zombie from replacing what the next attempt has committed."""
    put = Store.put
    monkeypatch.setattr(Store, "put", lambda self, key, data, create=False: put(self, key, data))
    with pytest.raises(ConfigError, match=r"ignores conditional puts \(If-None-Match: \*\)"):
        Folder(store, attempt=0).claim()


def test_other_bytes_are_no_proof(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "get", lambda _self, _key: b"<html>")
    with pytest.raises(StorageUnavailable, match="read back with other bytes"):
        prove_writing(store, "proof")


def test_refused_keys_end_the_first_attempt_for_good_and_later_ones_not() -> None:
    with pytest.raises(Denied), keys_may_come(0):
        raise Denied("no")
    with pytest.raises(StorageUnavailable, match=r"^no\. Once that is done, the next"), keys_may_come(1):
        raise Denied("no")
    with pytest.raises(ConfigError), keys_may_come(1):
        raise ConfigError("claimed by another")
