"""Endings of other people's programs, and the cause that is told of each. Those of `endings/` are what real programs
have written; the rest, of what doesn't run everywhere, is written after them.
"""

import random
from pathlib import Path
from typing import NamedTuple

import pytest

from footplate.causes import find_cause, last_words

ENDINGS = Path(__file__).parent / "endings"


class Told(NamedTuple):
    said: str
    """Part of the message."""
    type: str = ""
    rank: int | None = None


SAMPLE = Told("bad sample 4711", "ValueError")
SHARD = Told("bad sample 4711 in shard 3 (boom.py, line 5)", "ValueError", 1)
EPOCHS = "ap.py: error: the following arguments are required: --epochs"
MEMORY = "; raise resources.limits.memory, or lower the batch size"
RAN = {
    "torchrun": SHARD,
    "torchrun-tee": SHARD,
    "torchrun-kill": Told(f"rank 1 was killed by SIGKILL, most likely out of memory{MEMORY}", rank=1),
    "torchrun-plain": Told("bad sample 4711 (plain.py, line 1)", "ValueError", 0),
    "torchrun-ap": Told(EPOCHS, rank=0),
    "accel": Told("bad sample 4711 (plain.py, line 1)", "ValueError"),
    "accel-ap": Told(EPOCHS),
    "spawnchild": Told("bad sample 4711 (plain.py, line 1)", "ValueError"),
    "lit": Told("bad sample 4711 (lit.py, line 5)", "ValueError"),
    "mpspawn": Told("bad sample 4711 (mpspawn.py, line 3)", "ValueError"),
    "mpkill": Told("process 1 terminated with signal SIGSEGV", "ProcessExitedException"),
    "pool": Told("'label' (pool.py, line 2)", "KeyError"),
    "ppe": Told("terminated abruptly", "BrokenProcessPool"),
    "loader": Told("image file is truncated (0 bytes not processed) (loader.py, line 4)", "OSError"),
    "loaderkill": Told(f"is killed by signal: Killed{MEMORY}", "RuntimeError"),
    "group": Told("shard 3 is empty (group.py, line 2)", "ValueError"),
    "chain": Told("the batch can't be read (chain.py, line 3); it comes from KeyError: 'labels'", "RuntimeError"),
    "during": Told("'/nowhere/log' (during.py, line 2)", "FileNotFoundError"),
    "logged": Told("bad sample 4711 (logged.py, line 4)", "ValueError"),
    "recur": Told("maximum recursion depth exceeded (recur.py, line 1)", "RecursionError"),
    "assertion": Told("assert 1 == 2 (assertion.py, line 1)", "AssertionError"),
    "tq": Told("bad sample 4711 (tq.py, line 3)", "ValueError"),
    "rich-tb": Told("bad sample 4711 (rich_tb.py, line 4)", "ValueError"),
    "ipy": Told("bad sample 4711 (ipy.py, line 2)", "ValueError"),
    "syntax": Told("invalid syntax (syntax.py, line 1)", "SyntaxError"),
    "indent": Told("inconsistent use of tabs and spaces in indentation (indent.py, line 3)", "TabError"),
    "shapes": Told('Missing key(s) in state_dict: "bias". size mismatch for weight', "RuntimeError"),
    "xgb": Told("label must be discrete values in the range of [0, num_class). (xgb.py, line 3)", "XGBoostError"),
    "cpumem": Told(MEMORY, "RuntimeError"),
    "npmem": Told(MEMORY, "_ArrayMemoryError"),
    "mem": Told(MEMORY, "MemoryError"),
    "gpu": Told("not compiled with CUDA enabled (gpu.py, line 2); ask for accelerators", "AssertionError"),
    "mod": Told("No module named 'nosuchlib' (mod.py, line 1); add it to requirements.txt", "ModuleNotFoundError"),
    "nomodule": Told("No module named nothere; add it to requirements.txt (trainer.requirements) or to trainer.image"),
    "nofile": Told("can't open file '/app/nothere.py': [Errno 2] No such file or directory; correct the path"),
    "ap": Told(EPOCHS),
    "clk": Told("Error: Missing option '--epochs'."),
    "typ": Told("Missing argument 'epochs'."),
    "absl": Told("Unknown command line flag 'epoch'. Did you mean: epochs ?"),
    "fire": Told("ERROR: Could not consume arg: --batch"),
    "hydra-key": Told("Could not override 'epoch'. To append to your config use +epoch=3 Key 'epoch' is not in struct"),
    "hydra-group": Told("Could not find 'model/huge' Available options in 'model': small"),
    "hydra-syntax": Told("Error parsing override 'epochs' missing EQUAL at '<EOF>'"),
    "hydra-missing": Told("Missing mandatory value: lr", "MissingMandatoryValue"),
    "hydra-raise": Told("bad sample 4711 (hyd.py, line 4)", "ValueError"),
    "bash-nocmd": Told("nothere: command not found; correct the name, or use a trainer.image in which"),
    "sh-nocmd": Told("sh: 1: nothere: not found; correct the name"),
    "bash-perm": Told("./noexec.sh: Permission denied; make the file executable"),
    "bash-exec": Told("Exec format error; use an image, or a program, that is built for the processor"),
    "bash-crlf": Told("the script has the line ends of Windows"),
    "bash-kill": Told(MEMORY),
    "bash-segv": Told("Segmentation fault"),
    "abrt": Told("free(): invalid pointer"),
    "segv": Told("Segmentation fault, in native code, called from File"),
    "throws": Told("terminate called after throwing an instance of 'std::runtime_error' what(): tokenizer.model: bad"),
    "asrt": Told('Assertion `c > 5 && "batch is empty"\' failed.'),
    "panic": Told("panicked at panic.rs:1:76: index out of bounds: the len is 0 but the index is 3"),
    "java": Told("java.lang.IllegalArgumentException: no such column: label"),
}

