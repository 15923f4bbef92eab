"""What faulthandler's text and the kernel say of a process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from footplate_trainer import exchange
from footplate_trainer.supervisor.hang import Silence, find_culprit
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


CULPRITS_AND_VICTIMS = {
    "total += loss.item()": True,
    "values = losses.tolist()": True,
    "print(f'loss {loss:.3f}')": True,
    "if loss > best:": True,
    "torch.cuda.synchronize()": True,
    "images = images.to(device)": True,
    "sample = json.loads(file.read())": False,
    "time.sleep(3600)": False,
    "batch = next(batches)": False,
    "answer = float(queue.get())": False,
    "seen.append(settings.get('scale') * loss.item())": True,
    "while not path.exists(): pass": False,
    "x = x * 2": False,
}


@pytest.mark.parametrize(("line", "waits"), CULPRITS_AND_VICTIMS.items())
def test_on_a_device_ranks_wait_where_they_read_it(line: str, waits: bool, tmp_path: Path) -> None:
    """A rank whose peers are late comes as far as the next value that it needs, not to torch.distributed."""
    program = tmp_path / "train.py"
    program.write_text(f"import torch\n{line}\n")
    frames = (Frame(str(program), "2", "train"),)
    assert Finding(frames, "R", on_device=True).waits_for_others is waits
    assert not Finding(frames, "R").waits_for_others, "on a CPU nothing waits there"


@pytest.mark.parametrize(
    ("file", "waits"),
    [
        ("/usr/lib/python3.11/site-packages/torch/cuda/streams.py", True),
        ("/usr/lib/python3.11/site-packages/torch/nn/modules/linear.py", True),
        ("/usr/lib/python3.11/site-packages/torch/optim/adamw.py", True),
        ("/usr/lib/python3.11/site-packages/torch/_tensor.py", True),
        ("/tmp/torchinductor_footplate/ab/cab3.py", True),
        ("/usr/lib/python3.11/site-packages/triton/backends/nvidia/driver.py", True),
        ("/usr/lib/python3.11/site-packages/torch/utils/data/dataloader.py", False),
        ("/usr/lib/python3.11/site-packages/torch/_inductor/codecache.py", False),
        ("/usr/lib/python3.11/site-packages/torch/serialization.py", False),
        ("/usr/lib/python3.11/queue.py", False),
    ],
)
def test_a_launch_waits_too(file: str, waits: bool) -> None:
    assert Finding((Frame(file, "?", "forward"),), "R", on_device=True).waits_for_others is waits


def test_the_rank_that_reads_a_file_is_to_blame_and_not_those_that_read_their_loss(tmp_path: Path) -> None:
    program = tmp_path / "train.py"
    program.write_text("for batch in loader:\n    total += loss.item()\n    text = file.readline()\n")

    def at(line: int) -> Finding:
        return Finding((Frame(str(program), str(line), "train"),), "R", on_device=True)

    silences = [Silence(rank, "training", 7, 100.0 - rank, 1000 + rank) for rank in range(3)]
    assert find_culprit(silences, {0: at(2), 1: at(3), 2: at(2)}).culprit.rank == 1
    everyone = find_culprit(silences, dict.fromkeys(range(3), at(2)))
    assert "waits for others in a collective, or for its device" in everyone.finding.in_words
