"""Writes that fail: what is said of them, and when it is worth saying."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from footplate.policy.plan import Refusal
from footplate.policy.reasons import Reason
from footplate.text import clean

TELL_AFTER = timedelta(seconds=2)
"""What fails for less than this, an API server's hiccup, isn't worth a Warning. A refusal is, at once."""


def failing(refusals: Iterable[Refusal], *, now: datetime) -> Refusal | None:
    """The first that a user should hear of; a refusal before what only fails."""
    worth = [refusal for refusal in refusals if _is_worth_telling(refusal, now=now)]
    return min(worth, key=lambda refusal: refusal.transient, default=None)


def describe(refusal: Refusal) -> str:
    """Which write fails, and what the API server says of it."""
    what = f"{refusal.kind} {refusal.name}"
    if refusal.transient:
        return (
            f"{'deleting' if refusal.verb == 'delete' else 'creating'} {what} fails: {clean(refusal.message, most=640)}"
        )
    deletion = "the deletion of " if refusal.verb == "delete" else ""
    return f"{deletion}{what} was refused: {clean(refusal.message, most=640)}"


def reason_of(refusal: Refusal) -> Reason:
    """The reason that a condition and an event give."""
    return Reason.FAILED_DELETE if refusal.verb == "delete" else Reason.FAILED_CREATE


def _is_worth_telling(refusal: Refusal, *, now: datetime) -> bool:
    return not refusal.transient or (refusal.since is not None and now - refusal.since >= TELL_AFTER)
