"""Writes a model into the job's output folder, in formats that need no pickle to load.

A file counts only after it was read back and gave the same outputs as the model: what the supervisor uploads works.
"""

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
from torch.utils import _pytree as pytree

from footplate_trainer.checkpoint.names import WEIGHTS_FILE
from footplate_trainer.checkpoint.sharded import is_sharded
from footplate_trainer.checkpoint.state import unwrap
from footplate_trainer.errors import ConfigError
from footplate_trainer.models.cards import CARD_FILE, ModelCard
from footplate_trainer.models.export_check import (
    close,
    host_copy,
    run_where_it_can,
    shapes_of,
    tell_of_one_size,
    tensors,
    without_compilers,
)
from footplate_trainer.models.texts import TextModel
from footplate_trainer.rank.context import context
from footplate_trainer.rank.environment import Context
from footplate_trainer.rank.report import reporter

Batch = Any
"""What a model takes or gives: a tensor [N, ...], or a list, tuple or dict of such."""
Apply = Callable[[Batch], Batch]


def export_model(
    model: nn.Module,
    example: Batch,
    *,
    card: ModelCard | None = None,
    formats: Sequence[str] | None = None,
    folder: Path | None = None,
) -> list[Path]:
    """Writes a model on rank 0. In float32, whatever it was trained in, from copies in host memory.

    Collective where the model is sharded: rank 0 then gathers the whole of it in host memory, tensor by tensor. Where
    it isn't, other ranks do nothing.

    Args:
        model: plain, compiled as a whole or in parts, or prepared by `prepare`; called with one argument.
        example: that argument: a batch of inputs, by whose outputs each file is compared with the model.
        card: what `load_model` needs; for networks of `footplate_trainer.models.networks`.
        formats: safetensors, torchscript, onnx, torch-export; default the job's `output.formats`.
        folder: default `context().output_dir`.

    Returns:
        The files written.

    Raises:
        ConfigError: a format is unknown, needs a package that isn't there, or can't hold this model; or there are no
            tensors in the example or in the outputs.
    """
    ctx = context()
    formats = formats or asked_formats(ctx)
    check_formats(formats)
    reporter().enter("exporting")
    model = unwrap(model)
    weights = _gather(model) if is_sharded(model) else None
    if not ctx.is_main:
        return []
    folder = folder or ctx.output_dir
    folder.mkdir(parents=True, exist_ok=True)
    plain, example = _plain(model, weights), _plain_batch(example)
    with torch.no_grad(), run_where_it_can(plain, example, ctx.device) as (example, expected):
        if not tensors(expected):
            raise ConfigError(
                f"export_model: {type(plain).__name__} gives a {type(expected).__name__} without tensors, by which no "
                "file can be compared with it; export the part of it that computes tensors"
            )
        files = [_write(name, plain, example, expected, folder) for name in formats]
        if card is not None and "safetensors" in formats:
            plain_outputs = expected.to(torch.promote_types(expected.dtype, torch.float32)).cpu()
            files.append(_write_card(card, _plain_batch(example), plain_outputs, folder))
    return files


def asked_formats(ctx: Context) -> Sequence[str]:
    """The job's `output.formats`; safetensors where it says nothing."""
    output = ctx.config.spec.output if ctx.config else None
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
    write: Callable[[nn.Module, Batch, Path], None]
    read: Callable[[Path, nn.Module], Apply]


def _write(name: str, model: nn.Module, example: Batch, expected: Batch, folder: Path) -> Path:
    form = FORMATS[name]
    path = folder / form.file
    try:
        form.write(model, example, path)
        apply = form.read(path, model)
        outputs = apply(example)
    except (ConfigError, OSError):
        raise
    except Exception as error:  # an exporter may fail in any way; which one it was is what the user needs
        raise ConfigError(
            f"spec.output.formats: this {type(model).__name__} can't be written as {name} "
            f"({type(error).__name__}: {str(error).partition(chr(10))[0]}); leave {name} out, or change the model"
        ) from error
    _compare(outputs, expected, path)
    if name == "torchscript":  # torch itself sees to it in the others
        tell_of_one_size(apply, model, example, file=path.name)
    return path


def _write_card(card: ModelCard, example: Batch, expected: Batch, folder: Path) -> Path:
    from footplate_trainer.models.loading import load_model

    path = folder / CARD_FILE
    path.write_text(card.model_dump_json(indent=2) + "\n")
    _compare(load_model(folder).network(example), expected, path)
    return path


def _compare(outputs: Batch, expected: Batch, path: Path) -> None:
    mine, others = tensors(expected), tensors(outputs)
    if len(mine) == len(others) and all(map(close, others, mine)):
        return
    path.unlink()
    raise ConfigError(
        f"{path.name} gives other outputs than the model it was made of (shapes {shapes_of(others)} and "
        f"{shapes_of(mine)}); does the model compute the same for the same inputs in eval mode? "
        "If so, leave this format out of spec.output.formats"
    )


