"""What the ranks of a node share of the data: files on the node's disk, which the kernel keeps in memory as far as it
has any to spare, and which are gone when nobody has them open.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar, cast

from footplate.api.quantities import amount
from footplate.contract import Env
from footplate_trainer.rank.environment import here
from footplate_trainer.rank.gang import Gang, all_ranks

T = TypeVar("T")
CACHE_SHARE = 4
"""What is kept on the disk only to save time takes one part in so many of what is free, or of the pod's limit."""


def ranks() -> Gang:
    """The line on which ranks share the work on the data. The first call is collective."""
    return all_ranks("data")


@contextmanager
def shared_folder() -> Iterator[Path]:
    """A folder that all ranks of this node have; removed at the end, when what they have opened stays. Collective."""
    parent = os.environ.get(Env.WORK_DIR)
    folder = Path(once_a_node(lambda: tempfile.mkdtemp(prefix="footplate-data-", dir=parent)))
    try:
        yield folder
        ranks().wait()
    finally:
        if here().local_rank == 0:
            shutil.rmtree(folder, ignore_errors=True)


def once_a_node(work: Callable[[], T]) -> T:
    """What the first rank of this node gets from work; if it fails on one, all ranks raise its error. Collective."""
    first = here().local_rank == 0
    results = ranks().together(lambda: work() if first else None)
    return cast(T, results[ranks().rank - here().local_rank])


def file_of(shared: Path, original: Path) -> Path:
    """Where in the shared folder lies what is made of a file or folder."""
    return shared / blake2b(os.fsencode(original), digest_size=16).hexdigest()


def cache_bytes(folder: Path) -> int:
    """How much may be kept in the folder only to save time."""
    config = here().config
    limit = config.spec.resources.limits.get("ephemeral-storage") if config else None
    free = shutil.disk_usage(folder).free
    return (free if limit is None else min(free, int(amount(limit)))) // CACHE_SHARE
