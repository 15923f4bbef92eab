"""Whose fault a rank's failure is: an error's class and origin count, not its words alone."""

import ctypes
import operator
from collections.abc import Callable

import pytest
import torch.distributed as dist

from footplate_trainer.blame import lost_peer, watchdogs_words
from footplate_trainer.errors import PeerLost

PEER_CLOSED = "[/build/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [10.1.0.7]:31544"
PEER_SILENT = (
    "[../gloo/gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting 60000ms for recv operation to complete"
)
SIZES_DIFFER = "[/b/gloo/gloo/transport/tcp/pair.cc:456] op.preamble.length <= op.nbytes. 400 vs 40"
ABORTED = "NCCL communicator was aborted on rank 3. Original reason for failure was: peer 2 left"
SYSTEM_ERROR = "NCCL error in: /c10d/NCCLUtils.cpp:77, unhandled system error, NCCL version 2.27.5\nncclSystemError: …"
ECC = "CUDA error: uncorrectable ECC error encountered\nCUDA kernel errors might be reported later"
OUT_OF_MEMORY = "NCCL error in: /c10d/X.cpp:9\nncclUnhandledCudaError: Cuda failure 2 'out of memory'"
BAD_USE = "NCCL error in: /c10d/X.cpp:9, invalid usage\nncclInvalidUsage: Duplicate GPU detected"

set_error = ctypes.pythonapi.PyErr_SetObject
set_error.argtypes, set_error.restype = [ctypes.py_object, ctypes.py_object], None


def caught(work: Callable[[], object]) -> BaseException:
    with pytest.raises(BaseException) as seen:
        work()
    return seen.value


def by_native_code(text: str, kind: type[Exception] = RuntimeError) -> BaseException:
    """As an extension raises: the innermost line of Python is a call, and no `raise`."""
    return caught(lambda: set_error(kind, text))


def by_hand(text: str, kind: type[Exception] = RuntimeError) -> BaseException:
    def fail() -> None:
        raise kind(text)

    return caught(fail)


@pytest.mark.parametrize(
    "text",
    [
        "my own gloo of a protocol: Broken pipe to the label server",
        "Timed out waiting for the feature store",
        "Connection reset by peer while downloading captions",
        "ProcessGroupGloo does not support avg for bool",
        PEER_CLOSED,
        ABORTED,
        ECC,
    ],
)
def test_words_of_a_users_own_error_blame_nobody_else(text: str) -> None:
    assert not lost_peer(by_hand(text))


@pytest.mark.parametrize(
    "text",
    [
        PEER_CLOSED,
        PEER_SILENT,
        ABORTED,
        SYSTEM_ERROR,
        ECC,
        "CUDA error: uncorrectable NVLink error detected during the execution",
        "CUDA error: CUDA-capable device(s) is/are busy or unavailable",
        "CUDA error: hardware stack error",
        "CUDA error: system not yet initialized",
        "CUDA error: MPS client failed to connect to the MPS control daemon or the MPS server",
        "CUDA error: Invalid access of peer GPU memory over nvlink or a hardware error",
        "HIP error: uncorrectable ECC error encountered",
    ],
)
def test_what_native_code_says_of_a_peer_or_its_device_is_believed(text: str) -> None:
    error = by_native_code(text)
    assert lost_peer(error)

    def wrap() -> None:
        raise ValueError("the step failed") from error

    assert lost_peer(caught(wrap))


@pytest.mark.parametrize(
    "text",
    [
        "write of shard 3: Broken pipe",
        "ProcessGroupGloo does not support avg for bool",
        SIZES_DIFFER,
        OUT_OF_MEMORY,
        BAD_USE,
        "CUDA error: an illegal memory access was encountered",
        "CUDA error: device-side assert triggered",
        "CUDA error: invalid device ordinal",
        "CUDA error: unspecified launch failure",
        "CUDA out of memory. Tried to allocate 2.00 GiB",
    ],
)
def test_native_code_complains_of_the_program_too(text: str) -> None:
    assert not lost_peer(by_native_code(text))


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        pytest.param(dist.DistNetworkError("the client socket has timed out"), True, id="network"),
        pytest.param(dist.DistStoreError("wait timeout after 5000ms, keys: /k"), True, id="store"),
        pytest.param(dist.DistBackendError(SYSTEM_ERROR), True, id="NCCL"),
        pytest.param(dist.DistBackendError(BAD_USE), False, id="NCCL, used wrongly"),
        pytest.param(dist.DistBackendError(OUT_OF_MEMORY), False, id="NCCL, no memory"),
        pytest.param(type("DistilledModelError", (RuntimeError,), {})("no teacher"), False, id="a name alike"),
        pytest.param(PeerLost("gone"), True, id="ours"),
        pytest.param(BrokenPipeError(32, "Broken pipe"), False, id="the system's"),
    ],
)
def test_a_class_of_torch_distributed_says_so_itself(error: Exception, lost: bool) -> None:
    assert lost_peer(error) is lost


def test_an_error_that_was_never_raised_is_nobodys() -> None:
    assert not lost_peer(RuntimeError(PEER_CLOSED))
    assert not lost_peer(caught(lambda: operator.truediv(1, 0)))


LOG = "[rank1]:[E1129 07:30:00.812 731 ProcessGroupNCCL.cpp:2068] "
OLD_LOG = "[E ProcessGroupNCCL.cpp:475] [Rank 1] "
TERMINATED = "[PG ID 0 PG GUID 0(default_pg) Rank 1] Process group watchdog thread terminated with exception: "
FRAMES = "Exception raised from check at /c10d/NCCLUtils.hpp:284 (most recent call first):\nframe #0: c10::Error\n"
NCCL_REMOTE = (
    "NCCL error: remote process exited or there was a network error\nncclRemoteError: A call failed possibly due to …\n"
)

STUCK = "[PG ID 0 Rank 1] ProcessGroupNCCL's watchdog got stuck for 480 seconds without making progress"
DUMPED = "[PG ID 0 Rank 1] Received a dump signal due to a collective timeout from rank 3 and we will try our best"


@pytest.mark.parametrize(
    ("log", "words"),
    [
        pytest.param(f"epoch 3\n{LOG}{TERMINATED}{NCCL_REMOTE}{FRAMES}", "ncclRemoteError", id="a peer is gone"),
        pytest.param(f"{LOG}{TERMINATED}{ECC}\n{FRAMES}", "uncorrectable ECC", id="the device is broken"),
        pytest.param(f"{OLD_LOG}Watchdog caught collective operation timeout: WorkNCCL(…) ran", "timeout", id="old"),
        pytest.param(f"{LOG}{TERMINATED}{ABORTED}", "was aborted", id="aborted"),
        pytest.param(f"{LOG}{STUCK}", "got stuck", id="a device that doesn't answer"),
        pytest.param(f"{LOG}{DUMPED}", "from rank 3", id="another rank's timeout"),
        pytest.param(f"{LOG}{TERMINATED}CUDA error: device-side assert triggered\n{FRAMES}", "", id="the program's"),
        pytest.param(f"{LOG}{TERMINATED}CUDA error: an illegal memory access\n{FRAMES}{ECC}", "", id="said by others"),
        pytest.param(f"trainer: {ABORTED}", "", id="said by the user"),
        pytest.param("terminate called after throwing an instance of 'std::bad_alloc'", "", id="another abort"),
    ],
)  # fmt: skip
def test_the_watchdogs_words_are_told_from_others(log: str, words: str) -> None:
    found = watchdogs_words(log)
    assert words in found
    assert bool(found) == bool(words)
