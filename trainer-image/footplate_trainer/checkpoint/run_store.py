"""Where a run's checkpoints are: in storage, and on the node's disk while they are on their way."""

import tempfile
from pathlib import Path

from footplate.api.blocks import Checkpoint
from footplate_trainer.checkpoint.folder import Folder
from footplate_trainer.context import Context
from footplate_trainer.fetch import naming
from footplate_trainer.storage import Store


class RunStore:
    """The checkpoints of one run, as this attempt reaches them."""

    def __init__(self, place: Context, block: Checkpoint, *, endpoint: str | None) -> None:
        self.block = block
        self._endpoint = endpoint
        self.staging = place.checkpoint_dir or Path(tempfile.gettempdir())
        self.staging.mkdir(parents=True, exist_ok=True)
        # The job's UID is in the path: another job of this name shares nothing with it.
        run = f"run-{place.run}-{place.uid[:8]}" if place.uid else f"run-{place.run}"
        uri = str(block.uri).rstrip("/")
        self.folder = Folder(self.open(f"{uri}/{place.job}/{run}"), attempt=place.attempt)
        """This run's checkpoints."""

    def claim(self) -> None:
        """Makes this attempt the one that may commit: the first that storage is asked for."""
        with naming("spec.checkpoint.uri"):
            self.folder.claim()

    def open(self, uri: str) -> Store:
        """The store at a URI, with the job's endpoint and credentials."""
        return Store.open(uri, endpoint=self._endpoint)


def open_run(place: Context) -> RunStore | None:
    """The run's place; None where the job saves no checkpoints."""
    block, config = place.checkpoint, place.config
    if config is None or block is None or block.uri is None:
        return None
    return RunStore(place, block, endpoint=config.spec.storage.endpoint)
