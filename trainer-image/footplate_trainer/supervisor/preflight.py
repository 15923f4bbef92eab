"""Runs the preflight of a pod before anything else: probes in processes of their own, bounded in time, and what their
readings say of this node.

A node that falls short says so itself, with the exit code that the operator reads; the others end as those who have
lost a peer do.
"""

import asyncio
import importlib.util
import os
import sys
import time
from collections.abc import Mapping, Sequence

import structlog

from footplate.api.preflight import Preflight
from footplate.api.reports import PreflightStatus
from footplate.contract import rendezvous_port
from footplate_trainer.errors import ConfigError, NodeUnfit, PeerLost
from footplate_trainer.preflight import reading as readings
from footplate_trainer.preflight.judging import blame, of_node, of_others, shortfalls
from footplate_trainer.preflight.reading import Reading
from footplate_trainer.rank import devices
from footplate_trainer.supervisor import processes
from footplate_trainer.supervisor.launch import Launch
from footplate_trainer.supervisor.pod import Pod

TICK_SECONDS = 0.1
IMPORT_SECONDS = 1800.0
"""How long a probe may take to import torch, gigabytes of an image that nobody has read yet. It says nothing of the
node's devices or network, so it is no part of what they are measured by, nor held against the node.
"""
_PROBE = ("-m", "footplate_trainer.preflight.probe")
log = structlog.get_logger()


async def check(pod: Pod, preflight: Preflight) -> PreflightStatus:
    """What the nodes have shown, once all that is asked of them is there.

    Raises:
        NodeUnfit: this node falls short.
        PeerLost: another does, or nobody knows which.
        ConfigError: it can't be checked at all.
    """
    if importlib.util.find_spec("torch") is None:
        raise ConfigError(
            "the runtime has a preflight, and the image's Python that runs our supervisor has no torch to check with; "
            "use an image with footplate[trainer], or a runtime without preflight"
        )
    asked = devices.asked_for(pod.config)
    count = sum(asked.values()) or (pod.processes if pod.spec.pod_template.resource_claims else 1)
    instances = await asyncio.to_thread(devices.mig_instances, asked, count)
    launches = [_launch(pod, local, count, instances) for local in range(count)]
    log.info("preflight", devices=count if preflight.devices else 0, network=preflight.network)
    found, seconds, over = await _run(pod, launches, preflight.timeout_seconds)
    _judge(pod, preflight, found, over=over)
    status = _summary(found, seconds)
    log.info("preflight passed", **status.to_json())
    return status


def _launch(pod: Pod, local: int, count: int, instances: Sequence[str]) -> Launch:
    port = rendezvous_port(f"{pod.uid}/preflight", pod.run, pod.attempt)
    place = {
        "RANK": pod.node_rank * count + local,
        "LOCAL_RANK": local,
        "WORLD_SIZE": pod.nodes * count,
        "LOCAL_WORLD_SIZE": count,
        "NODE_RANK": pod.node_rank,
        "MASTER_PORT": port,
    }
    address = os.environ.get("MASTER_ADDR") or "127.0.0.1"
    own = {"CUDA_VISIBLE_DEVICES": instances[local]} if instances else {}
    env = {**os.environ, **{name: str(value) for name, value in place.items()}, "MASTER_ADDR": address, **own}
    cpus = pod.spec.resources.cpus or len(os.sched_getaffinity(0))
    env.setdefault("OMP_NUM_THREADS", str(max(1, cpus // count)))
    return Launch(rank=local, command=[sys.executable, *_PROBE], env=env, folder=pod.work_dir)


async def _run(pod: Pod, launches: Sequence[Launch], limit: float) -> tuple[Mapping[int, Reading], float, str]:
    """The last readings, the seconds that the checks took, and why they were ended before their end; else empty."""
    paths = [readings.path_of(pod.run_dir, launch.rank) for launch in launches]
    probes = [processes.start_one(launch) for launch in launches]
    for probe in probes:
        await probe.copy_output(f"[preflight {probe.rank}] ", None)
    began = now = time.monotonic()
    spent, over = 0.0, ""
    try:
        while not over and not all(probe.ended for probe in probes):
            await asyncio.sleep(TICK_SECONDS)
            for probe in probes:
                probe.poll()
            stages = {readings.read(path).stage for path in paths}
            before, now = now, time.monotonic()
            spent += now - before if stages & {"device", "network"} else 0.0
            if spent > limit:
                over = f"it didn't end within {limit:g} s (preflight.timeoutSeconds)"
            elif "starting" in stages and now - began > IMPORT_SECONDS:
                over = f"{IMPORT_SECONDS:g} s were over"
    finally:
        for probe in probes:
            probe.kill()
    return {launch.rank: readings.read(path) for launch, path in zip(launches, paths, strict=True)}, spent, over


def _judge(pod: Pod, preflight: Preflight, found: Mapping[int, Reading], *, over: str) -> None:
    mistake = next((each.mistake for each in found.values() if each.mistake), "")
    if mistake:
        raise ConfigError(f"the runtime's preflight can't be done: {mistake}")
    short = [words for local, each in found.items() for words in shortfalls(local, each, preflight.floors)]
    short += [words for local, each in found.items() if (words := _unfinished(local, each, over))]
    if short:
        raise NodeUnfit("; ".join(short[:4]))
    lost = next((each.lost for each in found.values() if each.lost), "")
    first, floor = found[0], preflight.floors.gigabits_per_second
    if floor is not None and first.links:
        blamed = blame(first.links, floor)
        if pod.node_rank in blamed.nodes:
            raise NodeUnfit(of_node(pod.node_rank, first.links, floor))
        lost = of_others(blamed, first.links, floor) if blamed.nodes or blamed.everywhere else lost
    why = over or "a probe was ended"
    if not lost and any(each.stage == "starting" for each in found.values()):
        lost = (
            f"the preflight didn't come to measure anything: {why} while it imported torch; look at this pod's memory, "
            "and at how fast its node reads the image"
        )
    if not lost and any(each.stage != "done" for each in found.values()):
        lost = f"the network's check is unfinished, and which node is to blame can't be told: {why}"
    if lost:
        raise PeerLost(lost)


def _unfinished(local: int, reading: Reading, over: str) -> str:
    """What speaks against this node where a probe's time was over, or it was ended."""
    why = over or "its probe was ended"
    if reading.stage == "device" and not reading.unfit:
        return f"device {local} ({reading.device or 'unknown'}): {why}"
    if reading.stage == "network" and reading.exchanges_with is not None and over:
        return (
            f"the network of this node and of node rank {reading.exchanges_with}: {why}; which of the two can't be told"
        )
    return ""


def _summary(found: Mapping[int, Reading], seconds: float) -> PreflightStatus:
    memory = [m for each in found.values() for m in (each.memory_bytes, each.least_memory_bytes) if m is not None]
    speed = [t for each in found.values() for t in (each.teraflops, each.least_teraflops) if t is not None]
    rate = found[0].gigabits_per_second
    return PreflightStatus(
        seconds=round(seconds, 1),
        device_memory_bytes=min(memory, default=None),
        teraflops=_rounded(min(speed, default=None)),
        gigabits_per_second=_rounded(rate),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
