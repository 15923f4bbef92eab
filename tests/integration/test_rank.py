"""How a rank process ends, and what word it leaves."""

import signal
from pathlib import Path

import pytest

from footplate.contract import ExitCode
from footplate_trainer import exchange
from rank_processes import Job

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("entrypoint", "code"),
    [
        pytest.param("ends:well", ExitCode.OK, id="returns"),
        pytest.param("ends:exits_with_0", ExitCode.OK, id="exits with 0"),
        pytest.param("ends", ExitCode.OK, id="module"),
    ],
)
def test_a_good_end_leaves_no_error(tmp_path: Path, entrypoint: str, code: int) -> None:
    job = Job(tmp_path, entrypoint, 1, {})
    with job.start(0) as gang:
        assert gang.wait() == [code], gang.logs()
    assert exchange.read_error(gang.run_dirs[0], 0) is None


def test_a_script_finds_what_python_gives_it(tmp_path: Path) -> None:
    """The root logger too: `basicConfig` does nothing where somebody was there before."""
    job = Job(tmp_path, "as_python.py", 1, {})
    with job.start(0) as gang:
        assert gang.wait() == [ExitCode.OK], gang.logs()
        lines = gang.logs().splitlines()
    assert "mine: a line of the program's" in lines
    assert "spawned with Settings" in lines
    assert [line for line in lines if "a line of ours" in line] == ["WARNING a line of ours"]


@pytest.mark.parametrize(
    ("entrypoint", "code", "said"),
    [
        pytest.param("ends:raises", ExitCode.USER_ERROR, "the data has 3 columns, not 4", id="exception"),
        pytest.param("ends:comes_from_itself", ExitCode.USER_ERROR, "the data has 3 columns, not 4", id="a circle"),
        pytest.param("ends:exits_with_7", 7, "7", id="exit code"),
        pytest.param("ends:wel", ExitCode.CONFIG_ERROR, "has no function 'wel'; did you mean 'well'?", id="function"),
        pytest.param("ends:not_a_function", ExitCode.CONFIG_ERROR, "has no function", id="not a function"),
        pytest.param("endz:well", ExitCode.CONFIG_ERROR, "there is no module 'endz'", id="module"),
        pytest.param("endz.py", ExitCode.CONFIG_ERROR, "there is no such file", id="script"),
    ],
)
def test_a_failure_leaves_its_cause(tmp_path: Path, entrypoint: str, code: int, said: str) -> None:
    job = Job(tmp_path, entrypoint, 1, {})
    with job.start(0) as gang:
        assert gang.wait() == [code], gang.logs()
    error = exchange.read_error(gang.run_dirs[0], 0)
    assert error is not None
    assert error.exit_code == code
    assert said in error.failure.message
    assert "rank/program.py" not in (error.failure.traceback or "")


def test_a_failure_of_which_nothing_can_be_said_is_no_success(tmp_path: Path) -> None:
    job = Job(tmp_path, "ends:cannot_be_said", 1, {})
    with job.start(0) as gang:
        assert gang.wait() == [ExitCode.USER_ERROR], gang.logs()


def test_a_failing_ranks_peers_say_that_they_lost_it(tmp_path: Path) -> None:
    job = Job(tmp_path, "ends:raises", 3, {})
    with job.start(0) as gang:
        assert gang.wait() == [ExitCode.PEER_LOST, ExitCode.PEER_LOST, ExitCode.USER_ERROR], gang.logs()


def test_a_thread_that_keeps_a_program_from_its_end_is_named_and_bounded(tmp_path: Path) -> None:
    job = Job(tmp_path, "ends:leaves_a_thread", 1, {"seconds": 600}, run_policy={"hangTimeoutSeconds": 2})
    with job.start(0) as gang:
        assert gang.wait() == [ExitCode.USER_ERROR], gang.logs()
    error, report = exchange.read_error(gang.run_dirs[0], 0), exchange.read_report(gang.run_dirs[0])
    assert error is not None
    assert report is not None
    assert "its threads haven't: 'prefetcher'; join them" in error.failure.message
    assert "its threads haven't: 'prefetcher'; join them" in report.notes[-1]


def test_a_thread_that_ends_by_itself_is_waited_for(tmp_path: Path) -> None:
    job = Job(tmp_path, "ends:leaves_a_thread", 1, {"seconds": 2}, run_policy={"hangTimeoutSeconds": 60})
    with job.start(0) as gang:
        assert gang.wait() == [ExitCode.OK], gang.logs()


def test_sigterm_ends_at_once_what_has_nothing_to_lose(tmp_path: Path) -> None:
    job = Job(tmp_path, "ends:trains_slowly", 1, {})
    with job.start(0) as gang:
        assert gang.wait_for_step(2)
        gang.send(signal.SIGTERM)
        assert gang.wait() == [ExitCode.STOPPED]
        assert max(gang.steps()) < 900


def test_sigterm_ends_a_rank_that_waits_for_others(tmp_path: Path) -> None:
    """Its main thread is deep in the rendezvous; the signal counts all the same."""
    job = Job(tmp_path, "ends:well", 2, {})
    with job.start(0, ranks=[1]) as gang:
        gang.wait_until(lambda: gang.steps() == [0])
        gang.send(signal.SIGTERM)
        assert gang.wait() == [ExitCode.STOPPED], gang.logs()
