"""What the programs of this pod are told in other platforms' dialects, and the files that go with it.

The table of variables is `footplate.dialects`, which the operator shares; here it is asked for this pod.
"""

import json
import os
import re
import shutil
import socket
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from footplate.api.accelerators import gpus
from footplate.contract import PRETENDED_ACCELERATORS, SAGEMAKER_FOLDER, Env, rendezvous_port
from footplate.dialects import Place
from footplate.dialects.clouds import TRAINING
from footplate.dialects.sagemaker import hyperparameters_file, input_data_config, resource_config
from footplate_trainer.supervisor.pod import Pod

FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".tfrecord": "tf-record", ".tfrecords": "tf-record"}
"""Vertex AI's word for a file, by how its name ends."""
_OUTPUT_DATA = "output/data"
MOST_NAMES = 1000
"""Files whose names are looked at to find out what the training data are."""


def place_of(pod: Pod, code: Path, environ: Mapping[str, str] = os.environ) -> Place:
    """Where this pod stands in its gang, as a whole.

    Args:
        pod: this one.
        code: the folder of the user's code.
        environ: this process's environment.
    """
    trainer = pod.spec.trainer
    words = pod.arguments[len(trainer.command or ()) :]
    return Place(
        spec=pod.spec,
        job=pod.job,
        run=pod.run,
        attempt=pod.attempt,
        hosts=_hosts(pod, environ),
        port=int(environ.get("MASTER_PORT") or rendezvous_port(pod.uid, pod.run, pod.attempt)),
        node_rank=pod.node_rank,
        processes=pod.processes,
        arguments=words,
        output_dir=str(pod.output_dir),
        checkpoint_dir=str(pod.checkpoint_dir),
        tensorboard_dir=str(pod.logs_dir),
        input_dir=str(pod.input_dir),
        sagemaker_dir=str(_sagemaker_folder(pod)),
        code_dir=str(code),
        cpus=pod.spec.resources.cpus or len(os.sched_getaffinity(0)),
        gpus=0 if environ.get(PRETENDED_ACCELERATORS) else gpus(pod.config.devices),
        interface=_interface([name for _, name in socket.if_nameindex()]),
        data_format=_data_format(pod),
    )


def lay_out(pod: Pod, place: Place) -> None:
    """Makes the folders that the table names, and SageMaker's three files, for whoever reads /opt/ml.

    Of what lies there the operator mounts `input` and `output` in that path, and our own folders as the others.
    """
    folder = _sagemaker_folder(pod)
    configuration = folder / "input/config"
    for made in (configuration, folder / _OUTPUT_DATA, folder / "output/intermediate"):
        made.mkdir(parents=True, exist_ok=True)
    files = {
        "hyperparameters.json": hyperparameters_file(place),
        "resourceconfig.json": resource_config(place),
        "inputdataconfig.json": input_data_config(place),
    }
    for name, content in files.items():
        (configuration / name).write_text(json.dumps(content))
    links = {"input/data": pod.input_dir, "model": pod.output_dir, "checkpoints": pod.checkpoint_dir}
    for name, target in links.items():
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(target)


def gather(pod: Pod) -> None:
    """Puts what the code left in SM_OUTPUT_DATA_DIR into the output folder, as `data` or, where that is taken, as
    `output-data`.

    Raises:
        OSError: it can't be read or moved.
    """
    left = _sagemaker_folder(pod) / _OUTPUT_DATA
    if left.is_dir() and any(left.iterdir()):
        taken = (pod.output_dir / "data").exists()
        shutil.move(left, pod.output_dir / ("output-data" if taken else "data"))


def _sagemaker_folder(pod: Pod) -> Path:
    return pod.work_dir / SAGEMAKER_FOLDER


def _hosts(pod: Pod, environ: Mapping[str, str]) -> list[str]:
    """Names that resolve: a pod's own does so in itself alone, in the headless Service, as MASTER_ADDR is, everywhere.

    Where the operator doesn't list them, since they are many or there is none, they are made as MASTER_ADDR is.
    """
    if listed := environ.get(Env.HOSTS):
        return listed.split(",")
    names = [pod.host_of(rank) for rank in range(pod.nodes)]
    first = environ.get("MASTER_ADDR") or "127.0.0.1"
    service = first.removeprefix(names[0]) if first.startswith(f"{names[0]}.") else ""
    return [first, *(f"{name}{service}" for name in names[1:])]


def _interface(names: list[str]) -> str:
    """Kubernetes' network plugins make eth0; elsewhere it is the first that isn't the loopback, or that where there is
    no other.
    """
    others = [name for name in names if name != "lo"]
    return "eth0" if "eth0" in others or not names else (others or names)[0]


def _data_format(pod: Pod) -> str | None:
    """What the training channel's files are, where all are of one kind that Vertex AI has a word for."""
    channel = next((name for name in TRAINING if (pod.input_dir / name).is_dir()), None)
    if channel is None:
        return None
    with os.scandir(pod.input_dir / channel) as files:
        found = {_format_of(file.name) for file in islice(files, MOST_NAMES)}
    return found.pop() if len(found) == 1 else None


def _format_of(name: str) -> str | None:
    """TensorFlow's shards end in a number: data.tfrecord-00000-of-00004."""
    return FORMATS.get(Path(re.sub(r"-\d+-of-\d+$", "", name)).suffix)
