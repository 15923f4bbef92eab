"""What faulthandler's text and the kernel say of a process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from footplate_trainer import exchange
from footplate_trainer.supervisor.stacks import Finding, Frame, parse_main_thread, state_of

DUMP = """Thread 0x00007f2a (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 331 in wait
  File "/opt/footplate_trainer/report.py", line 5 in _write_regularly

Current thread 0x00007f2b (most recent call first):
  File "/code/train.py", line 7 in stuck_in_here
  File "/code/train.py", line 9 in <module>
  File "<frozen runpy>", line 88 in _run_code
  File "/opt/footplate_trainer/rank/program.py", line 60 in run
  File "/opt/footplate_trainer/rank/program.py", line 220 in <module>
"""


def test_the_traceback_is_the_main_threads_and_begins_with_the_users_code() -> None:
    assert Finding(parse_main_thread(DUMP)).traceback == (
        "Stack (most recent call last):\n"
        '  File "/code/train.py", line 9, in <module>\n'
        '  File "/code/train.py", line 7, in stuck_in_here'
    )


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param(DUMP.replace("Current thread", "Thread"), ["<module>", "run"], id="none is called current"),
        pytest.param("", [], id="nothing"),
        pytest.param("Killed\n\nsome words", [], id="no dump"),
        pytest.param(DUMP[: DUMP.index(" in stuck")], [], id="cut"),
    ],
)
def test_other_texts(text: str, names: list[str]) -> None:
    assert [frame.name for frame in parse_main_thread(text)][:2] == names


@pytest.mark.parametrize(
    ("finding", "words"),
    [
        (Finding(state="T"), "is stopped (SIGSTOP, or a debugger)"),
        (Finding(state="t"), "is stopped (SIGSTOP, or a debugger)"),
        (Finding(state="D"), "a disk, a mount or a device doesn't answer"),
        (Finding((Frame("train.py", "1", "f"),), "D"), "stacks of all ranks"),
        (Finding(state="S"), "could not be had"),
        (Finding((Frame("/x/torch/autograd/graph.py", "1", "_engine_run_backward"),), "S"), "waits for others"),
    ],
)
def test_each_finding_has_words(finding: Finding, words: str) -> None:
    assert words in finding.in_words


def test_the_kernel_knows_who_is_stopped() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
        assert state_of(child.pid) == "T"
        child.kill()
    assert state_of(child.pid) == ""


def test_a_process_without_a_file_for_its_stacks_is_not_to_be_asked(tmp_path: Path) -> None:
    assert not exchange.clear_stacks(tmp_path, 0)
    assert exchange.read_stacks(tmp_path, 0) == ""
    with exchange.open_stacks(tmp_path, 0) as stacks:
        stacks.write(b"old")
        assert exchange.clear_stacks(tmp_path, 0)
        stacks.write(b"new")
        assert exchange.read_stacks(tmp_path, 0) == "new"
