"""Which exit code and which error a pod ends with."""

import signal
from typing import Any

import pytest

from footplate.contract import Failure
from footplate_trainer.exchange import RankError
from footplate_trainer.supervisor.ending import Story, find_ending
from footplate_trainer.supervisor.hang import Hang, Silence
from footplate_trainer.supervisor.processes import Exit
from footplate_trainer.supervisor.stacks import Finding, Frame

KILLED, TERMINATED = -signal.SIGKILL, -signal.SIGTERM
TORCHRUN = (
    "Traceback (most recent call last):\n"
    '  File "/venv/torch/distributed/elastic/multiprocessing/api.py", line 86, in _terminate_process_handler\n'
    '    raise SignalException(f"Process {os.getpid()} got signal: {sigval}", sigval=sigval)\n'
    "torch.distributed.elastic.multiprocessing.api.SignalException: Process 5040 got signal: 15\n"
)
CLOCK = 1000.0
"""What the clock shows when `time.monotonic()` is 0."""


def hang(*, seconds: float = 1800.0, finding: Finding | None = None) -> Hang:
    return Hang(Silence(0, "training", 7, seconds, pid=1), finding or Finding())


def story(*codes: int, errors: dict[int, RankError] | None = None, tail: str = "", **seen: Any) -> Story:
    """Ranks end a second apart, in order."""
    exits = [Exit(rank, code, CLOCK + 100.0 + rank, 100.0 + rank, tail) for rank, code in enumerate(codes)]
    return Story(exits=exits, errors=errors or {}, **seen)


def rank_error(rank: int, code: int, time: float) -> RankError:
    failure = Failure(rank=rank, type="ValueError", message="no", time=CLOCK + time)
    return RankError(failure=failure, exit_code=code, failed_at=time)


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        (story(0, 0), 0),
        (story(75, 75), 75),
        (story(0, 75), 75),
        (story(0, 0, stop_requested=True), 75),
        (story(TERMINATED, 0, stop_requested=True), 75),
        (story(TERMINATED, 0), 143),
        (story(1, tail=TORCHRUN, stop_requested=True), 75),
        (story(1, tail=TORCHRUN), 1),
        (story(1, tail=TORCHRUN.replace("signal: 15", "signal: 1"), stop_requested=True), 1),
        (story(KILLED), 137),
        (story(-signal.SIGSEGV), 139),
        (story(0, 3), 3),
        (story(70, 76), 70),
        (story(76, 70), 70),
        (story(76, 76), 76),
        (story(65), 65),
        (story(78), 78),
        (story(77), 77),
        (story(79), 70),
        (story(70, 75, stop_requested=True), 70),
        (story(76, KILLED, ended_by_us=frozenset({1})), 76),
        (story(70, KILLED, TERMINATED, ended_by_us=frozenset({1, 2})), 70),
        (story(76, 70, ended_by_us=frozenset({1})), 70),
        (story(KILLED, KILLED, stop_requested=True, late=True), 75),
        (story(KILLED, hang=hang()), 77),
        (story(0, 0, unfinished=frozenset({1})), 70),
        (story(), 70),
        (story(0, KILLED, ended_by_us=frozenset({1})), 70),
        (story(0, unfinished=frozenset({0}), stop_requested=True), 75),
        (story(0, errors={0: rank_error(0, 65, 1.0)}), 65),
        (story(75, errors={0: rank_error(0, 65, 1.0)}, stop_requested=True), 65),
        (story(76, KILLED, errors={1: rank_error(1, 70, 1.0)}, ended_by_us=frozenset({1})), 70),
        (story(KILLED, errors={0: rank_error(0, 65, 1.0)}), 65),
    ],
)
def test_exit_code(seen: Story, code: int) -> None:
    assert find_ending(seen).exit_code == code


def test_what_was_caught_long_before_is_nobodys_word() -> None:
    caught = 'Traceback (most recent call last):\n  File "/app/t.py", line 1, in f\nValueError: caught\n'
    ending = find_ending(story(3, tail=caught + "epoch\n" * 60, nodes=2))
    assert ending.exit_code == 3
    assert ending.error is not None
    assert (ending.error.type, ending.error.message) == ("", "ended with exit code 3: epoch")
    assert "ValueError" not in (ending.error.traceback or "")


