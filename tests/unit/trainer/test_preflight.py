"""What is made of readings: who falls short, with the value beside the floor, and who is to blame for a network."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch

from footplate.api.preflight import Floors, Preflight
from footplate.contract import ExitCode, rendezvous_port
from footplate_trainer.errors import ConfigError, NodeUnfit, PeerLost, TrainerError
from footplate_trainer.preflight import devices
from footplate_trainer.preflight import reading as readings
from footplate_trainer.preflight.judging import Blame, blame, shortfalls
from footplate_trainer.preflight.network import rounds_of
from footplate_trainer.preflight.reading import Link, Reading
from footplate_trainer.supervisor import preflight
from footplate_trainer.supervisor.pod import Pod, read_pod
from trainer_pods import pod_environment

GIB = 2**30
ALL = Preflight.model_validate(
    {"devices": True, "network": True, "floors": {"deviceMemory": "75Gi", "teraflops": 500, "gigabitsPerSecond": 100}}
)
SOUND = Reading(
    stage="done", device="H100", memory_bytes=79 * GIB, teraflops=700.0, gigabits_per_second=300.0,
    least_memory_bytes=78 * GIB, least_teraflops=650.0,
)  # fmt: skip


def ring(*rates: float) -> tuple[Link, ...]:
    """Links from each node to the next."""
    return tuple(
        Link(nodes=(node, (node + 1) % len(rates)), gigabits_per_second=rate) for node, rate in enumerate(rates)
    )


PAIR = (Link(nodes=(0, 1), gigabits_per_second=2.0),)


@pytest.mark.parametrize(
    ("links", "nodes", "everywhere"),
    [
        pytest.param(ring(9, 9, 9, 9), set(), False, id="none"),
        pytest.param(ring(9, 1, 1, 9, 9), {2}, False, id="one of five"),
        pytest.param(ring(1, 9, 1), {0}, False, id="one of three"),
        pytest.param(ring(9, 1, 1, 1, 9, 9), {2, 3}, False, id="two beside each other"),
        pytest.param(ring(1, 1, 9, 1, 1, 9, 9), {1, 4}, False, id="two apart"),
        pytest.param(ring(9, 9, 1, 9, 9, 9), {2, 3}, False, id="a link: both its ends"),
        pytest.param(ring(1, 9, 9), {0, 1}, False, id="a link of three: two are fast"),
        pytest.param(ring(1, 9, 1, 9), set(), True, id="every other link"),
        pytest.param(ring(1, 1, 1, 1), set(), True, id="everywhere"),
        pytest.param(ring(1, 1, 1), set(), True, id="everywhere, of three"),
        pytest.param(PAIR, {0, 1}, False, id="two nodes, of which nobody can tell"),
    ],
)
def test_who_is_to_blame(links: tuple[Link, ...], nodes: set[int], everywhere: bool) -> None:
    assert blame(links, 5.0) == Blame(frozenset(nodes), everywhere)


@pytest.mark.parametrize("nodes", range(2, 12))
def test_each_node_is_measured_with_both_neighbours_and_never_twice_at_once(nodes: int) -> None:
    rounds = list(rounds_of(nodes))
    for pairs in rounds:
        busy = [node for pair in pairs for node in pair]
        assert len(busy) == len(set(busy))
    tested = sorted(tuple(sorted(pair)) for pairs in rounds for pair in pairs)
    assert tested == sorted({tuple(sorted((node, (node + 1) % nodes))) for node in range(nodes)})
    assert len(rounds) <= 3


def test_the_value_stands_beside_the_floor() -> None:
    short = SOUND.model_copy(update={"memory_bytes": 12 * GIB, "teraflops": 212.3456})
    assert shortfalls(3, short, ALL.floors) == [
        "device 3 (H100) has 12.0 GiB of memory free, and the runtime's preflight.floors.deviceMemory is 75Gi "
        "(75.0 GiB)",
        "device 3 (H100) computes 212.3 TFLOP/s, and the runtime's preflight.floors.teraflops is 500",
    ]
    assert shortfalls(3, SOUND, ALL.floors) == []
    assert shortfalls(3, short, Floors()) == []


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    spec = {"trainer": {"command": ["true"]}}
    return read_pod(pod_environment(tmp_path, spec, nodes=5, node_rank=2))


def judged(pod: Pod, *found: Reading, over: str = "") -> TrainerError | None:
    try:
        preflight._judge(pod, ALL, dict(enumerate(found)), over=over)
    except TrainerError as error:
        return error
    return None


JUDGED = [
    pytest.param({}, "", None, "", id="sound"),
    pytest.param({"teraflops": 1.0}, "", NodeUnfit, "device 1 (H100) computes 1 TFLOP/s", id="slow"),
    pytest.param({"unfit": "device 1 (H100): its matrix products are wrong, by 12 %"}, "", NodeUnfit, "are wrong",
                 id="wrong"),
    pytest.param({"stage": "device"}, "it didn't end within 60 s", NodeUnfit, "device 1 (H100): it didn't end within",
                 id="a device that hangs"),
    pytest.param({"stage": "device"}, "", NodeUnfit, "device 1 (H100): its probe was ended", id="killed"),
    pytest.param({"stage": "network", "exchanges_with": 3}, "late", NodeUnfit, "of node rank 3: late; which of the two",
                 id="a link that hangs"),
    pytest.param({"stage": "network"}, "late", PeerLost, "which node is to blame can't be told: late",
                 id="a sum that hangs"),
    pytest.param({"stage": "starting"}, "1800 s were over", PeerLost,
                 "didn't come to measure anything: 1800 s were over", id="an import that takes for ever"),
    pytest.param({"stage": "starting"}, "", PeerLost, "anything: a probe was ended while it imported torch",
                 id="killed while it imported"),
    pytest.param({"stage": "waiting", "lost": "rank 9 could not join"}, "", PeerLost, "rank 9 could not", id="lost"),
    pytest.param({"mistake": "no torch"}, "", ConfigError, "the runtime's preflight can't be done: no torch",
                 id="a mistake"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "over", "kind", "words"), JUDGED)
def test_what_becomes_of_a_pod(
    pod: Pod, changes: dict[str, Any], over: str, kind: type[TrainerError] | None, words: str
) -> None:
    error = judged(pod, SOUND, SOUND.model_copy(update=changes), over=over)
    assert type(error) is (kind or type(None))
    assert words in str(error)


@pytest.mark.parametrize(
    ("links", "kind", "words"),
    [
        pytest.param(ring(200, 3, 2, 200, 200), NodeUnfit,
                     "gives 3 Gbit/s with node rank 1 and 2 Gbit/s with node rank 3, and", id="this one"),
        pytest.param(ring(3, 200, 200, 200, 2), PeerLost, "node rank 0 falls short in preflight", id="another"),
        pytest.param(ring(1, 2, 3, 4, 5), PeerLost, "too slow everywhere: 5 pairs of nodes give 1 to 5 Gbit/s",
                     id="all"),
        pytest.param(ring(200, 200, 200, 200, 200), type(None), "", id="the sum alone was slow"),
    ],
)  # fmt: skip
def test_a_slow_network_is_judged_by_its_links(
    pod: Pod, links: tuple[Link, ...], kind: type[TrainerError], words: str
) -> None:
    error = judged(pod, SOUND.model_copy(update={"links": links, "gigabits_per_second": 2.0}))
    assert type(error) is kind
    assert words in str(error)


def test_the_worst_of_the_gang_is_told() -> None:
    found = preflight._summary({0: SOUND, 1: SOUND}, 12.34)
    assert found.to_json() == {
        "seconds": 12.3, "deviceMemoryBytes": 78 * GIB, "teraflops": 650.0, "gigabitsPerSecond": 300.0,
    }  # fmt: skip


def test_a_reading_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = readings.path_of(tmp_path, 0)
    assert readings.read(path) == Reading()
    whole = SOUND.model_copy(update={"links": ring(1, 2, 3)})
    readings.write(path, whole)
    assert readings.read(path) == whole
    path.write_text("{")
    assert readings.read(path) == Reading()


def test_an_exit_code_of_its_own() -> None:
    assert NodeUnfit.exit_code == ExitCode.NODE_UNFIT == 79


def test_a_product_that_is_wrong_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    speed, wrong = devices.compute(cpu, 0.01)
    assert speed > 0
    assert wrong == ""
    left, right = torch.rand(64, 64), torch.rand(64, 64)
    product = left @ right
    assert devices._mistake(left, right, product) == ""
    product[7] *= 1.03
    assert devices._mistake(left, right, product).startswith("its matrix products are wrong, by 3")
    product[7, 9] = float("nan")
    assert devices._mistake(left, right, product).startswith("its matrix products are wrong")


@pytest.mark.parametrize("missing", [True, False], ids=["no torch", "torch"])
def test_an_image_without_torch_is_told(pod: Pod, monkeypatch: pytest.MonkeyPatch, missing: bool) -> None:
    async def run(*_: object) -> Any:
        return {0: SOUND}, 1.0, ""

    monkeypatch.setattr(preflight.importlib.util, "find_spec", lambda name: None if missing else name)
    monkeypatch.setattr(preflight, "_run", run)
    if not missing:
        assert asyncio.run(preflight.check(pod, ALL)).teraflops == 650.0
        return
    with pytest.raises(ConfigError, match="no torch to check with; use an image with"):
        asyncio.run(preflight.check(pod, ALL))


async def run_slowly(pod: Pod, monkeypatch: pytest.MonkeyPatch, program: str) -> tuple[Reading, float, str]:
    """What comes of a program in the place of the probe, where checks may take 0.3 s and imports 1.5 s."""
    path = readings.path_of(pod.run_dir, 0)
    for folder in (pod.run_dir, pod.work_dir):
        folder.mkdir(parents=True, exist_ok=True)
    script = f"import pathlib, time; say = pathlib.Path({str(path)!r}).write_text; {program}"
    monkeypatch.setattr(preflight, "_PROBE", ("-c", script))
    monkeypatch.setattr(preflight, "IMPORT_SECONDS", 1.5)
    found, seconds, over = await preflight._run(pod, [preflight._launch(pod, 0, 1, [])], 0.3)
    return found[0], seconds, over


async def test_what_an_import_takes_is_no_part_of_what_is_measured(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    found, seconds, over = await run_slowly(pod, monkeypatch, """time.sleep(0.6); say('{"stage": "done"}')""")
    assert (found.stage, seconds, over) == ("done", 0.0, "")


async def test_an_import_without_an_end_has_a_bound_of_its_own(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    found, _, over = await run_slowly(pod, monkeypatch, "time.sleep(600)")
    assert (found.stage, over) == ("starting", "1.5 s were over")


async def test_a_check_without_an_end_has_the_runtimes(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    found, _, over = await run_slowly(pod, monkeypatch, """say('{"stage": "device"}'); time.sleep(600)""")
    assert (found.stage, over) == ("device", "it didn't end within 0.3 s (preflight.timeoutSeconds)")


def test_probes_have_a_rendezvous_of_their_own(pod: Pod) -> None:
    launch = preflight._launch(pod, 1, 8, [])
    place = {name: launch.env[name] for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")}
    assert place == {"RANK": "17", "LOCAL_RANK": "1", "WORLD_SIZE": "40", "LOCAL_WORLD_SIZE": "8"}
    assert launch.env["MASTER_PORT"] != pod_port(pod)
    assert "CUDA_VISIBLE_DEVICES" not in launch.env
    assert preflight._launch(pod, 1, 2, ["MIG-a", "MIG-b"]).env["CUDA_VISIBLE_DEVICES"] == "MIG-b"


def pod_port(pod: Pod) -> str:
    return str(rendezvous_port(pod.uid, pod.run, pod.attempt))
