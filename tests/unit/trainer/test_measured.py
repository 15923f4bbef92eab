"""What is measured of a wrapped model, and that nothing else about it changes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import FileStore  # type: ignore[attr-defined]

from footplate_trainer.errors import UserError
from footplate_trainer.timing.work import WorkMeter
from footplate_trainer.training.measured import MeasuredDataParallel


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow(nn.Module):
    """A forward pass of two seconds."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)
        self._clock = clock

    def forward(self, inputs: Tensor) -> Tensor:
        self._clock.now += 2.0
        outputs: Tensor = self.linear(inputs)
        return outputs


@pytest.fixture(autouse=True)
def group(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", store=FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def measure(model: nn.Module, meter: WorkMeter, clock: Clock) -> float:
    """Own work of a step that takes a second to load, and five for the backward pass."""
    for step in range(3):
        clock.now += 1.0
        model(torch.ones(3, 2)).sum().backward()
        clock.now += 5.0
        meter.step_ended(step)
    return meter.seconds


def test_loading_and_the_forward_pass_are_taken(clock: Clock) -> None:
    meter = WorkMeter(clock)
    assert measure(MeasuredDataParallel(Slow(clock), meter, device_ids=None), meter, clock) == 3.0


def test_an_evaluation_is_not(clock: Clock) -> None:
    meter = WorkMeter(clock)
    model = MeasuredDataParallel(Slow(clock), meter, device_ids=None)
    model.eval()
    assert measure(model, meter, clock) == 0.0


def test_the_users_module_is_as_it_was(clock: Clock) -> None:
    module = Slow(clock)
    MeasuredDataParallel(module, WorkMeter(clock), device_ids=None)
    assert not module._forward_hooks
    assert not module._forward_pre_hooks
    assert "forward" not in vars(module)


@pytest.mark.parametrize("inside", [True, False], ids=["the model", "what prepare gave"])
def test_it_can_be_compiled(inside: bool) -> None:
    """DDP's own part is never compiled, so it is measured either way."""
    meter = WorkMeter()
    module = nn.Linear(2, 1)
    model = MeasuredDataParallel(module, meter, device_ids=None)
    (module if inside else model).compile(backend="eager")
    for step in range(3):
        model(torch.ones(3, 2)).sum().backward()
        meter.step_ended(step)
    assert meter.seconds


def test_what_was_frozen_when_it_was_wrapped_cant_be_trained() -> None:
    """Its gradients would be each rank's own."""
    module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    module[0].requires_grad_(False)
    model = MeasuredDataParallel(module, WorkMeter(), device_ids=None)
    model(torch.ones(3, 2)).sum().backward()
    module[0].requires_grad_(True)
    with pytest.raises(UserError, match=r"^0\.weight and 1 more had requires_grad=False .* make a new Trainer"):
        model(torch.ones(3, 2))
    model = MeasuredDataParallel(module, WorkMeter(), device_ids=None)
    model(torch.ones(3, 2)).sum().backward()
    assert module[0].weight.grad is not None
