"""Exit code 0 comes only from the end of a path that was completed on purpose: whatever is thrown between a program's
last line and its process's end, and with whatever values, no rank and no gang succeeds that hasn't.
"""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from footplate.contract import ExitCode, parse_verdict
from fork_server import Ended, ForkServer, Throw
from rank_processes import Job
from trainer_pods import pod_environment

pytestmark = pytest.mark.integration

CONTRACT = {0, 1, 65, 70, 75, 76, 77, 78, 130, 137, 139, 143}
EVERY_STEP = {"every": {"steps": 1}}


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    with ForkServer() as server:
        yield server


def run(server: ForkServer, root: Path, entrypoint: str, world: int = 1, **hyperparameters: Any) -> Ended:
    return server.run(Job(root, f"ends:{entrypoint}", world, hyperparameters))


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("none", 0),
        ("false", 0),
        ("true", 1),
        ("text", 1),
        ("float", 1),
        ("numpy", 1),
        ("tensor", 1),
        ("tensors", 1),
        ("256", 1),
        ("2**40", 1),
        ("2**70", 1),
        ("-256", 1),
        ("-1", 255),
        ("zero that says it is one", 0),
        ("one that says it is zero", 1),
        (3, 3),
        (ExitCode.CONFIG_ERROR, ExitCode.CONFIG_ERROR),
        pytest.param(ExitCode.STOPPED, ExitCode.USER_ERROR, id="stopped, though nobody asked"),
        pytest.param(ExitCode.PEER_LOST, ExitCode.USER_ERROR, id="not a program's to say: 76"),
        pytest.param(ExitCode.HANG, ExitCode.USER_ERROR, id="not a program's to say: 77"),
    ],
)
def test_whatever_a_program_exits_with(server: ForkServer, tmp_path: Path, given: object, code: int) -> None:
    ended = run(server, tmp_path, "exits", code=given)
    assert (ended.codes, ended.ending.exit_code) == ([code], code), ended.log()


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("claims 0", ExitCode.USER_ERROR),
        ("claims 256", ExitCode.USER_ERROR),
        ("claims text", ExitCode.USER_ERROR),
        ("claims none", ExitCode.USER_ERROR),
        ("unspeakable", ExitCode.USER_ERROR),
        ("surrogate", ExitCode.USER_ERROR),
        ("interrupt", 130),
        ("generator", ExitCode.USER_ERROR),
        ("cancelled", ExitCode.USER_ERROR),
        ("group", ExitCode.USER_ERROR),
        ("memory", ExitCode.USER_ERROR),
        ("recursion", ExitCode.USER_ERROR),
        ("no code", ExitCode.USER_ERROR),
        ("unpicklable", ExitCode.USER_ERROR),
        ("long", ExitCode.USER_ERROR),
    ],
)
def test_whatever_a_program_raises(server: ForkServer, tmp_path: Path, how: str, code: int) -> None:
    ended = run(server, tmp_path, "raises_odd", how=how)
    assert (ended.codes, ended.ending.exit_code) == ([code], code), ended.log()
    assert ended.ending.error is not None


@pytest.mark.parametrize(
    "how",
    [
        "os._exit",
        "exec",
        "thread",
        "thread after the end",
        "libc",
        "atexit",
        "after its fork has come to the end",
    ],
)
def test_who_only_leaves_with_0_isnt_done(server: ForkServer, tmp_path: Path, how: str) -> None:
    ended = run(server, tmp_path, "leaves_with_0", how=how)
    assert (ended.codes, ended.ending.exit_code) == ([0], ExitCode.USER_ERROR), ended.log()
    assert ended.ending.error is not None
    assert "ended with exit code 0 before its program had" in ended.ending.error.message


def test_nothing_that_runs_after_a_failure_makes_it_smaller(server: ForkServer, tmp_path: Path) -> None:
    ended = run(server, tmp_path, "leaves_with_0", how="atexit of a failure")
    assert (ended.codes, ended.ending.exit_code) == ([0], ExitCode.USER_ERROR), ended.log()
    assert ended.ending.error is not None
    assert ended.ending.error.message == "the data has 3 columns, not 4"


@pytest.mark.parametrize("then", ["", "raises"])
@pytest.mark.parametrize(
    "how",
    ["closes its output", "closes its descriptors", "takes all descriptors", "fills the run folder", "forks"],
)
def test_what_a_program_spoils_changes_no_outcome(server: ForkServer, tmp_path: Path, how: str, then: str) -> None:
    ended = run(server, tmp_path, "spoils", how=how, then=then)
    code = ExitCode.USER_ERROR if then else 0
    assert (ended.codes, ended.ending.exit_code) == ([code], code), ended.log()


