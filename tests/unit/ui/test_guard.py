"""Nobody but the user's own browser gets in: other programs, other pages and rebound names meet a refusal."""

import http.client
import re
from collections.abc import Iterator, Mapping

import pytest

from footplate.ui.guard import CONTENT_SECURITY_POLICY
from page_jobs import ToldClient, job
from page_server import PageServer


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    with PageServer(ToldClient(job())) as server:
        yield server


class Caller:
    """An HTTP client that says what it likes."""

    def __init__(self, server: PageServer) -> None:
        self.host = server.session.address.split("/")[2]
        self.place = server.session.place
        self.cookie = ""

    def ask(
        self, path: str, *, method: str = "GET", cookie: bool = True, **headers: str | None
    ) -> tuple[int, Mapping[str, str], str]:
        connection = http.client.HTTPConnection(self.host, timeout=10)
        said = {"Host": self.host, **({"Cookie": self.cookie} if cookie and self.cookie else {})}
        said |= {name.replace("_", "-"): value for name, value in headers.items() if value is not None}
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in said.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, answer.headers, text  # type: ignore[return-value]


@pytest.fixture(scope="module")
def caller(server: PageServer) -> Caller:
    caller = Caller(server)
    status, headers, text = caller.ask(server.session.first_address.partition(caller.host)[2])
    assert status == 200
    assert f"url={caller.place}/" in text
    caller.cookie = headers["Set-Cookie"].partition(";")[0]
    flags = {flag.strip().lower() for flag in headers["Set-Cookie"].split(";")[1:]}
    assert flags == {"httponly", "samesite=strict", f"path={caller.place}".lower()}
    return caller


SUSPEND = "/jobs/team/digits/suspend?uid=uid-team-digits"


def test_the_browser_that_was_let_in_sees_the_page(caller: Caller) -> None:
    status, headers, text = caller.ask(f"{caller.place}/")
    assert status == 200
    assert "digits" in text
    assert headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert headers["Cache-Control"] == "no-store"


def test_a_page_on_another_port_cannot_lock_the_user_out(caller: Caller) -> None:
    headers = {"Cookie": f"{caller.cookie}; footplate=evil"}  # cookies know no ports
    assert caller.ask(f"{caller.place}/", cookie=False, **headers)[0] == 200
    assert caller.cookie.partition("=")[0] != "footplate", "its name can be guessed, and one of that name be set"


def test_the_printed_address_works_once(server: PageServer, caller: Caller) -> None:
    status, headers, _ = caller.ask(f"{caller.place}/enter?token=None", cookie=False)
    assert status == 403
    assert "Set-Cookie" not in headers


def test_a_second_use_of_the_token_is_refused() -> None:
    with PageServer(ToldClient()) as server:
        caller = Caller(server)
        address = server.session.first_address.partition(caller.host)[2]
        wrong = caller.ask(address + "x")
        first = caller.ask(address)
        second = caller.ask(address)
    assert [wrong[0], first[0], second[0]] == [403, 200, 403]
    assert "used" in second[2]


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        pytest.param("/", {"cookie": False}, 403, id="another program without the cookie"),
        pytest.param("/", {"cookie": False, "Cookie": "footplate=guess"}, 403, id="a guessed cookie"),
        pytest.param("/live", {"cookie": False}, 403, id="the stream without the cookie"),
        pytest.param("/curves?job=team/digits", {"cookie": False}, 403, id="JSON without the cookie"),
        pytest.param("/", {"Host": "evil.example"}, 421, id="a name that was rebound to this address"),
        pytest.param("/", {"Host": "127.0.0.1"}, 421, id="another port"),
        pytest.param("/static/page.css", {"Host": "evil.example", "cookie": False}, 421, id="static files too"),
        pytest.param("/", {"Origin": "http://evil.example"}, 403, id="a script of another site"),
        pytest.param("/", {"Origin": "http://127.0.0.1:1"}, 403, id="a script of another port"),
        pytest.param("/", {"Origin": "null"}, 403, id="a sandboxed frame"),
    ],
)
def test_others_are_refused(caller: Caller, path: str, headers: dict[str, str], status: int) -> None:
    got, answer, text = caller.ask(caller.place + path, **headers)  # type: ignore[arg-type]
    assert got == status
    assert "digits" not in text
    assert answer["Content-Security-Policy"] == CONTENT_SECURITY_POLICY


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="without an origin"),
        pytest.param({"Origin": "http://evil.example"}, id="another site's form"),
        pytest.param({"Origin": "http://localhost:1"}, id="another port's form"),
        pytest.param({"Origin": "own", "Sec_Fetch_Site": "same-site"}, id="a browser that says it is another page's"),
        pytest.param({"Origin": "own", "cookie": False}, id="without the cookie"),
    ],
)
def test_nothing_is_done_for_others(server: PageServer, caller: Caller, headers: dict[str, str]) -> None:
    if headers.get("Origin") == "own":
        headers = {**headers, "Origin": f"http://{caller.host}"}
    status, _, _ = caller.ask(caller.place + SUSPEND, method="POST", **headers)  # type: ignore[arg-type]
    assert status == 403
    assert server.client.told.done == []


def test_actions_need_a_post(server: PageServer, caller: Caller) -> None:
    status, _, _ = caller.ask(caller.place + SUSPEND)
    assert status == 405
    assert server.client.told.done == []


def test_a_path_outside_of_the_place_has_nothing(caller: Caller) -> None:
    assert caller.ask("/", cookie=True)[0] == 404
    assert caller.ask("/", cookie=False)[0] == 403


def test_pages_hold_no_inline_script_or_style(caller: Caller) -> None:
    for path in (
        "/",
        "/jobs/team/digits",
        "/jobs/team/digits/logs",
        "/compare?job=team/digits",
        "/cluster",
        "/nowhere",
    ):
        _, headers, text = caller.ask(caller.place + path)
        assert headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|hx-on", text), path
        assert not re.search(r"<script(?![^>]*\ssrc=)", text), path
        addresses = re.findall(r'(?:src|href|action)="([^"]*)"', text)
        assert all(address.startswith((caller.place, "#", "?")) for address in addresses), path
