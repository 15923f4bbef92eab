"""State trees survive the way through a file unchanged, and nothing else than tensors and plain values gets in."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from footplate_trainer.checkpoint import codec
from footplate_trainer.errors import ConfigError

TENSORS = st.sampled_from(
    [
        torch.arange(6.0).reshape(2, 3),
        torch.zeros((), dtype=torch.int64),
        torch.tensor([True, False]),
        torch.zeros(0, 4, dtype=torch.bfloat16),
    ]
)
PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=5), TENSORS
)
KEYS = st.one_of(st.text(max_size=4), st.integers(-3, 3), st.tuples(st.integers(0, 3), st.booleans()))
TREES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.lists(KEYS, max_size=4).map(Counter),
    ),
    max_leaves=20,
)


def same(left: Any, right: Any) -> bool:
    """Equal in value and type, NaN equal to itself."""
    if isinstance(left, torch.Tensor):
        return isinstance(right, torch.Tensor) and left.dtype == right.dtype and left.equal(right)
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right) or (left != left and right != right)


@given(TREES)
def test_flatten_and_unflatten_are_inverse(tree: Any) -> None:
    packed = codec.flatten(tree)
    structure = json.loads(json.dumps(packed.structure, allow_nan=False))
    assert same(codec.Packed(packed.tensors, structure).tree(), tree)


def test_a_file_has_a_models_own_names(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    path = tmp_path / "model.safetensors"
    codec.write(path, codec.flatten(model.state_dict()))
    with safe_open(path, framework="pt") as file:
        assert set(file.keys()) == set(model.state_dict())
    assert same(codec.read(path).tree(), dict(model.state_dict()))


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, torch.optim.SGD, torch.optim.LBFGS])
def test_optimizers_go_on_as_if_nothing_had_been(tmp_path: Path, optimizer: type[torch.optim.Optimizer]) -> None:
    def make() -> tuple[torch.nn.Linear, torch.optim.Optimizer]:
        torch.manual_seed(1)
        model = torch.nn.Linear(3, 1)
        return model, optimizer(model.parameters(), lr=0.1)  # type: ignore[call-arg]

    def step(model: torch.nn.Linear, optimizer: torch.optim.Optimizer) -> None:
        def loss() -> float:
            optimizer.zero_grad()
            value = model(torch.ones(2, 3)).square().sum()
            value.backward()
            return float(value.detach())

        optimizer.step(loss)

    model, first = make()
    step(model, first)
    codec.write(tmp_path / "file", codec.flatten({"model": model.state_dict(), "optimizer": first.state_dict()}))
    step(model, first)
    resumed_model, second = make()
    tree = codec.read(tmp_path / "file").tree()
    resumed_model.load_state_dict(tree["model"])
    second.load_state_dict(tree["optimizer"])
    step(resumed_model, second)
    assert same(dict(resumed_model.state_dict()), dict(model.state_dict()))


def test_numpy_scalars_become_numbers() -> None:
    assert codec.flatten({"best": np.float64(0.5), "count": np.int64(3)}) == codec.Packed({}, {"best": 0.5, "count": 3})


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, lambda: None, np.zeros(3)], ids=["object", "set", "function", "array"]
)
def test_what_only_a_pickle_could_hold_is_refused_by_its_path(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"callbacks\.0\.best is a"):
        codec.flatten({"callbacks": [{"best": value}]})


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\x02\x00\x00\x00\x00\x00\x00\x00{}"])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a checkpoint file"):
        codec.read(path)
