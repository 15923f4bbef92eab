"""Writes a model into the job's output folder, in formats that need no pickle to load.

A file counts only after it was read back and gave the same outputs as the model: what the supervisor uploads works.
"""

import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_model
from torch import Tensor, nn

from footplate_trainer.checkpoint.sharded import is_sharded
from footplate_trainer.checkpoint.state import unwrap
from footplate_trainer.errors import ConfigError
from footplate_trainer.models.cards import CARD_FILE, WEIGHTS_FILE, ModelCard
from footplate_trainer.rank.context import context
from footplate_trainer.rank.environment import Context
from footplate_trainer.rank.report import reporter

RELATIVE_TOLERANCE = 1e-3
ABSOLUTE_TOLERANCE = 1e-4

Apply = Callable[[Tensor], Tensor]


def export_model(
    model: nn.Module,
    example: Tensor,
    *,
    card: ModelCard | None = None,
    formats: Sequence[str] | None = None,
    folder: Path | None = None,
) -> list[Path]:
    """Writes a model on rank 0. In float32, whatever it was trained in.

    Collective where the model is sharded: rank 0 then gathers the whole of it in host memory, tensor by tensor. Where
    it isn't, other ranks do nothing.

    Args:
        model: plain, compiled, or prepared by `prepare`, with one tensor for its input.
        example: a batch of inputs, by which each file is compared with the model.
        card: what `load_model` needs; for networks of `footplate_trainer.models.networks`.
        formats: safetensors, torchscript, onnx, torch-export; default the job's `output.formats`.
        folder: default `context().output_dir`.

    Returns:
        The files written.

    Raises:
        ConfigError: a format is unknown, needs a package that isn't there, or can't hold this model.
    """
    place = context()
    formats = formats or asked_formats(place)
    check_formats(formats)
    reporter().enter("exporting")
    model = unwrap(model)
    weights = _gather(model) if is_sharded(model) else None
    if not place.is_main:
        return []
    folder = folder or place.output_dir
    folder.mkdir(parents=True, exist_ok=True)
    plain, example = _plain(model, weights), example.detach().cpu()
    with torch.no_grad():
        expected = plain(example)
        files = [_write(name, plain, example, expected, folder) for name in formats]
        if card is not None and "safetensors" in formats:
            files.append(_write_card(card, example, expected, folder))
    return files


def asked_formats(place: Context) -> Sequence[str]:
    """The job's `output.formats`; safetensors where it says nothing."""
    output = place.config.spec.output if place.config else None
    return output.formats if output else ["safetensors"]


def check_formats(formats: Sequence[str]) -> None:
    """Raises ConfigError for a format that is unknown or needs a package that isn't there: better before training."""
    for name in formats:
        if name not in FORMATS:
            raise ConfigError(f"spec.output.formats: {name!r} is not a format; use one of {', '.join(FORMATS)}")
    if "onnx" in formats and find_spec("onnxscript") is None:
        raise ConfigError(
            "spec.output.formats: onnx needs the package onnxscript, which this image lacks; "
            "pip install onnxscript into it, or leave onnx out"
        )


@dataclass(frozen=True, slots=True)
class Format:
    """How a model is written to a file, and how the file is read back as something that gives outputs."""

    file: str
    write: Callable[[nn.Module, Tensor, Path], None]
    read: Callable[[Path, nn.Module], Apply]


def _write(name: str, model: nn.Module, example: Tensor, expected: Tensor, folder: Path) -> Path:
    form = FORMATS[name]
    path = folder / form.file
    try:
        form.write(model, example, path)
        outputs = form.read(path, model)(example)
    except (ConfigError, OSError):
        raise
    except Exception as error:  # an exporter may fail in any way; which one it was is what the user needs
        raise ConfigError(
            f"spec.output.formats: this {type(model).__name__} can't be written as {name} "
            f"({type(error).__name__}: {str(error).partition(chr(10))[0]}); leave {name} out, or change the model"
        ) from error
    _compare(outputs, expected, path)
    return path


