"""What is gathered at once, and what can't be sharded."""

from typing import Any

import pytest
import torch
from torch import nn

from footplate_trainer import prepare
from footplate_trainer.errors import ConfigError
from footplate_trainer.models import sharding


class Block(nn.Module):
    """With a list inside of either kind."""

    def __init__(self, *, experts: int = 0) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
        self.experts = nn.ModuleList([nn.Linear(2, 2) for _ in range(experts)])


class Stack(nn.Module):
    """As language models are built."""

    def __init__(self, **of_block: Any) -> None:
        super().__init__()
        self.embedding = nn.Embedding(3, 2)
        self.blocks = nn.ModuleList([Block(**of_block), Block(**of_block)])
        self.head = nn.Linear(2, 3)


def tied_stack() -> nn.Module:
    stack = Stack()
    stack.blocks[1].mlp[0].weight = stack.head.weight  # type: ignore[union-attr,index]
    return stack


def shared_item() -> nn.Module:
    item = nn.Linear(2, 2)
    return nn.Sequential(item, nn.Linear(2, 2), item)


MODELS: dict[str, tuple[nn.Module, list[str]]] = {
    "no list": (nn.Linear(2, 2), []),
    "sequential, without what has no parameters": (
        nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)),
        ["0", "2"],
    ),
    "blocks as a whole": (Stack(), ["blocks.0", "blocks.1"]),
    "experts by themselves": (
        Stack(experts=2),
        [
            "blocks.0.experts.0",
            "blocks.0.experts.1",
            "blocks.0",
            "blocks.1.experts.0",
            "blocks.1.experts.1",
            "blocks.1",
        ],
    ),
    "blocks inside of a sequential": (nn.Sequential(nn.Linear(2, 2), Stack()), ["0", "1.blocks.0", "1.blocks.1", "1"]),
    "lists of lists": (nn.ModuleList([nn.ModuleList([nn.Linear(2, 2)])]), ["0.0"]),
    "not what shares a parameter with the rest": (tied_stack(), ["blocks.0"]),
    "not what is used twice": (shared_item(), ["1"]),
}


@pytest.mark.parametrize(("model", "expected"), MODELS.values(), ids=MODELS.keys())
def test_groups(model: nn.Module, expected: list[str]) -> None:
    names = {module: name for name, module in model.named_modules()}
    assert [names[module] for module in sharding.groups(model)] == expected


def test_a_copy_with_other_values_is_tied_as_the_model_is() -> None:
    model = tied_stack()
    copied = sharding._copy_with(model, lambda _, parameter: torch.zeros_like(parameter))
    assert copied.head.weight is copied.blocks[1].mlp[0].weight  # type: ignore[union-attr,index]
    assert not any(parameter.any() for parameter in copied.parameters())
    assert all(parameter.any() for parameter in model.parameters())


def used_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    optimizer = torch.optim.AdamW(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer


def test_what_can_not_be_sharded_is_refused() -> None:
    model = nn.Linear(2, 2)
    device = torch.device("cpu")
    with pytest.raises(ConfigError, match=r"the AdamW has already state.*before its first step"):
        sharding.shard(model, [used_optimizer(model)], device=device, low=None)
    with pytest.raises(ConfigError, match=r"needs a copy of this Linear that isn't sharded"):
        sharding.unsharded(model, {})


def test_an_unknown_strategy_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"prepare\(strategy='zero'\): there is ddp and fsdp"):
        prepare(nn.Linear(1, 1), strategy="zero")  # type: ignore[arg-type]


def test_one_rank_shards_nothing() -> None:
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert prepare(model, optimizer, strategy="fsdp") == (model, optimizer)
    assert type(model.weight) is nn.Parameter
