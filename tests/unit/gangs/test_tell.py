"""What schedulers say of a gang, in the user's words."""

from typing import Any

import pytest

from footplate.gangs.kinds import GangKind
from footplate.gangs.scheduler import Sight
from footplate.gangs.table import SCHEDULERS

JSON = dict[str, Any]


def said(type_: str, status: str, reason: str = "Any", message: str = "") -> JSON:
    return {"type": type_, "status": status, "reason": reason, "message": message}


def group(*conditions: JSON, **status: Any) -> JSON:
    return {"status": {"conditions": [*conditions], **status}}


def pending(reason: str, message: str) -> JSON:
    return group(said("QuotaReserved", "False", reason, message))


def tell(kind: str, of: JSON | None, *, seconds: float = 60, gated: bool = True, certain: bool = True) -> str:
    sight = Sight(of, is_certain=certain, seconds=seconds, is_gated=gated, queue="vision")
    return SCHEDULERS[GangKind(kind)].tell(sight)


CHECK = {"name": "capacity", "state": "Pending", "message": "3 nodes are being bought"}
KUEUE = [
    pytest.param(None, {"seconds": 3}, ["waits for Kueue to take it into queue vision"], id="just created"),
    pytest.param(None, {}, ["no Workload", "more than 10 s", "integrations.frameworks"], id="nobody there"),
    pytest.param(None, {"certain": False}, ["waits for Kueue to take it"], id="Workloads aren't seen"),
    pytest.param(None, {"gated": False}, [], id="already through"),
    pytest.param(group(), {}, ["Kueue's queue vision: it waits for its turn"], id="nothing said yet"),
    pytest.param(
        pending("WaitingForQuota", "insufficient unused quota for nvidia.com/gpu, 4 more needed"),
        {},
        ["4 more needed", "it starts when they are done"],
        id="quota in use",
    ),
    pytest.param(
        pending("Pending", "couldn't assign flavors"), {}, ["queue vision: couldn't assign"], id="older words"
    ),
    pytest.param(
        pending("ExceedsMaxQuota", "request > maximum capacity"), {}, ["more than the queue can ever have"], id="never"
    ),
    pytest.param(
        pending("Pending", "insufficient quota for cpu in flavor default, request > maximum capacity (5 > 3)"),
        {},
        ["more than the queue can ever have"],
        id="never, in older words",
    ),
    pytest.param(pending("NoMatchingFlavor", "no flavor"), {}, ["nodeSelector"], id="no flavor"),
    pytest.param(pending("TopologyPlacementFailed", "no domain"), {}, ["scheduling.topologyKey"], id="topology"),
    pytest.param(
        pending("Inadmissible", "LocalQueue vision doesn't exist"), {}, ["`kubectl get localqueues`"], id="no queue"
    ),
    pytest.param(pending("Inadmissible", "ClusterQueue all is inactive"), {}, ["all is inactive"], id="inactive"),
    pytest.param(pending("Misconfigured", "flavor gone"), {}, ["has to put the queue right"], id="misconfigured"),
    pytest.param(
        group(
            said("Evicted", "True", "PodsReadyTimeout", "too slow"), said("QuotaReserved", "False", "Pending", "next")
        ),
        {},
        ["it was thrown out (PodsReadyTimeout: too slow); next"],
        id="evicted",
    ),
    pytest.param(
        group(said("QuotaReserved", "True"), admissionChecks=[CHECK, {"name": "other", "state": "Ready"}]),
        {},
        ["has the quota for it; admission check capacity is Pending: 3 nodes are being bought"],
        id="admission check",
    ),
    pytest.param(group(said("Admitted", "True")), {}, ["has admitted it"], id="admitted, gates about to go"),
    pytest.param(group(said("Admitted", "True")), {"gated": False}, [], id="admitted"),
]


@pytest.mark.parametrize(("of", "sight", "words"), KUEUE)
def test_kueue(of: JSON | None, sight: JSON, words: list[str]) -> None:
    told = tell("kueue", of, **sight)
    assert bool(told) is bool(words)
    for each in words:
        assert each in told


GROUPS = [
    pytest.param("coscheduling", group(), {"seconds": 3}, "", id="coscheduling, new"),
    pytest.param("coscheduling", group(), {}, "nobody has looked at its PodGroup", id="coscheduling, nobody"),
    pytest.param("coscheduling", group(phase="Scheduling"), {}, "", id="coscheduling, seen"),
    pytest.param("coscheduling", None, {}, "", id="coscheduling, no group"),
    pytest.param("volcano", None, {}, "", id="volcano, no group"),
    pytest.param("volcano", group(), {"seconds": 3}, "", id="volcano, new"),
    pytest.param("volcano", group(), {}, "Volcano's scheduler doesn't seem to run", id="volcano, nobody"),
    pytest.param("volcano", group(phase="Pending"), {}, "queue vision hasn't let it in yet", id="volcano, queue"),
    pytest.param("volcano", group(phase="Inqueue"), {}, "", id="volcano, in queue"),
    pytest.param(
        "volcano",
        group(said("Unschedulable", "True", "NotEnoughResources", "3/4 tasks"), phase="Inqueue"),
        {},
        "Volcano's queue vision: 3/4 tasks",
        id="volcano, no room",
    ),
    pytest.param("native", group(), {}, "", id="native, new"),
    pytest.param("native", None, {}, "", id="native, no group"),
    pytest.param("native", group(said("PodGroupScheduled", "True")), {}, "", id="native, scheduled"),
    pytest.param(
        "native",
        group(said("PodGroupScheduled", "False", "Unschedulable", "pod group is unschedulable")),
        {},
        "pod group is unschedulable",
        id="native, no room",
    ),
]


@pytest.mark.parametrize(("kind", "of", "sight", "words"), GROUPS)
def test_pod_groups(kind: str, of: JSON | None, sight: JSON, words: str) -> None:
    told = tell(kind, of, gated=False, **sight)
    assert words in told
    assert bool(told) is bool(words)


def test_what_a_tenant_writes_into_a_workload_is_cleaned_and_cut() -> None:
    told = tell("kueue", pending("WaitingForQuota", "a\x1b[31mb\n" + "x" * 5000))
    assert "\x1b" not in told
    assert "\n" not in told
    assert len(told) < 800
