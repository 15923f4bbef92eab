"""What the API server refused to create, in words; and which refusals trying again can't change.

Whoever admits pods may change their mind: quotas, webhooks, policies, missing classes and accounts. Final is alone what
the API server's own schema says of an object, and only as long as the run has never run: what it then refuses it has
taken before.
"""

from collections.abc import Iterable

from footplate.policy.plan import Refusal
from footplate.policy.pods import Gang
from footplate.policy.reasons import Reason
from footplate.text import clean


def final(refusals: Iterable[Refusal], *, has_run: bool) -> tuple[Reason, str] | None:
    """The first refusal that trying again can't change, as reason and message.

    Args:
        refusals: what was refused.
        has_run: True where such objects of this run were taken before.
    """
    for refusal in refusals:
        if refusal.reason == "NameConflict":
            return Reason.NAME_CONFLICT, name_conflict(refusal)
        if _is_of_the_schema(refusal) and not has_run:
            text = f"the API server says of {refusal.kind} {refusal.name}: {refusal.message}; correct the spec"
            return Reason.INVALID_POD, text
    return None


def describe(refusal: Refusal) -> str:
    """A refusal that is waited out."""
    return f"{refusal.kind} {refusal.name} was refused: {clean(refusal.message)}"


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


def _is_of_the_schema(refusal: Refusal) -> bool:
    """Whether these are the API server's own words of an object. Admission has others, with the same codes:
    `admission webhook … denied the request`, `… is forbidden: ValidatingAdmissionPolicy …`.
    """
    kind, said = refusal.kind, refusal.message
    invalid = refusal.code == 422 and said.startswith(f'{kind} "{refusal.name}" is invalid:')
    unreadable = refusal.code == 400 and said.startswith(f'{kind} in version "v1" cannot be handled as a {kind}')
    return invalid or unreadable
