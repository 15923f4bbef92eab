"""Addresses of what a run has found out, all read from its storage: its data, its model, and the model's plots."""

from typing import Any

from anyio.to_thread import run_sync
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from footplate.client import Job, NothingThere
from footplate.client.evaluation import JobEvaluation, read_plot
from footplate.client.status import model_in_words
from footplate.errors import FootplateError
from footplate.ui import data_view, evaluation_view
from footplate.ui.card import render_card
from footplate.ui.job_routes import common
from footplate.ui.site import Known, Site

READ: Known = {"trouble_here": "", "nothing": ""}
"""What is said instead of a result that was found."""


async def data(site: Site, request: Request) -> Response:
    """The parts of a run's data, what is wrong with them, and its columns."""

    def known() -> Known:
        job = site.find(request)
        try:
            found = {**READ, **data_view.view_data(job.data())}
        except FootplateError as error:
            found = _nothing(error)
        return {**common(site, request, job, tab="/data"), **found}

    return await site.page("data.html", known)


async def model(site: Site, request: Request) -> Response:
    """Whether the model is accepted, what was measured of it, its plots and its card."""

    def known() -> Known:
        job = site.find(request)
        shared = common(site, request, job, tab="/model")
        artifact = job.status.artifact
        about = {
            "verdict": evaluation_view.verdict_of(job.status.evaluation),
            "artifact": artifact,
            "words": model_in_words(artifact) if artifact is not None else "",
            "status": job.status,
        }
        try:
            found = _model(job, plots_base=f"{shared['job_base']}/plots")
        except FootplateError as error:
            found = _nothing(error)
        return {**shared, **about, **found}

    return await site.page("model.html", known)


async def plot(site: Site, request: Request) -> Response:
    """A plot of the model: a PNG file of bounded size, or nothing."""

    def read() -> bytes | None:
        return read_plot(site.find(request).artifact, request.path_params["plot"])

    picture = await run_sync(read)
    if picture is None:
        raise HTTPException(404)
    return Response(picture, media_type="image/png")


def _model(job: Job, *, plots_base: str) -> dict[str, Any]:
    evaluation = job.evaluation()
    plots = evaluation.plot_names()
    views = evaluation_view.view_data(evaluation.data)
    tabled = {f"{view.name}-confusion.png" for view in views if view.matrix is not None}
    card, card_trouble = _card(evaluation, plots, plots_base)
    return {
        "views": views,
        "plots": [name for name in plots if name not in tabled],
        "card": card,
        "card_trouble": card_trouble,
        **READ,
    }


def _card(evaluation: JobEvaluation, plots: list[str], plots_base: str) -> tuple[str, str]:
    """As HTML, and why it isn't there though the model has one."""
    try:
        text = evaluation.card()
    except FootplateError as error:
        return "", str(error)
    return render_card(text, plots=plots, plots_base=plots_base) if text.strip() else "", ""


def _nothing(error: FootplateError) -> dict[str, Any]:
    """What the pages say instead: that there is nothing, or why it can't be read."""
    none = isinstance(error, NothingThere)
    return {"views": (), "trouble_here": "" if none else str(error), "nothing": str(error) if none else ""}
