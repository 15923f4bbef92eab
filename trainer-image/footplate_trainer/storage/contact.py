"""Whether an endpoint of object storage has ever answered in this run, and what its user hears while it doesn't.

An address that nobody has answered at is the job's mistake until it is known to be right: the user hears of it within
seconds, and the run ends in minutes. One that did answer is the infrastructure's trouble. All processes of a pod know
what one of them has seen; later attempts take for granted that there was an answer.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NoReturn

import structlog

from footplate.contract import Env
from footplate_trainer.errors import StorageError, StorageUnavailable, Unreachable, WrongEndpoint

PATIENT_SECONDS: Final = 5.0
"""How long a first answer may take before the user hears that there is none yet."""
UNTRUSTED_SECONDS: Final = 30.0
"""How long a certificate that isn't trusted is tried again where nobody has ever answered: it won't change."""
WAY_OUT: Final = (
    "correct storage.endpoint, or AWS_ENDPOINT_URL in the Secret of storage.secretRef: http or https, host, port"
)

log = structlog.get_logger()

_tell: Callable[[str], object] = str
"""Who tells the user; nobody, at first."""


@contextmanager
def telling(tell: Callable[[str], object]) -> Iterator[None]:
    """Until the end of the block, what is wrong with storage is told so, besides in the log: in all threads."""
    global _tell
    before, _tell = _tell, tell
    try:
        yield
    finally:
        _tell = before


class Contact:
    """One endpoint, as the calls of one store see it; empty for a folder, which always answers."""

    def __init__(self, endpoint: str = "", *, who: str = "storage", way_out: str = WAY_OUT) -> None:
        self._endpoint, self._who, self._way_out = endpoint, who, way_out
        run_dir = os.environ.get(Env.RUN_DIR)
        name = f"storage-{hashlib.sha256(endpoint.encode()).hexdigest()[:16]}.answered"
        self._mark = Path(run_dir) / name if run_dir else None
        self._answered = not endpoint or os.environ.get(Env.ATTEMPT, "0") != "0"
        self._silent_since: datetime | None = None

    @property
    def answered(self) -> bool:
        """True once anything has answered there, in any process of this pod or in an earlier attempt."""
        self._answered = self._answered or (self._mark is not None and self._mark.exists())
        return self._answered

    @contextmanager
    def call(self, uri: str, *, patience: float) -> Iterator[None]:
        """A request is made in the block. Raises what the block raises."""
        timer = threading.Timer(PATIENT_SECONDS, self._still_nothing, (uri, patience))
        timer.daemon = True
        if not self.answered and patience:
            timer.start()
        try:
            yield
            self._has_answered()
        except Unreachable as error:
            worth = self.patience(error, patience)
            self._is_silent(uri, error.why, error.at, patience=worth, way_out=error.way_out)
            raise
        except StorageError:
            self._has_answered()
            raise
        finally:
            timer.cancel()

    def patience(self, error: StorageUnavailable, patience: float) -> float:
        """How long a call that ends so is tried again."""
        hopeless = isinstance(error, Unreachable) and error.untrusted and not self.answered
        return min(patience, UNTRUSTED_SECONDS) if hopeless else patience

    def give_up(self, error: StorageUnavailable, uri: str, *, patience: float) -> NoReturn:
        """Raises what is to be raised when patience is over."""
        if not isinstance(error, Unreachable) or self.answered:
            raise error
        raise WrongEndpoint(
            f"{uri}: nobody answers at {error.at or self._endpoint} ({error.why}), tried for {patience:.0f} s, and "
            f"nobody has since this run began; {error.way_out or self._way_out}"
        ) from error

    def _has_answered(self) -> None:
        if self._silent_since is not None:
            seconds = (datetime.now(UTC) - self._silent_since).total_seconds()
            self._silent_since = None
            _say(f"{self._who} answers again, after {seconds:.0f} s")
        if not self._answered:
            self._answered = True
            if self._mark is not None and self._mark.parent.is_dir():
                self._mark.touch()

    def _still_nothing(self, uri: str, patience: float) -> None:
        self._is_silent(uri, f"no answer for {PATIENT_SECONDS:.0f} s", "", patience=patience)

    def _is_silent(self, uri: str, why: str, at: str, *, patience: float, way_out: str = "") -> None:
        if self._silent_since is not None:
            return
        self._silent_since = now = datetime.now(UTC)
        if way_out:
            way_out = f"; {way_out}"
        elif not self.answered:
            way_out = f"; if that isn't where {self._who} is, {self._way_out}"
        until = f"{now + timedelta(seconds=patience):%H:%M:%S} UTC"
        where = at or self._endpoint
        _say(f"{self._who} doesn't answer at {where} ({why}): {uri} is tried again until {until}{way_out}")


def _say(text: str) -> None:
    log.warning(text)
    _tell(text)
