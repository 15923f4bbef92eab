"""How one operator process is set up; everything else about it is the cluster's state."""

import os
import socket
import uuid
from dataclasses import dataclass, field


def _own_identity() -> str:
    return f"{os.environ.get('POD_NAME') or socket.gethostname()}_{uuid.uuid4().hex[:8]}"


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
    workers: int = 16
    """Jobs that are reconciled at the same time."""
    leader_election: bool = True
    lease_namespace: str = "footplate-system"
    lease_name: str = "footplate-operator"
    identity: str = field(default_factory=_own_identity)
    """This replica's name in the Lease, unique by process."""
    poll_interval: float = 5.0
    """Seconds between two looks at a running job's progress."""
