"""How one operator process is set up; everything else about it is the cluster's state."""

import os
import socket
import uuid
from dataclasses import dataclass, field, fields
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from footplate.api.accelerators import ACCELERATORS, check_names
from footplate.errors import ConfigurationError
from footplate.gangs.kinds import GangKind
from footplate.machinery.prometheus import check_url
from footplate.policy import labels

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
    propagate_labels: tuple[str, ...] = labels.DEFAULT
    """Keys of a job's labels, or prefixes of keys as `example.com/*`, that go on to its pods, Service and ConfigMap."""
    without_gangs: tuple[GangKind, ...] = ()
    """Schedulers of gangs that count as not served, such as those for which the operator has no rights."""
    poll_interval: float = 5.0
    """Seconds between two looks at a running job's progress."""
    chargeback_label: str = ""
    """Label of TrainingJobs whose value says who pays; empty: their namespace alone does."""
    accelerators: tuple[str, ...] = ACCELERATORS
    """Resources that are accelerators, in which `*` stands for any text."""
    prometheus: str = ""
    """URL of a Prometheus that scrapes DCGM's exporter; empty: none is asked."""
    metrics_auth: bool = False
    """Whether /metrics is for those alone whom the API server lets get it."""
    token_key_file: str | None = None
    """Path of the key from which each run's token is made; None: pods answer whoever reaches them."""
    open_pod_metrics: bool = False
    """Whether pods show /metrics without a token, for a Prometheus that can't know one of each run."""

    def __post_init__(self) -> None:
        """Raises ConfigurationError where a name of an accelerator, the URL or a label's key can't be one."""
        labels.check_patterns(self.propagate_labels)
        if self.prometheus:
            check_url(self.prometheus)
        try:
            check_names(self.accelerators)
        except ValueError as error:
            raise ConfigurationError(f"--accelerator: {error}") from error

    @classmethod
    def from_environment(cls) -> Self:
        """Settings for `kopf run`, which has no options for them: `FOOTPLATE_OPERATOR_PORT` and so on.

        Raises:
            ConfigurationError: a value isn't of its type.
        """
        names = {f"{_ENV_PREFIX}{each.name.upper()}": each.name for each in fields(cls)}
        values: dict[str, Any] = {names[env]: text for env, text in os.environ.items() if env in names}
        lists = {each.name for each in fields(cls) if isinstance(each.default, tuple)}
        for name in lists & values.keys():
            values[name] = tuple(filter(None, values[name].split(",")))
        try:
            return TypeAdapter(cls).validate_python(values)
        except ValidationError as error:
            first = error.errors()[0]
            env = f"{_ENV_PREFIX}{first['loc'][0]}".upper()
            raise ConfigurationError(f"{env}={first['input']!r}: {first['msg']}") from error
