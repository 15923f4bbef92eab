"""How one operator process is set up; everything else about it is the cluster's state."""

import os
import socket
import uuid
from dataclasses import dataclass, field, fields
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from footplate.errors import ConfigurationError
from footplate.gangs.kinds import GangKind

_ENV_PREFIX = "FOOTPLATE_OPERATOR_"


def _own_identity() -> str:
    return f"{os.environ.get('POD_NAME') or socket.gethostname()}_{uuid.uuid4().hex[:8]}"


def _own_namespace() -> str:
    return os.environ.get("POD_NAMESPACE") or "footplate-system"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSettings:
    """What `footplate operator` was asked to do."""

    kubeconfig: str | None = None
    """Path of a kubeconfig; None: the pod's service account, else `$KUBECONFIG` or `~/.kube/config`."""
    context: str | None = None
    """Context in the kubeconfig; None: its current one."""
    namespaces: tuple[str, ...] = ()
    """Namespaces to serve; empty: the whole cluster."""
    host: str = ""
    """Address that probes and metrics listen on; empty: every address."""
    port: int = 8080
    """Port of /livez, /readyz and /metrics; 0: any free one."""
    workers: int = 48
    """Jobs that are reconciled at the same time; those of one namespace alone get a third of them."""
    leader_election: bool = True
    lease_namespace: str = field(default_factory=_own_namespace)
    lease_name: str = "footplate-operator"
    identity: str = field(default_factory=_own_identity)
    """This replica's name in the Lease, unique by process."""
    without_gangs: tuple[GangKind, ...] = ()
    """Schedulers of gangs that count as not served, such as those for which the operator has no rights."""
    poll_interval: float = 5.0
    """Seconds between two looks at a running job's progress."""

    @classmethod
    def from_environment(cls) -> Self:
        """Settings for `kopf run`, which has no options for them: `FOOTPLATE_OPERATOR_PORT` and so on.

        Raises:
            ConfigurationError: a value isn't of its type.
        """
        names = {f"{_ENV_PREFIX}{each.name.upper()}": each.name for each in fields(cls)}
        values: dict[str, Any] = {names[env]: text for env, text in os.environ.items() if env in names}
        for name in {"namespaces", "without_gangs"} & values.keys():
            values[name] = tuple(values[name].split(","))
        try:
            return TypeAdapter(cls).validate_python(values)
        except ValidationError as error:
            first = error.errors()[0]
            env = f"{_ENV_PREFIX}{first['loc'][0]}".upper()
            raise ConfigurationError(f"{env}={first['input']!r}: {first['msg']}") from error
