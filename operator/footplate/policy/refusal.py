"""Writes that fail: what is said of them and when, and which refusals trying again can't change.

Whoever admits pods may change their mind: quotas, webhooks, policies, missing classes and accounts. Final is alone what
the API server's own schema says of an object, and only as long as the run has never run: what it then refuses it has
taken before.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from footplate.policy.plan import Refusal
from footplate.policy.pods import Gang
from footplate.policy.reasons import Reason
from footplate.text import clean

TELL_AFTER = timedelta(seconds=2)
"""What fails for less than this, an API server's hiccup, isn't worth a Warning. A refusal is, at once."""


def final(refusals: Iterable[Refusal], *, has_run: bool) -> tuple[Reason, str] | None:
    """The first refusal that trying again can't change, as reason and message.

    Args:
        refusals: what was refused.
        has_run: True where such objects of this run were taken before.
    """
    for refusal in refusals:
        if refusal.reason == "NameConflict":
            return Reason.NAME_CONFLICT, name_conflict(refusal)
        if _is_of_the_schema(refusal) and not (has_run or refusal.transient):
            text = f"the API server says of {refusal.kind} {refusal.name}: {refusal.message}; correct the spec"
            return Reason.INVALID_POD, text
    return None


def failing(refusals: Iterable[Refusal], *, now: datetime) -> Refusal | None:
    """The first that a user should hear of; a refusal before what only fails."""
    worth = [refusal for refusal in refusals if _is_worth_telling(refusal, now=now)]
    return min(worth, key=lambda refusal: refusal.transient, default=None)


def describe(refusal: Refusal) -> str:
    """Which write fails, and what the API server says of it."""
    what, said = f"{refusal.kind} {refusal.name}", clean(refusal.message, most=640)
    if refusal.transient:
        return f"{'deleting' if refusal.verb == 'delete' else 'creating'} {what} fails: {said}"
    return f"{'the deletion of ' if refusal.verb == 'delete' else ''}{what} was refused: {said}"


def reason_of(refusal: Refusal) -> Reason:
    """The reason that a condition and an event give."""
    return Reason.FAILED_DELETE if refusal.verb == "delete" else Reason.FAILED_CREATE


def waits_as(refusal: Refusal) -> Reason:
    """The job's own reason while a create that it needs fails."""
    return Reason.FAILED_CREATE if refusal.transient else Reason.PODS_REFUSED


def waits_for_older_pods(refusal: Refusal, gang: Gang) -> bool:
    """True where a quota is full while pods that are on their way out still count: they will make room."""
    full = refusal.kind == "Pod" and refusal.code == 403 and "exceeded quota" in refusal.message
    return full and any(not pod.terminal for pod in gang.older)


def name_conflict(refusal: Refusal) -> str:
    """The message for an object of the operator's name that isn't its own."""
    return (
        f"{clean(refusal.message, most=512)}; nothing of it was touched. Set runPolicy.restartNonce for another run, "
        "whose objects have other names, or create the TrainingJob under another name"
    )


def _is_worth_telling(refusal: Refusal, *, now: datetime) -> bool:
    return not refusal.transient or (refusal.since is not None and now - refusal.since >= TELL_AFTER)


def _is_of_the_schema(refusal: Refusal) -> bool:
    """Whether these are the API server's own words of an object. Admission has others, with the same codes:
    `admission webhook … denied the request`, `… is forbidden: ValidatingAdmissionPolicy …`.
    """
    kind, said = refusal.kind, refusal.message
    invalid = refusal.code == 422 and said.startswith(f'{kind} "{refusal.name}" is invalid:')
    if invalid and ".resources" in said:
        return False  # ours were checked before: a LimitRange or a webhook has put others beside them
    unreadable = refusal.code == 400 and said.startswith(f'{kind} in version "v1" cannot be handled as a {kind}')
    return invalid or unreadable
