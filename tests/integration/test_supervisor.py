"""Whole pods: a real supervisor with real rank processes, from job.json to the termination message."""

import contextlib
import json
import os
import select
import signal
import socket
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from footplate.contract import Progress
from trainer_pods import Done, RunningPod, free_port, pod_environment

pytestmark = pytest.mark.integration

TRAIN = """
from footplate_trainer import context, report
import helper
ctx = context()
report(step=3, loss=0.25)
data = (ctx.inputs["train"] / "a.txt").read_text()
print(f"rank {ctx.rank} of {ctx.world_size} read {data}")
if ctx.is_main:
    (ctx.output_dir / "model.bin").write_bytes(b"weights")
"""

FAIL_ON_RANK_1 = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.environ["RANK"] == "1":
    raise ValueError("rank 1 is the cause")
print("pid", os.getpid(), flush=True)
time.sleep(600)
"""

HANG = """
import time
from footplate_trainer import report
def stuck_in_here():
    time.sleep(600)
report(step=7)
stuck_in_here()
"""

ALL_REDUCE = """
import itertools, os, time
import torch
import torch.distributed as dist
from footplate_trainer import context, report
ctx = context()
print("pid", os.getpid(), flush=True)
for step in itertools.count():
    dist.all_reduce(torch.ones(1))
    report(step=step)
    time.sleep(0.05)
"""

LEAVE_A_CHILD = """
import subprocess
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
print("pid", child.pid, flush=True)
"""

LEAVE_A_WRITER = """
import os, pathlib, subprocess, sys
path = pathlib.Path(os.environ["FOOTPLATE_OUTPUT_DIR"], "gpu.csv")
write = "import sys, time\\nwhile True: print(time.time(), flush=True); time.sleep(0.001)"
subprocess.Popen([sys.executable, "-c", write], stdout=path.open("w"), stderr=subprocess.DEVNULL)
copy = "import sys, time; time.sleep(0.5); open(sys.argv[1], 'w').write('whole')"
subprocess.Popen([sys.executable, "-c", copy, path.with_name("copied.bin")], start_new_session=True)
while not (path.exists() and path.stat().st_size):
    pass
