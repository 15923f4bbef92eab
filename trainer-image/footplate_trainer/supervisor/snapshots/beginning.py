"""Begins the snapshots of a pod: takes the claim, and puts back what the run, or an earlier one, has left."""

import time
from collections.abc import Callable
from datetime import datetime

from footplate.api.blocks import Checkpoint
from footplate.api.reports import CheckpointStatus
from footplate_trainer.errors import DataError
from footplate_trainer.storage.fetch import naming
from footplate_trainer.storage.runs import checkpoints_uri
from footplate_trainer.storage.store import Store
from footplate_trainer.supervisor.pod import Pod
from footplate_trainer.supervisor.snapshots.archive import Archive
from footplate_trainer.supervisor.snapshots.keeper import Keeper, describe
from footplate_trainer.supervisor.snapshots.restore import Restored, put_back


def begin(
    pod: Pod,
    *,
    note: Callable[[str], object],
    safe: Callable[[CheckpointStatus], object],
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Keeper | None, str | None]:
    """What keeps the pod's checkpoint folder from now on, and the URI of what lies in it again; None where the job
    has no place for it, or there was nothing.

    Args:
        pod: this one.
        note: tells the user something.
        safe: is told the newest complete snapshot of this run.

    Raises:
        DataError, PeerLost: a snapshot is damaged: see `put_back`.
        StorageError, ConfigError: storage can't be asked or written to, or the disk is too small.
    """
    block = pod.spec.checkpoint
    if block is None or block.uri is None:
        return None, None
    with naming("spec.checkpoint.uri"):
        archive = _archive(pod, str(block.uri), pod.run)
        archive.claim()
        restored = _put_back(pod, block, archive, note=note)
    if restored is not None and pod.node_rank == 0 and archive.has(restored.uri):
        safe(describe(restored.uri, restored.manifests))
    keeper = Keeper(pod, archive, restored, note=note, safe=safe, clock=clock)
    return keeper, None if restored is None else restored.uri


def _put_back(pod: Pod, block: Checkpoint, archive: Archive, *, note: Callable[[str], object]) -> Restored | None:
    if block.resume == "never":
        return None
    restored = put_back(archive, pod.checkpoint_dir, node=pod.node_rank, nodes=pod.nodes, note=note)
    if restored is None and block.resume == "latest":
        restored = _of_earlier(pod, str(block.uri), note=note)
    if restored is None or not any(manifest.files for manifest in restored.manifests):
        return None
    left: datetime = restored.manifests[0].time
    note(f"$FOOTPLATE_CHECKPOINT_DIR holds again what code had left there by {left:%Y-%m-%d %H:%M:%S} UTC")
    return restored


def _of_earlier(pod: Pod, uri: str, *, note: Callable[[str], object]) -> Restored | None:
    """The newest of the job's earlier runs, back to the last one that succeeded: what came before that is done."""
    for run in range(pod.run - 1, 0, -1):
        archive = _archive(pod, uri, run)
        if archive.is_finished():
            return None
        try:
            restored = put_back(archive, pod.checkpoint_dir, node=pod.node_rank, nodes=pod.nodes, note=note)
        except DataError as error:  # the run that they were of is over
            note(str(error))
            continue
        if restored is not None:
            return restored
    return None


def _archive(pod: Pod, uri: str, run: int) -> Archive:
    store = Store.open(checkpoints_uri(uri, job=pod.job, run=run, uid=pod.uid), endpoint=pod.spec.storage.endpoint)
    return Archive(store, attempt=pod.attempt, node=pod.node_rank, nodes=pod.nodes)