RAISED = 'Traceback (most recent call last):\n  File "/app/train.py", line 9, in step\n    loss = model(batch)\n{}\n'
GPU_MEMORY = "lower the batch size and accumulate gradients over more steps, checkpoint activations"
WRITTEN = {
    "GPU memory": (
        RAISED.format("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 80"),
        Told(GPU_MEMORY, "OutOfMemoryError"),
    ),
    "JAX's memory": (
        RAISED.format("jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory allocating 17179869184"),
        Told(GPU_MEMORY, "XlaRuntimeError"),
    ),
    "CUDA's assert": (
        "/b/Loss.cu:250: nll_loss: block: [0,0,0], thread: [3,0,0] Assertion `t >= 0 && t < n_classes` failed.\n"
        + RAISED.format("RuntimeError: CUDA error: device-side assert triggered\nCUDA kernel errors might be reported"),
        Told("`t >= 0 && t < n_classes` isn't so (train.py, line 9); most often a label", "RuntimeError"),
    ),
    "shared memory": (
        RAISED.format("RuntimeError: DataLoader worker (pid 5) is killed by signal: Bus error. It is possible that"),
        Told("raise podTemplate.sharedMemory", "RuntimeError"),
    ),
    "a full disk": (
        RAISED.format("OSError: [Errno 28] No space left on device: '/footplate/scratch/work/a.pt'"),
        Told("request more ephemeral-storage in spec.resources", "OSError"),
    ),
    "an entrypoint in an image without torch": (
        'Traceback (most recent call last):\n  File "/lib/footplate_trainer/rank/gang.py", line 19, in <module>\n'
        "    import torch\nModuleNotFoundError: No module named 'torch'",
        Told("start code that needs no torch by trainer.command, such as [python, train.py]", "ModuleNotFoundError"),
    ),
    "a port": (
        RAISED.format("torch.distributed.DistNetworkError: The server socket has failed to listen. EADDRINUSE, 29500"),
        Told("leave MASTER_PORT as it is set", "DistNetworkError"),
    ),
    "deepspeed": (
        RAISED.format("ValueError: bad sample 4711")
        + "[2026-01-02 03:04:05,000] [INFO] [launch.py:319:sigkill_handler] Killing subprocess 71\n"
        "[2026-01-02 03:04:05,001] [ERROR] [launch.py:325:sigkill_handler] ['python', 'train.py'] exits with return "
        "code = 1",
        Told("bad sample 4711 (train.py, line 9)", "ValueError"),
    ),
    "deepspeed, killed": (
        "[INFO] [launch.py:319:sigkill_handler] Killing subprocess 71\n"
        "[ERROR] [launch.py:325:sigkill_handler] ['python', 'train.py'] exits with return code = -9",
        Told(MEMORY),
    ),
    "mpirun": (
        "[1,0]<stderr>:Traceback (most recent call last):\n[1,1]<stderr>:epoch 1\n"
        '[1,0]<stderr>:  File "/app/train.py", line 9, in step\n[1,0]<stderr>:ValueError: bad sample 4711\n'
        "mpirun detected that one or more processes exited with non-zero status",
        Told("bad sample 4711 (train.py, line 9)", "ValueError", 0),
    ),
    "mpirun, killed": (
        "mpirun noticed that process rank 1 with PID 0 on node a exited on signal 9 (Killed).",
        Told(MEMORY),
    ),
    "Ray": (
        '(train pid=71, ip=10.0.0.1) Traceback (most recent call last):\n(train pid=71, ip=10.0.0.1)   File "/app/t.py"'
        ", line 9, in step\n(train pid=71, ip=10.0.0.1) ValueError: bad sample 4711",
        Told("bad sample 4711 (t.py, line 9)", "ValueError"),
    ),
    "ours": (
        '[rank 1] Traceback (most recent call last):\n[rank 0] step 3\n[rank 1]   File "/app/train.py", line 9, in f\n'
        "[rank 1] ValueError: bad sample 4711",
        Told("bad sample 4711 (train.py, line 9)", "ValueError", 1),
    ),
    "an old panic": (
        "thread '<unnamed>' panicked at 'no such token', src/vocab.rs:7:5\nnote: run with `RUST_BACKTRACE=1`",
        Told("panicked at 'no such token', src/vocab.rs:7:5"),
    ),
    "a rank that there is none of": (
        RAISED.format("KeyError: 'LOCAL_RANK'"),
        Told("'LOCAL_RANK' (train.py, line 9); one process alone has no rank", "KeyError"),
    ),
    "a rendezvous that there is none of": (
        RAISED.format(
            "ValueError: Error initializing torch.distributed using env:// rendezvous: environment variable RANK "
            "expected, but not set"
        ),
        Told("expected, but not set (train.py, line 9); one process alone has no rank", "ValueError"),
    ),
    "no checkpoint yet": (
        RAISED.format("ValueError: No valid checkpoint found in output directory (/footplate/scratch/checkpoint)"),
        Told("(train.py, line 9); the first attempt has none", "ValueError"),
    ),
    "an image without us": (
        "/usr/bin/python: No module named footplate_trainer",
        Told("No module named footplate_trainer; install footplate[supervisor] in trainer.image"),
    ),
    "a missing library": (
        "./train: error while loading shared libraries: libcudart.so.12: cannot open shared object file: No such file",
        Told("libcudart.so.12: cannot open shared object file: No such file; what was installed doesn't fit"),
    ),
    "Java's memory": (
        'Exception in thread "main" java.lang.OutOfMemoryError: Java heap space\n\tat Train.main(Train.java:3)',
        Told(MEMORY),
    ),
    "a class with lines of its own": (
        RAISED.format("pydantic_core._pydantic_core.ValidationError: 1 validation error for Config\nepochs\n  Bad"),
        Told("1 validation error for Config epochs Bad (train.py, line 9)", "ValidationError"),
    ),
    "an error as an interpreter ends": (
        RAISED.format("ValueError: bad sample 4711") + "terminate called without an active exception",
        Told("bad sample 4711 (train.py, line 9)", "ValueError"),
    ),
    "native code, long after an error": (
        RAISED.format("ValueError: bad sample 4711") + "epoch 2\nepoch 3\nfree(): invalid pointer",
        Told("free(): invalid pointer"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", [*RAN])
def test_what_real_programs_have_written(name: str) -> None:
    check((ENDINGS / f"{name}.txt").read_bytes().decode(), RAN[name])


@pytest.mark.parametrize("name", [*WRITTEN])
def test_what_others_write(name: str) -> None:
    check(*WRITTEN[name])


def check(log: str, told: Told) -> None:
    cause = find_cause(log)
    assert cause is not None
    assert told.said in cause.message
    assert (cause.type, cause.rank) == (told.type, told.rank)
    assert "\n" not in cause.message
    assert cause.traceback


def test_every_ending_is_told() -> None:
    assert {path.stem for path in ENDINGS.glob("*.txt")} == set(RAN)


PEER = '[rank0]: Traceback (most recent call last):\n[rank0]:   File "/app/t.py", line 3, in f\n[rank0]:     {}\n{}\n'
GLOO = "[rank0]: RuntimeError: [/b/gloo/transport/tcp/pair.cc:537] Read error [10.1.0.7]:3: Connection reset by peer"


def test_who_lost_a_peer_is_told_from_who_says_so() -> None:
    lost = find_cause(PEER.format("dist.all_reduce(t)", GLOO))
    claimed = find_cause(PEER.format("raise RuntimeError(words)", GLOO))
    assert lost is not None
    assert claimed is not None
    assert (lost.lost_peer, claimed.lost_peer) == (True, False)


def test_a_rank_of_this_node_is_counted_from_its_first() -> None:
    cause = find_cause((ENDINGS / "torchrun-tee.txt").read_text().replace("[rank1]:", ""), first_rank=4)
    assert cause is not None
    assert cause.rank == 5


WENT_ON = "".join(f"step {n}: loss 0.5\n" for n in range(60))


@pytest.mark.parametrize(
    "raised", [RAISED.format("ModuleNotFoundError: No module named 'x'"), PEER.format("f()", GLOO)]
)
def test_what_was_caught_long_before_the_end_is_no_cause(raised: str) -> None:
    """Nor may it make a failure of its own the infrastructure's, or two silent ones the same."""
    prefix = "[rank0]: " if raised.startswith("[rank0]") else ""
    log = raised + "".join(f"{prefix}{line}\n" for line in WENT_ON.splitlines())
    assert find_cause(log) is None
    again = find_cause(log + RAISED.format("ValueError: bad sample 4711"))
    assert again is not None
    assert again.type == "ValueError"


def test_what_others_and_trackers_write_at_the_end_hides_no_cause() -> None:
    parting = "".join(f"wandb: metric-{n} 0.5\n" for n in range(200)) + PEER.format("f()", GLOO) * 20
    cause = find_cause(RAISED.format("ValueError: bad sample 4711") + parting)
    assert cause is not None
    assert cause.type == "ValueError"


@pytest.mark.parametrize("log", ["", "epoch 1\nloss: 0.5\nINFO: saved\n", "Traceback (most recent call last):\n"])
def test_what_looks_like_no_error_is_none(log: str) -> None:
    assert find_cause(log) is None


PIECES = [
    "Traceback (most recent call last):",
    '  File "a.py", line 1',
    "E: ",
    "[rank1]:",
    "\x1b[",
    "\n",
    " ",
    "usage: ",
    "│",
]


def test_any_log_is_read() -> None:
    draw = random.Random(17)
    for _ in range(500):
        log = "".join(draw.choices(PIECES, k=draw.randrange(40)))
        find_cause(log)
        last_words(log)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "piece", ["a.", "Assertion `'", "[rank1]:", "\x1b]", " ", "a: ", "CUDA", "thread '' panicked at "]
)
def test_no_log_is_slow_to_read(piece: str) -> None:
    find_cause(piece * (4096 // len(piece)))