def test_no_error_after_a_good_or_a_clean_end() -> None:
    assert find_ending(story(0, 0)).error is None
    assert find_ending(story(75, 75)).error is None


def test_the_cause_is_who_failed_first_by_their_own_words() -> None:
    errors = {0: rank_error(0, 70, time=50.0), 1: rank_error(1, 70, time=49.0)}
    ending = find_ending(story(70, 70, errors=errors))
    assert ending.error == errors[1].failure


def test_a_clock_that_is_set_back_meanwhile_changes_no_order() -> None:
    first, second = rank_error(0, 70, time=50.0), rank_error(1, 70, time=51.0)
    late = second.model_copy(update={"failure": second.failure.model_copy(update={"time": CLOCK - 3600})})
    assert find_ending(story(70, 70, errors={0: first, 1: late})).error == first.failure


def test_who_lost_a_peer_is_no_cause_even_if_first() -> None:
    errors = {0: rank_error(0, 76, time=1.0), 1: rank_error(1, 70, time=2.0)}
    assert find_ending(story(76, 70, errors=errors)).error == errors[1].failure


def test_a_process_without_words_is_described_by_its_stderr() -> None:
    error = find_ending(story(0, 1, tail="Traceback\nValueError: bad\n\n")).error
    assert error is not None
    assert (error.rank, error.message) == (1, "ended with exit code 1: ValueError: bad")
    assert error.traceback == "Traceback\nValueError: bad\n\n"
    assert error.time == CLOCK + 101.0


@pytest.mark.parametrize(
    ("code", "words"),
    [(KILLED, "resources.limits.memory"), (-signal.SIGSEGV, "killed by SIGSEGV"), (-250, "killed by signal 250")],
)
def test_a_signal_is_named(code: int, words: str) -> None:
    error = find_ending(story(code)).error
    assert error is not None
    assert words in error.message


CRASH = """epoch 2
Fatal Python error: Segmentation fault

Thread 0x00007f0000000001 (most recent call first):
  File "/lib/python3.11/threading.py", line 331 in wait

Current thread 0x00007f0000000002 (most recent call first):
  File "/lib/kernels/fused.py", line 519 in launch
  File "train.py", line 4 in step
  File "<frozen runpy>", line 88 in _run_code
  File "/x/footplate_trainer/rank/program.py", line 75 in run

Extension modules: numpy._core._multiarray_umath, torch._C (total: 2)
"""


def test_a_native_crash_is_told_by_the_frame_it_happened_in() -> None:
    error = find_ending(story(-signal.SIGSEGV, tail=CRASH)).error
    assert error is not None
    assert error.message == (
        'killed by SIGSEGV: in native code, called from File "/lib/kernels/fused.py", line 519, in launch'
    )
    assert error.traceback == (
        "Stack (most recent call last):\n"
        '  File "train.py", line 4, in step\n'
        '  File "/lib/kernels/fused.py", line 519, in launch'
    )


def test_a_crash_without_a_stack_is_not_told_by_the_modules_that_were_loaded() -> None:
    tail = "free(): invalid pointer\nFatal Python error: Aborted\n\nExtension modules: numpy (total: 1)\n"
    error = find_ending(story(-signal.SIGABRT, tail=tail)).error
    assert error is not None
    assert error.message == "killed by SIGABRT: free(): invalid pointer"


WATCHDOG = (
    "[rank0]:[E1129 07:30:00.8 7 ProcessGroupNCCL.cpp:2068] [PG ID 0 Rank 0] Process group watchdog thread terminated "
    "with exception: NCCL error: remote process exited or there was a network error\n"
    "ncclRemoteError: A call failed possibly due to a network error\nFatal Python error: Aborted\n"
)
ITS_CAUSE = rank_error(1, 70, time=200.0)


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        pytest.param(story(-signal.SIGABRT, tail=WATCHDOG), 76, id="NCCL's watchdog"),
        pytest.param(story(-signal.SIGABRT, 70, errors={1: ITS_CAUSE}, tail=WATCHDOG), 70, id="cause"),
        pytest.param(story(-signal.SIGABRT, tail="free(): invalid pointer"), 134, id="another abort"),
        pytest.param(story(3, tail=WATCHDOG), 3, id="no abort"),
    ],
)
def test_who_is_ended_by_nccls_watchdog_has_lost_a_peer(seen: Story, code: int) -> None:
    ending = find_ending(seen)
    assert ending.exit_code == code
    if code == 76:
        assert ending.error is not None
        assert "remote process exited" in ending.error.message


