"""The page of `footplate ui`, served in a thread, for a browser or an HTTP client."""

import http.client
import threading
import time
from contextlib import AbstractContextManager

import uvicorn

from footplate.ui.app import create_app
from footplate.ui.board import Board
from footplate.ui.guard import Session
from footplate.ui.server import listen
from page_jobs import ToldClient


class PageServer(AbstractContextManager["PageServer"]):
    """`with PageServer(client) as server`: serves until the block ends. `session` has the addresses."""

    def __init__(self, client: ToldClient) -> None:
        self.client = client
        self._cookie: str | None = None
        self.board = Board(client, namespace=None)  # type: ignore[arg-type]
        self._socket = listen(0)
        self.session = Session(port=self._socket.getsockname()[1])
        config = uvicorn.Config(
            create_app(self.board, session=self.session), log_level="error", lifespan="off", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=lambda: self._server.run(sockets=[self._socket]), daemon=True)

    def get(self, path: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Status, headers and body of an address below the session's place, for the browser that was let in."""
        host, _, first = self.session.first_address.removeprefix("http://").partition("/")
        connection = http.client.HTTPConnection(host, timeout=30)
        if self._cookie is None:
            connection.request("GET", f"/{first}")
            entered = connection.getresponse()
            entered.read()
            self._cookie = (entered.headers["Set-Cookie"] or "").partition(";")[0]
        connection.request("GET", f"{self.session.place}/{path}", headers={"Cookie": self._cookie})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, answer.headers, body

    def __enter__(self) -> "PageServer":
        self.board.start()
        self._thread.start()
        deadline = time.monotonic() + 10
        while not self._server.started:
            assert time.monotonic() < deadline, "the page isn't served"
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()
        self.board.stop()
