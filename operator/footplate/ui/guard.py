"""Who may talk to the page: this browser alone, which came with the printed address.

Any program on this machine can reach a loopback port, and any site that the user visits can make the browser send
requests to it. So, in this order:

- `Host` must be ours: a name that an attacker's DNS server rebinds to 127.0.0.1 is refused.
- `Origin`, where the browser says it, must be ours, and a request that changes something must say it.
- The address that is printed holds a token that works once and becomes a cookie, which scripts can't read and other
  sites can't send. Browsers send a cookie to every port of its host, so it is bound to a path that nobody else knows.
"""

import secrets
from hmac import compare_digest

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # without any, browsers hide the origin of a form too
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
WAY_IN = "Start `footplate ui` again, and open the address that it prints."
STATIC = "/static/"
"""What anybody on this machine may read: scripts and styles, nothing of the cluster."""


class Session:
    """The one browser's way in. `place`: first part of every path; `hosts`: what `Host` may be."""

    def __init__(self, *, port: int) -> None:
        self.place = f"/{secrets.token_urlsafe(12)}"
        self.hosts = frozenset(f"{name}:{port}" for name in ("127.0.0.1", "localhost"))
        self.address = f"http://127.0.0.1:{port}{self.place}/"
        self._token: str | None = secrets.token_urlsafe(24)
        self._key = secrets.token_urlsafe(24)
        self.cookie = f"footplate-{secrets.token_urlsafe(12)}"
        """Its name is random: pages on other ports of this host may set cookies too, and would lock the user out."""

    @property
    def first_address(self) -> str:
        """What is printed: opens the page once."""
        return f"{self.address}enter?token={self._token}"

    def admits(self, key: str) -> bool:
        """Whether a cookie's value is that of the browser which was let in."""
        return compare_digest(key.encode(), self._key.encode())

    def enter(self, token: str) -> Response:
        """The answer to the printed address: a cookie for the right token, once."""
        if self._token is None or not compare_digest(token.encode(), self._token.encode()):
            return refuse(403, "This address has been used, or isn't the one that was printed. " + WAY_IN)
        self._token = None
        # Not a redirect: a browser that came from another site wouldn't send a strict cookie along.
        answer = HTMLResponse(
            f'<!doctype html><html lang="en"><head><title>Footplate</title>'
            f'<link rel="icon" href="{self.place}/static/icon.svg">'
            f'<meta http-equiv="refresh" content="0;url={self.place}/"></head><body></body></html>'
        )
        answer.set_cookie(self.cookie, self._key, path=self.place, httponly=True, samesite="strict")
        return answer


class Guard:
    """Middleware around the whole app: refuses what isn't the user's browser, and sets what all answers carry."""

    def __init__(self, app: ASGIApp, *, session: Session) -> None:
        self._app = app
        self._session = session

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            return
        request = HTTPConnection(scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._judge(request, scope["method"], scope["path"])
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _judge(self, request: HTTPConnection, method: str, path: str) -> Response | None:
        """The answer to a request that isn't the user's; None lets it through."""
        if request.headers.getlist("host") not in [[host] for host in self._session.hosts]:
            return refuse(421, "This page answers to its own address on this machine alone.")
        if not self._is_own_origin(request.headers, must_say=method not in ("GET", "HEAD")):
            return refuse(403, "This request comes from another page.")
        if path.startswith(self._session.place + STATIC):
            return None
        if path == f"{self._session.place}/enter" and method == "GET":
            return self._session.enter(request.query_params.get("token", ""))
        if self._session.admits(request.cookies.get(self._session.cookie, "")):
            return None
        return refuse(403, "This browser hasn't been let in. " + WAY_IN)

    def _is_own_origin(self, headers: Headers, *, must_say: bool) -> bool:
        said = headers.getlist("origin")
        own = f"http://{headers['host']}"
        if must_say and (not said or headers.get("sec-fetch-site", "same-origin") != "same-origin"):
            return False
        return all(origin == own for origin in said)


def refuse(status: int, why: str) -> Response:
    """A page that says why, and nothing else: it may be read by anybody."""
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head><title>Footplate</title></head><body><main><h1>Not for you</h1>'
        f"<p>{why}</p></main></body></html>",
        status_code=status,
    )