@pytest.mark.parametrize(
    ("handler", "code", "said"),
    [
        pytest.param("raises", ExitCode.USER_ERROR, "No space left on device", id="raises"),
        pytest.param("exits with 3", 3, None, id="exits with 3"),
        pytest.param("exits with 256", 1, None, id="exits with 256"),
        pytest.param("exits with 0", 0, None, id="exits with 0"),
        pytest.param("a library's raises", 0, None, id="a library's raises"),
    ],
)
def test_handlers_of_atexit_that_fail(
    server: ForkServer, tmp_path: Path, handler: str, code: int, said: str | None
) -> None:
    ended = run(server, tmp_path, "registers", handler=handler)
    assert (ended.codes, ended.ending.exit_code) == ([code], code), ended.log()
    assert said is None or (ended.ending.error is not None and said in ended.ending.error.message)


@pytest.mark.parametrize(("how", "code"), [("", 0), ("raises", ExitCode.USER_ERROR), ("stops", ExitCode.STOPPED)])
def test_handlers_of_atexit_run_once_however_a_rank_ends(
    server: ForkServer, tmp_path: Path, how: str, code: int
) -> None:
    ended = run(server, tmp_path, "registers", handler="writes", how=how)
    assert ended.codes == [code], ended.log()
    assert len((tmp_path / "output/tail").read_text().splitlines()) == 1


@pytest.mark.parametrize(("how", "code"), [("raises", ExitCode.USER_ERROR), ("stops", ExitCode.STOPPED)])
def test_a_handler_of_atexit_that_hangs_is_left(server: ForkServer, tmp_path: Path, how: str, code: int) -> None:
    assert run(server, tmp_path, "registers", handler="hangs", how=how).codes == [code]


def test_a_fork_of_user_code_is_no_rank(server: ForkServer, tmp_path: Path) -> None:
    """It fails, and leaves no word; what is registered with atexit is its parent's."""
    ended = run(server, tmp_path, "registers", handler="writes in a fork")
    assert (ended.codes, ended.ending.exit_code, ended.error()) == ([0], 0, None), ended.log()
    assert len((tmp_path / "output/tail").read_text().splitlines()) == 1


@pytest.mark.parametrize("how", ["unpicklable", "unspeakable"])
def test_an_error_that_cant_travel_is_everybodys_in_words(server: ForkServer, tmp_path: Path, how: str) -> None:
    ended = run(server, tmp_path, "fails_together", world=3, how=how)
    assert ended.codes == [ExitCode.USER_ERROR] * 3, [ended.log(rank) for rank in range(3)]


@pytest.mark.parametrize("signals", [[2], [15], [2, 15]], ids=str)
def test_sigterm_is_noticed_after_an_event_loop_gave_it_up(
    server: ForkServer, tmp_path: Path, signals: list[int]
) -> None:
    ended = run(server, tmp_path, "gives_sigterm_up", signals=signals)
    assert ended.codes == [ExitCode.STOPPED], ended.log()


@pytest.mark.parametrize(
    ("how", "code"),
    [
        pytest.param("", ExitCode.STOPPED, id="ends"),
        pytest.param("fails over it", ExitCode.STOPPED, id="fails over it"),
        pytest.param("goes on", ExitCode.STOPPED, id="goes on"),
        pytest.param("handles it", 0, id="handles it"),
    ],
)
def test_a_program_that_is_stopped_can_put_its_things_away(
    server: ForkServer, tmp_path: Path, how: str, code: int
) -> None:
    ended = server.run(Job(tmp_path, "ends:is_stopped", 1, {"how": how}), stop_requested=True)
    assert (ended.codes, ended.ending.exit_code) == ([code], ExitCode.STOPPED), ended.log()
    assert how == "goes on" or (tmp_path / "output/tail").read_text() == f"{['told'] if code == 0 else []}\n"


def lines_to_throw_at(lines: list[str]) -> list[int]:
    """Each line once: of one the first time that it is come to, of the next the last."""
    first = {line: at for at, line in reversed(list(enumerate(lines)))}
    last = {line: at for at, line in enumerate(lines)}
    return sorted((last if number % 2 else first)[line] for number, line in enumerate(sorted(first)))