"""

REPORT = """
import os, pathlib, time
from footplate.api.reports import ProgressStatus
from footplate_trainer.exchange import Heartbeat, RankReport, write_report
run_dir = pathlib.Path(os.environ["FOOTPLATE_RUN_DIR"])
Heartbeat(run_dir, 0).beat(5, "evaluating")
write_report(run_dir, RankReport(progress=ProgressStatus(step=5)))
time.sleep(600)
"""

SLEEP = "import time; print('ready', flush=True); time.sleep(600)"
EXIT_ON_SIGTERM = f"import signal, sys; signal.signal(15, lambda *_: sys.exit(0)); {SLEEP}"
IGNORE_SIGTERM = f"import signal; signal.signal(15, signal.SIG_IGN); {SLEEP}"
SAVE = "import os, pathlib\npathlib.Path(os.environ['FOOTPLATE_OUTPUT_DIR'], 'model.bin').write_bytes(b'weights')\n"

LIE = """
import json, os, pathlib
report = {"resumedFromStep": -7, "notes": ["x" * 5000, "ok"], "productiveNodeSeconds": -1.0}
pathlib.Path(os.environ["FOOTPLATE_RUN_DIR"], "report.json").write_text(json.dumps(report))
"""


def output_in(root: Path) -> dict[str, str]:
    return {"uri": f"file://{root}/models"}


def entrypoint(name: str = "train.py", **spec: Any) -> dict[str, Any]:
    return {"trainer": {"entrypoint": name}, **spec}


def python(code: str, **spec: Any) -> dict[str, Any]:
    """A `command` job: started as it is, without torch."""
    return {"trainer": {"command": [sys.executable, "-c", code]}, **spec}


def run(root: Path, spec: dict[str, Any], **pod: Any) -> Done:
    return RunningPod(root, pod_environment(root, spec, **pod)).finish()


@contextlib.contextmanager
def running(root: Path, spec: dict[str, Any], env: dict[str, str] | None = None, **pod: Any) -> Iterator[RunningPod]:
    started = RunningPod(root, {**pod_environment(root, spec, **pod), **(env or {})})
    try:
        yield started
    finally:
        started.process.kill()
        started.process.wait()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_ranks_train_and_leave_a_verified_model(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.txt").write_text("data")
    spec = entrypoint(
        inputs=[{"name": "train", "uri": f"file://{tmp_path}/data/"}], output={"uri": f"file://{tmp_path}/models"}
    )
    done = run(tmp_path, spec, processes=2, files={"train.py": TRAIN, "helper.py": ""})
    assert done.exit_code == 0, done.log
    assert (done.verdict.outcome, done.verdict.step, done.verdict.metrics) == ("succeeded", 3, {"loss": 0.25})
    assert done.verdict.artifact is not None
    manifest = json.loads(Path(done.verdict.artifact.manifest.removeprefix("file://")).read_text())
    assert [file["name"] for file in manifest["files"]] == ["model.bin", "metrics.parquet"]
    assert manifest["metrics"] == {"loss": 0.25}
    for rank in (0, 1):
        assert f"[rank {rank}] rank {rank} of 2 read data" in done.log


@pytest.mark.parametrize(
    ("files", "code", "words"),
    [
        ({"main.py": ""}, 78, "there is no such file in the code (main.py)"),
        ({"train.py": "import no_such_module"}, 70, "No module named 'no_such_module'"),
        ({"train.py": "def f():\n    raise ValueError('bad data')\nf()"}, 70, "bad data"),
        ({"train.py": "def f(:"}, 70, "invalid syntax"),
    ],
    ids=["missing", "import", "raises", "syntax"],
)
def test_a_script_that_fails_is_the_users(tmp_path: Path, files: dict[str, str], code: int, words: str) -> None:
    done = run(tmp_path, entrypoint(), files=files)
    assert done.exit_code == code, done.log
    assert done.verdict.error is not None
    assert done.verdict.error.rank == 0
    assert words in f"{done.verdict.error.message}{done.verdict.error.traceback}"


@pytest.mark.parametrize(
    ("spec", "code", "words"),
    [
        (python("import sys; sys.exit('something is wrong')"), 1, "ended with exit code 1: something is wrong"),
        (python("import os; os._exit(3)"), 3, "ended with exit code 3"),
        (python("import os; os.kill(os.getpid(), 11)"), 139, "killed by SIGSEGV"),
        (python("import os; os.kill(os.getpid(), 9)"), 137, "raise resources.limits.memory"),
        (
            {
                "trainer": {"recipe": "image-classification", "hyperparameters": {"epoch": 1}},
                "inputs": [{"name": "train", "uri": "file:///no/data/"}],
            },
            78,
            "did you mean epochs?",
        ),
        ({"trainer": {"command": ["no-such-program"]}}, 78, "'no-such-program' can't be started"),
        (python("pass", inputs=[{"name": "x", "uri": "file:///no/data/"}]), 65, "spec.inputs[x]: uri file:///no/data/"),
        (
            {"trainer": {"entrypoint": "t.py", "source": {"configMap": {"name": "c"}}}},
            78,
            "configMap 'c' isn't in the job's namespace, or holds no files",
        ),
    ],
    ids=[
        "exit",
        "os._exit",
        "segfault",
        "killed",
        "recipe before data",
        "no program",
        "no data",
        "no source",
    ],
)
def test_each_failure_has_its_code_and_words(tmp_path: Path, spec: dict[str, Any], code: int, words: str) -> None:
    done = run(tmp_path, spec)
    assert done.exit_code == code, done.log
    assert done.verdict.error is not None
    assert words in done.verdict.error.message


def test_a_job_without_a_model_says_where_to_leave_it(tmp_path: Path) -> None:
    done = run(tmp_path, python("pass", output={"uri": f"file://{tmp_path}/models"}))
    assert done.exit_code == 78, done.log
    assert done.verdict.error is not None
    assert "without leaving a file in $FOOTPLATE_OUTPUT_DIR" in done.verdict.error.message


def test_a_full_disk_leaves_no_input_that_looks_whole(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/big").write_bytes(bytes(1 << 20))
    spec = python("pass", inputs=[{"name": "train", "uri": f"file://{tmp_path}/data/"}])
    limited = ["sh", "-c", 'ulimit -f 256; exec "$@"', "sh"]  # no file of more than 256 blocks, as on a full disk
    done = RunningPod(tmp_path, pod_environment(tmp_path, spec), through=limited).finish()
    assert done.exit_code == 78, done.log
    assert done.verdict.error is not None
    assert "disk is full while writing big" in done.verdict.error.message
    assert not (tmp_path / "scratch/input/train/big").exists()


def test_a_command_gets_the_environment_and_its_folder(tmp_path: Path) -> None:
    code = "import os, train; print(os.environ['PET_NNODES'], os.environ['RANK'], os.getcwd())"
    done = run(tmp_path, python(code), nodes=4, node_rank=2, files={"train.py": ""})
    assert done.exit_code == 0, done.log
    assert f"4 2 {tmp_path}/scratch/work/source\n" in done.log


def test_one_ranks_failure_ends_the_others(tmp_path: Path) -> None:
    done = run(tmp_path, entrypoint(), processes=2, files={"train.py": FAIL_ON_RANK_1})
    assert done.exit_code == 70, done.log
    assert done.verdict.error is not None
    assert (done.verdict.error.rank, done.verdict.error.message) == (1, "rank 1 is the cause")
    assert not alive(int(done.log.partition("[rank 0] pid ")[2].split()[0]))


def test_a_lost_peer_is_not_taken_for_the_cause(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        shared = {"MASTER_PORT": str(free_port())}
        pods = [
            stack.enter_context(
                running(
                    tmp_path / str(node),
                    entrypoint(),
                    nodes=2,
                    node_rank=node,
                    files={"train.py": ALL_REDUCE},
                    env=shared,
                )
            )
            for node in range(2)
        ]
        for pod in pods:
            pod.wait_for_log("pid ")
        os.kill(int(pods[1].log_path.read_text().partition("pid ")[2].split()[0]), signal.SIGKILL)
        survivor, killed = (pod.finish() for pod in pods)
    assert (survivor.exit_code, survivor.verdict.outcome) == (76, "peer_lost"), survivor.log
    assert (killed.exit_code, killed.verdict.outcome) == (137, "failed"), killed.log


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    done = run(tmp_path, python(LEAVE_A_CHILD))
    assert done.exit_code == 0, done.log
    assert not alive(int(done.log.partition("pid ")[2].split()[0]))


def test_what_is_left_behind_doesnt_write_while_the_model_is_stored(tmp_path: Path) -> None:
    done = run(tmp_path, python(LEAVE_A_WRITER, output=output_in(tmp_path)))
    assert done.exit_code == 0, done.log
    stored = tmp_path / "models/digits/1"
    assert (stored / "gpu.csv").read_bytes() == (tmp_path / "scratch/output/gpu.csv").read_bytes()
    assert (stored / "copied.bin").read_text() == "whole"
    note = next(note for note in done.verdict.notes if "was ended before what it left was stored" in note)
    assert "while True: print" in note
    assert "copied.bin" not in note


def test_ranks_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    code = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(600)"
    with running(tmp_path, python(code)) as pod:
        pod.wait_for_log("pid ")
        pid = int(pod.log_path.read_text().partition("pid ")[2].split()[0])
        pod.process.kill()
        pod.process.wait()
        wait_until_gone(pid)


def wait_until_gone(pid: int, *, seconds: float = 10) -> None:
    with contextlib.suppress(ProcessLookupError), os.fdopen(os.pidfd_open(pid)) as process:
        ended, _, _ = select.select([process], [], [], seconds)  # a pidfd is readable once its process has ended
        assert ended, f"process {pid} still runs after {seconds} s"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (SLEEP, None),
        (SAVE + EXIT_ON_SIGTERM, None),
        (SAVE + EXIT_ON_SIGTERM.replace("sys.exit(0)", "sys.exit(143)"), None),
        (IGNORE_SIGTERM, "raise runPolicy.terminationGracePeriodSeconds"),
    ],
    ids=["dies of it", "exits 0", "exits as a shell does", "ignores it"],
)
def test_a_stop_is_passed_on_and_bounded(tmp_path: Path, code: str, words: str | None) -> None:
    with running(tmp_path, python(code, output={"uri": f"file://{tmp_path}/models"}), grace_seconds=3) as pod:
        pod.wait_for_log("ready")
        pod.process.send_signal(signal.SIGTERM)
        done = pod.finish(seconds=30)
    assert (done.exit_code, done.verdict.outcome) == (75, "stopped")
    assert not list(tmp_path.glob("models/**/manifest.json")), "what was stopped in the middle is no model"
    if words is None:
        assert done.verdict.error is None
    else:
        assert done.verdict.error is not None
        assert words in done.verdict.error.message


SAVE_WHEN_STOPPED = """
import multiprocessing, pathlib, signal, sys, time
def save(*_):
    time.sleep(1.0)
    pathlib.Path("saved").write_text(str(worker.is_alive()))
    worker.kill()
    sys.exit(0)
worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
worker.start()
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("python train.py; echo after", id="a shell"),
        pytest.param("trap 'echo cleaned up' EXIT; python train.py", id="a shell with a trap"),
        pytest.param('python -c \'import subprocess; subprocess.run(["python", "train.py"])\'', id="a launcher"),
        pytest.param("exec python train.py", id="the program itself"),
    ],
)
def test_a_program_below_a_shell_hears_of_the_stop_and_is_waited_for(tmp_path: Path, script: str) -> None:
    """Its workers don't: without them it couldn't save."""
    spec = {"trainer": {"command": ["bash", "-c", script]}}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with running(tmp_path, spec, env={"PATH": path}, files={"train.py": SAVE_WHEN_STOPPED}) as pod:
        pod.wait_for_log("ready")
        pod.process.send_signal(signal.SIGTERM)
        done = pod.finish(seconds=30)
    assert (done.exit_code, done.verdict.outcome, done.verdict.error) == (75, "stopped", None), done.log
    assert (tmp_path / "scratch/work/source/saved").read_text() == "True"


def test_who_was_done_before_the_stop_is_done(tmp_path: Path) -> None:
    """It has ended, and what it has left behind still holds its output, when the stop comes."""
    code = SAVE + "import subprocess; print('pid', os.getpid(), flush=True); subprocess.Popen(['sleep', '60'])"
    with running(tmp_path, python(code, output={"uri": f"file://{tmp_path}/models"})) as pod:
        pod.wait_for_log("pid ")
        pid = int(pod.log_path.read_text().partition("pid ")[2].split()[0])
        pod.wait_for(lambda: None if alive(pid) else True)
        pod.process.send_signal(signal.SIGTERM)
        done = pod.finish(seconds=30)
    assert (done.exit_code, done.verdict.outcome) == (0, "succeeded"), done.log
    assert done.verdict.artifact is not None


