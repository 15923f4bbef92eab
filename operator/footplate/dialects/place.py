"""Where in its gang a program stands: all that a dialect needs to know to tell it so."""

from collections.abc import Sequence
from dataclasses import dataclass

from footplate.api.trainingjob import TrainingJobSpec

MAX_LISTED = 512
"""Members of a gang that is listed. A variable holds 128 KiB at most, and each pod has a copy of the list."""

FIRST_PORT, PORTS = 10_000, 10_000
"""Ports of the frameworks' own servers, below those of the rendezvous (`contract.rendezvous_port`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One member of an attempt's gang: a rank, or a whole node where a `command` is started once a node."""

    spec: TrainingJobSpec
    job: str
    run: int
    attempt: int
    hosts: Sequence[str]
    """Names under which the gang's nodes find each other, by node rank."""
    port: int
    """MASTER_PORT: torch's rendezvous on the first node."""
    node_rank: int
    processes: int
    """Ranks that each node is meant to have."""
    local_rank: int | None = None
    """Which of its node's ranks this is; None for a command, whose unit is the node."""
    arguments: Sequence[str] = ()
    """What follows the script or module."""
    output_dir: str
    checkpoint_dir: str
    tensorboard_dir: str
    input_dir: str | None = None
    """Holds a folder for each channel; None where nothing is fetched."""
    sagemaker_dir: str | None = None
    """What SageMaker calls /opt/ml, with its files; None where nobody writes them."""
    code_dir: str | None = None
    """The folder of the user's code; None where the image has it."""
    cpus: int | None = None
    """Cores of this pod; None where they aren't known."""
    gpus: int = 0
    """GPUs of this pod that can be computed on."""
    interface: str = "eth0"
    """The network interface that reaches the other nodes; by this name Kubernetes' network plugins make it."""
    data_format: str | None = None
    """What the files of the training channel are, in Vertex AI's words; None where that isn't known."""

    @property
    def host(self) -> str:
        """This node's name."""
        return self.hosts[self.node_rank]

    @property
    def index(self) -> int:
        """Which member this is."""
        return self.node_rank if self.local_rank is None else self.node_rank * self.processes + self.local_rank

    @property
    def count(self) -> int:
        """Members of the gang."""
        return len(self.hosts) * (1 if self.local_rank is None else self.processes)

    @property
    def listed(self) -> bool:
        """Whether the gang is small enough to be listed in a variable."""
        return self.count <= MAX_LISTED

    def address(self, index: int) -> str:
        """host:port where a member's own server is to listen, another port for each: members may share a machine."""
        host = self.hosts[index if self.local_rank is None else index // self.processes]
        return f"{host}:{FIRST_PORT + (self.port + index) % PORTS}"
