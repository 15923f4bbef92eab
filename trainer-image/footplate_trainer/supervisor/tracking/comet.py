"""Comet: the run as an offline experiment in storage, which `comet upload` takes up.

It is written by Comet's own library, as W&B's run is by W&B's. Where the code has called comet_ml itself, offline, its
archive is the experiment, and nothing is added.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from footplate.api.tracking import CometTracking
from footplate_trainer.supervisor.tracking.offline import Offline, OfflineTracker
from footplate_trainer.supervisor.tracking.tracker import End, Subject

FOLDER: Final = "comet"
LIBRARY: Final = "comet_ml"
KEY_LENGTH: Final = 32
"""Characters of an experiment's key: letters and digits alone, from 32 to 50."""


class Comet(OfflineTracker):
    """The experiment of one attempt, by the job's settings. See `OfflineTracker`."""

    name = "comet"

    def __init__(self, settings: CometTracking, subject: Subject, *, logs_dir: Path, offline: Offline) -> None:
        super().__init__(subject, project=settings.project, logs_dir=logs_dir, offline=offline)
        self._settings = settings
        self._key = hashlib.sha256(f"{subject.uid}/{subject.run}".encode()).hexdigest()[:KEY_LENGTH]

    @property
    def environment(self) -> Mapping[str, str]:
        """What Comet's library reads: `comet_ml.start()` then begins this experiment, or goes on with it."""
        own = {
            "COMET_PROJECT_NAME": self._project,
            "COMET_EXPERIMENT_KEY": self._key,
            "COMET_START_EXPERIMENT_NAME": self._subject.job,
            "COMET_OFFLINE_DIRECTORY": str(self._logs_dir / FOLDER),
        }
        if self._settings.workspace is not None:
            own["COMET_WORKSPACE"] = self._settings.workspace
        # Without a key it would raise.
        return own if os.environ.get("COMET_API_KEY") else own | {"COMET_START_ONLINE": "false"}

    def end(self, end: End) -> None:
        """Writes the experiment, and stores it."""
        if any((self._logs_dir / FOLDER).glob(f"{self._key}*.zip")):
            return
        own = self._logs_dir.with_name("comet-experiment")
        written = self._offline.write(self._about(end), folder=own, pattern=f"{self._key}*.zip")
        if written is not None:
            self.url = self._offline.store(written, f"attempt-{self._subject.attempt:08d}.zip")

    def _about(self, end: End) -> Mapping[str, Any]:
        subject = self._subject
        others = {"job": f"{subject.namespace}/{subject.job}", "uid": subject.uid, "outcome": end.outcome}
        if end.artifact is not None:
            others |= {"artifact": end.artifact.uri, "manifest.sha256": end.artifact.sha256}
        return {
            "key": self._key,
            "project": self._project,
            "workspace": self._settings.workspace,
            "name": subject.job,
            "parameters": subject.parameters,
            "others": {f"footplate.{name}": value for name, value in others.items()},
        }
