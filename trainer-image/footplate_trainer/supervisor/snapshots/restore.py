"""Puts a snapshot back into the folder, before anybody trains.

Each node gets its own files; then, under names that it has none of, node 0's, and those of the others in order: code
that saves in shards reads some that another node has written. All bytes are verified before any file appears.
"""

import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

from footplate_trainer.errors import DataError, NotFound, PeerLost, StorageUnavailable
from footplate_trainer.exchange import STAGING
from footplate_trainer.storage.fetch import FILES_AT_ONCE, check_space, disk_errors
from footplate_trainer.supervisor.snapshots.archive import Archive, Number, Part, complete
from footplate_trainer.supervisor.snapshots.manifest import Damaged, File, Manifest


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back: the snapshot, and all its nodes' manifests."""

    number: Number
    uri: str
    manifests: Sequence[Manifest]
    own: Mapping[str, File]
    """This node's own files that are there again, by path: what needn't be sent once more."""
    others: Collection[str]
    """Files that other nodes of this gang keep, unless this one changes them: else it would keep an old state of what
    they go on writing. Those of nodes that the gang has no more are the first node's from now on.
    """

    @property
    def size_bytes(self) -> int:
        """Bytes of all nodes' files."""
        return sum(manifest.size_bytes for manifest in self.manifests)


def put_back(
    archive: Archive, folder: Path, *, node: int, nodes: int, note: Callable[[str], object]
) -> Restored | None:
    """Puts the newest complete snapshot of a run into a node's folder; None where the run has none.

    Raises:
        DataError: all are damaged.
        PeerLost: one is, and other nodes may have put it back already: the next attempt takes the one before.
        ConfigError: there is no space.
    """
    listing = archive.listing()
    numbers, reason = complete(listing), ""
    for number in numbers:
        try:
            there = max(part.nodes for part in listing[number] if part is not None)
            manifests = [archive.read(number, Part(each, there)) for each in range(there)]
            wanted = choose(manifests, node=node)
            _fetch_all(archive, wanted, folder)
        except Damaged as error:
            reason = f"the snapshot {archive.uri(number)} is damaged: {error}"
            archive.condemn(number, str(error))
            if nodes > 1:
                raise PeerLost(f"{reason}. The next attempt goes on from the one before") from error
            note(f"{reason}. The one before is taken, if there is one")
        else:
            own = {path: file for path, (owner, file) in wanted.items() if owner == node}
            others = {path for path, (owner, _) in wanted.items() if owner != node and (owner < nodes or node != 0)}
            return Restored(number, archive.uri(number), manifests, own, others)
        finally:
            shutil.rmtree(_staging(folder), ignore_errors=True)
    if numbers:
        raise DataError(
            f"all {len(numbers)} snapshots of this run are damaged, and a run that has got so far isn't begun again "
            f"unasked; to begin again, set runPolicy.restartNonce. The last that was tried: {reason}"
        )
    return None


def _fetch_all(archive: Archive, wanted: Mapping[str, tuple[int, File]], folder: Path) -> None:
    check_space(folder, sum(file.size for _, file in wanted.values()))
    contents: dict[tuple[int, str], list[File]] = defaultdict(list)
    for owner, file in wanted.values():
        if file.sha256 is not None:
            contents[owner, file.sha256].append(file)
    staging = _staging(folder)
    staging.mkdir(parents=True, exist_ok=True)
    pool = ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="put-back")
    try:
        list(pool.map(lambda item: _fetch(archive, item[0][0], item[1], staging), contents.items()))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    for owner, file in wanted.values():
        _place(file, _staged(staging, owner, file), folder)


def choose(manifests: Sequence[Manifest], *, node: int) -> dict[str, tuple[int, File]]:
    """The files that a node gets, by path, and whose they are. What is a file here can't be a folder for another's."""
    order = sorted(range(len(manifests)), key=lambda each: (each != node, each))
    chosen: dict[str, tuple[int, File]] = {}
    folders: set[str] = set()
    for owner in order:
        for file in manifests[owner].files:
            parents = [str(parent) for parent in PurePosixPath(file.path).parents][:-1]
            if file.path not in chosen and file.path not in folders and not any(each in chosen for each in parents):
                chosen[file.path] = owner, file
                folders.update(parents)
    return chosen


def _staging(folder: Path) -> Path:
    return folder / STAGING


def _staged(staging: Path, owner: int, file: File) -> Path:
    name = sha256(f"{owner}/{file.path}".encode()).hexdigest()
    return staging / name


def _fetch(archive: Archive, owner: int, files: Sequence[File], staging: Path) -> None:
    """Downloads what several files may hold, once."""
    first, *others = files
    target, digest = _staged(staging, owner, first), sha256()
    with disk_errors(target), target.open("wb") as output:
        for part in _bytes_of(archive, owner, first):
            digest.update(part)
            output.write(part)
    if digest.hexdigest() != first.sha256 or target.stat().st_size != first.size:
        raise Damaged(f"{first.path} has other bytes than its manifest says")
    for other in others:
        with disk_errors(target):
            shutil.copyfile(target, _staged(staging, owner, other))


def _bytes_of(archive: Archive, owner: int, file: File) -> Iterator[memoryview]:
    content = archive.content(owner, str(file.sha256), file.size)
    try:
        for part in archive.store.stream(content):
            yield memoryview(part)
    except NotFound:
        raise Damaged(f"{file.path} is missing") from None
    except StorageUnavailable:  # an object that was cut short answers as a bad line does
        if archive.store.head(content.key).size < file.size:
            raise Damaged(f"{file.path} is shorter than its manifest says") from None
        raise


def _place(file: File, staged: Path, folder: Path) -> None:
    target = folder / file.path
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.link is not None:
            target.unlink(missing_ok=True)
            target.symlink_to(file.link)
            return
        staged.chmod(file.mode)
        os.utime(staged, ns=(file.modified_ns, file.modified_ns))
        staged.replace(target)
