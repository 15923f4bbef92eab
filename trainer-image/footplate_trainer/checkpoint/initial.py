"""Weights to begin with: another job's checkpoint's, or those of a model that a job has left. Nothing else is taken."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from torch import Tensor, nn

from footplate_trainer.checkpoint.folder import parse_manifest
from footplate_trainer.checkpoint.manifest import File, Manifest
from footplate_trainer.checkpoint.names import RANK_PART, WEIGHTS_FILE
from footplate_trainer.checkpoint.state import MAX_NAMED, differences
from footplate_trainer.errors import ConfigError, DataError
from footplate_trainer.model_manifest import ModelFile, ModelManifest

MODEL = "model"


def read_source(data: bytes, uri: str) -> Manifest:
    """What there is of weights, from the manifest of a checkpoint or of a model, told as a checkpoint's.

    Raises:
        Damaged: it is no such manifest.
        DataError: the model has no weights in a file that can be read.
    """
    try:
        model = ModelManifest.model_validate_json(data, extra="ignore")
    except ValidationError:
        return parse_manifest(data, uri)
    names = [file.name for file in model.files if file.name.endswith(".safetensors") and "/" not in file.name]
    wanted = WEIGHTS_FILE if WEIGHTS_FILE in names or len(names) != 1 else names[0]
    files = tuple(_weights(file, uri) for file in model.files if file.name == wanted)
    if not files:
        listed = ", ".join(file.name for file in model.files[:MAX_NAMED])
        raise DataError(
            f"spec.checkpoint.initFrom={uri}: this model ({listed}) has neither {WEIGHTS_FILE} nor one other file of "
            "weights in the safetensors format; add safetensors to output.formats of the job that trains it, or name "
            "one of its checkpoints"
        )
    return Manifest(
        job=model.job,
        uid=model.uid,
        run=model.run,
        attempt=model.attempt,
        world_size=1,
        step=model.step or 0,
        epoch=model.epoch or 0,
        time=model.created,
        config_sha256="",
        files=files,
    )


def _weights(file: ModelFile, uri: str) -> File:
    try:
        return File(name=file.name, size=file.size_bytes, sha256=file.sha256, part=MODEL, rank=0)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(
            f"spec.checkpoint.initFrom={uri}: what its manifest says of {file.name!r} can't be: {first['loc'][0]}: "
            f"{first['msg']}; name a model that Footplate wrote"
        ) from error


def modules_of(parts: Mapping[str, Any], manifest: Manifest) -> dict[str, nn.Module]:
    """The parts that begin with weights from there: the model and, where there are such, averages and the like of it.

    Raises:
        DataError: it holds no model.
    """
    held = {file.part for file in manifest.files}
    if MODEL not in held:
        raise DataError(f"spec.checkpoint.initFrom: it holds {', '.join(sorted(held - {RANK_PART}))}, but no model")
    return {name: part for name, part in parts.items() if isinstance(part, nn.Module) and name in held}


def what_fits(part: str, mine: Mapping[str, Any], theirs: Mapping[str, Any], *, uri: str, strict: bool) -> set[str]:
    """The names of the weights that can be taken over.

    Raises:
        ConfigError: not all can, and `strict` asks for it; or none can.
    """
    fitting = {name for name in theirs.keys() & mine.keys() if _shape(theirs[name]) == _shape(mine[name])}
    problems = differences(mine, theirs)
    if problems and (strict or not fitting):
        way_out = ", or set spec.checkpoint.initStrict: false to take what fits" if fitting else "; none of it fits"
        raise ConfigError(
            f"spec.checkpoint.initFrom={uri}: the {part} doesn't fit: {'; '.join(problems)}. Use a model with these "
            f"names and shapes{way_out}"
        )
    return fitting


def left_out(part: str, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """What wasn't taken over, for the user; empty where all was."""
    problems = differences(mine, theirs)
    return f"; left out of the {part}: {'; '.join(problems)}" if problems else ""


def _shape(value: Any) -> Any:
    return tuple(value.shape) if isinstance(value, Tensor) else None
