"""What all addresses share: where jobs are read, how answers are made, and what is said when that fails."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from anyio.to_thread import run_sync
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from footplate.client import Job
from footplate.client.errors import JobDeleted, JobNotFound, NotAllowed
from footplate.ui.actions import ACTIONS
from footplate.ui.board import Board
from footplate.ui.jobs_view import LIVELIEST_FIRST
from footplate.ui.rendering import Renderer
from footplate.ui.streams import Parts, stream

TABS = (("", "Overview"), ("/data", "Data"), ("/model", "Model"), ("/logs", "Logs"), ("/spec", "Spec"))
Known = Mapping[str, Any]
"""What a template knows, by name."""


class Site:
    """`base`: path below which all addresses lie."""

    def __init__(self, board: Board, *, base: str) -> None:
        self.board = board
        self.base = base
        self._render = Renderer(
            base=base, phases=[str(phase) for phase in LIVELIEST_FIRST], tabs=TABS, actions=list(ACTIONS.values())
        )

    async def page(self, template: str, known: Callable[[], Known]) -> Response:
        """A whole page; `known` may block."""
        return HTMLResponse(await run_sync(lambda: self.render(template, known())))

    def live(self, request: Request, parts: Callable[[], Parts]) -> Response:
        """A page's changing parts, as they change; `parts` may block."""
        return stream(request, lambda: run_sync(parts))

    def render(self, template: str, known: Known) -> str:
        """The text of a template."""
        board = self.board
        scope = f"namespace {board.namespace}" if board.namespace else "all namespaces"
        return self._render(template, **{"room": "jobs", "scope": scope, "trouble": board.trouble, **known})

    def job_address(self, job: Job) -> str:
        """Path of a job's page."""
        return f"{self.base}/jobs/{quote(job.namespace, safe='')}/{quote(job.name, safe='')}"

    def find(self, request: Request) -> Job:
        """The job that an address names; blocks. Raises JobNotFound."""
        namespace, name = request.path_params["namespace"], request.path_params["name"]
        return self.board.get(namespace, name) or self.board.client.get(name, namespace=namespace)

    async def refuse(self, request: Request, error: Exception) -> Response:
        """An address that isn't there."""
        status = error.status_code if isinstance(error, HTTPException) else 404
        return self._error(status, "There is no such page", "Its address may be mistyped.", back=f"{self.base}/")

    async def fail(self, request: Request, error: Exception) -> Response:
        """What the client said it couldn't do."""
        status, title = 502, "The cluster refused"
        if isinstance(error, JobNotFound | JobDeleted):
            status, title = 404, "There is no such job"
        elif isinstance(error, NotAllowed):
            status, title = 403, "You may not do that"
        return self._error(status, title, str(error), back=f"{self.base}/")

    def _error(self, status: int, title: str, text: str, *, back: str) -> Response:
        return HTMLResponse(self.render("error.html", {"title": title, "text": text, "back": back}), status_code=status)


def now() -> datetime:
    """The time on this machine."""
    return datetime.now(UTC)
