"""Addresses of the list of jobs, and of jobs side by side."""

from functools import partial
from typing import Any
from urllib.parse import urlencode

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from footplate.client import Job
from footplate.objects import block
from footplate.ui.charts import Line, charts, metrics_table
from footplate.ui.job_view import line_of
from footplate.ui.jobs_view import Query, show_jobs
from footplate.ui.site import Known, Site, now
from footplate.ui.spec_diff import spec_table
from footplate.ui.streams import Parts, to_json

MAX_COMPARED = 100


async def jobs(site: Site, request: Request) -> Response:
    """The list."""
    return await site.page("jobs.html", partial(_jobs, site, request))


async def jobs_live(site: Site, request: Request) -> Response:
    """The list as it changes."""
    return site.live(request, lambda: {"": site.render("jobs_list.html", _jobs(site, request))})


async def compare(site: Site, request: Request) -> Response:
    """Jobs side by side; the first is the baseline."""
    return await site.page("compare.html", partial(_compared, site, request))


async def compare_live(site: Site, request: Request) -> Response:
    """Their curves as they grow."""

    def parts() -> Parts:
        found, _ = _chosen(site, request)
        return {"curves": to_json(charts(_lines(found)))}

    return site.live(request, parts)


async def curves(site: Site, request: Request) -> Response:
    """Their curves once."""
    found, _ = _chosen(site, request)
    return JSONResponse(await run_sync(lambda: charts(_lines(found))))


def _jobs(site: Site, request: Request) -> Known:
    return {"list": show_jobs(site.board.jobs(), Query.read(request.query_params), now=now())}


def _compared(site: Site, request: Request) -> dict[str, Any]:
    found, missing = _chosen(site, request)
    lines = _lines(found)
    specs = [block(job.manifest, "spec") for job in found]
    chosen = [f"{job.namespace}/{job.name}" for job in found]
    return {
        "lines": lines,
        "chosen": chosen,
        "missing": missing,
        "others": sorted({f"{job.namespace}/{job.name}" for job in site.board.jobs()} - set(chosen)),
        "address": _address(chosen),
        "choices": [
            {
                "job": job,
                "first": _address([key, *(each for each in chosen if each != key)]),
                "without": _address([each for each in chosen if each != key]),
            }
            for job, key in zip(found, chosen, strict=True)
        ],
        "table": metrics_table(lines),
        **spec_table([line.name for line in lines], specs, all_fields=request.query_params.get("all") == "1"),
    }


def _address(keys: list[str]) -> str:
    """The query string that compares these."""
    return urlencode([("job", key) for key in keys])


def _chosen(site: Site, request: Request) -> tuple[list[Job], list[str]]:
    """The jobs that the address names, and those names that are none's."""
    keys = [key for key in dict.fromkeys(request.query_params.getlist("job")) if key][:MAX_COMPARED]
    found = {key: site.board.get(*key.split("/", 1)) for key in keys if "/" in key}
    return [job for job in found.values() if job is not None], [key for key in keys if found.get(key) is None]


def _lines(found: list[Job]) -> list[Line]:
    """A line each, named as briefly as tells them apart."""
    alone = len({job.namespace for job in found}) < 2
    return [line_of(job, job.progress, name=job.name if alone else f"{job.namespace}/{job.name}") for job in found]
