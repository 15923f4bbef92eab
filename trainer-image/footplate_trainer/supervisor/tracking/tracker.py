"""What a tracker is, to whoever drives it: it is begun, sent what was reported, and told of the end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from footplate.api.reports import ArtifactStatus
from footplate.contract import ExitCode
from footplate.records import Line


class TrackerTrouble(Exception):
    """The tracker doesn't take what it is told; it is tried again. The message says why, and what to do."""


Outcome = Literal["succeeded", "failed", "stopped"]


def outcome_of(exit_code: int) -> Outcome:
    """How a pod has ended, to a tracker."""
    outcomes: dict[int, Outcome] = {ExitCode.OK: "succeeded", ExitCode.STOPPED: "stopped"}
    return outcomes.get(exit_code, "failed")


@dataclass(frozen=True, slots=True)
class Dataset:
    """What an input channel held."""

    name: str
    uri: str
    sha256: str
    version: int | None = None
    """Of a Delta Lake table."""


@dataclass(frozen=True, slots=True)
class End:
    """How the pod ends."""

    outcome: Outcome
    error: str = ""
    """Why it failed."""
    artifact: ArtifactStatus | None = None
    """The model, verified and committed."""
    inputs: Sequence[Dataset] = ()
    """What it has learnt from, where it came to that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is tracked: one attempt of a run of a job."""

    namespace: str
    job: str
    uid: str
    run: int
    attempt: int
    image: str
    parameters: Mapping[str, str]


class Tracker(Protocol):
    """One tracker of one attempt. Every call but `begin` may come twice with the same: an answer may be lost."""

    name: str
    """As in `spec.tracking`."""
    seconds: float
    """Between two times that it is sent what is new."""

    @property
    def url(self) -> str:
        """Where it shows the run; empty until it is known."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """What has the user's own calls join the run; empty until it is known."""
        ...

    def begin(self) -> None:
        """Begins the run, or takes it up again. Raises TrackerTrouble."""
        ...

    def send(self, lines: Sequence[Line]) -> None:
        """Tells what was reported. Raises TrackerTrouble."""
        ...

    def end(self, end: End) -> None:
        """Tells how the pod ends, after all lines are sent. Raises TrackerTrouble."""
        ...
