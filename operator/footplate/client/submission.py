"""Jobs on their way to the cluster: read, judged by the rules that the operator has, and created.

What can be known to be wrong is said before anything is sent: by the models and, where its runtime may be read, by the
runtime's policy. What only the API server knows is said in its words.
"""

import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from footplate.api.crd import GROUP, VERSION
from footplate.api.errors import Problem, nearest
from footplate.api.trainingjob import TrainingJob
from footplate.client.connection import Connection
from footplate.client.errors import ClientError, JobExists, JobInvalid, JobRefused, NotAllowed
from footplate.client.planning import Plan, make_plan
from footplate.client.rendering import render
from footplate.client.status import read_phase
from footplate.errors import AlreadyExists, ApiError, NotFound
from footplate.machinery.resources import CLUSTER_RUNTIMES, RUNTIMES, TRAINING_JOBS, Resource
from footplate.manifests.documents import Document, find_files, read_documents
from footplate.manifests.validation import judge
from footplate.objects import Object, block, text

Source = Mapping[str, Any] | str | Path | TrainingJob
"""A manifest, the path of one, or the model."""

_KIND = "TrainingJob"
_QUOTAS = Resource("v1", "resourcequotas")


def read_job(source: Source, *, namespace: str) -> Document:
    """The one TrainingJob that a source holds, in `namespace` where it names none itself.

    Raises:
        ClientError: the file can't be read, or holds something else.
    """
    document = _read_file(source) if isinstance(source, str | Path) else _document(source)
    content = document.content
    metadata = content.get("metadata") if isinstance(content, Mapping) else None
    if document.problems or not isinstance(metadata, Mapping):
        return document
    placed = {**content, "metadata": {**metadata, "namespace": metadata.get("namespace") or namespace}}
    return Document(document.file, document.number, placed, document.lines)


def _document(source: Mapping[str, Any] | TrainingJob) -> Document:
    if isinstance(source, TrainingJob):  # what the model only fills in is left to the runtime and to the operator
        source = source.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
    return Document("", 1, {"apiVersion": f"{GROUP}/{VERSION}", "kind": _KIND, **source})


def _read_file(path: str | Path) -> Document:
    try:
        found = [document for file in find_files(str(path)) for document in read_documents(file, stdin=sys.stdin)]
    except (OSError, UnicodeDecodeError) as error:
        raise ClientError(f"{path}: {error}") from error
    kinds = [text(document.content, "kind") if isinstance(document.content, dict) else "" for document in found]
    if kinds.count(_KIND) != 1 and not any(document.problems for document in found):
        raise ClientError(f"{path} holds {kinds.count(_KIND)} TrainingJobs; name a file with exactly one")
    if others := [kind or "something else" for kind in kinds if kind != _KIND and len(kinds) > 1]:
        raise ClientError(
            f"{path} holds {', '.join(others)} beside the TrainingJob, and only that would be submitted: put it into a "
            f"file of its own, or run `kubectl apply -f {path}`"
        )
    return found[0]


def checked(connection: Connection, source: Source, *, namespace: str) -> Object:
    """A job that keeps all rules that can be checked here: those of its runtime where that may be read.

    Raises:
        JobInvalid: it doesn't; with all that is wrong.
    """
    document, runtime = read_job(source, namespace=namespace), None
    with suppress(NotAllowed):
        runtime = _runtime_of(connection, document)
    _judge(document, runtime)
    job: Object = document.content
    return job


def _over_runtime(connection: Connection, source: Source, *, namespace: str) -> tuple[Object, Object | None]:
    """A job that keeps all rules, and its runtime, None where it names none.

    Raises:
        NotAllowed: its runtime may not be read.
        JobInvalid: it breaks rules.
    """
    document = read_job(source, namespace=namespace)
    runtime = _runtime_of(connection, document)
    _judge(document, runtime)
    return document.content, runtime


def _judge(document: Document, runtime: Object | None) -> None:
    [verdict, *_] = judge([document, *([Document("runtime", 1, runtime)] if runtime is not None else [])])
    if verdict.problems:
        raise JobInvalid(verdict.problems, lines=[*verdict.to_text()] if document.file else None)


def _runtime_of(connection: Connection, document: Document) -> Object | None:
    """What the job's runtimeRef names."""
    reference = block(document.content, "spec", "runtimeRef")
    name, kind = text(reference, "name"), text(reference, "kind") or "ClusterTrainingRuntime"
    if not name or kind not in ("ClusterTrainingRuntime", "TrainingRuntime"):
        return None
    is_cluster = kind == "ClusterTrainingRuntime"
    resource = CLUSTER_RUNTIMES if is_cluster else RUNTIMES
    namespace = "" if is_cluster else text(block(document.content, "metadata"), "namespace")
    try:
        return connection.run(connection.get(resource, namespace, name))
    except NotFound as error:
        known = connection.run(connection.list(resource, namespace=namespace))[0]
        names = [text(block(each, "metadata"), "name") for each in known]
        way_out = nearest(name, names) or (f"there are {', '.join(names[:12])}" if names else "there is none at all")
        problem = Problem("spec.runtimeRef.name", name, f"there is no {kind} of this name", way_out)
        raise JobInvalid([problem]) from error


def submit(connection: Connection, source: Source, *, namespace: str, dry_run: bool) -> Object:
    """The job as it was created; with `dry_run` as it would be."""
    return create_job(connection, checked(connection, source, namespace=namespace), dry_run=dry_run)


def create_job(connection: Connection, manifest: Object, *, dry_run: bool) -> Object:
    """Creates a job that was checked.

    Raises:
        JobExists: there is one of its name.
        JobRefused: the API server doesn't take it.
    """
    metadata = block(manifest, "metadata")
    namespace, name = text(metadata, "namespace"), text(metadata, "name")
    try:
        return connection.run(connection.create(manifest, TRAINING_JOBS, namespace=namespace, dry_run=dry_run))
    except AlreadyExists as error:
        raise JobExists(name, namespace=namespace, phase=_phase_of(connection, namespace, name)) from error
    except NotFound as error:
        raise JobRefused(f"namespace {namespace!r} doesn't exist: name another one, or ask for it") from error
    except ApiError as error:
        what = name or text(metadata, "generateName")
        raise JobRefused(f"the API server refuses TrainingJob {what!r}: {error.message}") from error


def _phase_of(connection: Connection, namespace: str, name: str) -> str:
    """Of the job that has the name; empty where it has none yet, or may not be read."""
    with suppress(ClientError, ApiError):
        return read_phase(connection.run(connection.get(TRAINING_JOBS, namespace, name))) or ""
    return ""


def plan(connection: Connection, source: Source, *, namespace: str) -> Plan:
    """What a job will create and take. Raises NotAllowed where its runtime may not be read."""
    job, runtime = _over_runtime(connection, source, namespace=namespace)
    return make_plan(job, runtime, _quotas(connection, job["metadata"]["namespace"]))


def render_job(connection: Connection, source: Source, *, namespace: str) -> list[Object]:
    """The objects of a job's first attempt. Raises NotAllowed where its runtime may not be read."""
    return render(*_over_runtime(connection, source, namespace=namespace))


def _quotas(connection: Connection, namespace: str) -> list[Object] | None:
    """The namespace's quotas; None where they may not be read."""
    try:
        return [*connection.run(connection.list(_QUOTAS, namespace=namespace))[0]]
    except NotAllowed:
        return None
    except NotFound:
        return []
