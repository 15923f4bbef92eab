"""What must hold on a GPU, each check by itself. All run in one process, in the order of `CHECKS`."""

import faulthandler
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

from footplate_trainer import exchange, export_model, prepare
from footplate_trainer.checkpoint.codec import flatten
from footplate_trainer.checkpoint.host_copies import HostCopies
from footplate_trainer.checkpoint.sharded import divide
from footplate_trainer.rank import devices
from footplate_trainer.rank.report import Reporter
from footplate_trainer.supervisor import flight_recorder
from footplate_trainer.supervisor.stacks import Finding, parse_main_thread
from footplate_trainer.timing.stragglers import StragglerWatch
from footplate_trainer.timing.work import WorkMeter
from footplate_trainer.training.measured import MeasuredDataParallel
from footplate_trainer.training.prepare import compile_model
from gpu import speed, two_ranks
from gpu.gpt import Gpt, make_tokens
from gpu.setting import Setting, wait_for

Facts = dict[str, Any]
STUCK = """
import faulthandler, signal, sys, time, torch
device = torch.device(sys.argv[1])
faulthandler.register(signal.SIGUSR1, file=open(sys.argv[2], "ab", buffering=0))
value = torch.ones((), device=device)

def wait_for_device():
    torch.cuda._sleep(10**12)
    return value.item()

def wait_for_disk():
    time.sleep(600)

print("ready", flush=True)
if sys.argv[3] == "device" and device.type == "cuda":
    wait_for_device()
wait_for_disk()
"""


def nccl(setting: Setting) -> Facts:
    """A gang's backend starts and sums; the group stays for the checks that follow."""
    folder = setting.folder / "flight"
    folder.mkdir()
    os.environ |= flight_recorder.settings(folder, {}, torch.__version__)
    backend = devices.take(setting.device)
    dist.init_process_group(
        backend=f"cpu:gloo,cuda:{backend}" if backend else "gloo",
        store=dist.FileStore(str(setting.folder / "store"), 1),
        rank=0,
        world_size=1,
        device_id=setting.device if backend == "nccl" else None,
    )
    ones = torch.ones(1024, device=setting.device)
    dist.all_reduce(ones)
    assert ones.sum().item() == 1024
    return {"backend": backend or "gloo", "device": str(devices.look())}


def bf16(setting: Setting) -> Facts:
    """A model under autocast gives finite losses and gradients in float32."""
    native = devices.has_bf16(setting.device)
    model = _gpt(setting)
    prepared = prepare(model, precision="bf16")
    tokens = make_tokens(setting, setting.batch).to(setting.device)
    loss = prepared(tokens).mean()
    loss.backward()
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)
    assert all(weight.grad is not None and weight.grad.dtype == torch.float32 for weight in model.parameters())
    return {"native": native, "loss": round(loss.item(), 3)}


def compiled(setting: Setting) -> Facts:
    """A compiled model gives what it gives otherwise."""
    model = _gpt(setting).eval()
    tokens = make_tokens(setting, setting.batch).to(setting.device)
    with torch.no_grad():
        expected = model(tokens)
        with mock.patch("torch.compile", partial(torch.compile, backend=setting.compiler)):
            compile_model(model)
        began = time.perf_counter()
        found = model(tokens)
        wait_for(setting.device)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    return {"seconds to compile": round(time.perf_counter() - began, 1)}


def cuda_graphs(setting: Setting) -> Facts:
    """A graph is captured while progress is written as often as can be."""
    run = setting.folder / "run"
    run.mkdir()
    layer = nn.Linear(64, 64).to(setting.device)
    inputs = torch.ones(64, 64, device=setting.device)
    with mock.patch.object(sys.modules[Reporter.__module__], "WRITE_SECONDS", 0.001):
        reporter = Reporter(0, run)
        try:
            for step in range(1, 20):
                reporter.step_done(step, layer(inputs).sum().detach(), None, {"other": inputs.mean()})
            captures = 20 if setting.on_gpu else 0
            for capture in range(captures):
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):
                    outputs = layer(inputs).sum().detach()
                    time.sleep(0.02)
                    reporter.step_done(20 + capture, outputs, None, {})
                graph.replay()
                reporter.step_done(20 + capture, outputs, None, {})
            expected = layer(inputs).sum().item()
            reporter.step_done(100, layer(inputs).sum().detach(), None, {})
        finally:
            reporter.close()
    report = exchange.read_report(run)
    assert report is not None
    assert abs(report.progress.metrics["loss"] - expected) < 1e-2
    return {"captures": captures}


