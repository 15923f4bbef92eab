"""What training code reads that was written for SageMaker: its toolkit's variables, and its files in /opt/ml."""

import re
from typing import Any

from footplate.dialects.arguments import as_text
from footplate.dialects.place import Place
from footplate.dialects.variable import Setter, Variable, to_json

OF = "SageMaker"
LISTED = "gangs of up to 512 members"
LOG_LEVEL = "20"
ENV_NAME = re.compile(r"[-._A-Za-z0-9]+")
"""Of a hyperparameter that can be part of a variable's name: what Kubernetes has always taken there."""


def channel_folders(place: Place) -> dict[str, str]:
    """Folder by channel."""
    if place.input_dir is None:
        return {}
    return {channel.name: f"{place.input_dir}/{channel.name}" for channel in place.spec.inputs}


def hyperparameters_file(place: Place) -> dict[str, str]:
    """hyperparameters.json, in which SageMaker has texts alone: whoever reads it takes each for JSON where it is."""
    return {name: as_text(value) for name, value in place.spec.trainer.hyperparameters.items()}


def resource_config(place: Place) -> dict[str, Any]:
    """resourceconfig.json."""
    return {
        "current_host": place.host,
        "hosts": list(place.hosts) if place.listed else [place.host],
        "network_interface_name": place.interface,
    }


def input_data_config(place: Place) -> dict[str, Any]:
    """inputdataconfig.json: each node has all files of each channel, as files."""
    channel = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
    return dict.fromkeys(channel_folders(place), channel)


def _channels(place: Place) -> dict[str, str]:
    return {f"SM_CHANNEL_{name.upper().replace('-', '_')}": folder for name, folder in channel_folders(place).items()}


def _hyperparameters(place: Place) -> dict[str, str]:
    return {
        f"SM_HP_{name.upper()}": as_text(value)
        for name, value in place.spec.trainer.hyperparameters.items()
        if ENV_NAME.fullmatch(name)
    }


def _below(path: str, place: Place) -> str | None:
    return f"{place.sagemaker_dir}/{path}" if place.sagemaker_dir is not None else None


def _output_data(place: Place) -> str:
    """Not in the output folder: who saves there may insist that it is empty."""
    return _below("output/data", place) or f"{place.output_dir}/data"


def _program(place: Place) -> str | None:
    return place.spec.trainer.entrypoint


def _module(place: Place) -> str | None:
    program = _program(place)
    return program.removesuffix(".py").replace("/", ".") if program is not None else None


def _training_env(place: Place) -> str | None:
    """All of it once more, by the toolkit's names."""
    if not place.listed:
        return None
    known = {
        "channel_input_dirs": channel_folders(place),
        "current_host": place.host,
        "hosts": list(place.hosts),
        "hyperparameters": place.spec.trainer.hyperparameters,
        "input_config_dir": _below("input/config", place),
        "input_data_config": input_data_config(place),
        "input_dir": _below("input", place),
        "is_master": place.node_rank == 0,
        "job_name": place.job,
        "log_level": int(LOG_LEVEL),
        "master_hostname": place.hosts[0],
        "model_dir": place.output_dir,
        "module_dir": place.code_dir,
        "module_name": _module(place),
        "network_interface_name": place.interface,
        "num_cpus": place.cpus,
        "num_gpus": place.gpus,
        "output_data_dir": _output_data(place),
        "output_dir": _below("output", place),
        "resource_config": resource_config(place),
        "user_entry_point": _program(place),
    }
    return to_json({name: value for name, value in known.items() if value is not None})


