"""Sharded tensors find their way from the ranks of one world to those of any other. Worlds are played one rank after
the other, with torch's fake process group."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard
from torch.testing._internal.distributed.fake_pg import FakeStore

from footplate_trainer.checkpoint import codec, sharded
from footplate_trainer.checkpoint.codec import Packed, Sharding, whole
from footplate_trainer.checkpoint.sharded import Plan
from footplate_trainer.checkpoint.state import check_models
from footplate_trainer.errors import ConfigError

ROWS = (7, 1, 0, 6)
"""Sizes that three ranks divide unevenly, hardly, not at all, and evenly."""


@contextmanager
def playing(rank: int, ranks: int, *, shape: tuple[int, ...] = ()) -> Iterator[DeviceMesh]:
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=ranks)
    sharded._placement.cache_clear()
    try:
        yield init_device_mesh("cpu", shape or (ranks,))
    finally:
        dist.destroy_process_group()


def values(rows: int) -> Tensor:
    return torch.arange(rows * 2.0).reshape(rows, 2)


def cut(tensor: Tensor, mesh: DeviceMesh, *placements: Any) -> DTensor:
    """This rank's shard of a tensor that every rank has."""
    (dim,) = {placement.dim for placement in placements if isinstance(placement, Shard)} or {0}
    axis = next((axis for axis, placement in enumerate(placements) if isinstance(placement, Shard)), None)
    local = tensor
    if axis is not None:
        shards = Sharding(tuple(tensor.shape), "", dim, mesh.size(axis))
        place = (mesh.mesh == dist.get_rank()).nonzero()[0]
        local = tensor[shards.region(int(place[axis]))]
    return DTensor.from_local(
        local, mesh, placements, run_check=False, shape=tensor.shape, stride=tensor.contiguous().stride()
    )


class Holder(nn.Module):
    """A model with a weight of each number of rows."""

    def __init__(self, mesh: DeviceMesh | None = None, *, dim: int = 0, rows: tuple[int, ...] = ROWS) -> None:
        super().__init__()
        for number, size in enumerate(rows):
            tensor: Tensor = torch.zeros(size, 2)
            if mesh is not None:
                tensor = cut(tensor, mesh, Shard(dim))
            self.register_parameter(f"weight{number}", nn.Parameter(tensor))
        self.register_buffer("steps", torch.tensor(3))


def save(folder: Path, ranks: int, **placed: Any) -> list[set[str]]:
    """Writes a part as all ranks do, each in its turn; which tensors each rank has written shards of."""
    written = []
    for rank in range(ranks):
        with playing(rank, ranks, shape=placed.get("shape", ())) as mesh:
            placements = placed.get("placements", [Shard(0)])
            tree: dict[str, Tensor] = {
                f"weight{number}": cut(values(rows), mesh, *placements) for number, rows in enumerate(ROWS)
            }
            shared, shards = sharded.divide(codec.flatten({**tree, "steps": torch.tensor(5)}))
            if rank == 0:
                codec.write(folder / "shared", shared)
            codec.write(folder / f"shards-{rank}", shards)
            written.append(set(shards.tensors))
    return written


def load(folder: Path, part: Any, *, asked: set[int] | None = None) -> dict[str, Any]:
    """Reads a part as one rank does."""
    plan = Plan(part, codec.read(folder / "shared"))
    if asked is not None:
        assert plan.shards() == asked
    with ExitStack() as opened:
        files = {
            rank: opened.enter_context(safe_open(folder / f"shards-{rank}", framework="pt")) for rank in plan.shards()
        }
        tree: dict[str, Any] = plan.load(files)
    return tree


@given(size=st.integers(0, 20), shards=st.integers(1, 9), start=st.integers(0, 20), length=st.integers(0, 20))
def test_shards_are_those_of_chunk_and_a_region_knows_its_own(size: int, shards: int, start: int, length: int) -> None:
    sharding = Sharding((3, size), "float32", 1, shards)
    there = [torch.arange(size)[sharding.region(shard)[1]] for shard in range(shards)]
    assert torch.cat(there).tolist() == list(range(size))
    for shard, chunk in enumerate(torch.arange(size).chunk(shards) if size else []):
        assert there[shard].equal(chunk)
    region = (slice(0, 3), slice(min(start, size), min(start + length, size)))
    wanted = set(range(size)[region[1]])
    assert set(sharding.shards_of(region)) >= {shard for shard in range(shards) if wanted & set(there[shard].tolist())}


@pytest.mark.parametrize("before", [1, 2, 3])
@pytest.mark.parametrize("after", [1, 2, 3, 5])
@pytest.mark.parametrize("dim", [0, 1])
def test_every_world_reads_what_any_world_wrote(tmp_path: Path, before: int, after: int, dim: int) -> None:
    save(tmp_path, before)
    for rank in range(after):
        with playing(rank, after) as mesh:
            model = Holder(mesh, dim=dim)
            model.load_state_dict(load(tmp_path, model))
            for number, rows in enumerate(ROWS):
                assert (
                    getattr(model, f"weight{number}").to_local().equal(cut(values(rows), mesh, Shard(dim)).to_local())
                )
            assert model.get_buffer("steps") == 5


