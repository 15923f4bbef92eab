"""Which resources are accelerators, by the names that a device plugin gives to what it hands out."""

import re
from pathlib import Path

import pytest

from footplate.api.accelerators import ACCELERATORS, check_names, count, gpus, is_accelerator

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("resource", "known"),
    [
        pytest.param("nvidia.com/gpu", True, id="whole"),
        pytest.param("nvidia.com/gpu.shared", True, id="time-sliced or MPS, renamed"),
        pytest.param("nvidia.com/mig-1g.5gb", True, id="MIG"),
        pytest.param("nvidia.com/mig-1g.5gb.shared", True, id="MIG, time-sliced"),
        pytest.param("amd.com/gpu", True, id="AMD"),
        pytest.param("amd.com/cpx_nps4", True, id="AMD, partitioned"),
        pytest.param("habana.ai/gaudi", True, id="Gaudi"),
        pytest.param("google.com/tpu", True, id="TPU"),
        pytest.param("aws.amazon.com/neuroncore", True, id="Neuron's cores"),
        pytest.param("gpu.intel.com/i915", True, id="Intel"),
        pytest.param("nvidia.com/gpumem", False, id="HAMi's share of memory, in MiB"),
        pytest.param("gpu.intel.com/millicores", False, id="Intel's share of a device"),
        pytest.param("gpu.intel.com/i915_monitoring", False, id="Intel's monitoring"),
        pytest.param("rdma/hca", False, id="network card"),
        pytest.param("vpc.amazonaws.com/efa", False, id="EFA"),
        pytest.param("evil.com/nvidia.com/gpu", False, id="another's domain"),
        pytest.param("cpu", False, id="cpu"),
    ],
)
def test_what_counts_by_default(resource: str, known: bool) -> None:
    assert is_accelerator(resource) is known


def test_a_star_stands_for_any_text_and_nothing_else_is_special() -> None:
    names = ("acme.com/npu-*", "acme.com/x.y")
    found = [name for name in ("acme.com/npu-8", "acme.com/npu", "acme.com/npu-a/b", "acme.com/xzy", "nvidia.com/gpu")
             if is_accelerator(name, names)]  # fmt: skip
    assert found == ["acme.com/npu-8"]
    assert not is_accelerator("acme.com/npu-8", ())


def test_they_are_counted_by_name() -> None:
    limits = {"cpu": "8", "nvidia.com/gpu": "8", "nvidia.com/mig-3g.40gb": 2, "habana.ai/gaudi": "1k", "rdma/hca": 4}
    found = count(limits)
    assert found == {"nvidia.com/gpu": 8, "nvidia.com/mig-3g.40gb": 2, "habana.ai/gaudi": 1000}
    assert gpus(found) == 10


def test_names_that_can_be_none_are_told_with_the_way_out() -> None:
    check_names(ACCELERATORS)
    for name in ("gpu", "*", "*/gpu", "nvidia.com/", "nvidia.com/a b", "nvidia.com/gpu/0", "NVIDIA.com/gpu"):
        with pytest.raises(ValueError, match=re.escape(f"{name!r} is no accelerator's name: write the maker's domain")):
            check_names([name])


def test_the_document_has_the_whole_list() -> None:
    text = (ROOT / "docs/hardware.md").read_text().split("<!-- accelerators -->")[1]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall("`([^`]+)`", row)]
    assert sorted(named) == sorted(ACCELERATORS)