def test_an_address_of_nobody_is_said_within_seconds(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    endpoint = f"http://127.0.0.1:{free_port()}"
    spec = python("pass", output={"uri": "s3://models/x/"}, storage={"endpoint": endpoint})
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    with running(tmp_path, spec, keys, metrics_address=address) as pod:

        def notes() -> list[str] | None:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://{address}/progress", timeout=5) as answer,
            ):
                return Progress.model_validate_json(answer.read()).notes or None
            return None

        (said,) = pod.wait_for(notes, seconds=20)
        assert f"storage doesn't answer at {endpoint} (connection refused): s3://models/x/digits/1" in said
        assert "if that isn't where storage is, correct storage.endpoint, or AWS_ENDPOINT_URL in the Secret" in said
        assert said in pod.log_path.read_text()
        pod.process.send_signal(signal.SIGTERM)
        assert said in pod.finish(seconds=30).verdict.notes


def test_another_jobs_configuration_is_not_trained(tmp_path: Path) -> None:
    environment = pod_environment(tmp_path, python("print('trained')"))
    done = RunningPod(tmp_path, {**environment, "FOOTPLATE_UID": "uid-2"}).finish()
    assert (done.exit_code, done.verdict.outcome) == (76, "peer_lost")
    assert done.verdict.error is not None
    assert "the node has mounted something old. Nothing was trained" in done.verdict.error.message
    assert "trained\n" not in done.log


def test_a_run_that_succeeded_is_marked(tmp_path: Path) -> None:
    """For the next one of its job, which begins anew."""
    for code, finished in (("raise SystemExit(3)", False), ("pass", True)):
        done = run(tmp_path, python(code, checkpoint={"uri": f"file://{tmp_path}/c"}, output=None, inputs=[]))
        assert (done.exit_code == 0) is finished, done.log
        assert (tmp_path / "c/digits/run-1-uid-1/finished").exists() is finished


def test_a_stop_while_fetching_ends_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        port = silent.getsockname()[1]
        spec = python(
            "pass",
            inputs=[{"name": "train", "uri": "s3://datasets/x/"}],
            storage={"endpoint": f"http://127.0.0.1:{port}"},
        )
        environment = pod_environment(tmp_path, spec, grace_seconds=60)
        keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
        pod = RunningPod(tmp_path, {**environment, **keys})
        connection, _ = silent.accept()
        pod.process.send_signal(signal.SIGTERM)
        done = pod.finish(seconds=10)
        connection.close()
    assert (done.exit_code, done.verdict.outcome) == (75, "stopped")
    assert done.verdict.error is not None
    assert done.verdict.error.message == "asked to stop while loading"


