"""Copies that a checkpoint is written from: whole, apart from the originals, in memory that is kept and pinned."""

import gc
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from footplate_trainer.checkpoint import host_copies
from footplate_trainer.checkpoint.host_copies import HostCopies


def test_copies_stay_as_they_were_and_their_memory_is_kept() -> None:
    copies = HostCopies()
    weight, scale = torch.arange(6.0).reshape(2, 3), torch.tensor(2.0, requires_grad=True)
    first = copies.take({"weight": weight, "scale": scale}, part="model")
    weight.zero_()
    assert first["weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert not first["scale"].requires_grad
    second = copies.take({"weight": weight, "scale": scale}, part="model")
    assert second["weight"].data_ptr() == first["weight"].data_ptr()
    assert second["weight"].tolist() == [[0, 0, 0], [0, 0, 0]]


def test_other_shapes_and_types_get_memory_of_their_own_and_what_is_gone_is_let_go() -> None:
    copies = HostCopies()
    copies.take({"a": torch.zeros(2), "b": torch.zeros(2)}, part="model")
    other = copies.take({"a": torch.ones(3, dtype=torch.int64)}, part="model")
    assert other["a"].tolist() == [1, 1, 1]
    assert copies._memory["model"].keys() == {"a"}
    copies.take({"a": torch.zeros(1)}, part="optimizer")
    assert copies._memory.keys() == {"model", "optimizer"}


def test_a_transposed_weight_is_copied_as_it_reads() -> None:
    weight = torch.arange(6.0).reshape(2, 3).T
    copy = HostCopies().take({"w": weight}, part="m")["w"]
    assert copy.is_contiguous()
    assert torch.equal(copy, weight)


class Driver:
    """CUDA's runtime, as far as pinning and copying go."""

    def __init__(self, *, most: int) -> None:
        self.most = most
        self.pinned: dict[int, int] = {}
        self.said: list[str] = []

    def cudaHostRegister(self, address: int, size: int, _flags: int) -> int:  # noqa: N802
        if len(self.pinned) == self.most:
            return 2
        self.pinned[address] = size
        return 0

    def cudaHostUnregister(self, address: int) -> int:  # noqa: N802
        del self.pinned[address]
        return 0

    def event(self) -> Any:
        return SimpleNamespace(record=lambda stream: self.said.append(f"record {stream}"),
                               synchronize=lambda: self.said.append("wait"))  # fmt: skip


class OnGpu:
    """A tensor there."""

    def __init__(self, driver: Driver, value: Tensor) -> None:
        self.device = torch.device("cuda", 1)
        self.shape, self.dtype = value.shape, value.dtype
        self._driver, self._value = driver, value

    def detach(self) -> Tensor:
        self._driver.said.append("copy")
        return self._value


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    driver = Driver(most=2)
    monkeypatch.setattr(torch.cuda, "cudart", lambda: driver)
    monkeypatch.setattr(torch.cuda, "Event", driver.event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    return driver


def test_from_a_gpu_all_copies_are_under_way_before_one_is_waited_for(driver: Driver) -> None:
    copies = HostCopies()
    taken = copies.take({name: OnGpu(driver, torch.full((4,), 7.0)) for name in "ab"}, part="model")  # type: ignore[misc]
    assert driver.said == ["copy", "copy", "record stream of cuda:1", "wait"]
    assert driver.pinned == {copy.data_ptr(): 16 for copy in taken.values()}
    assert all(copy.tolist() == [7, 7, 7, 7] for copy in taken.values())


def test_pinned_memory_is_kept_and_given_back(driver: Driver) -> None:
    copies = HostCopies()
    for _ in range(3):
        copies.take({"a": OnGpu(driver, torch.zeros(4))}, part="model")  # type: ignore[dict-item]
    assert len(driver.pinned) == 1
    copies.take({}, part="model")
    gc.collect()
    assert driver.pinned == {}


def test_where_the_driver_pins_no_more_copies_are_taken_all_the_same(
    driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    copies = HostCopies()
    taken = copies.take({name: OnGpu(driver, torch.ones(2)) for name in "abcd"}, part="model")  # type: ignore[misc]
    assert all(copy.tolist() == [1, 1] for copy in taken.values())
    assert len(driver.pinned) == 2
    assert caplog.text.count("pins no more host memory") == 1


def test_an_empty_tensor_needs_no_pages(driver: Driver) -> None:
    assert HostCopies().take({"a": OnGpu(driver, torch.zeros(0))}, part="m")["a"].shape == (0,)  # type: ignore[dict-item]
    assert driver.pinned == {}
    assert host_copies._pin(torch.zeros(1)), "the driver would have"
