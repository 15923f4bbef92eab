"""Which device a rank gets, and that none is trained on the CPU for want of what its job asks for."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from footplate.contract import PRETENDED_ACCELERATORS, Env, ExitCode
from footplate_trainer.errors import BrokenDevice, ConfigError
from footplate_trainer.rank import devices, stopping
from footplate_trainer.rank import program as rank
from footplate_trainer.rank.context import check_devices, context
from footplate_trainer.rank.devices import Seen, choose, mig_instances, problem, take
from footplate_trainer.rank.environment import Context, here, read_context
from footplate_trainer.supervisor.launch import plan_launches
from footplate_trainer.supervisor.pod import read_pod
from footplate_trainer.training.trainer import _default_precision
from trainer_pods import pod_environment

prepare_module = sys.modules["footplate_trainer.training.prepare"]  # the package's own name for it is the function's
CPU = torch.device("cpu")
GPU = {"nvidia.com/gpu": 8}
WHEEL = Seen(torch="2.13.0+cu130", cuda="13.0", driver="535.104.05", why="The NVIDIA driver on your system is too old")


@pytest.mark.parametrize(
    ("local_rank", "ranks", "asked", "count", "one_each", "device"),
    [
        pytest.param(0, 1, {}, 0, False, CPU, id="none there"),
        pytest.param(3, 8, GPU, 8, False, torch.device("cuda", 3), id="one a rank"),
        pytest.param(1, 2, {}, 8, False, torch.device("cuda", 1), id="not asked for, enough there"),
        pytest.param(1, 2, {}, 1, False, CPU, id="not asked for, too few for all: no rank has one"),
        pytest.param(0, 2, {}, 1, False, CPU, id="nor has the first"),
        pytest.param(3, 4, {"nvidia.com/mig-1g.10gb": 4}, 1, True, torch.device("cuda", 0), id="MIG"),
    ],
)
def test_a_rank_has_the_device_of_its_number(
    local_rank: int, ranks: int, asked: dict[str, int], count: int, one_each: bool, device: torch.device
) -> None:
    assert choose(local_rank, ranks, asked, count=count, one_each=one_each) == device


@pytest.mark.parametrize(
    ("asked", "ranks", "seen", "kind", "words"),
    [
        pytest.param(GPU, 8, WHEEL, ConfigError,
                     ["nvidia.com/gpu: 8", "2.13.0+cu130", "CUDA 13.0", "535.104.05", "too old", "newer driver"],
                     id="an old driver"),
        pytest.param({"nvidia.com/gpu": 1}, 1, Seen(torch="2.13.0+cpu", driver="570.1"), ConfigError,
                     ["built for the CPU alone", "570.1", "built for CUDA"], id="a wheel for CPUs"),
        pytest.param({"nvidia.com/gpu": 1}, 1, Seen(torch="2.13.0", cuda="13.0"), ConfigError,
                     ["no driver of NVIDIA in the pod", "runtimeClassName"], id="no driver in the pod"),
        pytest.param({"amd.com/gpu": 1}, 1, Seen(torch="2.13.0", cuda="13.0", driver="6.3"), ConfigError,
                     ["AMD's driver here is 6.3", "built for ROCm"], id="a wheel for another maker"),
        pytest.param({"nvidia.com/gpu": 1}, 1, Seen(cuda="13.0", driver="1", restricted="CUDA_VISIBLE_DEVICES=-1"),
                     ConfigError, ["CUDA_VISIBLE_DEVICES=-1 hides"], id="hidden"),
        pytest.param({"google.com/tpu": 4}, 4, Seen(), ConfigError, ["google.com/tpu: 4", "trainer.command"], id="TPU"),
        pytest.param({"habana.ai/gaudi": 1}, 1, Seen(count=1), ConfigError, ["habana.ai/gaudi"], id="Gaudi"),
        pytest.param({"aws.amazon.com/neuroncore": 2}, 2, Seen(), ConfigError, ["neuroncore"], id="Neuron"),
        pytest.param({"gpu.intel.com/i915": 1}, 1, Seen(), ConfigError, ["gpu.intel.com/i915"], id="Intel"),
        pytest.param({"nvidia.com/gpu": 1}, 4, Seen(count=1), ConfigError, ["4 ranks", "processesPerNode"],
                     id="more ranks than devices"),
        pytest.param({"nvidia.com/gpu.shared": 2}, 2, Seen(count=1), ConfigError, ["shares of one device"],
                     id="shares"),
        pytest.param(GPU, 8, Seen(count=7, driver="570.1"), BrokenDevice, ["sees 7 of its devices", "570.1"],
                     id="a lost one"),
        pytest.param(GPU, 8, Seen(count=7, restricted="CUDA_VISIBLE_DEVICES=0"), ConfigError, ["hides the others"],
                     id="hidden by the job"),
    ],
)  # fmt: skip
def test_what_is_asked_for_and_not_there_is_told(
    asked: dict[str, int], ranks: int, seen: Seen, kind: type[Exception], words: list[str]
) -> None:
    error = problem(ranks, asked, seen)
    assert type(error) is kind
    for word in words:
        assert word in str(error)


def test_what_is_there_is_no_problem() -> None:
    assert problem(8, GPU, Seen(count=8)) is None
    assert problem(1, GPU, Seen(count=8)) is None
    assert problem(1, {}, Seen()) is None
    assert problem(2, {"nvidia.com/mig-1g.10gb": 2}, Seen(count=1), one_each=True) is None


def job(folder: Path, trainer: dict[str, Any], limits: dict[str, int]) -> dict[str, str]:
    path = folder / "job.json"
    spec = {"trainer": {"image": "i", **trainer}, "resources": {"limits": limits}}
    path.write_text(json.dumps({"metadata": {"name": "digits", "uid": "u-1"}, "run": 1, "spec": spec}))
    return {Env.CONFIG: str(path), Env.RUN: "1", Env.RUN_DIR: str(folder), "RANK": "0", "WORLD_SIZE": "1"}


@pytest.fixture
def enter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Context]]:
    """A rank's place in a job that asks for these limits."""
    from footplate_trainer.rank.report import reporter

    def enter(limits: dict[str, int], **trainer: Any) -> Context:
        for name, value in job(tmp_path, trainer or {"entrypoint": "train.py"}, limits).items():
            monkeypatch.setenv(name, value)
        here.cache_clear()
        reporter.cache_clear()
        return here()

    monkeypatch.setattr(stopping, "install", lambda _seconds: None)  # of it a process can't be rid again
    yield enter
    monkeypatch.undo()
    here.cache_clear()
    reporter.cache_clear()
    context.cache_clear()


