"""What the decisions see and what they answer: plain values, no I/O.

That something is there, or has ended, is a fact which no later view takes back. That something isn't there, isn't well
or has no node yet may be over by now: what rests on that is done `once_confirmed`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from footplate.api.accelerators import ACCELERATORS
from footplate.api.status import TrainingJobStatus
from footplate.contract import Progress
from footplate.gangs.state import GangState
from footplate.objects import Object
from footplate.policy.measures import Measures
from footplate.tokens import NO_TOKENS, PodTokens


@dataclass(frozen=True, slots=True)
class Target:
    """One object that the operator owns; a delete carries the UID as its precondition.

    Where the UID isn't known (empty), the object is read first and left alone unless the job is its controller.
    """

    kind: str
    namespace: str
    name: str
    uid: str = ""
    version: str = ""
    """The resourceVersion that it must still have; empty where any will do."""
    api: str = ""
    """Group and version, where there are several kinds of this name."""


@dataclass(frozen=True, slots=True)
class Event:
    """What a user reads in `kubectl describe`: what happened, why, and the next step."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    action: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A create or delete that failed. It is part of what is observed until the next try shows whether it still does.

    `reason` is the API server's own, or `NameConflict` where an object of that name has a foreign controller; `code` is
    0 where no answer came.
    """

    kind: str
    name: str
    code: int
    reason: str
    message: str
    verb: Literal["create", "delete"] = "create"
    transient: bool = False
    """True where it wasn't refused: no answer, 429, 5xx, or a name that is about to become free."""
    retry_after: float = 0.0
    """Seconds that the API server asked us to wait."""
    since: datetime | None = None
    """Since when the job's writes of this verb have failed in a row."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A pod of the job's namespace, or a node, of which the view may be old: that it isn't there, or isn't well; or the
    job itself, which may be deleted.
    """

    kind: Literal["Pod", "Node", "TrainingJob"]
    name: str


@dataclass(frozen=True, slots=True)
class Admission:
    """What the line says of a job whose namespace has a quota."""

    limited: frozenset[str]
    """Resources that the quota names: a job that asks for none of them isn't in the line."""
    nodes: int = 0
    """Nodes that the job may hold by now, as far as it holds fewer."""
    keeps: int | None = None
    """Nodes that it keeps, being asked to give back the rest; None where nobody asks."""
    why: str = ""
    """Why it waits, or for whom it gives back; empty where what it was told last will do."""
    hopeless: bool = False
    """True where it can't ever fit, however long it waits."""
    look: float = 60.0
    """Seconds after which `why` is worth saying anew."""


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that one reconciliation looks at. Pods and nodes are a view, which may be as old as the longest
    silence of a watch.
    """

    job: Object
    pods: Sequence[Object] = ()
    nodes: Mapping[str, Object] = field(default_factory=dict)
    run_config: Object | None = None
    """The ConfigMap of the run in the status (or of the run that is due), None if there is none of the job's."""
    gang_state: GangState = field(default_factory=GangState)
    runtime: Object | None = None
    """What `runtimeRef` names, None if it isn't there."""
    policies: Sequence[Object] = ()
    """The TrainingPolicies that select the job's namespace, raw, by their names."""
    policies_known: bool = True
    """False where it isn't known which these are: nothing that a policy could refuse is begun then."""
    admission: Admission | None = None
    """What the line says of it; None where its namespace has no quota."""
    accelerators: Sequence[str] = ACCELERATORS
    """Names of the resources that this operator counts as accelerators."""
    suspects: Mapping[str, str] = field(default_factory=dict)
    """Nodes whose accelerators have failed, with why."""
    finished_since: int = 0
    """Jobs of its namespace that finished after this one, where that is asked for."""
    progress: Progress | None = None
    refusals: Sequence[Refusal] = ()
    """The job's writes that failed when they were last tried. Whoever plans needn't hold them back: the worker does,
    until it is time to try again.
    """
    labels: Mapping[str, str] = field(default_factory=dict)
    """Those of the job's labels that go on to what is created for it."""
    status_written: datetime | None = None
    """When this process last wrote the job's status, None if it hasn't: what is of little weight waits its turn."""
    confirmed: frozenset[Doubt] = frozenset()
    """What the API server was asked for in this very look: of these is observed what is so, be it that they are gone.
    """
    tokens: PodTokens = NO_TOKENS
    """What pods that are made now await of who asks them."""


@dataclass(frozen=True, slots=True)
class Step:
    """What the policies decide of a job: the status that it is to have, and what is done beside it.

    `policy.status` makes the plan of it, in one place for all of them.
    """

    status: TrainingJobStatus | None = None
    """As it should be; None leaves it as it is, whatever may have become of progress meanwhile."""
    create: tuple[Object, ...] = ()
    delete: tuple[Target, ...] = ()
    requeue: tuple[float | None, ...] = ()
    """Seconds until something becomes due; the soonest counts, and None and what is past don't."""
    stalled: bool = False
    """True where the job can't go on until somebody changes something, though it hasn't failed."""
    events: tuple[Event, ...] = ()
    """What a user should hear besides the change of phase, once the status is written."""
    notices: tuple[Event, ...] = ()
    """What a user should hear of what is done beside the status."""
    doubts: tuple[Doubt, ...] = ()
    """What the API server must confirm before any of it is done."""
    failing: Refusal | None = None
    """A create of the gang's that fails; of all else that fails the observation tells."""
    refused_edits: str = ""
    """What the user has changed on the living job, and doesn't count, with the rule and the way out."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done. A counter (run, attempt, restarts) is in the status before pods that carry it are created:
    a plan either moves the status on or creates pods for the status as it is.
    """

    create: tuple[Object, ...] = ()
    delete: tuple[Target, ...] = ()
    status: Object | None = None
    """The whole new status; None where it is as it should be."""
    events: tuple[Event, ...] = ()
    measures: Measures | None = None
    """What the write of the status adds to the metrics."""
    requeue_after: float | None = None
    """Seconds after which the job must be looked at again, whatever happens until then."""
    left_alone: bool = False
    """True where nothing may be done, because the job's status isn't understood."""
    confirm: frozenset[Doubt] = frozenset()
    """What the API server must be asked for before anything is done. The plan holds nothing else, and the job is
    looked at again at once with the answers.
    """


def once_confirmed(plan: Plan, *, observed: Observed, doubts: Iterable[Doubt]) -> Plan:
    """The plan, if the API server was asked for all that it rests on; else what to ask."""
    left = frozenset(doubts) - observed.confirmed
    return Plan(confirm=left) if left else plan