def test_the_same_world_reads_its_own_shards_only(tmp_path: Path) -> None:
    save(tmp_path, 3)
    for rank in range(3):
        with playing(rank, 3) as mesh:
            load(tmp_path, Holder(mesh), asked={rank})


@pytest.mark.parametrize("before", [2, 3])
def test_a_model_that_is_not_sharded_reads_it_whole(tmp_path: Path, before: int) -> None:
    save(tmp_path, before)
    tree = load(tmp_path, Holder(), asked=set(range(before)))
    assert all(tree[f"weight{number}"].equal(values(rows)) for number, rows in enumerate(ROWS))


def test_a_sharded_model_reads_what_was_whole(tmp_path: Path) -> None:
    tree = {f"weight{number}": values(rows) for number, rows in enumerate(ROWS)}
    codec.write(tmp_path / "shared", codec.flatten({**tree, "steps": torch.tensor(5)}))
    with playing(1, 3) as mesh:
        read = load(tmp_path, Holder(mesh), asked=set())
        assert read["weight0"].to_local().equal(values(7)[3:6])
        assert read["weight0"].to_local().untyped_storage().nbytes() == 3 * 2 * 4, "holds on to the whole"


@pytest.mark.parametrize("sharded_before", [True, False])
def test_an_optimizers_state_lies_as_its_parameters(tmp_path: Path, sharded_before: bool) -> None:
    def trained(weight: Tensor) -> torch.optim.Optimizer:
        parameter = nn.Parameter(weight)
        optimizer = torch.optim.AdamW([parameter], lr=0.1)
        parameter.grad = parameter.detach().clone()
        optimizer.step()
        return optimizer

    expected = trained(values(7)).state_dict()["state"][0]["exp_avg"]
    for rank in range(2):
        with playing(rank, 2) as mesh:
            made = trained(cut(values(7), mesh, Shard(0)) if sharded_before else values(7))
            shared, shards = sharded.divide(codec.flatten(made.state_dict()))
            codec.write(tmp_path / "shared", shared)
            codec.write(tmp_path / f"shards-{rank}", shards)
    for rank in range(3):
        with playing(rank, 3) as mesh:
            weight = nn.Parameter(cut(values(7), mesh, Shard(0)))
            optimizer = torch.optim.AdamW([weight], lr=0.1)
            optimizer.load_state_dict(load(tmp_path, optimizer))
            state = optimizer.state[weight]
            assert state["exp_avg"].to_local().equal(expected[Sharding((7, 2), "", 0, 3).region(rank)])
            assert not sharded.is_dtensor(state["step"])


HYBRID: dict[str, Any] = {
    "replicas": {"shape": (2, 2), "placements": [Replicate(), Shard(0)]},
    "whole on all": {"placements": [Replicate()]},
}


@pytest.mark.parametrize("placed", HYBRID.values(), ids=HYBRID.keys())
def test_replicas_are_written_once(tmp_path: Path, placed: dict[str, Any]) -> None:
    writers = 2 if "shape" in placed else 1
    written = save(tmp_path, 4, **placed)
    names = {f"weight{number}" for number in range(len(ROWS))}
    assert written == [names if rank < writers else set() for rank in range(4)]
    assert load(tmp_path, Holder())["weight0"].equal(values(7))


REFUSED: dict[str, Any] = {
    "two dimensions": ((2, 2), [Shard(0), Shard(1)]),
    "sums to be made": ((4,), [Partial()]),
    "replicas beside each other": ((2, 2), [Shard(0), Replicate()]),
}


@pytest.mark.parametrize(("shape", "placements"), REFUSED.values(), ids=REFUSED.keys())
def test_other_placements_are_refused_by_name(shape: tuple[int, ...], placements: list[Any]) -> None:
    with playing(1, 4, shape=shape) as mesh:
        model = nn.Linear(4, 4, bias=False)
        weight = DTensor.from_local(torch.zeros(4, 4), mesh, placements, run_check=False)
        model.weight = nn.Parameter(weight)
        with pytest.raises(ConfigError, match=r"checkpoint: weight is placed as .* what can be saved is"):
            sharded.check(model, None)


def test_an_optimizer_of_the_parameters_before_is_refused() -> None:
    with playing(0, 2) as mesh:
        stale = torch.optim.SGD(Holder().parameters(), lr=0.1)
        model = Holder(mesh)
        with pytest.raises(ConfigError, match=r"the SGD has none of the model's parameters.*strategy='fsdp'"):
            sharded.check(model, stale)
        sharded.check(model, torch.optim.SGD(model.parameters(), lr=0.1))


def test_a_model_that_does_not_fit_is_told_in_whole_shapes_before_any_shard_is_read(tmp_path: Path) -> None:
    save(tmp_path, 2)
    with playing(0, 3) as mesh:
        model = Holder(mesh, rows=(9, 1))
        plan = Plan(model, codec.read(tmp_path / "shared"))
        with pytest.raises(ConfigError) as error:
            check_models({"model": model}, {"model": plan.outline()}, uri="s3://there/")
    assert "weight0 (checkpoint (7, 2), model (9, 2))" in str(error.value)
    assert "unknown to the model: weight2, weight3" in str(error.value)


def test_a_whole_tensor_is_whole() -> None:
    assert whole((2, 3)) == (slice(0, 2), slice(0, 3))
    assert Packed({}, 1).tree() == 1
