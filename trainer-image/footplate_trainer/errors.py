"""The trainer's one exception tree. What an error is decides how the pod exits, so each class carries its exit code;
the operator turns that into who pays for the restart.

A message is shown to the user as it is: it names the field, the value, the rule and the way out.
"""

import os
from collections.abc import Iterator
from typing import ClassVar

from footplate.contract import Env, ExitCode


class TrainerError(Exception):
    """Anything that the trainer raises on purpose."""

    exit_code: ClassVar[ExitCode] = ExitCode.USER_ERROR


class ConfigError(TrainerError):
    """The job can't run as it is written; nothing changes until a human changes the job: permanent."""

    exit_code = ExitCode.CONFIG_ERROR


class DataError(TrainerError):
    """An input or a checkpoint is missing, damaged or not what its checksum says: permanent."""

    exit_code = ExitCode.DATA_ERROR


class UserError(TrainerError):
    """The user's code failed."""

    exit_code = ExitCode.USER_ERROR


class Stopped(TrainerError):
    """Training was asked to stop, and did."""

    exit_code = ExitCode.STOPPED


class PeerLost(TrainerError):
    """Another rank went away; the cause is elsewhere."""

    exit_code = ExitCode.PEER_LOST


class WrongJob(TrainerError):
    """This pod was given what another job or run is to do: the node's fault, which another attempt may mend."""

    exit_code = ExitCode.PEER_LOST


class BrokenDevice(TrainerError):
    """The node's accelerators aren't what this pod was promised, or don't work: another attempt may get better ones."""

    exit_code = ExitCode.PEER_LOST


class NodeUnfit(TrainerError):
    """This node falls short of what its runtime's preflight asks: another attempt goes elsewhere."""

    exit_code = ExitCode.NODE_UNFIT


class NoModel(ConfigError):
    """The code has left no file in the output folder."""


class StorageError(TrainerError):
    """Object storage said no, or nothing."""


class NotFound(StorageError):
    """There is no such object, prefix or bucket."""

    exit_code = ExitCode.DATA_ERROR


class Denied(StorageError):
    """The credentials are missing, wrong or not allowed to do this."""

    exit_code = ExitCode.CONFIG_ERROR


class Exists(StorageError):
    """The object exists already, and was to be created only if it did not."""

    exit_code = ExitCode.CONFIG_ERROR


class WrongEndpoint(StorageError):
    """Nobody has ever answered where the job says that storage is, or nobody can: it is no address."""

    exit_code = ExitCode.CONFIG_ERROR


class StorageUnavailable(StorageError):
    """Storage refused connections, timed out or answered 5xx for minutes; trying again later may help."""

    exit_code = ExitCode.PEER_LOST


class Unreachable(StorageUnavailable):
    """A request got no answer at all: `why`, and `at` which address. `untrusted`: for its certificate, of which
    `way_out` says what to do.
    """

    def __init__(
        self, message: str, *, why: str = "", at: str = "", way_out: str = "", untrusted: bool = False
    ) -> None:
        super().__init__(message)
        self.why, self.at, self.way_out, self.untrusted = why, at, way_out, untrusted


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """An exception and what it comes from, each once: libraries raise errors that come from themselves."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def words_of(error: BaseException) -> str:
    """What an exception says, as text that any file and any JSON can hold: it may have no words, or bytes in them."""
    try:
        text = str(error)
    except Exception as problem:  # user code may say anything but what it means
        text = f"it can't be said what it is: {type(problem).__name__}"
    return sendable(text)


def sendable(text: str) -> str:
    """A text with what UTF-8 can't carry, such as the bytes of a file name, written as an escape."""
    return text.encode(errors="backslashreplace").decode()


def of_inputs(text: str) -> str:
    """The same with files of the inputs, and of the parts made of them, named as their owner knows them:
    train/tweets.csv.
    """
    for folder in filter(None, map(os.environ.get, (Env.INPUT_DIR, "SPLITS"))):
        text = text.replace(f"{folder.rstrip('/')}/", "")
    return text
