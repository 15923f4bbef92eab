"""What a user of the client hears, beside `footplate.errors.ConfigurationError` where there is no cluster to be found:
what isn't so, and the way out.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches

from footplate.api.errors import Problem
from footplate.errors import ApiError, ApiUnavailable, FootplateError, NotFound, Retryable, Terminal
from footplate.machinery.credentials import Unauthorized
from footplate.machinery.resources import Resource
from footplate.text import clean


class ClientError(FootplateError):
    """What the client couldn't do, and the way out."""


class ClusterUnreachable(ClientError, Retryable):
    """The API server gives no usable answer."""


class NotAllowed(ClientError, Terminal):
    """403: `verb` on `resource` (as `kubectl auth can-i` writes it) is not yours, in `namespace` (empty: in any)."""

    def __init__(self, verb: str, resource: Resource, *, namespace: str, said: str) -> None:
        self.verb, self.resource, self.namespace = verb, _full_name(resource), namespace
        where = f"in namespace {namespace}" if namespace else "in all namespaces"
        super().__init__(
            f"you may not {verb} {self.resource} {where}{f': {clean(said)}' if said else ''}. {_how_to_get(self)}"
        )


class NothingThere(ClientError):
    """What is asked for of a job doesn't exist: it has none, or none yet."""


class NotLoggedIn(ClientError, Terminal):
    """401: the API server doesn't take the kubeconfig's word for who you are."""


class NotInstalled(ClientError, Terminal):
    """The cluster knows no TrainingJobs."""


class JobNotFound(ClientError, Terminal):
    """There is no TrainingJob of this name; `nearest` are names that are like it."""

    def __init__(self, name: str, *, namespace: str, names: Sequence[str] = ()) -> None:
        self.name, self.namespace = name, namespace
        self.nearest = get_close_matches(name.lower(), names, n=3, cutoff=0.5)
        if self.nearest:
            way_out = f"did you mean {' or '.join(self.nearest)}?"
        else:
            others = f"{len(names)} others" if len(names) > 1 else "another one"
            way_out = f"that namespace has {others}" if names else "that namespace has none at all"
            way_out += "; look into another one by its name, or into all of them"
        super().__init__(f"there is no TrainingJob {clean(name)!r} in namespace {namespace}: {way_out}")


class JobDeleted(ClientError, Terminal):
    """The job was deleted while it was looked at."""

    def __init__(self, name: str, *, namespace: str) -> None:
        super().__init__(
            f"TrainingJob {name!r} in namespace {namespace} was deleted meanwhile; what it has saved in storage is kept"
        )


class JobEnded(ClientError, Terminal):
    """The run came to an end before what was awaited."""


class JobInvalid(ClientError, Terminal):
    """The job breaks rules of the API, or of its runtime: `problems`, all at once. Nothing was sent."""

    def __init__(self, problems: Sequence[Problem], *, lines: Sequence[str] | None = None) -> None:
        self.problems = problems
        super().__init__("\n".join(lines if lines is not None else map(str, problems)))


class JobRefused(ClientError, Terminal):
    """The API server, a quota or an admission policy doesn't take the job."""


class JobExists(ClientError, Terminal):
    """There is a TrainingJob of this name already; `phase` is its own, empty where it isn't known."""

    def __init__(self, name: str, *, namespace: str, phase: str) -> None:
        self.phase = phase
        is_over = phase in ("Succeeded", "Failed")
        again = "restart it for another run of the same spec" if is_over else "cancel it, which deletes it"
        super().__init__(
            f"TrainingJob {name!r} exists already in namespace {namespace}{f', and is {phase}' if phase else ''}: take "
            f"another name or metadata.generateName, or {again}; what it has saved in storage stays its own"
        )


class WaitTimeout(ClientError, TimeoutError):
    """What was awaited isn't so yet; the job goes on."""


@contextmanager
def explained(verb: str, resource: Resource, *, namespace: str, server: str) -> Iterator[None]:
    """Says of what goes wrong inside what the user can do."""
    try:
        yield
    except ApiUnavailable as error:
        raise _unreachable(error, server) from error
    except NotFound as error:
        if _is_unknown_kind(error) and resource.api.startswith("footplate.dev/"):
            raise NotInstalled(
                f"the cluster at {server} has no {_full_name(resource)}: install Footplate's chart, or take another "
                "context of your kubeconfig"
            ) from error
        raise
    except ApiError as error:
        if error.status == 403 and not _POLICY.search(error.message):
            raise NotAllowed(verb, resource, namespace=namespace, said=error.message) from error
        raise


_POLICY = re.compile(r"exceeded quota|admission|denied|violates")
"""In a 403 that speaks of what was asked for, and not of who asked."""


def _unreachable(error: ApiUnavailable, server: str) -> ClientError:
    if isinstance(error.__cause__, Unauthorized):
        return NotLoggedIn(
            f"{server} refuses your credentials (401): log in again, as your kubeconfig's user does it, or take "
            "another context"
        )
    way_out = "is the cluster up, and is this machine on its network (VPN, proxy)?" if error.status is None else ""
    return ClusterUnreachable(f"{server}: {clean(error.said)}{f'; {way_out}' if way_out else '; try again later'}")


def _is_unknown_kind(error: NotFound) -> bool:
    """A missing object's message names it; a missing kind's is about the path."""
    return "not found" not in error.message or "page not found" in error.message


def _full_name(resource: Resource) -> str:
    group = resource.api.partition("/")[0] if "/" in resource.api else ""
    return f"{resource.plural}.{group}" if group else resource.plural


def _how_to_get(error: NotAllowed) -> str:
    scope = f"-n {error.namespace}" if error.namespace else "-A"
    role = "view" if error.verb in ("get", "list", "watch") else "edit"
    if error.resource in ("secrets", "pods/proxy"):
        role = "edit"
    check = f"`kubectl auth can-i {error.verb} {error.resource} {scope}` says whether you have it by now"
    binding = "RoleBinding there" if error.namespace else "ClusterRoleBinding"
    return f"Ask who runs the cluster for a {binding} to the ClusterRole {role}, or another with this right; {check}"
