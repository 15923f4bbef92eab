"""Why a job waits, restarts or failed, and the way out: from its status and its events. Pure.

What the status says is the operator's word on it; the events add what Kubernetes said besides.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from footplate.api.status import Attempt, FailureStatus, Phase, TrainingJobStatus
from footplate.causes import way_out
from footplate.client.advice import AGAIN, advice, fill
from footplate.client.events import JobEvent
from footplate.client.untrusted import plain, plain_lines
from footplate.durations import in_words
from footplate.objects import Object, block, key_of, number, time
from footplate.policy.reasons import Reason

UNSEEN_SECONDS = 30.0
"""An operator that runs has looked at a new job long before."""
_QUIET_SECONDS = 120.0
"""Without a step for so long it is worth a word."""
_ATTEMPTS_SHOWN = 5
_EVENTS_SHOWN = 3
_DEFAULT_RESTARTS = {"maxRestarts": 3, "maxDisruptions": 50}
_WELL = ("Completed", "AlreadyComplete", "DataPrepared", None)


@dataclass(frozen=True, slots=True)
class Why:
    """The answer: one sentence, what supports it, and what to do. All of it fit to be shown."""

    headline: str
    facts: list[str] = field(default_factory=list)
    way_out: list[str] = field(default_factory=list)


def explain(job: Object, status: TrainingJobStatus, events: Sequence[JobEvent], *, now: datetime) -> Why:
    """Why the job is where it is."""
    if status.phase is None:
        return _unseen(job, now=now)
    headline = _headline(status, now=now)
    facts = [
        *_waits(status, now=now),
        *_failure(status),
        *_data(status),
        *_attempts(status),
        *_budgets(job, status),
        *_troubles(status),
    ]
    facts += _told(events, said=" ".join([headline, *facts]))
    return Why(headline, list(dict.fromkeys(facts)), list(dict.fromkeys(_way_out(job, status))))


def _unseen(job: Object, *, now: datetime) -> Why:
    created = time(block(job, "metadata"), "creationTimestamp")
    age = (now - created).total_seconds() if created is not None else 0.0
    if age < UNSEEN_SECONDS:
        return Why("It is new: the operator hasn't looked at it yet.", [], ["nothing: that takes a second"])
    return Why(
        f"No operator has looked at it, {in_words(age)} after it was created.",
        [],
        [
            "ask who runs the cluster whether Footplate's operator runs and watches this namespace: "
            "`kubectl get deployments --all-namespaces -l app.kubernetes.io/name=footplate`"
        ],
    )


_WORDS = {
    Phase.PENDING: "It waits",
    Phase.QUEUED: "It waits for nodes",
    Phase.STARTING: "Its pods start",
    Phase.RUNNING: "It runs",
    Phase.RESTARTING: "It restarts",
    Phase.SUSPENDING: "It is being suspended",
    Phase.SUSPENDED: "It is suspended",
    Phase.SUCCEEDED: "It has succeeded",
    Phase.FAILED: "It has failed",
}


_WAITS_FOR = {
    Reason.WAITING_FOR_QUOTA: "It waits for its turn",
    Reason.WAITING_FOR_QUEUE: "It waits for its turn",
    Reason.EXCEEDS_QUOTA: "It waits for a larger quota",
    Reason.GATED: "It waits for whose gate holds its pods back",
}
"""Where it is Queued, and no node would help."""


def _headline(status: TrainingJobStatus, *, now: datetime) -> str:
    phase = status.phase or Phase.PENDING
    words = next((said for reason, said in _WAITS_FOR.items() if reason == status.reason), _WORDS[phase])
    if phase is Phase.SUCCEEDED and status.reason != Reason.ALREADY_COMPLETE:
        return f"{words}."
    seconds = None if phase.finished else _seconds_in_phase(status, now=now)
    since = f", for {in_words(seconds)} so far" if seconds is not None else ""
    reason = f" ({plain(status.reason)})" if status.reason and phase is not Phase.RUNNING else ""
    return f"{words}{since}{reason}" + (f": {plain(status.message)}" if status.message else ".")


def _seconds_in_phase(status: TrainingJobStatus, *, now: datetime) -> float | None:
    """Seconds since the phase began; a clock that is off makes it 0, not negative."""
    last = status.transitions[-1] if status.transitions else None
    if last is None or last.phase != status.phase:
        return None
    return max(0.0, (now - last.time).total_seconds())


def _waits(status: TrainingJobStatus, *, now: datetime) -> Iterator[str]:
    trouble = status.trouble
    if trouble is not None:
        seconds = trouble.waited_seconds + (max(0.0, (now - trouble.since).total_seconds()) if trouble.since else 0.0)
        yield f"its pods can't start ({plain(trouble.reason)}), for {in_words(seconds)} so far"
    if status.restart_time is not None and status.restart_time > now:
        yield f"the next attempt starts in {in_words((status.restart_time - now).total_seconds())}"
    step = status.progress.last_step_time if status.progress is not None else None
    if step is not None and status.phase is Phase.RUNNING and (age := (now - step).total_seconds()) > _QUIET_SECONDS:
        yield f"the last step was finished {in_words(age)} ago"
    nodes = status.nodes
    if nodes is not None and status.phase in (Phase.PENDING, Phase.QUEUED, Phase.STARTING):
        yield f"of {nodes.desired} pods {nodes.created} are created, {nodes.scheduled} have a node, {nodes.ready} run"


def _failure(status: TrainingJobStatus) -> Iterator[str]:
    failure = status.failure
    if failure is None or status.phase is Phase.SUCCEEDED:
        return
    what = "root cause" if status.phase is Phase.FAILED else "last failure"
    yield f"{what}: {_place(failure)}{plain(failure.message)}"
    if failure.traceback:
        *_, last = [line for line in plain_lines(failure.traceback).splitlines() if line.strip()] or [""]
        yield f"its traceback ends with: {plain(last)}"
    payers = {"User": "the code", "Infrastructure": "the infrastructure", "Hang": "a hang, on the code's account"}
    payer = payers.get(failure.class_)
    yield f"charged to {payer}" if payer else "it is permanent: trying again as it is can't help"
    if status.artifact is not None and status.artifact.accepted is False:
        yield f"the model is kept, as not accepted: {plain(status.artifact.uri, most=2048)}"


def _place(failure: FailureStatus) -> str:
    words = [f"rank {failure.rank}" if failure.rank is not None else ""]
    words += [f"on node {plain(failure.node, most=253)}" if failure.node else ""]
    words += [f"exit code {failure.exit_code}" if failure.exit_code is not None else ""]
    words += [f"signal {failure.signal}" if failure.signal is not None else ""]
    said = ", ".join(filter(None, words))
    return f"{said}: " if said else ""


def _data(status: TrainingJobStatus) -> Iterator[str]:
    """Where what the data are may be the cause: their checks are broken, or an attempt of the gang has failed."""
    data = status.data
    if data is None or status.failure is None or status.phase is Phase.SUCCEEDED:
        return
    are = "rule of data.checks is" if data.problems == 1 else "rules of data.checks are"
    broken = f"; {data.problems:,} {are} broken" if data.problems else ""
    page = f"; {plain(data.profile, most=2048)} describes them" if data.profile else ""
    yield f"its data: {data.in_words}{broken}{page}"


def _attempts(status: TrainingJobStatus) -> Iterator[str]:
    ended = [each for each in status.attempts if each.end_time is not None and each.reason not in _WELL]
    shown = ended[-_ATTEMPTS_SHOWN:]
    if shown and (earlier := shown[0].attempt):  # of which the status keeps the last few
        yield f"{earlier} earlier attempt{' ended' if earlier == 1 else 's ended'} too"
    yield from map(_attempt, shown)


def _attempt(attempt: Attempt) -> str:
    lasted = ""
    if attempt.start_time is not None and attempt.end_time is not None:
        lasted = f" after {in_words((attempt.end_time - attempt.start_time).total_seconds())}"
    node = f" on node {plain(attempt.node, most=253)}" if attempt.node else ""
    step = f", at step {attempt.last_step:,}" if attempt.last_step is not None else ""
    pod = ", the pod that prepares the data," if attempt.stage == "data" else ""
    return f"attempt {attempt.attempt}{pod} ended{lasted}{step}: {plain(attempt.reason or '')}{node}"


def _budgets(job: Object, status: TrainingJobStatus) -> Iterator[str]:
    """What is spent of what a run may restart, where something is."""
    policy, spent = block(job, "spec", "runPolicy"), status.spent
    if spent is None:
        return
    for name, used in (("maxRestarts", spent.restarts), ("maxDisruptions", spent.disruptions)):
        if used:
            given = number(policy, name)
            yield f"{used} of {given if given is not None else _DEFAULT_RESTARTS[name]} (runPolicy.{name}) are spent"


def _troubles(status: TrainingJobStatus) -> Iterator[str]:
    for straggler in status.stragglers:
        node = f" on node {plain(straggler.node, most=253)}" if straggler.node else ""
        yield f"rank {straggler.rank}{node} is slow: its steps take {straggler.factor:.1f} times the median rank's"
    for condition in status.conditions:
        troubled = condition.type in ("Stalled", "ReplicaFailure", "EditsRefused") and condition.status == "True"
        if troubled and condition.message != status.message:  # which is the headline
            yield f"{condition.type}: {plain(condition.message)}"
    yield from (plain(note) for note in status.notes)


def _told(events: Sequence[JobEvent], *, said: str) -> Iterator[str]:
    """The last warnings that say something new."""
    new = [event for event in events if event.type == "Warning" and event.message and not _is_said(event.message, said)]
    for event in new[-_EVENTS_SHOWN:]:
        yield f"{event.reason}{f' ({event.count} times)' if event.count > 1 else ''}: {event.message}"


def _is_said(message: str, said: str) -> bool:
    phase, _, words = message.partition(": ")  # our own events begin with the phase
    return message in said or (phase in [*Phase] and words in said)


def _way_out(job: Object, status: TrainingJobStatus) -> Iterator[str]:
    name = key_of(job)[1]
    if status.phase is Phase.SUCCEEDED and status.reason != Reason.ALREADY_COMPLETE:
        return
    failure = status.failure
    if failure is not None and status.phase in (Phase.FAILED, Phase.RESTARTING):
        known = way_out(f"{failure.message}\n{failure.traceback or ''}")
        if known and known not in failure.message:
            yield known
    told = partial(advice, name=name, saved=status.checkpoint is not None)
    yield from told(status.reason)
    if status.stragglers:
        yield from told("Straggler")
    if any(each.type == "EditsRefused" and each.status == "True" for each in status.conditions):
        yield from told("EditRefused")
    if status.phase is Phase.FAILED and not told(status.reason):
        yield fill(AGAIN, name=name, saved=status.checkpoint is not None)