VARIABLES = (
    Variable(
        name="SM_MODEL_DIR", of=OF, holds="`FOOTPLATE_OUTPUT_DIR`; also `/opt/ml/model`",
        value=lambda place: place.output_dir,
    ),
    Variable(
        name="SM_OUTPUT_DATA_DIR", of=OF, holds="`/opt/ml/output/data`; uploaded as `data` beside the model's files",
        value=_output_data,
    ),
    Variable(
        name="SM_OUTPUT_DIR", of=OF, setter=Setter.SUPERVISOR, holds="`/opt/ml/output`; of it only `data` is uploaded",
        value=lambda place: _below("output", place),
    ),
    Variable(
        name="SM_OUTPUT_INTERMEDIATE_DIR", of=OF, setter=Setter.SUPERVISOR,
        holds="`/opt/ml/output/intermediate`, which isn't uploaded",
        value=lambda place: _below("output/intermediate", place),
    ),
    Variable(
        name="SM_INPUT_DIR", of=OF, setter=Setter.SUPERVISOR, holds="`/opt/ml/input`, with `data` and `config`",
        value=lambda place: _below("input", place),
    ),
    Variable(
        name="SM_INPUT_CONFIG_DIR", of=OF, setter=Setter.SUPERVISOR,
        holds="`/opt/ml/input/config`: `hyperparameters.json`, `resourceconfig.json`, `inputdataconfig.json`",
        value=lambda place: _below("input/config", place),
    ),
    Variable(
        name="SM_CHANNELS", of=OF, holds="names of the inputs, a JSON list",
        value=lambda place: to_json(sorted(channel_folders(place))),
    ),
    Variable(
        name="SM_CHANNEL_<NAME>", of=OF, when="each input", setter=Setter.SUPERVISOR,
        holds="its folder; the name in capitals, with `_` for `-`", value=_channels,
    ),
    Variable(
        name="SM_INPUT_DATA_CONFIG", of=OF, holds="`inputdataconfig.json`",
        value=lambda place: to_json(input_data_config(place)),
    ),
    Variable(
        name="SM_HPS", of=OF, holds="`hyperparameters`, a JSON object",
        value=lambda place: to_json(place.spec.trainer.hyperparameters),
    ),
    Variable(
        name="SM_HP_<NAME>", of=OF, when="each hyperparameter whose name has only letters, digits, `.`, `_` and `-`",
        holds="its value, a text as it is and anything else as JSON; the name in capitals", value=_hyperparameters,
    ),
    Variable(
        name="SM_USER_ARGS", of=OF, holds="what follows the script, a JSON list",
        value=lambda place: to_json(list(place.arguments)),
    ),
    Variable(
        name="SM_CURRENT_HOST", of=OF, holds="this pod, by a name that the others find it under",
        value=lambda place: place.host,
    ),
    Variable(
        name="SM_HOSTS", of=OF, when=LISTED, holds="all pods, by node rank, a JSON list",
        value=lambda place: to_json(list(place.hosts)) if place.listed else None,
    ),
    Variable(
        name="SM_RESOURCE_CONFIG", of=OF, when=LISTED, holds="`resourceconfig.json`",
        value=lambda place: to_json(resource_config(place)) if place.listed else None,
    ),
    Variable(
        name="SM_NUM_GPUS", of=OF, holds="GPUs of this pod", value=lambda place: str(place.gpus),
    ),
    Variable(
        name="SM_NUM_CPUS", of=OF, when="`resources` that say so, or our supervisor",
        holds="cores of this pod, at least 1",
        value=lambda place: str(place.cpus) if place.cpus is not None else None,
    ),
    Variable(
        name="SM_NETWORK_INTERFACE_NAME", of=OF, holds="the interface that reaches the other pods",
        value=lambda place: place.interface,
    ),
    Variable(name="SM_LOG_LEVEL", of=OF, holds="`20`", value=lambda place: LOG_LEVEL),
    Variable(
        name="SM_USER_ENTRY_POINT", of=OF, when="an `entrypoint`", holds="the entrypoint", value=_program,
    ),
    Variable(
        name="SM_MODULE_NAME", of=OF, when="an `entrypoint`", holds="the same as a module", value=_module,
    ),
    Variable(
        name="SM_MODULE_DIR", of=OF, when="a `source`", holds="the folder of the code",
        value=lambda place: place.code_dir,
    ),
    Variable(
        name="SM_TRAINING_ENV", of=OF, when=LISTED, holds="all of this by the toolkit's names, a JSON object",
        value=_training_env,
    ),
    Variable(name="TRAINING_JOB_NAME", of=OF, holds="`FOOTPLATE_JOB`", value=lambda place: place.job),
)  # fmt: skip