def sweep(server: ForkServer, root: Path, *, world: int, how: str, rank: int, kinds: list[str], every: int) -> int:
    """Throws at each `every`-th line; returns how many that were."""
    stops = how == "stops"

    def throw(name: str, at: int | None, kind: str = "Exception") -> tuple[Job, Ended]:
        job = Job(root / name, "ends:completes", world, {"how": how}, checkpoint=EVERY_STEP)
        return job, server.run(job, Throw(rank, at, kind), stop_requested=stops)

    expected = {"": 0, "raises": ExitCode.USER_ERROR, "stops": ExitCode.STOPPED}[how]
    _, undisturbed = throw("undisturbed", None)
    assert undisturbed.ending.exit_code == expected, undisturbed.log()
    thrown = 0
    for number, at in enumerate(lines_to_throw_at(undisturbed.lines)[::every]):
        kind = kinds[number % len(kinds)]
        job, ended = throw(str(at), at, kind)
        where = f"{kind} at {ended.lines[at] if at < len(ended.lines) else 'no line'}: {ended.codes}\n{ended.log(rank)}"
        assert ended.ending.exit_code in CONTRACT, where
        # Who waits for one that has failed is killed, as by a supervisor.
        assert set(ended.codes) <= CONTRACT | ({-signal.SIGKILL} if ended.ending.exit_code else set()), where
        assert ended.codes[rank] in CONTRACT, where
        if how:
            assert ended.ending.exit_code != 0, where
        elif ended.ending.exit_code == 0:
            assert ended.codes == [0] * world, where
            assert list(job.root.glob("checkpoints/**/step-00000002/manifest.json")), where
        thrown += at < len(ended.lines)
    return thrown


ALL = ["Exception", "BaseException", "SystemExit", "KeyboardInterrupt", "MemoryError"]


@pytest.mark.parametrize(("how", "every"), [pytest.param("", 9, id="done"), pytest.param("raises", 6, id="failed")])
def test_what_is_thrown_at_a_ranks_end_makes_no_success(
    server: ForkServer, tmp_path: Path, how: str, every: int
) -> None:
    assert sweep(server, tmp_path, world=1, how=how, rank=0, kinds=ALL, every=every) > 20


FAIL = "raise SystemExit(3)"
SAVE = "import os, pathlib; pathlib.Path(os.environ['FOOTPLATE_OUTPUT_DIR'], 'model.bin').write_bytes(b'weights')"


def sweep_pod(server: ForkServer, root: Path, *, code: str, every: int) -> int:
    """Throws at each `every`-th line that a supervisor comes to once its ranks have ended; returns how many."""

    def throw(name: str, at: int | None, kind: str) -> tuple[Path, int, list[str]]:
        folder = root / name
        spec = {"trainer": {"command": [sys.executable, "-c", code]}, "output": {"uri": f"file://{folder}/models"}}
        return folder, *server.run_pod(folder, pod_environment(folder, spec), Throw(0, at, kind))

    folder, exit_code, lines = throw("undisturbed", None, "Exception")
    assert exit_code == (0 if code is SAVE else 3), (folder / "log").read_text()
    thrown = 0
    for number, at in enumerate(lines_to_throw_at(lines)[::every]):
        kind = ALL[number % len(ALL)]
        folder, exit_code, come_to = throw(str(at), at, kind)
        where = (
            f"{kind} at {come_to[at] if at < len(come_to) else 'no line'}: {exit_code}\n{(folder / 'log').read_text()}"
        )
        assert exit_code in CONTRACT | {3}, where
        word = folder / "termination-log"
        verdict = parse_verdict(word.read_text() if word.exists() else None)
        if exit_code == 0:
            assert code is SAVE, where
            assert verdict is not None, where
        if verdict is not None and verdict.outcome == "succeeded":
            assert verdict.artifact is not None, where
            assert Path(verdict.artifact.manifest.removeprefix("file://")).is_file(), where
        thrown += at < len(come_to)
    return thrown


@pytest.mark.parametrize(("code", "every"), [pytest.param(SAVE, 20, id="done"), pytest.param(FAIL, 8, id="failed")])
def test_what_is_thrown_at_a_supervisors_end_makes_no_success(
    server: ForkServer, tmp_path: Path, code: str, every: int
) -> None:
    assert sweep_pod(server, tmp_path, code=code, every=every) > 5


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("code", [pytest.param(SAVE, id="done"), pytest.param(FAIL, id="failed")])
def test_whatever_is_thrown_at_a_supervisors_end_makes_no_success(
    server: ForkServer, tmp_path: Path, code: str
) -> None:
    assert sweep_pod(server, tmp_path, code=code, every=2) > 25


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("how", "every"),
    [pytest.param("", 1, id="done"), pytest.param("raises", 1, id="failed"), pytest.param("stops", 4, id="stopped")],
)
def test_whatever_is_thrown_at_a_ranks_end_makes_no_success(
    server: ForkServer, tmp_path: Path, how: str, every: int
) -> None:
    assert sweep(server, tmp_path, world=1, how=how, rank=0, kinds=ALL, every=every) > 30


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("how", ["", "raises"])
def test_whatever_is_thrown_in_one_rank_of_three_makes_no_success(
    server: ForkServer, tmp_path: Path, how: str, rank: int
) -> None:
    assert sweep(server, tmp_path, world=3, how=how, rank=rank, kinds=ALL, every=10) > 5
