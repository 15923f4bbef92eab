"""`footplate status`: one look at a job, or on a terminal one after the other until its end."""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.live import Live

from footplate.cli.output import Output, OutputOption, answer, open_console
from footplate.cli.session import JobName, on_cluster

if TYPE_CHECKING:
    from footplate.cli.screen import View
    from footplate.client import Client, Job

_SECONDS = 1.0
_SHARE = 0.05
"""Of one core, at most: a look at thousands of ranks takes long, and so comes rarely."""


@on_cluster
def status(client: "Client", job: JobName, *, output: OutputOption = Output.TEXT) -> None:
    """Show what a job does, live on a terminal."""
    from footplate.cli.screen import job_screen

    found = client.get(job)
    console = open_console()
    if not console.is_terminal or output not in (Output.TEXT, Output.WIDE) or _is_over(found):
        width = console.width if console.is_terminal else None
        answer(
            output,
            data=lambda: found.manifest,
            names=lambda: [f"trainingjob.footplate.dev/{found.name}"],
            text=lambda: job_screen(look(found), width=width),
        )
        return
    with Live(console=console, auto_refresh=False) as live:
        while True:
            began = time.process_time()
            live.update(job_screen(look(found), width=console.width), refresh=True)
            if _is_over(found):
                return
            time.sleep(max(_SECONDS, (time.process_time() - began) / _SHARE))
            found.refresh()


def look(job: "Job") -> "View":
    """Reads what a picture of the job shows."""
    from footplate.cli.screen import View
    from footplate.client.history import of_status

    progress = job.live()
    return View(
        job=job,
        progress=progress,
        history=of_status(progress.history if progress is not None else None),
        ranks=job.ranks(),
        events=job.events(),
        now=datetime.now(UTC),
    )


def _is_over(job: "Job") -> bool:
    return job.phase is not None and job.phase.finished
