"""What is told of checkpoints that are written in the background."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from obstore.store import MemoryStore

from checkpoints import make_manifest
from footplate_trainer.checkpoint import codec, saver
from footplate_trainer.checkpoint.folder import Folder
from footplate_trainer.checkpoint.manifest import File, Manifest
from footplate_trainer.checkpoint.saver import Capture, Saver, writer
from footplate_trainer.errors import Denied, StorageError, StorageUnavailable
from footplate_trainer.rank.gang import Gang
from footplate_trainer.rank.report import Reporter
from footplate_trainer.storage.store import Store


def describe(files: tuple[File, ...], step: int) -> Manifest:
    return make_manifest(step, files=files)


class KeepsAll(Store):
    """Storage that deletes nothing."""

    refusal: StorageError

    def delete(self, keys: Sequence[str]) -> None:
        raise self.refusal


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        pytest.param(Denied("access denied (AccessDenied)"), True, id="no right"),
        pytest.param(StorageUnavailable("busy"), False, id="trouble that passes"),
    ],
)
def test_that_old_checkpoints_cant_be_deleted_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: StorageError, told: bool
) -> None:
    said = Reporter(0, tmp_path)
    monkeypatch.setattr(saver, "reporter", lambda: said)
    store = KeepsAll("memory://run", MemoryStore(), "run")
    store.refusal = refusal
    saving = Saver(Gang(0, 1, None), staging=tmp_path, keep=1)
    for step in (1, 2, 3):
        files = {"model": codec.flatten({"w": torch.zeros(1)})}
        saving.start([Capture(Folder(store, attempt=0), step, files, partial(describe, step=step))])
        saving.wait()
        saved = saving.result()
        assert saved is not None
        assert saved.error is None
    writer().submit(lambda: None).result()  # after what is pruned
    notes = [note for note in said._notes if "checkpoint.keep (1)" in note and "AccessDenied" in note]
    assert len(notes) == told
    assert len(said._notes) == told
