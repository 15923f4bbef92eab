"""How far training is at this moment, as rank 0's pod says it; the operator writes it down every 15 s only.

The pod is asked through the API server, with the user's own right to `pods/proxy`. What it answers is a tenant's word:
bounded in bytes and seconds, and believed only if it speaks of this job, run and attempt.
"""

from contextlib import aclosing
from datetime import datetime

from pydantic import ValidationError

from footplate.api.reports import ProgressStatus
from footplate.api.status import Phase, TrainingJobStatus
from footplate.attempt_spec import pod_name
from footplate.client.connection import Connection
from footplate.client.status import read_status
from footplate.contract import MAX_PROGRESS_BYTES, METRICS_PORT, TOKEN_HEADER, Progress
from footplate.errors import FootplateError
from footplate.machinery.resources import PODS, Resource
from footplate.objects import Object, key_of, uid_of
from footplate.policy.progress import believed, told
from footplate.tokens import token_of

POD_PROXY = Resource("v1", "pods/proxy")
_SECONDS = 3.0


async def read_live(connection: Connection, job: Object, *, now: datetime) -> ProgressStatus | None:
    """The pod's word where it can be had and believed, within the operator's own bounds; else the status'."""
    status = read_status(job)
    if status.phase is not Phase.RUNNING:
        return status.progress
    try:
        answer = Progress.model_validate_json(await _ask(connection, job, status), extra="ignore")
    except (FootplateError, ValidationError, _TooLong):
        return status.progress
    said = believed(answer, status, uid=uid_of(job))
    return told(said, status, now=now) if said is not None else status.progress


async def _ask(connection: Connection, job: Object, status: TrainingJobStatus) -> bytes:
    namespace, name = key_of(job)
    pod = pod_name(name, run=status.run or 1, attempt=status.attempt or 0, rank=0)
    path = PODS.path(namespace, f"{pod}:{METRICS_PORT}", "proxy/progress")
    token = token_of(await connection.get(PODS, namespace, pod))
    answer = bytearray()
    pieces = connection.stream(
        POD_PROXY,
        path,
        namespace=namespace,
        headers={TOKEN_HEADER: token} if token else None,
        seconds=_SECONDS,
        quiet_seconds=None,
    )
    async with aclosing(pieces):
        async for piece in pieces:
            answer += piece
            if len(answer) > MAX_PROGRESS_BYTES:
                raise _TooLong
    return bytes(answer)


class _TooLong(Exception):
    """An answer of more bytes than a `Progress` has."""
