"""Where a run's checkpoints are: in storage, and on the node's disk while they are on their way."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from footplate.api.blocks import Checkpoint
from footplate_trainer.checkpoint.folder import Folder
from footplate_trainer.exchange import STAGING
from footplate_trainer.rank.environment import Context
from footplate_trainer.storage.fetch import naming
from footplate_trainer.storage.proving import keys_may_come
from footplate_trainer.storage.runs import checkpoints_uri
from footplate_trainer.storage.store import Store


class RunStore:
    """The checkpoints of one training of a run, as this attempt reaches them."""

    def __init__(self, ctx: Context, block: Checkpoint, *, training: str, endpoint: str | None) -> None:
        self.block = block
        self._training = training
        self._ctx = ctx
        self._endpoint = endpoint
        self.staging = (ctx.checkpoint_dir or Path(tempfile.gettempdir())) / STAGING
        self.staging.mkdir(parents=True, exist_ok=True)
        self.folder = self._folder_of(ctx.run)
        """The training's checkpoints in this run."""

    def earlier_runs(self) -> Iterator[tuple[int, Folder]]:
        """Those of the job's earlier runs, the newest first."""
        for run in range(self._ctx.run - 1, 0, -1):
            yield run, self._folder_of(run)

    def _folder_of(self, run: int) -> Folder:
        uri = checkpoints_uri(str(self.block.uri), job=self._ctx.job, run=run, uid=self._ctx.uid)
        return Folder(self.open(uri), attempt=self._ctx.attempt, training=self._training)

    def claim(self) -> None:
        """Makes this attempt the one that may commit: the first that storage is asked for."""
        with keys_may_come(self._ctx.attempt), naming("spec.checkpoint.uri"):
            self.folder.claim()

    def open(self, uri: str) -> Store:
        """The store at a URI, with the job's endpoint and credentials."""
        return Store.open(uri, endpoint=self._endpoint)


def open_run(ctx: Context, *, training: str) -> RunStore | None:
    """The training's place in its run; None where the job saves no checkpoints."""
    block, config = ctx.checkpoint, ctx.config
    if config is None or block is None or block.uri is None:
        return None
    return RunStore(ctx, block, training=training, endpoint=config.spec.storage.endpoint)
