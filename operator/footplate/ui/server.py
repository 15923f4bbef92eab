"""Serves the pages on a loopback port until it is interrupted."""

import socket
import webbrowser
from collections.abc import Callable

import uvicorn

from footplate.client import Client
from footplate.errors import ConfigurationError
from footplate.ui.app import create_app
from footplate.ui.board import Board
from footplate.ui.guard import Session

LOOPBACK = "127.0.0.1"
LAST_SECONDS = 1
"""Live pages get so long to hear that the server ends."""


def serve(client: Client, *, namespace: str | None, port: int, browse: bool, say: Callable[[str], None]) -> None:
    """Serves until interrupted.

    Args:
        client: whose rights the page has.
        namespace: whose jobs it shows; None: of all.
        port: to listen on; 0 takes a free one.
        browse: whether to open the user's browser.
        say: prints a line.
    """
    with listen(port) as listening:
        session = Session(port=listening.getsockname()[1])
        board = Board(client, namespace=namespace)
        board.start()
        say(f"Footplate's page: {session.first_address}")
        say("The address works once, in one browser. Ctrl-C ends it.")
        if browse:
            webbrowser.open(session.first_address)
        config = uvicorn.Config(
            create_app(board, session=session),
            log_level="warning",
            access_log=False,  # would print the token
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            timeout_graceful_shutdown=LAST_SECONDS,
        )
        try:
            uvicorn.Server(config).run(sockets=[listening])
        finally:
            board.stop()


def listen(port: int) -> socket.socket:
    """A loopback socket; raises ConfigurationError where the port is taken."""
    try:
        return socket.create_server((LOOPBACK, port))
    except OSError as error:
        raise ConfigurationError(
            f"--port {port}: {error.strerror}; take another one, or leave it out for any that is free"
        ) from error
