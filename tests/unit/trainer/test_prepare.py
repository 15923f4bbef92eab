"""What `prepare` makes of a model, and what it refuses with words."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from footplate_trainer import prepare
from footplate_trainer.checkpoint import sharded
from footplate_trainer.errors import ConfigError
from footplate_trainer.models import sharding
from footplate_trainer.models.tensors import take_mains

CPU = torch.device("cpu")


@pytest.fixture
def gang_of_one() -> Iterator[None]:
    """A process group, which sharding needs."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


class Both(NamedTuple):
    logits: Tensor
    label: int


class Nested(nn.Module):
    """Outputs of every kind."""

    def __init__(self, shape: Any) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.shape = shape

    def forward(self, inputs: Tensor) -> Any:
        return self.shape(self.linear(inputs))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("shape", "logits"),
    [
        (lambda logits: logits, lambda outputs: outputs),
        (lambda logits: (logits, "x"), lambda outputs: outputs[0]),
        (lambda logits: [logits], lambda outputs: outputs[0]),
        (lambda logits: {"a": [logits]}, lambda outputs: outputs["a"][0]),
        (lambda logits: Both(logits, 1), lambda outputs: outputs.logits),
    ],
    ids=["tensor", "tuple", "list", "dict", "named tuple"],
)
def test_outputs_are_float32_in_the_models_own_shape(shape: Any, logits: Any, precision: Any) -> None:
    model = prepare(Nested(shape), precision=precision)
    outputs = model(torch.randn(8, 4))
    assert type(outputs) is type(shape(torch.zeros(())))
    assert logits(outputs).dtype == torch.float32
    cross_entropy(logits(outputs), torch.arange(8) % 3).backward()
    assert model.linear.weight.grad.dtype == torch.float32


def test_bf16_is_what_computes_them() -> None:
    model = prepare(nn.Linear(4, 3), precision="bf16")
    outputs = model(torch.randn(8, 4))
    assert torch.equal(outputs, outputs.bfloat16().float())


def test_outputs_are_float32_where_bf16_is_sharded(gang_of_one: None) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    sharding.shard(model, [], device=CPU, low=torch.bfloat16)
    assert model(torch.randn(2, 4)).dtype == torch.float32


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_model_without_values_is_refused(strategy: Any) -> None:
    with pytest.raises(ConfigError, match=r"0\.weight has no values \(it is on the meta device\)\. .*to_empty"):
        prepare(nn.Sequential(nn.Linear(2, 2, device="meta")), strategy=strategy)
    with pytest.raises(ConfigError, match=r"weight has no shape yet .*call the model once on a batch"):
        prepare(nn.LazyLinear(2), strategy=strategy)


class Remembers(torch.optim.SGD):
    """Keeps its parameters elsewhere too."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, lr=0.1)
        self.weights = self.param_groups[0]["params"]


def test_an_optimizer_that_would_move_nothing_once_sharded_is_refused(gang_of_one: None) -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(ConfigError, match=r"LBFGS steps along one vector .*strategy='ddp', or .*AdamW"):
        sharding.shard(model, [torch.optim.LBFGS(model.parameters())], device=CPU, low=None)
    with pytest.raises(ConfigError, match=r"Remembers keeps the model's parameters in its attribute weights too"):
        sharding.shard(model, [Remembers(model.parameters())], device=CPU, low=None)
    sharding.shard(model, [], device=CPU, low=None)
    with pytest.raises(ConfigError, match=r"LBFGS steps along one vector"):
        sharded.check(model, torch.optim.LBFGS(model.parameters()))


def test_a_model_in_channels_last_can_be_sharded(gang_of_one: None) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    pixels = torch.randn(2, 3, 4, 4)
    expected = model(pixels)
    model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sharding.shard(model, [optimizer], device=CPU, low=None)
    outputs = model(pixels.to(memory_format=torch.channels_last))
    torch.testing.assert_close(outputs, expected)
    before = sharding.full_weights(model)["0.weight"]
    outputs.sum().backward()
    optimizer.step()
    assert not torch.equal(sharding.full_weights(model)["0.weight"], before)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(6.0),
        torch.arange(6.0).reshape(2, 3).t(),
        torch.zeros(1).expand(4),
        torch.zeros(0),
        torch.tensor(1.0),
    ],
    ids=["plain", "transposed", "expanded", "empty", "scalar"],
)
def test_rank_0s_values_are_taken_however_a_tensor_lies(gang_of_one: None, tensor: Tensor) -> None:
    before = tensor.clone()
    take_mains(tensor)
    assert torch.equal(tensor, before)
