"""Whose gang a job's is: `auto` never chooses a scheduler, and what was asked for is waited for."""

from typing import Any

import pytest

from footplate.api.trainingjob import TrainingJobSpec
from footplate.gangs.kinds import Choice, GangKind, choose
from unit.policy.build import job

KUEUE, NATIVE, VOLCANO, COSCHEDULING, NONE = (
    GangKind.KUEUE, GangKind.NATIVE, GangKind.VOLCANO, GangKind.COSCHEDULING, GangKind.NONE,
)  # fmt: skip
ALL = (KUEUE, NATIVE, VOLCANO, COSCHEDULING)

CASES = [
    pytest.param({}, (), Choice(NONE), id="an empty cluster"),
    pytest.param({}, (KUEUE, VOLCANO, COSCHEDULING), Choice(NONE), id="what nobody chose isn't taken"),
    pytest.param({}, ALL, Choice(NATIVE), id="the cluster's own scheduler is told"),
    pytest.param({"nodes": 1}, ALL, Choice(NONE), id="one node is no gang"),
    pytest.param({"nodes": 1, "scheduling": {"queueName": "q"}}, ALL, Choice(KUEUE), id="but has a queue"),
    pytest.param(
        {"scheduling": {"queueName": "q"}}, (NATIVE,), Choice(KUEUE, served=False), id="a queue without Kueue"
    ),
    pytest.param({"podTemplate": {"schedulerName": "default-scheduler"}}, ALL, Choice(NATIVE), id="named, and its own"),
    pytest.param({"podTemplate": {"schedulerName": "volcano"}}, ALL, Choice(VOLCANO), id="volcano by name"),
    pytest.param(
        {"podTemplate": {"schedulerName": "volcano"}}, (NATIVE,), Choice(NONE), id="volcano without PodGroups"
    ),
    pytest.param({"podTemplate": {"schedulerName": "bin-packing"}}, ALL, Choice(COSCHEDULING), id="any other by name"),
    pytest.param({"scheduling": {"gang": "none"}}, ALL, Choice(NONE), id="none is none"),
    *(pytest.param({"scheduling": {"gang": str(kind)}}, ALL, Choice(kind), id=f"{kind}, served") for kind in ALL[1:]),
    *(
        pytest.param({"scheduling": {"gang": str(kind)}}, (KUEUE,), Choice(kind, served=False), id=f"{kind}, awaited")
        for kind in ALL[1:]
    ),
]


@pytest.mark.parametrize(("spec", "served", "choice"), CASES)
def test_choice(spec: dict[str, Any], served: tuple[GangKind, ...], choice: Choice) -> None:
    assert choose(TrainingJobSpec.model_validate(job(spec)["spec"], by_name=False), served) == choice