def sharded(setting: Setting) -> Facts:
    """FSDP2 at a world size of one, with its pieces copied as a checkpoint has them."""
    model = _gpt(setting)
    expected = model(make_tokens(setting, 1).to(setting.device)).mean().item()
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if devices.has_bf16(setting.device) else None
    for module in (*model.blocks, model):
        fully_shard(module, **({"mp_policy": policy} if policy else {}))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loss = model(make_tokens(setting, 1).to(setting.device)).mean()
    loss.backward()
    optimizer.step()
    assert abs(loss.item() - expected) < 0.2, "more than bf16's rounding"
    rest, pieces = divide(flatten(model.state_dict()))
    copies = HostCopies().take(pieces.tensors, part="model.shards")
    assert len(copies) + len(rest.tensors) == len(model.state_dict())
    assert all(torch.equal(copies[name], piece.cpu()) for name, piece in pieces.tensors.items())
    return {"pieces": len(copies)}


def exported(setting: Setting) -> Facts:
    """An export takes no more of the device's memory, and its file holds the weights."""
    model = nn.Sequential(nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 8)).to(setting.device)
    example = torch.randn(4, 1024, device=setting.device)
    wait_for(setting.device)
    if setting.on_gpu:
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if setting.on_gpu else 0
    (path,) = export_model(model, example, formats=["safetensors"], folder=setting.folder / "model")
    more = torch.cuda.max_memory_allocated() - before if setting.on_gpu else 0
    assert torch.equal(load_file(path)["0.weight"], model[0].weight.cpu())
    assert more < 2**20, f"{more} bytes more on the device"
    return {"bytes more on the device": more}


def staged(setting: Setting) -> Facts:
    """A checkpoint's copies are whole, pinned, and faster than pageable ones from the second on."""
    model = _gpt(setting)
    tensors = dict(model.state_dict())
    copies = HostCopies()
    seconds = [_seconds(setting, lambda: copies.take(tensors, part="model")) for _ in range(3)]
    taken = copies.take(tensors, part="model")
    with torch.no_grad():
        kept = {name: tensor.cpu().clone() for name, tensor in tensors.items()}
        for weight in model.parameters():
            weight.zero_()
    assert all(torch.equal(taken[name], value) for name, value in kept.items())
    assert not setting.on_gpu or all(copy.is_pinned() for copy in taken.values())
    pageable = _seconds(setting, lambda: [tensor.to("cpu") for tensor in tensors.values()])
    size = sum(tensor.nbytes for tensor in tensors.values())
    assert not setting.on_gpu or seconds[-1] < pageable, "pinned memory is slower"
    return {
        "GB": round(size / 1e9, 3),
        "first stall s": round(seconds[0], 4),
        "stall s": round(seconds[-1], 4),
        "pageable s": round(pageable, 4),
    }


