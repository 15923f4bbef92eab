"""A run's ConfigMap is read once, and forgotten with its job."""

from typing import Any, cast

import pytest

from footplate.errors import NotFound
from footplate.machinery.run_configs import RunConfigs
from footplate.objects import key_of
from unit.machinery.support import FakeClock, make_job, owned_by


class Reads:
    """A client that counts what is read of a few ConfigMaps."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.asked: list[str] = []

    async def get(self, _: Any, namespace: str, name: str) -> Any:
        self.asked.append(name)
        if name not in self.objects:
            raise NotFound(404, "NotFound", name)
        return self.objects[name]


@pytest.fixture
def reads() -> Reads:
    return Reads()


@pytest.fixture
def run_configs(reads: Reads, clock: FakeClock) -> RunConfigs:
    return RunConfigs(cast(Any, reads), clock=clock)


def config_map(job: Any, *, run: int = 1) -> dict[str, Any]:
    name = f"{job['metadata']['name']}-run-{run}-uid-job"
    metadata = {"namespace": "ns", "name": name, "ownerReferences": owned_by(job)}
    return {"kind": "ConfigMap", "metadata": metadata, "data": {"job.json": "{}"}}


async def test_it_is_read_once_in_a_while(run_configs: RunConfigs, reads: Reads, clock: FakeClock) -> None:
    job = make_job()
    reads.objects["job-run-1-uid-job"] = config_map(job)
    for _ in range(3):
        assert await run_configs.get(job, runtime=None) == config_map(job)
    assert reads.asked == ["job-run-1-uid-job"]
    await clock.advance(601)
    await run_configs.get(job, runtime=None)
    assert reads.asked == ["job-run-1-uid-job"] * 2


async def test_another_run_has_another(run_configs: RunConfigs, reads: Reads) -> None:
    job = make_job(status={"run": 2})
    run_configs.put(config_map(job, run=1))
    reads.objects["job-run-2-uid-job"] = config_map(job, run=2)
    assert await run_configs.get(job, runtime=None) == config_map(job, run=2)


async def test_it_goes_with_its_job(run_configs: RunConfigs, reads: Reads) -> None:
    job = make_job()
    run_configs.put(config_map(job))
    run_configs.discard(key_of(job))
    assert await run_configs.get(job, runtime=None) is None
    assert reads.asked == ["job-run-1-uid-job"]


async def test_a_foreign_one_is_none(run_configs: RunConfigs, reads: Reads) -> None:
    job = make_job()
    foreign = {**config_map(job), "metadata": {"namespace": "ns", "name": "job-run-1-uid-job"}}
    reads.objects["job-run-1-uid-job"] = foreign
    assert await run_configs.get(job, runtime=None) is None


async def test_nothing_is_kept_of_it_but_job_json(run_configs: RunConfigs, reads: Reads) -> None:
    job = make_job()
    bulk = {"data": {"job.json": "{}", "x": "y" * 900_000}, "binaryData": {"z": "y" * 90_000}}
    reads.objects["job-run-1-uid-job"] = {**config_map(job), **bulk}
    await run_configs.get(job, runtime=None)
    kept = await run_configs.get(job, runtime=None)
    assert len(reads.asked) == 1
    assert kept == config_map(job)


def finished(config_map: str) -> dict[str, Any]:
    return {"phase": "Succeeded", "run": 1, "resolved": {"configMap": config_map, "sha256": "0" * 64}}


FINISHED = finished("job-run-1-uid-job")


async def test_a_finished_runs_is_read_once(run_configs: RunConfigs, reads: Reads, clock: FakeClock) -> None:
    job = make_job(status=FINISHED)
    reads.objects["job-run-1-uid-job"] = config_map(job)
    for _ in range(5):
        assert await run_configs.get(job, runtime=None) == config_map(job)
        await clock.advance(3600)
    assert reads.asked == ["job-run-1-uid-job"]


async def test_of_a_run_that_was_cleaned_up_nothing_is_read(run_configs: RunConfigs, reads: Reads) -> None:
    assert await run_configs.get(make_job(status={**FINISHED, "resolved": None}), runtime=None) is None
    assert reads.asked == []


async def test_another_run_that_is_due_is_read_as_ever(run_configs: RunConfigs, reads: Reads) -> None:
    spec = {"runPolicy": {"restartNonce": "again"}}
    await run_configs.get(make_job(spec=spec, status={**FINISHED, "resolved": None}), runtime=None)
    assert reads.asked == ["job-run-2-uid-job"]


async def test_they_are_kept_within_bytes(run_configs: RunConfigs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("footplate.machinery.run_configs._CAPACITY_BYTES", 250)
    names = [f"job-{number}" for number in range(3)]
    jobs = [make_job(name, uid=f"uid-{name}", status=finished(f"{name}-run-1-uid-job")) for name in names]
    for job in jobs:
        run_configs.put({**config_map(job), "data": {"job.json": "x" * 100}})
    assert [await run_configs.get(job, runtime=None) is not None for job in jobs] == [False, True, True]
    run_configs.discard(key_of(jobs[1]))
    run_configs.put({**config_map(jobs[0]), "data": {"job.json": "x" * 100}})
    assert [await run_configs.get(job, runtime=None) is not None for job in jobs] == [True, False, True]
