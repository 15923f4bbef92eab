"""Addresses of the cluster: who holds its accelerators, who waits, and what comes of it."""

import time
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from footplate.client import Client, ClusterView
from footplate.errors import FootplateError
from footplate.ui.cluster_view import goodputs, queue
from footplate.ui.site import Known, Site, now

LOOK_SECONDS = 5.0
"""A look reads all pods: so often it is done while somebody has the page open."""


class Lookout:
    """The cluster as it was a few seconds ago at most; `trouble` says why it is older. Blocks."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._time = -LOOK_SECONDS
        self.view: ClusterView | None = None
        self.trouble: str | None = None

    def look(self) -> None:
        """Looks again where it is time to."""
        if time.monotonic() - self._time < LOOK_SECONDS:
            return
        try:
            self.view, self.trouble = self._client.cluster(), None
        except FootplateError as error:
            self.trouble = str(error)
        self._time = time.monotonic()


async def show(site: Site, request: Request) -> Response:
    """The cluster now."""
    return await site.page("cluster.html", partial(_known, site, Lookout(site.board.client)))


async def show_live(site: Site, request: Request) -> Response:
    """The cluster as it changes."""
    lookout = Lookout(site.board.client)
    return site.live(request, lambda: {"": site.render("cluster_live.html", _known(site, lookout))})


def _known(site: Site, lookout: Lookout) -> Known:
    lookout.look()
    jobs = site.board.jobs()
    return {
        "room": "cluster",
        "cluster": lookout.view,
        "trouble": lookout.trouble or site.board.trouble,
        "holders": [use for use in lookout.view.jobs if use.nodes] if lookout.view else [],
        "queue": queue(jobs, now=now()),
        "goodputs": goodputs(jobs),
    }
