"""A bundle for whoever helps: what the cluster says of a job, without what may be secret, in one zip.

It is made of what the user himself may read. What he may not, or what isn't there any more, is named in the bundle's
README, as is what was taken out.
"""

import json
import platform
import secrets
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from footplate import __version__
from footplate.client.connection import Connection
from footplate.client.errors import ClientError
from footplate.client.events import JobEvent
from footplate.client.logs import LogRequest, read_logs
from footplate.client.redaction import redact_job, redact_object, redact_text
from footplate.client.status import read_status
from footplate.client.why import Why
from footplate.contract import Label
from footplate.errors import FootplateError
from footplate.machinery.resources import PODS
from footplate.objects import Object, key_of, uid_of

LOG_LINES = 500
LOG_CHARACTERS = 262_144
"""Of each pod's log, its end."""
NODES = 16
"""Pods whose logs are in it, from rank 0 on; besides, that of the node that failed."""

_README = """\
What Footplate's client could read of TrainingJob {name} in namespace {namespace}, {time}.

{files}

Taken out, and written as ***: values of environment variables; hyperparameters, arguments and annotations whose names
speak of keys, tokens or passwords; what is assigned to such a name in messages and logs, or has the shape of a known
token; credentials in addresses. Secrets and the code's ConfigMap weren't read. A secret that code prints under an
innocent name isn't known to be one: look through the logs before you hand this on.
"""


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    what: str
    read: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Told:
    """A job as it was read, and what can be asked about it."""

    connection: Connection
    manifest: Object
    events: Callable[[], Sequence[JobEvent]]
    why: Callable[[], Why]


def write_bundle(job: Told, path: str | Path) -> Path:
    """Writes the bundle of a job, a zip, where nothing is yet.

    Raises:
        ClientError: there is something of that name, or it can't be written.
    """
    target = Path(path)
    if target.exists():
        raise ClientError(f"{target} is there already; name another file")
    content = dict(_contents(job, datetime.now(UTC)))
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with zipfile.ZipFile(unfinished, "x", zipfile.ZIP_DEFLATED) as bundle:
            for name, text in content.items():
                bundle.writestr(name, text)
        unfinished.replace(target)
    except OSError as error:
        raise ClientError(f"{target}: {error.strerror}; name a file that you may write") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return target


def _contents(job: Told, now: datetime) -> Iterator[tuple[str, str]]:
    """Names and texts of the files; the README, which tells of all of them, is the last."""
    told = []
    for part in _parts(job):
        try:
            text = part.read()
        except FootplateError as error:
            told.append(f"{part.name}: not there: {redact_text(str(error))}")
            continue
        yield part.name, text
        told.append(f"{part.name}: {part.what}")
    time, files = now.isoformat(" ", "seconds"), "\n".join(told)
    namespace, name = key_of(job.manifest)
    yield "README.txt", _README.format(name=name, namespace=namespace, time=time, files=files)


def _parts(job: Told) -> Iterator[_Part]:
    yield _Part("job.json", "the TrainingJob with its status", lambda: _json(redact_job(job.manifest)))
    yield _Part("why.txt", "what `footplate why` says", lambda: _why(job))
    yield _Part("events.json", "its events", lambda: _json([_redacted(asdict(event)) for event in job.events()]))
    yield _Part("pods.json", "its pods", lambda: _json([redact_object(pod) for pod in _pods(job)]))
    yield _Part("versions.json", "of client, Python and cluster", lambda: _json(_versions(job)))
    status = read_status(job.manifest)
    desired = status.nodes.desired if status.nodes is not None else 0
    for rank in range(min(desired, NODES)):
        name = f"logs/attempt-{status.attempt or 0}-node-{rank}.txt"
        yield _Part(name, f"the last {LOG_LINES} lines of its log", partial(_log, job, rank=rank))
    if status.failure is not None:
        yield _Part("logs/failed.txt", "the end of the log of what failed last", partial(_log, job, failed=True))


def _why(job: Told) -> str:
    why = job.why()
    return redact_text("\n".join([why.headline, "", *why.facts, "", *why.way_out])) + "\n"


def _pods(job: Told) -> Sequence[Mapping[str, Any]]:
    namespace, selector = key_of(job.manifest)[0], f"{Label.UID}={uid_of(job.manifest)}"
    found, _ = job.connection.run(job.connection.list(PODS, namespace=namespace, selector=selector))
    return found


def _versions(job: Told) -> dict[str, Any]:
    cluster = job.connection.run(job.connection.kube.get_path("/version"))
    return {"footplate": __version__, "python": sys.version, "platform": platform.platform(), "cluster": cluster}


def _log(job: Told, *, rank: int | None = None, failed: bool = False) -> str:
    asked = LogRequest(rank, tail=LOG_LINES, failed=failed)
    lines = [line.text for line in read_logs(job.connection, job.manifest, asked)]
    return redact_text("\n".join(lines))[-LOG_CHARACTERS:] + "\n"


def _redacted(event: Mapping[str, Any]) -> dict[str, Any]:
    return {key: redact_text(value) if isinstance(value, str) else value for key, value in event.items()}


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, default=str) + "\n"