@pytest.fixture
def no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(devices, "_driver_version", lambda: "570.86.15")


@pytest.mark.usefixtures("no_device")
def test_a_program_never_starts_on_the_cpu_where_its_job_asks_for_a_gpu(enter: Callable[..., Context]) -> None:
    place = enter({"nvidia.com/gpu": 1})
    with pytest.raises(ConfigError, match=r"torch sees no device.*570\.86\.15") as refused:
        rank.run(place)
    assert rank.failure_code(refused.value) == ExitCode.CONFIG_ERROR
    with pytest.raises(ConfigError, match="torch sees no device"):
        context.__wrapped__()  # type: ignore[attr-defined]


@pytest.mark.usefixtures("no_device")
def test_a_commands_devices_are_its_own_and_the_librarys_is_told(enter: Callable[..., Context]) -> None:
    note = check_devices(enter({"google.com/tpu": 4}, command=["python", "train.py"]))
    assert note is not None
    assert "context().device is the CPU" in note
    assert "google.com/tpu" in note


@pytest.mark.usefixtures("no_device")
def test_pretended_accelerators_are_none(enter: Callable[..., Context], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PRETENDED_ACCELERATORS, "1")
    check_devices(enter({"nvidia.com/gpu": 1}))


def test_jobs_that_ask_for_none_are_not_asked(enter: Callable[..., Context], monkeypatch: pytest.MonkeyPatch) -> None:
    place = enter({"cpu": 1})
    monkeypatch.setattr(devices, "look", lambda: pytest.fail("nobody asked"))
    check_devices(place)


def test_what_torch_and_the_kernel_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    version = tmp_path / "version"
    version.write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\nGCC version: 12"
    )
    monkeypatch.setattr(devices, "_NVIDIA_DRIVER", version)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", lambda: torch.cuda.no_such_thing)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    seen = devices.look()
    assert (seen.count, seen.driver, seen.restricted) == (0, "570.86.15", "CUDA_VISIBLE_DEVICES=2")
    assert seen.torch == torch.__version__
    assert "no_such_thing" in seen.why
    version.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023")
    assert devices.look().driver == "535.104.05"