RAISED = """Traceback (most recent call last):
  File "/app/train.py", line 7, in <module>
    step()
ValueError: bad sample 4711
"""
LOST = """[rank0]: Traceback (most recent call last):
[rank0]:   File "/app/train.py", line 3, in <module>
[rank0]:     dist.all_reduce(t)
[rank0]: RuntimeError: [/b/gloo/transport/tcp/pair.cc:537] Read error [10.1.0.7]:37504: Connection reset by peer
"""


def test_a_commands_error_is_told_as_an_exception_of_its_own() -> None:
    error = find_ending(story(1, tail=RAISED)).error
    assert error is not None
    assert (error.type, error.message) == ("ValueError", "bad sample 4711 (train.py, line 7)")
    assert error.traceback == RAISED.strip()


def test_an_error_that_was_written_to_stdout_is_read_there() -> None:
    exit_ = Exit(0, 1, CLOCK, 100.0, "a warning", RAISED)
    error = find_ending(Story(exits=[exit_], errors={})).error
    assert error is not None
    assert error.type == "ValueError"


def test_no_exception_that_was_logged_before_is_the_cause_of_a_signal() -> None:
    error = find_ending(story(KILLED, tail=RAISED)).error
    assert error is not None
    assert (error.type, "out of memory" in error.message) == ("", True)


@pytest.mark.parametrize(("nodes", "code"), [(2, 76), (1, 1)])
def test_a_launcher_whose_ranks_only_lost_others_is_no_cause_where_there_are_others(nodes: int, code: int) -> None:
    assert find_ending(story(1, tail=LOST, nodes=nodes)).exit_code == code


def test_an_entrypoints_usage_error_has_its_parsers_words() -> None:
    failure = Failure(rank=0, type="SystemExit", message="2", traceback="T")
    tail = "usage: train.py [-h] --epochs N\ntrain.py: error: the following arguments are required: --epochs\n" + (
        'Traceback (most recent call last):\n  File "train.py", line 2, in <module>\nSystemExit: 2'
    )
    error = find_ending(story(2, errors={0: RankError(failure=failure, exit_code=2)}, tail=tail)).error
    assert error is not None
    assert (error.type, error.message, error.traceback) == (
        "",
        "ended with exit code 2: train.py: error: the following arguments are required: --epochs",
        "T",
    )


STACK = Finding((Frame("train.py", "3", "stuck_here"),), "S")
WAITING = Finding((Frame("/x/torch/autograd/graph.py", "869", "_engine_run_backward"),), "S")


def test_a_hang_names_rank_step_and_setting_and_shows_the_stack() -> None:
    error = find_ending(story(KILLED, tail="stderr", hang=hang(seconds=1801, finding=STACK), hang_timeout=1800)).error
    assert error is not None
    assert error.rank == 0
    assert error.message.startswith("rank 0 made no progress for 1801 s while training, after step 7: ")
    assert "runPolicy.hangTimeoutSeconds (1800)" in error.message
    assert str(error.traceback).endswith('File "train.py", line 3, in stuck_here')


@pytest.mark.parametrize(("tail", "traceback"), [("stderr", "stderr"), ("", None)])
def test_without_a_stack_the_end_of_stderr_must_do(tail: str, traceback: str | None) -> None:
    error = find_ending(story(KILLED, tail=tail, hang=hang(finding=Finding(state="T")))).error
    assert error is not None
    assert error.traceback == traceback
    assert "its process is stopped" in error.message


@pytest.mark.parametrize(
    ("finding", "time"),
    [pytest.param(STACK, 200.0, id="its last sign of life"), pytest.param(WAITING, 2000.0, id="now")],
)
def test_of_all_pods_hangs_that_of_the_culprit_is_the_earliest(finding: Finding, time: float) -> None:
    error = find_ending(story(KILLED, hang=hang(seconds=1800, finding=finding), hang_time=2000.0)).error
    assert error is not None
    assert error.time == time


def test_a_late_stop_says_what_to_raise() -> None:
    error = find_ending(story(KILLED, stop_requested=True, late=True, grace_seconds=30)).error
    assert error is not None
    assert "30 s of grace" in error.message
    assert "terminationGracePeriodSeconds" in error.message
