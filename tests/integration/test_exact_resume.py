"""A job killed at any moment, any number of times, ends bit for bit as one that was never interrupted.

`programs/exact.py` uses every source of chance at once: shuffling, augmentation by torch, random and numpy, dropout,
gradient accumulation, a learning-rate schedule, checkpoints in mid-epoch.
"""

import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from footplate.contract import ExitCode
from footplate_trainer import exchange
from rank_processes import Gang, Job, Result, result_of

pytestmark = pytest.mark.integration

STEPS = 30
SETTINGS = {"samples": 100, "batchSize": 24, "epochs": 6}
CHECKPOINT = {"every": {"steps": 4}, "keep": 2}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Result]:
    """The end of a run that nothing happened to, by world size. Without checkpoints, so that saving can't disturb."""
    results = {}
    for world_size in (1, 3):
        job = Job(tmp_path_factory.mktemp(f"reference-{world_size}"), "exact.py", world_size, SETTINGS)
        with job.start(0) as gang:
            assert gang.wait() == [ExitCode.OK] * world_size, gang.logs()
        results[world_size] = result_of(job)
    return results


def interrupt(gang: Gang, chance: random.Random, *, number: signal.Signals, last_step: int) -> None:
    """Sends a signal to one rank some steps after the last one."""
    if gang.wait_for_step(min(last_step + chance.randint(2, 9), STEPS - 2)):
        chance.choice(gang.ranks).send_signal(number)


def run_with_interruptions(
    job: Job, *, number: signal.Signals, seed: int, times: int
) -> Iterator[tuple[Gang, list[int]]]:
    """Attempt after attempt, the first ones interrupted; each with its exit codes."""
    chance, last_step = random.Random(seed), 0
    for attempt in range(times + 1):
        with job.start(attempt) as gang:
            if attempt < times:
                interrupt(gang, chance, number=number, last_step=last_step)
            codes = gang.wait()
            last_step = max(gang.steps())
            yield gang, codes


@pytest.mark.parametrize(
    ("world_size", "workers", "seed"),
    [
        pytest.param(1, 0, 1, id="1 rank"),
        pytest.param(1, 2, 2, id="1 rank with data workers"),
        pytest.param(3, 0, 3, id="3 ranks"),
    ],
)
def test_sigkill_changes_nothing(
    uninterrupted: dict[int, Result], tmp_path: Path, world_size: int, workers: int, seed: int
) -> None:
    settings = {**SETTINGS, "workers": workers, "stepSeconds": 0.02}
    job = Job(tmp_path, "exact.py", world_size, settings, checkpoint=CHECKPOINT)
    for attempt, (gang, codes) in enumerate(run_with_interruptions(job, number=signal.SIGKILL, seed=seed, times=3)):
        if attempt < 3:
            assert -signal.SIGKILL in codes
            assert set(codes) <= {-signal.SIGKILL, ExitCode.PEER_LOST}, gang.logs()
        else:
            assert set(codes) == {ExitCode.OK}, gang.logs()
    assert result_of(job) == uninterrupted[world_size]


@pytest.mark.parametrize("world_size", [1, 3])
def test_sigterm_loses_no_step(uninterrupted: dict[int, Result], tmp_path: Path, world_size: int) -> None:
    """One rank is asked; all stop at the same step, save it, and the next attempt goes on from that very step."""
    job = Job(tmp_path, "exact.py", world_size, {**SETTINGS, "stepSeconds": 0.02}, checkpoint=CHECKPOINT)
    stopped_at: list[int] = []
    for attempt, (gang, codes) in enumerate(run_with_interruptions(job, number=signal.SIGTERM, seed=4, times=2)):
        report = exchange.read_report(gang.run_dirs[0])
        assert report is not None
        assert report.resumed_from_step == (stopped_at[-1] if stopped_at else None)
        if attempt < 2:
            assert set(codes) == {ExitCode.STOPPED}, gang.logs()
            assert len(set(gang.steps())) == 1
            stopped_at.append(gang.steps()[0])
        else:
            assert set(codes) == {ExitCode.OK}, gang.logs()
    assert result_of(job) == uninterrupted[world_size]


