"""What the API server refused to create, in words; and which refusals trying again can't change."""

from collections.abc import Iterable

from footplate.policy.plan import Refusal
from footplate.policy.reasons import Reason
from footplate.text import clean


def final(refusals: Iterable[Refusal]) -> tuple[Reason, str] | None:
    """The first refusal that trying again can't change, as reason and message."""
    for refusal in refusals:
        if refusal.reason == "NameConflict":
            return Reason.NAME_CONFLICT, name_conflict(refusal)
        if refusal.code in (400, 422):
            text = f"the API server says of {refusal.kind} {refusal.name}: {refusal.message}; correct the spec"
            return Reason.INVALID_POD, text
    return None


def name_conflict(refusal: Refusal) -> str:
    """The message for an object of the operator's name that isn't its own."""
    return (
        f"{clean(refusal.message, most=512)}; nothing of it was touched. Set runPolicy.restartNonce for another run, "
        "whose objects have other names, or create the TrainingJob under another name"
    )
