"""What training code reads that was written for Vertex AI or Azure ML."""

from footplate.dialects.launchers import SEVERAL
from footplate.dialects.place import Place
from footplate.dialects.variable import Setter, Variable, to_json

VERTEX, AZURE = "Vertex AI", "Azure ML"

TRAINING = ("training", "train")
VALIDATION = ("validation", "valid", "val", "eval")
TEST = ("test", "testing")
"""Names of channels that count as what Vertex AI calls a data set's part."""


def _first_channel(place: Place, names: tuple[str, ...]) -> str | None:
    """Folder of the first of these channels that the job has."""
    there = {channel.name for channel in place.spec.inputs} if place.input_dir is not None else set()
    return next((f"{place.input_dir}/{name}" for name in names if name in there), None)


def _files_of(names: tuple[str, ...], place: Place) -> str | None:
    """Vertex AI names a pattern too, which code gives to a glob."""
    folder = _first_channel(place, names)
    return f"{folder}/*" if folder is not None else None


def _cluster_spec(place: Place) -> str | None:
    """Vertex AI's first pool is the primary replica alone; all others are workers of the second."""
    if place.count == 1 or not place.listed:
        return None
    members = [place.address(index) for index in range(place.count)]
    pool, index = ("workerpool0", 0) if place.index == 0 else ("workerpool1", place.index - 1)
    return to_json(
        {
            "cluster": {"workerpool0": members[:1], "workerpool1": members[1:]},
            "environment": "cloud",
            "task": {"type": pool, "index": index},
        }
    )


def _inputs(place: Place) -> dict[str, str]:
    if place.input_dir is None:
        return {}
    names = [channel.name for channel in place.spec.inputs]
    return {f"AZURE_ML_INPUT_{name.replace('-', '_')}": f"{place.input_dir}/{name}" for name in names}


VARIABLES = (
    Variable(
        name="AIP_MODEL_DIR", of=VERTEX, holds="`FOOTPLATE_OUTPUT_DIR`; a folder, not a `gs://` address",
        value=lambda place: place.output_dir,
    ),
    Variable(
        name="AIP_CHECKPOINT_DIR", of=VERTEX, holds="`FOOTPLATE_CHECKPOINT_DIR`",
        value=lambda place: place.checkpoint_dir,
    ),
    Variable(
        name="AIP_TENSORBOARD_LOG_DIR", of=VERTEX, holds="`FOOTPLATE_LOGS_DIR`, which is kept",
        value=lambda place: place.tensorboard_dir,
    ),
    Variable(
        name="AIP_TRAINING_DATA_URI", of=VERTEX, when="an input `training` or `train`",
        holds="a pattern for its files: `<folder>/*`", value=lambda place: _files_of(TRAINING, place),
    ),
    Variable(
        name="AIP_VALIDATION_DATA_URI", of=VERTEX, when="an input `validation`, `valid`, `val` or `eval`",
        holds="the same", value=lambda place: _files_of(VALIDATION, place),
    ),
    Variable(
        name="AIP_TEST_DATA_URI", of=VERTEX, when="an input `test` or `testing`",
        holds="the same", value=lambda place: _files_of(TEST, place),
    ),
    Variable(
        name="AIP_DATA_FORMAT", of=VERTEX, when="files of one of these kinds alone", setter=Setter.SUPERVISOR,
        holds="`csv`, `jsonl` or `tf-record`, by the names of the training files",
        value=lambda place: place.data_format,
    ),
    Variable(
        name="CLUSTER_SPEC", of=VERTEX, when=SEVERAL, value=_cluster_spec,
        holds="the first member as `workerpool0`, the others as `workerpool1`, and which of them this is",
    ),
    Variable(
        name="AZUREML_NODE_COUNT", of=AZURE, holds="pods of this attempt's gang",
        value=lambda place: str(len(place.hosts)),
    ),
    Variable(
        name="AZ_BATCH_MASTER_NODE", of=AZURE, holds="`MASTER_ADDR:MASTER_PORT`",
        value=lambda place: f"{place.hosts[0]}:{place.port}",
    ),
    Variable(
        name="AZURE_ML_INPUT_<name>", of=AZURE, when="each input", holds="its folder; a `-` in the name becomes `_`",
        value=_inputs, setter=Setter.SUPERVISOR,
    ),
)  # fmt: skip