def test_a_device_that_cant_be_used_is_the_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_device: torch.device) -> None:
        raise RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable\nmore")

    monkeypatch.setattr(torch.cuda, "set_device", broken)
    with pytest.raises(BrokenDevice, match=r"cuda:1 can't be used.*busy or unavailable$"):
        take(torch.device("cuda", 1))
    assert BrokenDevice.exit_code == ExitCode.PEER_LOST
    assert take(CPU) is None


@pytest.mark.parametrize(("name", "backend"), [("NVIDIA H100 80GB HBM3", "nccl"), ("NVIDIA H100 MIG 1g.10gb", "gloo")])
def test_mig_instances_speak_over_gloo(name: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "set_device", lambda _device: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: name)
    assert take(torch.device("cuda", 0)) == backend


LISTED = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5d5ba0d6)
  MIG 1g.5gb     Device  0: (UUID: MIG-c6d4f1ef-42e4)
  MIG 1g.5gb     Device  1: (UUID: MIG-cba663e8-9bed)
"""
TWO = ["MIG-c6d4f1ef-42e4", "MIG-cba663e8-9bed"]


@pytest.mark.parametrize(
    ("asked", "processes", "environ", "found"),
    [
        pytest.param({"nvidia.com/mig-1g.5gb": 2}, 2, {}, TWO, id="as nvidia-smi lists them"),
        pytest.param({"nvidia.com/mig-1g.5gb": 2}, 2, {"NVIDIA_VISIBLE_DEVICES": "MIG-a,MIG-b"}, ["MIG-a", "MIG-b"],
                     id="given"),
        pytest.param({"nvidia.com/gpu": 2}, 2, {"NVIDIA_VISIBLE_DEVICES": "void"}, TWO, id="named as GPUs"),
        pytest.param({"nvidia.com/gpu": 2}, 2, {"NVIDIA_VISIBLE_DEVICES": "GPU-a,GPU-b"}, [], id="whole GPUs"),
        pytest.param({"nvidia.com/mig-1g.5gb": 1}, 1, {}, [], id="one process sees it anyway"),
        pytest.param({"nvidia.com/mig-1g.5gb": 2}, 2, {"CUDA_VISIBLE_DEVICES": "MIG-x"}, [], id="the user has chosen"),
        pytest.param({"amd.com/gpu": 2}, 2, {}, [], id="another maker's"),
    ],
)  # fmt: skip
def test_each_process_gets_a_mig_instance_of_its_own(
    asked: dict[str, int], processes: int, environ: dict[str, str], found: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_list_devices", lambda: LISTED)
    assert list(mig_instances(asked, processes, environ)) == found


def test_too_few_mig_instances_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_list_devices", lambda: LISTED)
    with pytest.raises(ConfigError, match="3 ranks and 2 MIG instances"):
        mig_instances({"nvidia.com/mig-1g.5gb": 3}, 3, {})


def test_ranks_are_started_with_their_instance(tmp_path: Path) -> None:
    pod = read_pod({**pod_environment(tmp_path, {"trainer": {"entrypoint": "t.py"}}), Env.PROCESSES_PER_NODE: "2"})
    assert [one.env["CUDA_VISIBLE_DEVICES"] for one in plan_launches(pod, tmp_path, {}, instances=TWO)] == TWO
    assert all("CUDA_VISIBLE_DEVICES" not in one.env for one in plan_launches(pod, tmp_path, {}))


def test_a_rank_with_an_instance_of_its_own_has_the_first_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", TWO[1])
    environ = {**job(tmp_path, {"entrypoint": "t.py"}, {}), "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    assert read_context(environ).device == torch.device("cuda", 0)


@pytest.mark.parametrize(("native", "precision"), [(True, "bf16"), (False, "fp32")])
def test_emulated_bf16_is_no_default(native: bool, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A T4 or V100 says yes, unless it is asked without its emulation."""

    def is_supported(including_emulation: bool = True) -> bool:
        return including_emulation or native

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    assert _default_precision(torch.device("cuda", 0)) == precision
    assert _default_precision(CPU) == "fp32"


def test_tf32_is_switched_on_for_gpus_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(torch, "set_float32_matmul_precision", said.append)
    monkeypatch.setattr(prepare_module, "use_tf32", lambda _device: devices.use_tf32(torch.device("cuda", 0)))
    model = torch.nn.Linear(2, 2)
    assert prepare_module.prepare(model, precision="tf32") is model
    assert said == ["high"]
    assert model(torch.ones(1, 2)).dtype == torch.float32
    devices.use_tf32(CPU)
    prepare_module.prepare(model, precision="fp32")
    assert said == ["high"]