def test_a_hang_is_ended_with_the_ranks_stack(tmp_path: Path) -> None:
    done = run(tmp_path, entrypoint(runPolicy={"hangTimeoutSeconds": 1}), files={"train.py": HANG})
    assert (done.exit_code, done.verdict.outcome) == (77, "hang"), done.log
    assert done.verdict.error is not None
    assert done.verdict.error.rank == 0
    assert "after step 7" in done.verdict.error.message
    assert "stuck_in_here" in str(done.verdict.error.traceback)
    assert "in stuck_in_here" in done.log


def test_progress_is_served_while_training(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    with running(tmp_path, python(REPORT), metrics_address=address, attempt=2) as pod:

        def progress() -> Progress | None:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://{address}/progress", timeout=5) as answer,
            ):
                said = Progress.model_validate_json(answer.read())
                return said if said.progress.step else None
            return None

        said = pod.wait_for(progress)
    assert (said.uid, said.attempt, said.activity, said.progress.step) == ("uid-1", 2, "evaluating", 5)


def test_an_environment_that_is_no_pods_is_refused(tmp_path: Path) -> None:
    environment = pod_environment(tmp_path, python("pass"))
    done = RunningPod(tmp_path, {**environment, "FOOTPLATE_UID": ""}).finish()
    assert done.exit_code == 78
    assert done.verdict.error is not None
    assert "FOOTPLATE_UID is not set" in done.verdict.error.message


def test_only_node_0_publishes(tmp_path: Path) -> None:
    done = run(tmp_path, python(SAVE, output={"uri": f"file://{tmp_path}/models"}), nodes=2, node_rank=1)
    assert done.exit_code == 0, done.log
    assert done.verdict.artifact is None
    assert not (tmp_path / "models/digits/1").exists()


def test_a_pod_whose_starter_ignores_sigchld_still_hears_how_its_program_ended(tmp_path: Path) -> None:
    """The kernel would tell nobody, and Python takes that for 0."""
    ignoring = ("bash", "-c", "trap '' CHLD; exec \"$@\"", "ignoring")
    done = RunningPod(tmp_path, pod_environment(tmp_path, python("raise SystemExit(3)")), through=ignoring).finish()
    assert (done.exit_code, done.verdict.outcome) == (3, "failed"), done.log


def test_a_model_that_cant_be_told_of_is_no_success(tmp_path: Path) -> None:
    """The next attempt finds it there."""
    spec = python(SAVE, output={"uri": f"file://{tmp_path}/models"})
    nowhere = {"FOOTPLATE_TERMINATION_LOG": str(tmp_path / "nowhere/termination-log")}
    with running(tmp_path, spec, nowhere) as pod:
        assert pod.process.wait(90) == 76, pod.log_path.read_text()
    assert "the termination message can't be written" in pod.log_path.read_text()
    done = run(tmp_path, spec, attempt=1)
    assert (done.exit_code, done.verdict.artifact is not None) == (0, True), done.log


def test_a_pod_without_a_model_needs_no_last_word(tmp_path: Path) -> None:
    nowhere = {"FOOTPLATE_TERMINATION_LOG": str(tmp_path / "nowhere/termination-log")}
    with running(tmp_path, python("pass"), nowhere) as pod:
        assert pod.process.wait(90) == 0, pod.log_path.read_text()


def test_a_log_that_nobody_takes_holds_nothing_up(tmp_path: Path) -> None:
    """As that of a node whose disk is full."""
    environment = pod_environment(tmp_path, python(f"print('x' * 1_000_000)\n{SAVE}", output=output_in(tmp_path)))
    full = ("bash", "-c", 'exec "$@" > /dev/full 2> /dev/full', "full")
    done = RunningPod(tmp_path, environment, through=full).finish()
    assert (done.exit_code, done.verdict.outcome) == (0, "succeeded")


def test_what_lies_in_rank_0s_report_keeps_no_pod_from_its_verdict(tmp_path: Path) -> None:
    done = run(tmp_path, python(LIE + SAVE, output=output_in(tmp_path)))
    assert (done.exit_code, done.verdict.outcome) == (0, "succeeded"), done.log
    assert "what rank 0 has reported can't be told" in done.verdict.notes[-1]


def test_a_rank_that_only_leaves_with_0_has_failed(tmp_path: Path) -> None:
    code = SAVE + "os._exit(0)"
    done = run(tmp_path, entrypoint(output=output_in(tmp_path)), files={"train.py": code})
    assert (done.exit_code, done.verdict.outcome, done.verdict.artifact) == (70, "failed", None), done.log
    assert done.verdict.error is not None
    assert "before its program had" in done.verdict.error.message
