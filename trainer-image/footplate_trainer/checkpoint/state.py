"""What a checkpoint holds of a training process: the objects' state, and each rank's random numbers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from footplate_trainer.checkpoint.codec import Packed, flatten
from footplate_trainer.checkpoint.names import MAIN, RANK_PART
from footplate_trainer.checkpoint.optimizers import load
from footplate_trainer.checkpoint.sharded import SHARDS, divide, is_dtensor
from footplate_trainer.errors import ConfigError, UserError
from footplate_trainer.rank.seeds import random_state, set_random_state

if TYPE_CHECKING:
    from footplate_trainer.data.loader import Loader

MAX_NAMED = 8


class NotToBeSaved(Exception):
    """What a part's `state_dict` raises, alike on all ranks, where there must be no checkpoint of its state, and
    training goes on. It says why.
    """


class TrainState:
    """How far training is. `checkpoint.restore` makes it."""

    def __init__(self, parts: Mapping[str, Any], loader: "Loader | None", *, name: str = MAIN) -> None:
        self.step = 0
        """Optimizer steps finished: the loop adds 1 after each `optimizer.step()`."""
        self.name = name
        """The training's."""
        self.parts = parts
        """What is saved, by name: anything with `state_dict` and `load_state_dict`."""
        self.epochs = loader.epochs if loader is not None else None
        """Epochs that training has; None where that isn't known."""
        self._loader = loader
        self._epoch = 0

    @property
    def epoch(self) -> int:
        """0-based: the loader's epoch or, without a loader, what the loop has set."""
        return self._loader.epoch if self._loader is not None else self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        if self._loader is None:
            self._epoch = epoch
        elif epoch != self._loader.epoch:
            raise ConfigError("state.epoch is counted by the loader; leave it alone, or restore without loader=")

    def restore_epoch(self, epoch: int) -> None:
        """Sets the loop's own counter; a loader has its own."""
        self._epoch = epoch

    @property
    def epoch_ended(self) -> bool:
        """True after the last step of an epoch, where a loader knows."""
        return self._loader is not None and self._loader.epoch_ended

    @property
    def ended(self) -> bool:
        """True after the last step of the last epoch, where that is known."""
        return self.epochs is not None and self.epoch_ended and self.epoch + 1 >= self.epochs


def unwrap(model: nn.Module) -> nn.Module:
    """The user's own model, out of DistributedDataParallel and torch.compile."""
    while True:
        if isinstance(model, DistributedDataParallel):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


def check_parts(parts: Mapping[str, Any]) -> None:
    """Raises ConfigError for what is no part of a checkpoint."""
    for name, part in parts.items():
        missing = [method for method in ("state_dict", "load_state_dict") if not callable(getattr(part, method, None))]
        if missing:
            raise ConfigError(
                f"restore({name}=…): a {type(part).__name__} has no {' and no '.join(missing)}, so it can't be saved; "
                "give it these methods, or leave it out"
            )


def check_states(parts: Mapping[str, Any]) -> None:
    """Raises ConfigError, before anything is trained, for a state that can't be saved."""
    for name, part in parts.items():
        try:
            flatten(part.state_dict())
        except ConfigError as error:
            raise ConfigError(f"restore({name}=…): {error}") from error
        except UserError:
            continue  # of its values, which are looked at when they are saved


@torch.no_grad()
def capture(parts: Mapping[str, Any], *, is_main: bool) -> dict[str, Packed]:
    """State by file: what all ranks share from rank 0; and this rank's own, and its shards, from every one.

    Every rank asks each part, since to answer may be collective (a mean over all ranks).
    """
    files: dict[str, Packed] = {}
    for name, part in parts.items():
        shared, shards = divide(flatten(part.state_dict()))
        files |= {name: shared} if is_main else {}
        files |= {name + SHARDS: shards} if shards.tensors else {}
    return {**files, RANK_PART: flatten({"random": random_state()})}


def apply(parts: Mapping[str, Any], trees: Mapping[str, Any], *, uri: str) -> None:
    """Loads state trees into the objects, and this rank's random numbers last.

    Raises:
        ConfigError: an object doesn't fit its tree, or has none.
    """
    if missing := parts.keys() - trees.keys():
        held = ", ".join(sorted(trees.keys() - {RANK_PART}))
        raise ConfigError(
            f"checkpoint {uri} holds {held}, but no {', '.join(sorted(missing))}; restore without it, or start anew "
            "(spec.checkpoint.resume: never)"
        )
    for name, part in parts.items():
        _load(name, part, trees[name], uri)
    if RANK_PART in trees:
        set_random_state(trees[RANK_PART]["random"])


def _load(name: str, part: Any, tree: Any, uri: str) -> None:
    try:
        load(part, tree)
    except (ValueError, KeyError, RuntimeError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"checkpoint {uri}: {name} ({type(part).__name__}) doesn't fit what was saved: {error}; use the code and "
            "hyperparameters that it was saved with, or start anew (spec.checkpoint.resume: never)"
        ) from error


def changed_since(parts: Mapping[str, Any], trees: Mapping[str, Any]) -> str:
    """What of the model's parameters and of the optimizer's settings isn't as it was saved; empty where nothing is."""
    changed = [name for name, weight in parts["model"].named_parameters() if not _same(weight, trees["model"][name])]
    optimizer, saved = parts.get("optimizer"), trees.get("optimizer")
    if isinstance(optimizer, Optimizer) and saved is not None:
        for number, (group, as_saved) in enumerate(zip(optimizer.param_groups, saved["param_groups"], strict=False)):
            changed += [
                f"{name} of parameter group {number}"
                for name, value in group.items()
                if name != "params" and not _same(value, as_saved.get(name))
            ]
    return "; ".join(_listed("of the model and optimizer", changed))


def _same(one: Any, other: Any) -> bool:
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return bool(one == other)
    here, there = (part.to_local() if is_dtensor(part) else part for part in (one.detach(), other))
    return torch.equal(here.cpu(), there.cpu())


def check_models(parts: Mapping[str, Any], trees: Mapping[str, Any], *, uri: str) -> None:
    """Raises ConfigError unless the models' names and shapes are those of the trees, whose values don't matter."""
    for name, part in parts.items():
        if isinstance(part, nn.Module) and name in trees:
            check_fit(part.state_dict(), trees[name], uri)


def check_fit(mine: Mapping[str, Any], theirs: Mapping[str, Any], uri: str) -> None:
    """Raises ConfigError with names and shapes unless a model's state has the names and shapes of the checkpoint's."""
    if problems := differences(mine, theirs):
        raise ConfigError(
            f"the model doesn't fit checkpoint {uri}: {'; '.join(problems)}. Use the model that it was saved with, or "
            "start anew (spec.checkpoint.resume: never)"
        )


def differences(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """How a model's state differs from a saved one in names and shapes."""
    return [
        *_listed("missing from the checkpoint", [str(name) for name in mine if name not in theirs]),
        *_listed("unknown to the model", [str(name) for name in theirs if name not in mine]),
        *_listed(
            "of another shape",
            [
                f"{name} (checkpoint {tuple(theirs[name].shape)}, model {tuple(value.shape)})"
                for name, value in mine.items()
                if isinstance(value, Tensor) and isinstance(theirs.get(name), Tensor)
                if value.shape != theirs[name].shape
            ],
        ),
    ]


def _listed(what: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return [f"{what}: {', '.join(names[:MAX_NAMED])}{more}"]