def _write_card(card: ModelCard, example: Tensor, expected: Tensor, folder: Path) -> Path:
    from footplate_trainer.models.loading import load_model

    path = folder / CARD_FILE
    path.write_text(card.model_dump_json(indent=2) + "\n")
    _compare(load_model(folder).network(example), expected, path)
    return path


def _compare(outputs: Tensor, expected: Tensor, path: Path) -> None:
    if outputs.shape == expected.shape and torch.allclose(
        outputs, expected, rtol=RELATIVE_TOLERANCE, atol=ABSOLUTE_TOLERANCE, equal_nan=True
    ):
        return
    path.unlink()
    raise ConfigError(
        f"{path.name} gives other outputs than the model it was made of (shapes {tuple(outputs.shape)} and "
        f"{tuple(expected.shape)}); does the model compute the same for the same inputs in eval mode? "
        "If so, leave this format out of spec.output.formats"
    )


def _gather(model: nn.Module) -> dict[str, Any]:
    from footplate_trainer.models.sharding import full_weights

    return full_weights(model)


def _plain(model: nn.Module, weights: Mapping[str, Any] | None) -> nn.Module:
    """A copy on the CPU, in eval mode, without the autocast that `prepare` may have put around its forward.

    Of a sharded model, whose weights are these.
    """
    if weights is None:
        plain = copy.deepcopy(model)
        plain.__dict__.pop("forward", None)
    else:
        from footplate_trainer.models.sharding import unsharded

        plain = unsharded(model, weights)
    return plain.float().cpu().eval()


@contextmanager
def _old_but_asked_for() -> Iterator[None]:
    """torch deprecates TorchScript, and its exporters speak of their own insides: neither helps who reads the log."""
    logging.getLogger("onnxscript").setLevel(logging.WARNING)
    logging.getLogger("onnx_ir").setLevel(logging.WARNING)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _write_safetensors(model: nn.Module, _example: Tensor, path: Path) -> None:
    save_model(model, str(path))


def _read_safetensors(path: Path, model: nn.Module) -> Apply:
    again = copy.deepcopy(model)
    for weight in again.state_dict().values():
        weight.zero_()
    again.load_state_dict(load_file(path), strict=False)
    return again


def _write_torchscript(model: nn.Module, example: Tensor, path: Path) -> None:
    with _old_but_asked_for():
        torch.jit.trace(model, example).save(str(path))


def _read_torchscript(path: Path, _model: nn.Module) -> Apply:
    with _old_but_asked_for():
        return torch.jit.load(str(path))  # type: ignore[no-any-return]


def _export(model: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch")
    return torch.export.export(model, (example,), dynamic_shapes=({0: batch},))


def _write_torch_export(model: nn.Module, example: Tensor, path: Path) -> None:
    program = _export(model, example)
    program._example_inputs = None  # would be stored as a pickle
    torch.export.save(program, path)


def _read_torch_export(path: Path, _model: nn.Module) -> Apply:
    return torch.export.load(path).module()


def _write_onnx(model: nn.Module, example: Tensor, path: Path) -> None:
    with _old_but_asked_for():
        program = torch.onnx.export(
            _export(model, example), input_names=["inputs"], output_names=["outputs"], dynamo=True, verbose=False
        )
    if program is None:
        raise ConfigError("spec.output.formats: torch made no ONNX program of this model; leave onnx out")
    program.save(str(path))


def _read_onnx(path: Path, _model: nn.Module) -> Apply:
    from onnx.reference import ReferenceEvaluator

    session = ReferenceEvaluator(str(path))
    return lambda example: torch.from_numpy(next(iter(session.run(None, {"inputs": example.numpy()}))))


FORMATS = {
    "safetensors": Format(WEIGHTS_FILE, _write_safetensors, _read_safetensors),
    "torchscript": Format("model.ts", _write_torchscript, _read_torchscript),
    "onnx": Format("model.onnx", _write_onnx, _read_onnx),
    "torch-export": Format("model.pt2", _write_torch_export, _read_torch_export),
}
