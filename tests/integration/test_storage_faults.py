"""Rank processes that save to a real S3 server on its bad days: training goes on while it may, the user is told, and
nothing that was complete is lost.

Minutes and hours are seconds here: `programs/hurried.py`.
"""

import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from footplate.contract import ExitCode
from footplate.devcluster.s3 import S3Server
from footplate_trainer import exchange
from footplate_trainer.checkpoint.manifest import Manifest
from footplate_trainer.storage.store import Store
from rank_processes import Gang, Job, Result, result_of
from s3_proxy import Fault, S3Proxy, gets, puts
from s3_thread import s3_in_a_thread

pytestmark = [pytest.mark.integration, pytest.mark.slow]

EPOCHS, STEPS_AN_EPOCH = 300, 5
LAST = EPOCHS * STEPS_AN_EPOCH
SETTINGS = {"samples": 100, "batchSize": 24, "epochs": EPOCHS}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_in_a_thread(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def proxy(server: S3Server) -> Iterator[S3Proxy]:
    with S3Proxy(server.endpoint) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The end of a run that saves nothing, and that nothing happens to."""
    job = Job(tmp_path_factory.mktemp("reference"), "exact.py", 1, SETTINGS)
    with job.start(0) as gang:
        assert gang.wait() == [ExitCode.OK], gang.logs()
    return result_of(job)


class Storage:
    """A job's checkpoints, looked at past the proxy."""

    def __init__(self, server: S3Server, monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        self.uri = f"s3://checkpoints/{prefix}/"
        self._store = Store.open(f"{self.uri}exact/run-1-8a6e0804")

    def names(self) -> list[str]:
        return [item.key for item in self._store.list()]

    def steps(self) -> list[int]:
        """Complete checkpoints, oldest first."""
        return sorted(int(key[5:13]) for key in self.names() if key.endswith("manifest.json"))

    def manifest(self, step: int) -> Manifest:
        return Manifest.from_bytes(self._store.get(f"step-{step:08d}/manifest.json"))

    def condemned(self) -> list[str]:
        return [key for key in self.names() if "bad-" in key]


@pytest.fixture
def storage(server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Storage:
    return Storage(server, monkeypatch, tmp_path.name)


def make_job(root: Path, storage: Storage, proxy: S3Proxy, *, world_size: int = 1, **settings: Any) -> Job:
    """Saves every fourth step and at the end of each epoch, through the proxy."""
    return Job(
        root,
        "hurried.py",
        world_size,
        {**SETTINGS, "stepSeconds": 0.04, **settings},
        checkpoint={"uri": storage.uri, "every": {"steps": 4}, "keep": 3},
        environ={"AWS_ENDPOINT_URL": proxy.endpoint},
    )


def notes(gang: Gang) -> Sequence[str]:
    report = exchange.read_report(gang.run_dirs[0])
    return report.notes if report is not None else ()


def wait_for_note(gang: Gang, *texts: str, beside: Sequence[str] = ()) -> str:
    """A note with these texts, other than those that are told already."""

    def found() -> list[str]:
        return [note for note in notes(gang) if all(text in note for text in texts) and note not in beside]

    gang.wait_until(lambda: bool(found()) or gang.ended())
    assert found(), f"no note says {texts!r}: {notes(gang)}\n{gang.logs()}"
    return found()[0]


def newest_checkpoint(gang: Gang) -> int:
    """The step that rank 0 knows to be complete, else 0."""
    report = exchange.read_report(gang.run_dirs[0])
    return report.checkpoint.step if report is not None and report.checkpoint is not None else 0


def wait_for_checkpoint(gang: Gang) -> None:
    gang.wait_until(lambda: newest_checkpoint(gang) > 0)


def wait_for_steps(gang: Gang, count: int) -> None:
    """Waits until training has gone on by so many steps."""
    step = gang.steps()[0]
    gang.wait_until(lambda: gang.steps()[0] >= step + count)


def finish(job: Job, *, attempt: int) -> Gang:
    """Another attempt, that hurries to the end."""
    job.hyperparameters = {**job.hyperparameters, "stepSeconds": 0.0}
    with job.start(attempt) as gang:
        assert gang.wait() == [ExitCode.OK], gang.logs()
    return gang


def error_of(gang: Gang, rank: int = 0) -> str:
    error = exchange.read_error(gang.run_dirs[rank], rank)
    assert error is not None, gang.logs()
    return error.failure.message


OUTAGES = {
    Fault.REFUSED: "storage is not available",
    Fault.SILENT: "storage is not available",
    Fault.SLOW_DOWN: "storage is not available (SlowDown: Please reduce your request rate.)",
    Fault.ERROR: "storage is not available (InternalError",
    Fault.DENIED: "access denied (AccessDenied: Access Denied.); check the keys in storage.secretRef's Secret",
    Fault.FULL: "storage is full (XMinioStorageFull",
    Fault.QUOTA: "storage is full (QuotaExceeded",
    Fault.CUT: "storage is not available",
    Fault.LOST: "storage is not available",
}


def test_training_outlives_every_outage(
    tmp_path: Path, storage: Storage, proxy: S3Proxy, uninterrupted: Result
) -> None:
    """It goes on while storage is away, says so, saves when storage is back, and ends as if nothing had happened."""
    job = make_job(tmp_path, storage, proxy)
    with job.start(0) as gang:
        wait_for_checkpoint(gang)
        for fault, words in OUTAGES.items():
            told = notes(gang)
            proxy.fault = fault
            note = wait_for_note(gang, "could not be saved", words, beside=told)
            wait_for_steps(gang, 5)
            before = newest_checkpoint(gang)
            proxy.fault = None
            wait_for_note(gang, "storage is back: step ", beside=told)
            assert newest_checkpoint(gang) > before
            assert "training goes on, and it is tried again. Step " in note
            assert "steps would be lost" in note
        gang.send(signal.SIGTERM)
        assert gang.wait() == [ExitCode.STOPPED], gang.logs()
    finish(job, attempt=1)
    assert result_of(job) == uninterrupted
    assert storage.steps()[-1] == LAST
    assert storage.condemned() == []


def test_slow_storage_is_said_and_holds_nobody_up(
    tmp_path: Path, storage: Storage, proxy: S3Proxy, uninterrupted: Result
) -> None:
    job = make_job(tmp_path, storage, proxy, answerSeconds=30.0)
    with job.start(0) as gang:
        wait_for_checkpoint(gang)
        proxy.bytes_per_second = 4_000
        proxy.fault = Fault.SLOW
        note = wait_for_note(gang, "has been on its way since")
        wait_for_steps(gang, 10)
        proxy.fault = None
        wait_for_note(gang, "storage is back: step ")
        gang.send(signal.SIGTERM)
        assert gang.wait() == [ExitCode.STOPPED], gang.logs()
    finish(job, attempt=1)
    assert "storage is slow, or doesn't answer. Training goes on. Step " in note
    assert result_of(job) == uninterrupted
    assert storage.steps()[-1] == LAST


@pytest.mark.parametrize("world_size", [1, 2])
def test_the_end_waits_for_storage(tmp_path: Path, storage: Storage, proxy: S3Proxy, world_size: int) -> None:
    """Training is done while storage is away: what was due is saved once it is back, also what had to be put off."""
    job = make_job(tmp_path, storage, proxy, world_size=world_size, epochs=8, stepSeconds=0.1)
    with job.start(0) as gang:
        wait_for_checkpoint(gang)
        proxy.fault = Fault.REFUSED
        gang.wait_until(lambda: gang.steps()[0] == 8 * STEPS_AN_EPOCH)
        wait_for_note(gang, "could not be saved")
        assert not gang.ended()
        proxy.fault = None
        assert set(gang.wait()) == {ExitCode.OK}, gang.logs()
    assert storage.steps()[-1] == 8 * STEPS_AN_EPOCH


@pytest.mark.parametrize(
    ("fault", "output", "code"),
    [
        pytest.param(Fault.REFUSED, "", ExitCode.PEER_LOST, id="an outage is the infrastructure's"),
        pytest.param(Fault.DENIED, "", ExitCode.CONFIG_ERROR, id="lost rights are the user's"),
        pytest.param(Fault.REFUSED, "s3://models/x/", ExitCode.OK, id="the model is what counts"),
    ],
)
def test_storage_that_stays_away_is_the_end_of_the_story(
    tmp_path: Path, storage: Storage, proxy: S3Proxy, fault: Fault, output: str, code: ExitCode
) -> None:
    """A job whose checkpoints are its only result doesn't succeed without the last one."""
    job = make_job(tmp_path, storage, proxy, world_size=2, epochs=6, stepSeconds=0.1, patienceSeconds=2.0)
    job.output_uri = output
    with job.start(0) as gang:
        wait_for_checkpoint(gang)
        proxy.fault = fault
        assert set(gang.wait()) == {code}, gang.logs()
        if code != ExitCode.OK:
            assert "training is done, but the last checkpoint could not be saved" in error_of(gang)
        wait_for_note(gang, "could not be saved")
    saved = storage.steps()[-1]
    assert saved < 6 * STEPS_AN_EPOCH
    assert storage.manifest(saved).step == saved


def test_asked_to_stop_in_an_outage(tmp_path: Path, storage: Storage, proxy: S3Proxy, uninterrupted: Result) -> None:
    """It ends within the grace with what was complete, says what is lost, and goes on from there later."""
    job = make_job(tmp_path, storage, proxy, world_size=1, outageSeconds=60.0)
    job.grace_seconds = 5
    with job.start(0) as gang:
        wait_for_checkpoint(gang)
        proxy.fault = Fault.REFUSED
        saved = storage.steps()[-1]
        gang.wait_until(lambda: gang.steps()[0] >= saved + 12)
        gang.send(signal.SIGTERM)
        gang.wait_until(gang.ended, seconds=job.grace_seconds)
        assert gang.wait() == [ExitCode.STOPPED], gang.logs()
        note = wait_for_note(gang, "stopped at step")
        stopped_at = gang.steps()[0]
    assert note == (
        f"stopped at step {stopped_at}, which could not be saved in time. Step {saved} is the newest checkpoint: "
        f"{stopped_at - saved} steps are lost"
    )
    proxy.fault = None
    report = exchange.read_report(finish(job, attempt=1).run_dirs[0])
    assert report is not None
    assert report.resumed_from_step == saved
    assert result_of(job) == uninterrupted


READS = {
    "refused": (Fault.REFUSED, None),
    "silent": (Fault.SILENT, None),
    "error on one file": (Fault.ERROR, gets("/optimizer-")),
}


def test_an_outage_while_restoring_condemns_nothing(tmp_path: Path, storage: Storage, proxy: S3Proxy) -> None:
    """It is never taken for a missing or a damaged checkpoint: the attempt ends as the infrastructure's fault. Answers
    that are cut are no outage: what is missing of them is asked for again.
    """
    job = make_job(tmp_path, storage, proxy)
    with job.start(0) as gang:
        gang.wait_until(lambda: len(storage.steps()) == 3)
        gang.send(signal.SIGKILL)
        gang.wait()
    there = storage.steps()
    for attempt, (read, (fault, only)) in enumerate(READS.items(), start=1):
        proxy.strike(fault, only)
        with job.start(attempt) as gang:
            assert gang.wait() == [ExitCode.PEER_LOST], gang.logs()
            assert "storage is not available" in error_of(gang)
        assert (storage.steps(), storage.condemned()) == (there, []), read
    proxy.strike(Fault.CUT, gets("/step-"))
    patient = make_job(tmp_path, storage, proxy, outageSeconds=60.0)  # a second, as above, may be too few for many cuts
    with patient.start(len(READS) + 1) as gang:
        gang.wait_until(lambda: gang.steps()[0] >= there[-1] + 1)
        report = exchange.read_report(gang.run_dirs[0])
    assert report is not None
    assert report.resumed_from_step == there[-1]


def test_lost_answers_are_no_news(tmp_path: Path, storage: Storage, proxy: S3Proxy, uninterrupted: Result) -> None:
    """Every eighth request is done, and its answer lost: commits above all, which must not be taken for another's."""
    job = make_job(tmp_path, storage, proxy, stepSeconds=0.0, outageSeconds=20.0)
    count = iter(range(1_000_000))
    proxy.strike(Fault.LOST, lambda request: puts("manifest.json")(request) or next(count) % 8 == 7, times=12)
    with job.start(0) as gang:
        assert gang.wait() == [ExitCode.OK], gang.logs()
        assert not any("could not be saved" in note for note in notes(gang))
    assert sum(map(puts("manifest.json"), proxy.struck)) >= 2
    assert result_of(job) == uninterrupted
    assert storage.steps()[-1] == LAST


def test_a_zombie_that_wakes_up_neither_commits_nor_deletes(
    tmp_path: Path, storage: Storage, proxy: S3Proxy, uninterrupted: Result
) -> None:
    """Stopped in the middle of training while the next attempt goes on: its next commit is its end."""
    job = make_job(tmp_path, storage, proxy)
    with job.start(0) as zombie:
        wait_for_checkpoint(zombie)
        zombie.send(signal.SIGSTOP)
        finish(job, attempt=1)
        there = storage.names()
        zombie.send(signal.SIGCONT)
        assert zombie.wait() == [ExitCode.PEER_LOST], zombie.logs()
        assert "attempt 0 was replaced by attempt 1" in error_of(zombie)
    assert [key for key in storage.names() if key.endswith("manifest.json")] == [
        key for key in there if key.endswith("manifest.json")
    ]
    assert storage.manifest(LAST).attempt == 1
    assert result_of(job) == uninterrupted


def test_a_zombies_commit_that_slips_through_harms_nobody(
    server: S3Server, tmp_path: Path, storage: Storage, proxy: S3Proxy, uninterrupted: Result
) -> None:
    """Its put of a manifest is on its way when the next attempt claims the run, and lands behind its back."""
    job = make_job(tmp_path, storage, proxy, answerSeconds=60.0)
    with job.start(0) as zombie:
        wait_for_checkpoint(zombie)
        proxy.delay_seconds = 60.0
        proxy.strike(Fault.SLOW, puts("manifest.json"))
        zombie.wait_until(lambda: bool(proxy.struck))
        late = int(proxy.struck[0].path.split("step-")[1][:8])
        assert late not in storage.steps()
        job.environ = {"AWS_ENDPOINT_URL": server.endpoint}
        with job.start(1) as heir:
            heir.wait_until(lambda: heir.steps()[0] >= 1)
            proxy.fault = None
            heir.wait_until(lambda: late in storage.steps())
            heir.wait_until(lambda: storage.steps()[-1] > late)
            heir.send(signal.SIGTERM)
            assert heir.wait() == [ExitCode.STOPPED], heir.logs()
            report = exchange.read_report(heir.run_dirs[0])
        assert zombie.wait() == [ExitCode.PEER_LOST], zombie.logs()
    finish(job, attempt=2)
    assert report is not None
    assert report.resumed_from_step is not None
    assert report.resumed_from_step < late
    assert report.notes == ()
    assert result_of(job) == uninterrupted
    assert storage.manifest(LAST).attempt == 2
