"""Addresses of one job: what it does, its logs, its spec, and what can be done to it."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from anyio.to_thread import run_sync
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from footplate.client import Job, LogLine
from footplate.client.errors import JobDeleted
from footplate.client.runs import run_specs
from footplate.errors import FootplateError
from footplate.ui.actions import ACTIONS
from footplate.ui.charts import Line, charts
from footplate.ui.job_view import curves_of, manifest_text, overview
from footplate.ui.log_stream import TAIL, log_events
from footplate.ui.sight import Observer
from footplate.ui.site import Known, Site, now
from footplate.ui.spec_diff import spec_table
from footplate.ui.streams import Parts, event_response, to_json

MAX_RANKS_OFFERED = 512
MOST_AT_ONCE = 32
"""Of a larger gang one rank is shown first: the log of all of them is nothing that anybody reads."""


async def show(site: Site, request: Request) -> Response:
    """How far it is, its curves, ranks, attempts and events."""

    def known() -> Known:
        job = site.find(request)
        return {**common(site, request, job, tab=""), **overview(Observer().look(job), now=now())}

    return await site.page("overview.html", known)


async def show_live(site: Site, request: Request) -> Response:
    """The same as it changes, with the curves for the script."""
    observer = Observer()
    last = await run_sync(site.find, request)

    def parts() -> Parts:
        nonlocal last
        gone = site.board.get(last.namespace, last.name) is None
        last = last if gone else site.find(request)
        sight = observer.look(last)
        known = {**common(site, request, last, tab=""), **overview(sight, now=now()), "gone": gone}
        return {"": site.render("overview_live.html", known), "curves": to_json(curves_of(sight))}

    return site.live(request, parts)


async def history(site: Site, request: Request) -> Response:
    """The curves through every report of the run, from storage, as JSON for the script; `trouble` says why not."""

    def read() -> Known:
        job = site.find(request)
        try:
            whole = job.history(full=True)
        except FootplateError as error:
            return {"charts": [], "trouble": str(error)}
        return {"charts": charts([Line(f"run {job.run}", whole.steps, whole.metrics)]), "trouble": ""}

    return JSONResponse(await run_sync(read))


async def logs(site: Site, request: Request) -> Response:
    """The log's page; its lines come by `logs_live`."""

    def known() -> Known:
        job = site.find(request)
        shared = common(site, request, job, tab="/logs")
        rank, attempt = _number(request, "rank"), _number(request, "attempt")
        nodes = job.status.nodes.desired if job.status.nodes else 1
        if "rank" not in request.query_params and nodes > MOST_AT_ONCE:
            rank = 0
        chosen = {name: value for name, value in (("rank", rank), ("attempt", attempt)) if value is not None}
        return {
            **shared,
            "stream": f"{shared['job_base']}/logs/live?{urlencode(chosen)}",
            "ranks": range(min(nodes, MAX_RANKS_OFFERED)),
            "attempts": [each.attempt for each in reversed(job.attempts)],
            "chosen_rank": rank,
            "chosen_attempt": attempt,
        }

    return await site.page("logs.html", known)


async def logs_live(site: Site, request: Request) -> Response:
    """The lines, and those to come."""
    job = await run_sync(site.find, request)
    rank, attempt = _number(request, "rank"), _number(request, "attempt")
    grows = not (job.phase and job.phase.finished) and attempt in (None, job.attempt)

    def lines() -> Iterator[LogLine]:
        return job.logs(rank, attempt=attempt, follow=grows, tail=TAIL)

    return event_response(log_events(lines))


async def spec(site: Site, request: Request) -> Response:
    """The manifest, and what differs between the specs that runs were started with."""

    def known() -> Known:
        job = site.find(request)
        runs, trouble = _run_specs(job)
        compared = spec_table(
            [f"run {run}" for run in runs], list(runs.values()), all_fields=request.query_params.get("all") == "1"
        )
        shared = common(site, request, job, tab="/spec")
        return {**shared, **compared, "manifest": manifest_text(job), "runs_trouble": trouble, "address": ""}

    return await site.page("spec.html", known)


async def act(site: Site, request: Request) -> Response:
    """Does what the user has confirmed, to the very job that was on the page."""
    action = ACTIONS.get(request.path_params["action"])
    if action is None:
        raise HTTPException(404)

    def do() -> Job:
        job = site.board.client.get(request.path_params["name"], namespace=request.path_params["namespace"])
        if job.uid != request.query_params.get("uid"):
            raise JobDeleted(job.name, namespace=job.namespace)
        action.act(job)
        return job

    job = await run_sync(do)
    address = f"{site.base}/" if action.ends_job else f"{site.job_address(job)}?done={action.name}"
    return RedirectResponse(address, status_code=303)


def _run_specs(job: Job) -> tuple[Mapping[int, Mapping[str, Any]], str]:
    """Specs by run, and why there are none."""
    try:
        return run_specs(job), ""
    except FootplateError as error:
        return {}, str(error)


def common(site: Site, request: Request, job: Job, *, tab: str) -> dict[str, Any]:
    """What every page of a job knows. `tab`: end of its address."""
    done = ACTIONS.get(request.query_params.get("done", ""))
    said = done.done if done else ""
    return {"job": job, "job_base": site.job_address(job), "tab": tab, "said": said, "gone": False, "why": None}


def _number(request: Request, name: str) -> int | None:
    said = request.query_params.get(name, "")
    return int(said) if said.isascii() and said.isdecimal() and len(said) < 9 else None