def test_it_is_so_in_whatever_order_a_model_computes(tmp_path: Path) -> None:
    """Three ranks sum gradients in the order of DDP's buckets, which follows that of the backward pass."""
    settings = {**SETTINGS, "lastFirst": True}
    reference = Job(tmp_path / "reference", "exact.py", 3, settings)
    with reference.start(0) as gang:
        assert gang.wait() == [ExitCode.OK] * 3, gang.logs()
    job = Job(tmp_path / "killed", "exact.py", 3, {**settings, "stepSeconds": 0.02}, checkpoint=CHECKPOINT)
    (_, killed), (gang, codes) = run_with_interruptions(job, number=signal.SIGKILL, seed=5, times=1)
    assert -signal.SIGKILL in killed
    assert set(codes) == {ExitCode.OK}, gang.logs()
    assert result_of(job) == result_of(reference)


def test_a_job_without_checkpoints_stops_too(tmp_path: Path) -> None:
    job = Job(tmp_path, "exact.py", 1, {**SETTINGS, "stepSeconds": 0.05})
    with job.start(0) as gang:
        assert gang.wait_for_step(2)
        gang.send(signal.SIGTERM)
        assert gang.wait() == [ExitCode.STOPPED], gang.logs()


def test_a_damaged_checkpoint_is_left_for_the_one_before(uninterrupted: dict[int, Result], tmp_path: Path) -> None:
    """A flipped byte is seen, the step before is taken, the user is told, and nobody tries the damaged one again."""
    job = Job(tmp_path, "exact.py", 1, {**SETTINGS, "stepSeconds": 0.02}, checkpoint={**CHECKPOINT, "keep": 3})
    with job.start(0) as gang:
        assert gang.wait_for_step(14)
        gang.send(signal.SIGKILL)
        gang.wait()
    newest, before = sorted(tmp_path.glob("checkpoints/exact/*/step-*/manifest.json"), reverse=True)[:2]
    weights = next(newest.parent.glob("optimizer-*"))
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    with job.start(1) as gang:
        assert gang.wait() == [ExitCode.OK], gang.logs()
        report = exchange.read_report(gang.run_dirs[0])
    assert report is not None
    assert report.resumed_from_step == int(before.parent.name.removeprefix("step-"))
    assert any(newest.parent.name in note and "damaged" in note for note in report.notes)
    assert result_of(job) == uninterrupted[1]


def test_another_world_goes_on_with_the_same_data(tmp_path: Path) -> None:
    """A shrunken gang takes the same samples in the same order, so it does the same number of steps, and says so."""
    settings = {**SETTINGS, "stepSeconds": 0.02}
    job = Job(tmp_path, "exact.py", 2, settings, checkpoint=CHECKPOINT)
    with job.start(0) as gang:
        assert gang.wait_for_step(7)
        gang.send(signal.SIGTERM)
        assert set(gang.wait()) == {ExitCode.STOPPED}, gang.logs()
    job.world_size = 1
    with job.start(1) as gang:
        assert gang.wait() == [ExitCode.OK], gang.logs()
        report = exchange.read_report(gang.run_dirs[0])
    assert report is not None
    assert any("rounding" in note for note in report.notes)
    assert [step for step, _ in result_of(job)["losses"]] == list(range(1, STEPS + 1))


def test_a_new_run_starts_from_the_beginning(tmp_path: Path) -> None:
    job = Job(tmp_path, "exact.py", 1, {**SETTINGS, "epochs": 1}, checkpoint={**CHECKPOINT, "resume": "run"})
    for run in (1, 2):
        job.run = run
        with job.start(attempt=run) as gang:
            assert gang.wait() == [ExitCode.OK], gang.logs()
            report = exchange.read_report(gang.run_dirs[0])
        assert report is not None
        assert report.resumed_from_step is None