def _plain_batch(example: Batch) -> Batch:
    """An example on the CPU, its numbers in float32, as the model's are."""
    if not tensors(example):
        raise ConfigError(
            f"export_model(example): a {type(example).__name__} that holds no tensors; give a batch of inputs as the "
            "model takes it: a tensor, or a list, tuple or dict of tensors"
        )

    def plain(tensor: Tensor) -> Tensor:
        here = tensor.detach().cpu()
        return here.float() if here.is_floating_point() else here

    return pytree.tree_map_only(Tensor, plain, example)


def _gather(model: nn.Module) -> dict[str, Any]:
    from footplate_trainer.models.sharding import full_weights

    return full_weights(model)


def _plain(model: nn.Module, weights: Mapping[str, Any] | None) -> nn.Module:
    """A copy on the CPU, in eval mode, without the autocast that `prepare` may have put around its forward.

    Of a sharded model, whose weights are these.
    """
    if weights is None:
        plain = host_copy(model)
    else:
        from footplate_trainer.models.sharding import unsharded

        plain = unsharded(model, weights)
    return without_compilers(plain).float().cpu().eval()


@contextmanager
def _old_but_asked_for() -> Iterator[None]:
    """torch deprecates TorchScript, and its exporters speak of their own insides: neither helps who reads the log."""
    for name, level in (("onnxscript", logging.WARNING), ("onnx_ir", logging.WARNING), ("torch.onnx", logging.ERROR)):
        logging.getLogger(name).setLevel(level)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _write_safetensors(model: nn.Module, _example: Batch, path: Path) -> None:
    if isinstance(model, TextModel):
        model.save(path.parent)
    else:
        save_model(model, str(path))


def _read_safetensors(path: Path, model: nn.Module) -> Apply:
    """The model itself, with what the file has for its weights: no second copy of them, which a device may not hold."""
    if isinstance(model, TextModel):
        return model.reload(path.parent)
    for weight in model.state_dict().values():
        weight.zero_()
    model.load_state_dict(load_file(path), strict=False)
    return model


def _write_torchscript(model: nn.Module, example: Batch, path: Path) -> None:
    with _old_but_asked_for():
        # strict refuses outputs that are lists or dicts: their keys and lengths could depend on the input.
        torch.jit.trace(model, (example,), strict=False).save(str(path))


def _read_torchscript(path: Path, _model: nn.Module) -> Apply:
    with _old_but_asked_for():
        return torch.jit.load(str(path))  # type: ignore[no-any-return]


def _export(model: nn.Module, example: Batch) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch")
    size = next((len(tensor) for tensor in tensors(example) if tensor.ndim), None)

    def shape(leaf: Any) -> dict[int, Any] | None:
        """Of any number of samples, where the first dimension is the samples'."""
        if not isinstance(leaf, Tensor):
            return None
        return {0: batch} if leaf.ndim and len(leaf) == size else {}

    return torch.export.export(model, (example,), dynamic_shapes=(pytree.tree_map(shape, example),))


def _write_torch_export(model: nn.Module, example: Batch, path: Path) -> None:
    program = _export(model, example)
    program._example_inputs = None  # would be stored as a pickle
    torch.export.save(program, path)


def _read_torch_export(path: Path, _model: nn.Module) -> Apply:
    return torch.export.load(path).module()


def _write_onnx(model: nn.Module, example: Batch, path: Path) -> None:
    exported = _export(model, example)
    outputs = ["outputs"] if len(exported.graph_signature.user_outputs) == 1 else None
    with _old_but_asked_for():
        program = torch.onnx.export(
            exported, input_names=_names(example, "inputs"), output_names=outputs, dynamo=True, verbose=False
        )
    if program is None:
        raise ConfigError("spec.output.formats: torch made no ONNX program of this model; leave onnx out")
    program.save(str(path))


def _read_onnx(path: Path, _model: nn.Module) -> Apply:
    from onnx.reference import ReferenceEvaluator

    session = ReferenceEvaluator(str(path))

    def run(example: Batch) -> Batch:
        named = dict(zip(_names(example, "inputs"), tensors(example), strict=True))
        inputs = {name: named[name].cpu().numpy() for name in session.input_names}
        outputs = [torch.as_tensor(values) for values in session.run(None, inputs)]
        return outputs[0] if len(outputs) == 1 else outputs

    return run


def _names(batch: Batch, name: str) -> list[str]:
    """The names of a batch's tensors in files that know no dicts: inputs, or inputs.<key or number>."""
    if isinstance(batch, Mapping):
        return [inner for key, value in batch.items() for inner in _names(value, f"{name}.{key}")]
    if isinstance(batch, list | tuple):
        return [inner for number, value in enumerate(batch) for inner in _names(value, f"{name}.{number}")]
    return [name] if isinstance(batch, Tensor) else []


FORMATS = {
    "safetensors": Format(WEIGHTS_FILE, _write_safetensors, _read_safetensors),
    "torchscript": Format("model.ts", _write_torchscript, _read_torchscript),
    "onnx": Format("model.onnx", _write_onnx, _read_onnx),
    "torch-export": Format("model.pt2", _write_torch_export, _read_torch_export),
}
