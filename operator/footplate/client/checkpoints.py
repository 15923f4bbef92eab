"""What a run has saved: its complete checkpoints and snapshots, from what lies in its folder in storage."""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from footplate.api.trainingjob import TrainingJobSpec
from footplate.client.connection import Connection
from footplate.client.status import read_status
from footplate.client.storage import MAX_OBJECTS, StorageUnreadable, open_store, readable
from footplate.objects import Object, blocks, key_of, time, uid_of

if TYPE_CHECKING:
    from footplate_trainer.storage.store import Store

_CHECKPOINT = re.compile(r"((?:trainings/([a-z0-9_-]{1,63})/)?step-(\d{8,19}))/([^/]+)")
_SNAPSHOT = re.compile(r"(snapshots/(\d{8,19}-\d{8}))/(?:node-(\d{1,9})-of-(\d{1,9})\.json|bad-\d+)")
_MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 16 << 20
MAX_MANIFESTS = 64
"""Of one snapshot, that are read."""


@dataclass(frozen=True, slots=True)
class CheckpointView:
    """A checkpoint, or a snapshot of what other code has left in its checkpoint folder."""

    uri: str
    step: int | None
    """Optimizer steps it holds; None for a snapshot, of which only the code knows."""
    training: str
    """Name of the training that saved it; `main` where it has none."""
    time: datetime | None
    """When it was saved."""
    size_bytes: int | None
    damaged: bool
    """It was found so, and no attempt goes on from it."""


def list_checkpoints(store: "Store") -> list[CheckpointView]:
    """What is complete in a run's folder, the newest first; snapshots of empty folders are left out.

    Raises:
        StorageUnreadable: it can't be listed.
    """
    with readable(store.uri):
        sizes = {item.key: item.size for item in store.list(most=MAX_OBJECTS)}
    found = [_dated(view, store, sizes) for view in complete(store.uri, sizes)]
    found = [view for view in found if view.step is not None or view.size_bytes != 0]
    return sorted(found, key=lambda view: (view.time.timestamp() if view.time else 0.0, view.step or 0), reverse=True)


def open_checkpoints(connection: Connection, job: Object, spec: TrainingJobSpec | None) -> "Store":
    """The folder of a run's checkpoints.

    Raises:
        StorageUnreadable: it has none, or it can't be reached from here.
    """
    from footplate_trainer.storage.runs import checkpoints_uri

    uri = spec.checkpoint.uri if spec is not None and spec.checkpoint is not None else None
    if spec is None or uri is None:
        raise StorageUnreadable("the job has no checkpoint.uri, so it saves none")
    namespace, name = key_of(job)
    folder = checkpoints_uri(uri, job=name, run=read_status(job).run or 1, uid=uid_of(job))
    return open_store(connection, spec, folder, namespace=namespace)


def complete(uri: str, sizes: Mapping[str, int]) -> Iterable[CheckpointView]:
    """Those whose manifests are all there, from the keys and sizes of all objects of a run's folder. Pure."""
    folders: dict[str, dict[str, int]] = defaultdict(dict)
    for key, size in sizes.items():
        if match := _CHECKPOINT.fullmatch(key):
            folders[match[1]][match[4]] = size
    for folder, files in folders.items():
        if _MANIFEST in files and (match := _CHECKPOINT.fullmatch(f"{folder}/{_MANIFEST}")):
            size = sum(size for name, size in files.items() if not name.startswith("bad-"))
            yield CheckpointView(f"{uri}/{folder}/", int(match[3]), match[2] or "main", None, size, damaged=False)
    yield from _snapshots(uri, sizes)


def _snapshots(uri: str, sizes: Mapping[str, int]) -> Iterable[CheckpointView]:
    nodes: dict[str, set[str]] = defaultdict(set)
    desired: dict[str, int] = {}
    for key in sizes:
        if match := _SNAPSHOT.fullmatch(key):
            nodes[match[1]].add(match[3] or "bad")
            desired[match[1]] = int(match[4] or desired.get(match[1], 0))
    for folder, found in nodes.items():
        if len(found - {"bad"}) == desired[folder] > 0:
            yield CheckpointView(f"{uri}/{folder}/", None, "main", None, None, damaged="bad" in found)


def _dated(view: CheckpointView, store: "Store", sizes: Mapping[str, int]) -> CheckpointView:
    """With what its manifests say of it, as far as they can be read; of a large gang's snapshot the first few."""
    folder = view.uri.removeprefix(f"{store.uri}/")
    keys = sorted(key for key in sizes if key.startswith(folder) and key.endswith(".json"))
    if view.step is not None:
        keys = [f"{folder}{_MANIFEST}"]
    documents = [_read(store, key, sizes[key]) for key in keys[:MAX_MANIFESTS]]
    bad = any(f"{folder}bad-{digest}" in sizes for _, digest in documents) or any(said is None for said, _ in documents)
    view = replace(view, time=time(documents[0][0] or {}, "time"), damaged=view.damaged or bad)
    if view.step is not None or len(keys) > MAX_MANIFESTS:
        return view
    return replace(view, size_bytes=sum(_bytes_of(said or {}) for said, _ in documents))


def _read(store: "Store", key: str, size: int) -> tuple[Mapping[str, Any] | None, str]:
    """A manifest, None where it isn't one, and what marks it as damaged."""
    from footplate_trainer.storage.store import ObjectInfo

    if size > MAX_MANIFEST_BYTES:
        return {}, ""
    with readable(f"{store.uri}/{key}"):
        data = b"".join(store.stream(ObjectInfo(key, size, None)))  # and not what the server may say it is by now
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    return document if isinstance(document, dict) else None, hashlib.sha256(data).hexdigest()[:12]


def _bytes_of(document: Mapping[str, Any]) -> int:
    sizes = (file.get("size") for file in blocks(document, "files"))
    return sum(size for size in sizes if isinstance(size, int) and size > 0)
