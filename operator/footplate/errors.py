"""The one exception tree. Its first branch says what happens next: `Retryable` is tried again with backoff, `Terminal`
is not, because nothing changes until a human changes something.

An error that is neither says nothing about trying again; whoever calls decides.
"""


class FootplateError(Exception):
    """Anything that Footplate raises on purpose."""


class Retryable(FootplateError):
    """Trying again later may help. `retry_after`: seconds that the other side asked us to wait, where it did."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Terminal(FootplateError):
    """Trying again can't help."""


class ConfigurationError(Terminal):
    """This process can't run as it was started; the message names the setting, its value and the way out."""


class LeaseLost(Terminal):
    """Another replica may act from now on: this one must not write any more."""


class ApiUnavailable(Retryable):
    """No usable answer from the API server: refused or lost connection, timeout, 401, 429, 5xx, or no JSON.

    A write may or may not have been done. `said`: what came back instead, without which request it was.
    """

    def __init__(
        self, message: str, *, status: int | None = None, retry_after: float | None = None, said: str = ""
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.status = status
        self.said = said or message


class ApiError(FootplateError):
    """The API server understood the request and refused it: status code, reason and message are its own."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class NotFound(ApiError):
    """404: the object, or its whole kind, isn't there."""


class Conflict(ApiError):
    """409: the object changed since it was read, or a precondition on its UID failed."""


class AlreadyExists(Conflict):
    """409 on a create: an object of this name exists, ours or not."""


class Gone(ApiError):
    """410: the resourceVersion or the continue token is too old; list again."""


class Refused(ApiError, Terminal):
    """Any other 4xx, such as a full quota, a webhook's no, missing rights or an invalid object."""
