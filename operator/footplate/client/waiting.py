"""Waiting for what is to become of a job."""

import asyncio
from contextlib import aclosing

from footplate.api.status import Phase
from footplate.client.connection import Connection
from footplate.client.errors import ClientError, JobDeleted, JobEnded, WaitTimeout
from footplate.client.status import is_so, read_status
from footplate.client.untrusted import plain
from footplate.client.watching import watch_jobs
from footplate.objects import Object, key_of, uid_of

NAMES = tuple(dict.fromkeys(("Finished", "Complete", "Failed", "Running", "Queued", "Suspended", *map(str, Phase))))
"""Of conditions, and of phases."""


async def wait_until(connection: Connection, job: Object, until: str, *, seconds: float | None) -> Object:
    """The job once a condition holds or a phase has come. Errors: see `Job.wait`."""
    if until not in NAMES:
        names = ", ".join(NAMES)
        raise ClientError(f"until: {until!r} is no condition and no phase; it is one of {names}")
    try:
        async with asyncio.timeout(seconds):
            return await _seen_so(connection, job, until)
    except TimeoutError as error:
        if isinstance(error, ClientError):
            raise
        raise WaitTimeout(f"TrainingJob {key_of(job)[1]!r} isn't {until} after {seconds:g} s; it goes on") from None


async def _seen_so(connection: Connection, job: Object, until: str) -> Object:
    namespace, name = key_of(job)
    changes = watch_jobs(connection, namespace=namespace, fields=f"metadata.name={name}")
    async with aclosing(changes):
        first = True
        async for batch in changes:
            if first and not batch:
                raise JobDeleted(name, namespace=namespace)
            first = False
            for kind, seen in batch:
                if kind == "DELETED" or uid_of(seen) != uid_of(job):
                    raise JobDeleted(name, namespace=namespace)
                if is_so(seen, until):
                    return seen
                _check_not_over(seen, until)
    raise JobDeleted(name, namespace=namespace)


def _check_not_over(job: Object, until: str) -> None:
    if not is_so(job, "Finished"):
        return
    status = read_status(job)
    why = plain((status.failure.message if status.failure else "") or status.message or "")
    raise JobEnded(f"TrainingJob {key_of(job)[1]!r} has {status.phase} and isn't {until}{f': {why}' if why else ''}")
