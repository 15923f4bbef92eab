"""Models are exported from copies in host memory, and checked where they can run."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from footplate_trainer import export_model
from footplate_trainer.errors import ConfigError
from footplate_trainer.models import export_check
from footplate_trainer.models.export_check import close, host_copy, run_where_it_can
from footplate_trainer.rank.report import reporter

EXAMPLE = torch.linspace(0, 1, 12).reshape(3, 4)
GPU = torch.device("cuda", 0)


class Network(nn.Module):
    """Tied weights, a frozen one, a buffer of whole numbers, and one that isn't saved."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.first.bias.requires_grad_(False)
        self.register_buffer("steps", torch.tensor(3))
        self.register_buffer("scale", torch.tensor(2.0), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.second(self.first(inputs)) * self.scale


def test_the_copy_is_whole_and_nothing_of_it_is_the_models() -> None:
    model = Network().bfloat16()
    copied = host_copy(model)
    assert copied.second.weight is copied.first.weight
    assert not copied.first.bias.requires_grad
    assert copied.steps.dtype == torch.int64
    for name, value in {**model.state_dict(), "scale": model.scale}.items():
        other = copied.get_parameter(name) if name in dict(copied.named_parameters()) else getattr(copied, name, None)
        if other is not None:
            assert other.data_ptr() != value.data_ptr()
            assert torch.equal(other, value.to(other.dtype))
            assert other.dtype in (torch.float32, torch.int64)


def test_the_device_gets_no_second_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each tensor of the model goes to the host by itself: none is cloned where it lies."""
    model = Network()
    monkeypatch.setattr(Tensor, "__deepcopy__", lambda self, memo: pytest.fail("cloned on the device"))
    monkeypatch.setattr(nn.Parameter, "__deepcopy__", lambda self, memo: pytest.fail("cloned on the device"))
    assert isinstance(host_copy(model), Network)


class ForGpus(Network):
    """A model with kernels for a GPU; to stand in for one, `to` remembers where it was sent."""

    where = "cpu"
    needs_bf16 = False

    def to(self, device: Any) -> "ForGpus":
        self.where = str(device)
        return self

    def cpu(self) -> "ForGpus":
        self.where = "cpu"
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        if self.where == "cpu":
            raise NotImplementedError("Could not run 'flash::attention' with arguments from the 'CPU' backend\nmore")
        if self.needs_bf16 and not torch.is_autocast_enabled("cpu"):
            raise RuntimeError("FlashAttention only supports fp16 and bf16")
        return super().forward(inputs)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """A GPU that computes on the CPU."""
    autocast = torch.autocast
    monkeypatch.setattr(torch, "autocast", lambda _kind, dtype: autocast("cpu", dtype=dtype))
    kept = Tensor.to
    monkeypatch.setattr(
        Tensor, "to", lambda self, *args, **named: self if args == (GPU,) else kept(self, *args, **named)
    )
    reporter()._notes.clear()
    return GPU


@pytest.mark.parametrize("needs_bf16", [False, True])
def test_a_model_for_gpus_alone_is_checked_on_its_own(gpu: torch.device, needs_bf16: bool) -> None:
    model = ForGpus()
    model.needs_bf16 = needs_bf16
    with torch.no_grad(), run_where_it_can(model, EXAMPLE, gpu) as (_example, expected):
        assert model.where == "cuda:0"
        assert expected.dtype == (torch.bfloat16 if needs_bf16 else torch.float32)
        assert close(model(EXAMPLE), expected)
    assert model.where == "cpu"
    (note,) = reporter()._notes
    assert "Could not run 'flash::attention'" in note
    assert ("checked on cuda:0 under bf16 autocast" if needs_bf16 else "checked on cuda:0, and") in note


def test_what_is_raised_inside_is_nobody_elses(gpu: torch.device) -> None:
    model = ForGpus()
    with pytest.raises(ConfigError, match="a format"), run_where_it_can(model, EXAMPLE, gpu):
        raise ConfigError("a format")
    assert model.where == "cpu"


@pytest.mark.parametrize("device", [torch.device("cpu"), GPU])
def test_a_model_that_runs_nowhere_raises_what_it_did_on_the_cpu(gpu: torch.device, device: torch.device) -> None:
    class Nowhere(ForGpus):
        def forward(self, inputs: Tensor) -> Tensor:
            raise ValueError(f"of {self.where}")

    with pytest.raises(ValueError, match="of cpu"), run_where_it_can(Nowhere(), EXAMPLE, device):
        pytest.fail("it ran")


def test_a_model_for_gpus_alone_is_exported(gpu: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With torch's own context, whose device is the CPU here, put on a GPU."""
    from dataclasses import replace

    from footplate_trainer import context
    from footplate_trainer.models import export

    monkeypatch.setattr(export, "context", lambda: replace(context(), device=gpu))
    model = ForGpus()
    (path,) = export_model(model, EXAMPLE, formats=["safetensors"], folder=tmp_path)
    assert torch.equal(load_file(path)["first.bias"], model.first.bias)


def test_a_file_with_other_weights_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from footplate_trainer.models import export

    monkeypatch.setattr(export, "load_file", lambda path: {**load_file(path), "first.bias": torch.ones(4) * 9})
    with pytest.raises(ConfigError, match="gives other outputs"):
        export_model(Network(), EXAMPLE, formats=["safetensors"], folder=tmp_path)


def test_rounding_of_bf16_is_no_difference() -> None:
    outputs = torch.linspace(0.5, 2, 9)
    assert close(outputs.bfloat16(), outputs)
    assert not close(outputs * 1.01, outputs)
    assert not close(outputs.bfloat16() * 1.1, outputs)
    assert not close(outputs[:3], outputs)
    assert export_check.close(torch.tensor([float("nan")]), torch.tensor([float("nan")]))
