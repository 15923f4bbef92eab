"""Who has spent what."""

from typing import Any

from footplate.client.bills import Bill, make_bills


def job(name: str, namespace: str = "team", center: str | None = None, **usage: Any) -> dict[str, Any]:
    labels = {} if center is None else {"cost-center": center}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"metadata": metadata, "status": {"phase": "Succeeded", "usage": usage} if usage else {}}


def usage(hours: float, cost: float | None = None) -> dict[str, Any]:
    money = {} if cost is None else {"cost": {"amount": cost, "currency": "EUR"}}
    return {"acceleratorSeconds": {"nvidia.com/gpu": int(hours * 3600)}, **money}


JOBS = [
    job("a", center="7", **usage(2, 5.0)),
    job("b", center="7", **usage(1, 2.505)),
    job("c", **usage(1)),
    job("new"),
    job("d", "other", center="7", **usage(9, 1.0)),
]


def test_by_namespace() -> None:
    assert make_bills(JOBS) == [
        Bill("other", "", 1, {"nvidia.com/gpu": 9.0}, {"EUR": 1.0}, 0),
        Bill("team", "", 4, {"nvidia.com/gpu": 4.0}, {"EUR": 7.5}, 1),
    ]


def test_by_label() -> None:
    bills = make_bills(JOBS, label="cost-center")
    found = {(bill.namespace, bill.charged_to): (bill.jobs, dict(bill.cost)) for bill in bills}
    assert found == {("team", "7"): (2, {"EUR": 7.5}), ("team", ""): (2, {}), ("other", "7"): (1, {"EUR": 1.0})}


def test_no_jobs_no_bills() -> None:
    assert make_bills([]) == []
