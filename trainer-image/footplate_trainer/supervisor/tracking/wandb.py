"""Weights & Biases: the run as an offline one in storage, which `wandb sync` uploads.

It is written by W&B's own library, at the pod's end and in a process of its own: while training runs, nothing is. A run
has one writer there, so where the code has called wandb itself, its run is the run, and nothing is added.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from footplate.api.tracking import WandbTracking
from footplate.contract import UID_DIGITS
from footplate_trainer.supervisor.tracking.offline import Offline, OfflineTracker
from footplate_trainer.supervisor.tracking.tracker import End, Subject

FOLDER: Final = "wandb"
LIBRARY: Final = "wandb"


class Wandb(OfflineTracker):
    """The run of one attempt, by the job's settings. See `OfflineTracker`."""

    name = "wandb"

    def __init__(self, settings: WandbTracking, subject: Subject, *, logs_dir: Path, offline: Offline) -> None:
        super().__init__(subject, project=settings.project, logs_dir=logs_dir, offline=offline)
        self._settings = settings
        self._id = f"{subject.job}-{subject.run}-{subject.uid[:UID_DIGITS]}"

    @property
    def environment(self) -> Mapping[str, str]:
        """What W&B's library reads: `wandb.init()` then begins this run, or goes on with it."""
        own = {
            "WANDB_PROJECT": self._project,
            "WANDB_RUN_ID": self._id,
            "WANDB_RESUME": "allow",
            "WANDB_NAME": self._subject.job,
            "WANDB_DIR": str(self._logs_dir),
        }
        if self._settings.entity is not None:
            own["WANDB_ENTITY"] = self._settings.entity
        # Without a key it would ask for one, and wait.
        return own if os.environ.get("WANDB_API_KEY") else own | {"WANDB_MODE": "offline"}

    def end(self, end: End) -> None:
        """Writes the run, and stores it."""
        if any((self._logs_dir / FOLDER).glob(f"*run-*-{self._id}")):
            return
        own = self._logs_dir.with_name("wandb-run")
        written = self._offline.write(self._about(end), folder=own, pattern=f"wandb/offline-run-*-{self._id}")
        if written is not None:
            self.url = self._offline.store(written, written.name)

    def _about(self, end: End) -> Mapping[str, Any]:
        subject = self._subject
        own = {"job": f"{subject.namespace}/{subject.job}", "uid": subject.uid, "outcome": end.outcome}
        if end.artifact is not None:
            own |= {"artifact": end.artifact.uri, "manifestSha256": end.artifact.sha256}
        return {
            "id": self._id,
            "project": self._project,
            "entity": self._settings.entity,
            "name": subject.job,
            "config": {**subject.parameters, "footplate": own},
            "exitCode": 0 if end.outcome == "succeeded" else 1,
        }
