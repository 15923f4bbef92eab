"""JSON over HTTP with a server that may be slow, wrong or hostile.

Requests are bounded in time and answers in bytes. Redirects aren't followed: whoever sent one would choose who is shown
the credentials.
"""

import json
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from socket import SHUT_RDWR
from threading import Timer
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from footplate_trainer.storage.authorities import read_authorities
from footplate_trainer.supervisor.tracking.tracker import TrackerTrouble

SILENCE_SECONDS: Final = 15.0
"""How long the server may say nothing."""
REQUEST_SECONDS: Final = 30.0
"""How long a request may take in all, however much is said meanwhile."""
MAX_ANSWER_BYTES: Final = 2 << 20
MAX_WORDS: Final = 300


class Refused(TrackerTrouble):
    """The server has understood, and refuses: `code` is its own word for why, `status` that of HTTP."""

    def __init__(self, message: str, *, status: int, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Rest:
    """The server at one address. `headers` gives what every request carries; `field` is where the job names it."""

    def __init__(self, uri: str, *, field: str, headers: Callable[[], Mapping[str, str]]) -> None:
        self._uri = uri.rstrip("/")
        self._field = field
        self._headers = headers

    def get(self, path: str, **query: str) -> Mapping[str, Any]:
        """What stands there. Raises Refused, TrackerTrouble."""
        return self._call("GET", f"{path}?{urlencode(query)}", None)

    def post(self, path: str, **said: Any) -> Mapping[str, Any]:
        """The answer to what is said. Raises Refused, TrackerTrouble."""
        return self._call("POST", path, json.dumps(said).encode())

    def _call(self, method: str, path: str, body: bytes | None) -> Mapping[str, Any]:
        try:
            status, answer = self._exchange(method, path, body)
        except (OSError, HTTPException) as error:
            raise TrackerTrouble(f"{self._uri} doesn't answer: {_why(error)}") from None
        except ValueError:  # its words may hold what is secret
            raise TrackerTrouble(
                f"no request can be made to {self._uri}: correct {self._field}, or the credentials for it, which must "
                "be plain text in one line"
            ) from None
        if 300 <= status < 400:
            raise Refused(
                f"{self._uri} answers with a redirect, which isn't followed; write the address that it leads to in "
                f"{self._field}",
                status=status,
            )
        if len(answer) > MAX_ANSWER_BYTES:
            raise TrackerTrouble(f"{self._uri} answers with more than {MAX_ANSWER_BYTES >> 20} MiB")
        return self._judge(status, answer)

    def _judge(self, status: int, answer: bytes) -> Mapping[str, Any]:
        said = _parse(answer)
        if status == 200 and said is not None:
            return said
        if status == 200 or (status == 404 and said is None):
            raise TrackerTrouble(f"{self._uri} answers with HTTP {status} and no JSON; check {self._field}")
        code, words = _text(said, "error_code"), _text(said, "message") or answer.decode(errors="replace")
        raise Refused(f"{self._uri} answers with HTTP {status}: {_shorten(words)}", status=status, code=code)

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        connection = self._connect()
        try:
            connection.connect()
            alarm = Timer(REQUEST_SECONDS, _cut, [connection.sock])
            alarm.daemon = True
            alarm.start()
            try:
                headers = {"Content-Type": "application/json", "Accept": "application/json", **self._headers()}
                connection.request(method, f"{urlsplit(self._uri).path}{path}", body=body, headers=headers)
                response: HTTPResponse = connection.getresponse()
                return response.status, response.read(MAX_ANSWER_BYTES + 1)
            finally:
                alarm.cancel()
        finally:
            connection.close()

    def _connect(self) -> HTTPConnection:
        address = urlsplit(self._uri)
        host = address.hostname or ""
        if address.scheme != "https":
            return HTTPConnection(host, address.port, timeout=SILENCE_SECONDS)
        trusted = ssl.create_default_context()
        if (own := read_authorities()) is not None:
            trusted.load_verify_locations(cadata=own.decode("ascii", "ignore"))
        return HTTPSConnection(host, address.port, timeout=SILENCE_SECONDS, context=trusted)


def _cut(sock: Any) -> None:
    """Ends a request that takes too long, whoever waits for it."""
    with suppress(OSError):
        sock.shutdown(SHUT_RDWR)


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate isn't trusted ({error.verify_message}); name its authority in storage.caBundle"
    if isinstance(error, TimeoutError):
        return f"nothing for {SILENCE_SECONDS:.0f} s"
    if isinstance(error, HTTPException):  # its words are the server's
        return f"what it says is no HTTP ({type(error).__name__})"
    return getattr(error, "strerror", None) or type(error).__name__


def _parse(answer: bytes) -> Mapping[str, Any] | None:
    try:
        said = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _text(said: Mapping[str, Any] | None, name: str) -> str:
    value = said.get(name) if said is not None else None
    return value if isinstance(value, str) else ""


def _shorten(words: str) -> str:
    """In one line, without what a terminal or a page would act on."""
    plain = "".join(char if char.isprintable() else " " for char in words[: 4 * MAX_WORDS])
    return " ".join(plain.split())[:MAX_WORDS] or "without a word"
