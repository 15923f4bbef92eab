"""Optimizers go on from what was saved, to the last bit, or are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop, lr_scheduler

from footplate_trainer.checkpoint import codec
from footplate_trainer.checkpoint.codec import flatten
from footplate_trainer.checkpoint.state import apply
from footplate_trainer.errors import ConfigError

Make = Callable[[Any], Optimizer]


def network(*, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(33, 17), nn.Tanh(), nn.Linear(17, 5))


def step(model: nn.Module, optimizer: Optimizer) -> None:
    inputs = torch.randn(40, 33, generator=torch.Generator().manual_seed(1))

    def loss() -> Tensor:
        optimizer.zero_grad()
        value: Tensor = model(inputs).square().mean()
        value.backward()
        return value

    optimizer.step(loss)  # type: ignore[arg-type]


def read_back(folder: Path, **parts: Any) -> dict[str, Any]:
    """States as they come from a checkpoint's files."""
    trees = {}
    for name, part in parts.items():
        codec.write(folder / name, flatten(part.state_dict()))
        trees[name] = codec.read(folder / name).tree()
    return trees


@pytest.mark.parametrize(
    "make",
    [
        lambda weights: LBFGS(weights, max_iter=4, history_size=5, line_search_fn="strong_wolfe"),
        lambda weights: AdamW(weights, lr=0.01, amsgrad=True),
        lambda weights: SGD(weights, lr=0.1, momentum=0.9),
    ],
    ids=["LBFGS", "AdamW", "SGD"],
)
def test_a_resumed_optimizer_goes_on_to_the_last_bit(tmp_path: Path, make: Make) -> None:
    model = network()
    optimizer = make(model.parameters())
    for _ in range(4):
        step(model, optimizer)
    again = network(seed=1)
    resumed = make(again.parameters())
    apply({"model": again, "optimizer": resumed}, read_back(tmp_path, model=model, optimizer=optimizer), uri="s3://x")
    for _ in range(6):
        step(model, optimizer)
        step(again, resumed)
    assert all(map(torch.equal, model.parameters(), again.parameters()))


def tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [tensor for item in values for tensor in tensors(item)]


class Keeps:
    """Keeps what it is given, as callbacks do."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def state_dict(self) -> Any:
        return self.state

    def load_state_dict(self, state: Any) -> None:
        self.state = state


def test_what_is_kept_of_a_checkpoint_lies_in_memory_of_its_own(tmp_path: Path) -> None:
    """Not in the file, whose tensors lie at any address."""
    model = network()
    optimizer = LBFGS(model.parameters())
    step(model, optimizer)
    average = Keeps({"a": [torch.ones(3)], "b": (torch.ones(5), torch.ones(7))})
    parts = {"optimizer": optimizer, "average": average}
    trees = read_back(tmp_path, **parts)
    read = {tensor.data_ptr() for tensor in tensors(trees)}
    assert any(address % 64 for address in read)
    apply(parts, trees, uri="s3://x")
    kept = [*tensors(list(optimizer.state.values())), *tensors(average.state)]
    assert not read & {tensor.data_ptr() for tensor in kept}
    assert not any(tensor.data_ptr() % 64 for tensor in kept if tensor.numel() > 1)


OTHERS: dict[str, tuple[Make, Make, str]] = {
    "in another order": (
        AdamW,
        lambda weights: AdamW(list(weights)[::-1]),
        r"exp_avg of parameter 0 is \[17, 33\], the parameter \[5\] and 3 more; .* same order and groups",
    ),
    "of another model's shapes": (
        lambda weights: SGD(weights, lr=0.1, momentum=0.9),
        lambda weights: SGD([torch.zeros(2, requires_grad=True) for _ in weights], lr=0.1, momentum=0.9),
        r"momentum_buffer of parameter 0 is \[17, 33\], the parameter \[2\]",
    ),
    "of fewer parameters": (AdamW, lambda weights: AdamW(list(weights)[:2]), "doesn't match the size"),
    "another kind": (
        lambda weights: SGD(weights, lr=0.1),
        Adam,
        r"another kind of optimizer has saved it, which has no .*betas",
    ),
    "yet another kind": (Adagrad, RMSprop, r"another kind of optimizer has saved it"),
}


@pytest.mark.parametrize(("saved", "loaded", "words"), OTHERS.values(), ids=OTHERS.keys())
def test_what_another_optimizer_has_saved_is_refused(tmp_path: Path, saved: Make, loaded: Make, words: str) -> None:
    model = network()
    optimizer = saved(model.parameters())
    step(model, optimizer)
    trees = read_back(tmp_path, optimizer=optimizer)
    with pytest.raises(ConfigError, match=rf"checkpoint s3://x: optimizer \(.*doesn't fit what was saved: .*{words}"):
        apply({"optimizer": loaded(list(network().parameters()))}, trees, uri="s3://x")


class Factored(SGD):
    """Remembers of a parameter what it likes."""

    def step(self, closure: Any = None) -> Any:
        for weight in self.param_groups[0]["params"]:
            self.state[weight]["exp_avg"] = torch.ones(2)
        return super().step(closure)


def test_optimizers_of_ones_own_may_remember_what_they_like(tmp_path: Path) -> None:
    model = network()
    optimizer = Factored(model.parameters(), lr=0.1)
    step(model, optimizer)
    apply({"optimizer": optimizer}, read_back(tmp_path, optimizer=optimizer), uri="s3://x")


@pytest.mark.parametrize(
    "after_warm_up",
    [
        lambda optimizer: lr_scheduler.MultiStepLR(optimizer, [2, 4, 4]),
        lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 8),
        lambda optimizer: lr_scheduler.CyclicLR(optimizer, 0.1, 0.5, 3, scale_fn=lambda x: 0.5**x),
    ],
    ids=["MultiStepLR", "CosineAnnealingLR", "CyclicLR"],
)
def test_a_scheduler_resumed_in_its_warm_up_goes_on(tmp_path: Path, after_warm_up: Any) -> None:
    def begin() -> tuple[Optimizer, Any]:
        optimizer = SGD(network().parameters(), lr=0.3, momentum=0.9)
        warm_up = lr_scheduler.LinearLR(optimizer, total_iters=6)
        return optimizer, lr_scheduler.SequentialLR(optimizer, [warm_up, after_warm_up(optimizer)], [6])

    def rates(optimizer: Optimizer, scheduler: Any, steps: int) -> list[float]:
        found = []
        for _ in range(steps):
            optimizer.step()
            scheduler.step()
            found.append(optimizer.param_groups[0]["lr"])
        return found

    whole = rates(*begin(), 14)
    optimizer, scheduler = begin()
    rates(optimizer, scheduler, 5)
    again, scheduler_again = begin()
    trees = read_back(tmp_path, optimizer=optimizer, scheduler=scheduler)
    apply({"optimizer": again, "scheduler": scheduler_again}, trees, uri="file:///c/")
    assert rates(again, scheduler_again, 9) == whole[5:]