def recorded(setting: Setting) -> Facts:
    """NCCL's watchdog writes what the rank has begun when it is asked by its pipe."""
    folder = setting.folder / "flight"
    asked = flight_recorder.ask(folder, [0])
    if not setting.on_gpu or dist.get_backend_config() is None or "nccl" not in dist.get_backend_config():
        assert not asked
        return {"skipped": "gloo's recorder has no pipe"}
    assert asked, "no pipe: are the names of its variables those of this torch?"
    deadline = time.monotonic() + flight_recorder.WRITE_SECONDS
    while not (found := flight_recorder.read(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert found[0].begun, "nothing was recorded"
    assert flight_recorder.waits(0, found) is False
    return {"recording": str(found[0])}


def hangs(setting: Setting) -> Facts:
    """A rank that waits for its device is told from one that waits for something else, by their stacks."""
    program = setting.folder / "stuck.py"
    program.write_text(STUCK)
    found = {}
    for what in ("device", "disk") if setting.on_gpu else ("disk",):
        finding = _found_stuck(setting, program, what)
        assert finding.frames, "no stack came"
        found[what] = finding.waits_for_others
    assert found == ({"device": True, "disk": False} if setting.on_gpu else {"disk": False})
    return found


def _found_stuck(setting: Setting, program: Path, what: str) -> Finding:
    """What the stack of a process is that waits for this, once it has come so far."""
    stack = setting.folder / f"{what}.stack"
    arguments = [sys.executable, str(program), str(setting.device), str(stack), what]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            deadline = time.monotonic() + 30
            finding = Finding()
            while not any(frame.name.startswith("wait_for_") for frame in finding.frames[-1:]):
                assert time.monotonic() < deadline, finding.frames
                os.truncate(stack, 0)
                child.send_signal(signal.SIGUSR1)
                time.sleep(1.0)
                finding = Finding(parse_main_thread(stack.read_text()), "R", on_device=True)
            return finding
        finally:
            child.kill()


def stragglers(setting: Setting) -> Facts:
    """A rank whose host is slow is named, though the device is what takes the time of the others."""
    work = []
    for slow in (0.0, 0.05):
        meter = WorkMeter()
        model = nn.Linear(512, 512).to(setting.device)
        ids = [setting.device] if setting.on_gpu else None
        wrapped: DistributedDataParallel = MeasuredDataParallel(model, meter, device_ids=ids)
        inputs = torch.ones(512, 512, device=setting.device)
        for step in range(1, 20):
            time.sleep(slow)
            wrapped(inputs).sum().backward()
            meter.step_ended(step)
        wait_for(setting.device)
        work.append(meter.seconds)
    assert work[1] >= 0.05
    if not setting.on_gpu:
        work[0] = min(work[0], 0.01)  # this machine may do much else
    watch = StragglerWatch(1)
    named = [watch.look(work, now=4.0 * look) for look in range(12)][-1]
    assert [one.rank for one in named] == [1], work
    return {"work ms": [round(1e3 * seconds, 2) for seconds in work], "factor": named[0].factor}


def fit(setting: Setting) -> Facts:
    """What `fit` costs over a loop by hand."""
    found = speed.compare(setting)
    assert not setting.on_gpu or found["fit by hand"] >= 0.99, f"goal: 0.99 of the loop by hand; {found}"
    return found


CHECKS: dict[str, Callable[[Setting], Facts]] = {
    "nccl": nccl,
    "bf16": bf16,
    "compile": compiled,
    "cuda graphs": cuda_graphs,
    "fsdp2": sharded,
    "export": exported,
    "checkpoint": staged,
    "flight recorder": recorded,
    "hangs": hangs,
    "stragglers": stragglers,
    "fit": fit,
    "two ranks": two_ranks.check,
}


def run_all(setting: Setting, say: Callable[[str], None]) -> list[str]:
    """Runs all checks, says what each has found, and returns the names of those that failed."""
    faulthandler.enable()
    failed = []
    for name, check in CHECKS.items():
        began = time.perf_counter()
        try:
            found: object = check(setting)
        except Exception:  # the others are to be seen, too
            logging.exception("%s", name)
            failed.append(name)
            found = "FAILED"
        say(f"{name:16} {time.perf_counter() - began:6.1f} s  {found}")
    if dist.is_initialized():
        dist.destroy_process_group()
    return failed


def _gpt(setting: Setting) -> Gpt:
    torch.manual_seed(0)
    return Gpt(setting).to(setting.device)


def _seconds(setting: Setting, work: Callable[[], object]) -> float:
    wait_for(setting.device)
    began = time.perf_counter()
    work()
    wait_for(setting.device)
    return time.perf_counter() - began
