"""The page as an application: which address shows what. All it knows of a cluster comes from `footplate.client`."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from footplate.errors import FootplateError
from footplate.ui import cluster_routes, job_routes, jobs_routes, result_routes
from footplate.ui.board import Board
from footplate.ui.guard import Guard, Session
from footplate.ui.site import Site
from footplate_trainer.evaluation_file import PLOTS

STATIC = Path(__file__).parent / "static"
JOB = "/jobs/{namespace}/{name}"
Answer = Callable[[Site, Request], Awaitable[Response]]
READ: dict[str, Answer] = {
    "/": jobs_routes.jobs,
    "/live": jobs_routes.jobs_live,
    "/compare": jobs_routes.compare,
    "/compare/live": jobs_routes.compare_live,
    "/curves": jobs_routes.curves,
    "/cluster": cluster_routes.show,
    "/cluster/live": cluster_routes.show_live,
    JOB: job_routes.show,
    f"{JOB}/live": job_routes.show_live,
    f"{JOB}/history": job_routes.history,
    f"{JOB}/data": result_routes.data,
    f"{JOB}/model": result_routes.model,
    f"{JOB}/{PLOTS}/{{plot}}": result_routes.plot,
    f"{JOB}/logs": job_routes.logs,
    f"{JOB}/logs/live": job_routes.logs_live,
    f"{JOB}/spec": job_routes.spec,
}


def create_app(board: Board, *, session: Session) -> Guard:
    """The application behind its guard; everything lies below the session's place."""
    site = Site(board, base=session.place)
    routes = [
        *(Route(path, partial(answer, site)) for path, answer in READ.items()),
        Route(f"{JOB}/{{action}}", partial(job_routes.act, site), methods=["POST"]),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    app = Starlette(
        routes=[Mount(session.place, routes=routes)],
        exception_handlers={HTTPException: site.refuse, FootplateError: site.fail},
    )
    return Guard(app, session=session)
