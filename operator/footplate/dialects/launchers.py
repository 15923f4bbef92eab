"""What distributed frameworks and their launchers read: torchrun, TensorFlow, JAX, and scripts written for Slurm."""

from footplate.dialects.place import Place
from footplate.dialects.variable import Setter, Variable, to_json

TORCHRUN, TENSORFLOW, JAX, SLURM = "torchrun, PyTorchJob", "TensorFlow, TFJob", "JAX", "Slurm"
SEVERAL = "gangs of 2 to 512 members"


def _tf_config(place: Place) -> str | None:
    """One member alone has none: TensorFlow would wait for a cluster."""
    if place.count == 1 or not place.listed:
        return None
    workers = [place.address(index) for index in range(place.count)]
    return to_json({"cluster": {"worker": workers}, "task": {"type": "worker", "index": place.index}})


def _local_devices(place: Place) -> str | None:
    """Where several ranks share a pod's GPUs, JAX takes them all for each rank unless it is told."""
    shared = place.local_rank is not None and 1 < place.processes <= place.gpus
    return str(place.local_rank) if shared else None


VARIABLES = (
    Variable(
        name="PET_NNODES", of=TORCHRUN, holds="pods of this attempt's gang", setter=Setter.OPERATOR,
        value=lambda place: str(len(place.hosts)),
    ),
    Variable(
        name="PET_NPROC_PER_NODE", of=TORCHRUN, holds="`processesPerNode`", setter=Setter.OPERATOR,
        value=lambda place: str(place.processes),
    ),
    Variable(
        name="PET_NODE_RANK", of=TORCHRUN, holds="which of the pods this is", setter=Setter.OPERATOR,
        value=lambda place: str(place.node_rank),
    ),
    Variable(
        name="PET_MASTER_ADDR", of=TORCHRUN, holds="`MASTER_ADDR`", setter=Setter.OPERATOR,
        value=lambda place: place.hosts[0],
    ),
    Variable(
        name="PET_MASTER_PORT", of=TORCHRUN, holds="`MASTER_PORT`", setter=Setter.OPERATOR,
        value=lambda place: str(place.port),
    ),
    Variable(
        name="PET_MAX_RESTARTS", of=TORCHRUN, holds="`0`: a gang is started anew as a whole", setter=Setter.OPERATOR,
        value=lambda place: "0",
    ),
    Variable(
        name="PET_RDZV_BACKEND", of=TORCHRUN, holds="`static`: an attempt's world is fixed",
        value=lambda place: "static",
    ),
    Variable(
        name="PET_RDZV_ID", of=TORCHRUN, holds="`<job>-<run>-<attempt>`, which is `TORCHELASTIC_RUN_ID` of its ranks",
        value=lambda place: f"{place.job}-{place.run}-{place.attempt}",
    ),
    Variable(
        name="TF_CONFIG", of=TENSORFLOW, when=SEVERAL, value=_tf_config,
        holds="each member as a `worker`, and which of them this is; no chief and no parameter servers",
    ),
    Variable(
        name="JAX_COORDINATOR_ADDRESS", of=JAX, value=lambda place: place.address(0),
        holds="host and port on the first member; `jax.distributed.initialize` reads it",
    ),
    Variable(
        name="JAX_NUM_PROCESSES", of=JAX, holds="members of the gang; to be passed to it",
        value=lambda place: str(place.count),
    ),
    Variable(
        name="JAX_PROCESS_ID", of=JAX, holds="which of them this is; to be passed to it",
        value=lambda place: str(place.index),
    ),
    Variable(
        name="JAX_LOCAL_DEVICE_IDS", of=JAX, when="ranks that share a pod's GPUs", setter=Setter.SUPERVISOR,
        value=_local_devices, holds="the rank's GPU",
    ),
    Variable(
        name="SLURM_NNODES", of=SLURM, holds="pods of this attempt's gang",
        value=lambda place: str(len(place.hosts)),
    ),
    Variable(
        name="SLURM_JOB_NUM_NODES", of=SLURM, holds="the same",
        value=lambda place: str(len(place.hosts)),
    ),
    Variable(
        name="SLURM_NODEID", of=SLURM, holds="which of the pods this is",
        value=lambda place: str(place.node_rank),
    ),
    Variable(
        name="SLURM_GPUS_ON_NODE", of=SLURM, when="pods with GPUs", holds="this pod's GPUs",
        value=lambda place: str(place.gpus) if place.gpus else None,
    ),
)  # fmt: skip
