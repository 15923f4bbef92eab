"""A function as a job: its source in a ConfigMap of its own, which goes with the job."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from footplate.api.crd import GROUP, VERSION
from footplate.client.connection import Connection
from footplate.client.errors import ClientError, NotAllowed
from footplate.client.functions import FILE, PackedFunction, pack
from footplate.client.submission import checked, create_job
from footplate.errors import ApiError, Conflict, NotFound
from footplate.machinery.resources import CONFIG_MAPS
from footplate.objects import Object, block, text, uid_of

_BY_ARGUMENT = ("nodes", "resources")
_OURS = ("recipe", "entrypoint", "command", "args", "source", "hyperparameters", "requirements")
"""What a function says of `spec.trainer` itself."""


def submit_function(
    connection: Connection,
    function: Callable[..., object],
    *,
    name: str,
    namespace: str,
    args: Mapping[str, Any],
    nodes: int,
    packages: Sequence[str],
    image: str | None,
    resources: Mapping[str, Any] | None,
    spec: Mapping[str, Any],
    dry_run: bool,
) -> Object:
    """The job of a function; its ConfigMap is deleted with the job, or at once where the job isn't taken."""
    packed = pack(function, args, packages)
    for warning in packed.warnings:
        warnings.warn(warning, stacklevel=3)
    job = _job_of(packed, name=name, nodes=nodes, packages=packages, image=image, resources=resources, spec=spec)
    manifest = checked(connection, job, namespace=namespace)
    code = connection.run(
        connection.create(_code(packed, name, namespace), CONFIG_MAPS, namespace=namespace, dry_run=dry_run)
    )
    try:
        manifest = _with_source(manifest, text(block(code, "metadata"), "name"))
        made = create_job(connection, manifest, dry_run=dry_run)
    except BaseException:
        if not dry_run:
            _delete(connection, code)
        raise
    if not dry_run:
        _give(connection, code, made)
    return made


def _job_of(
    packed: PackedFunction,
    *,
    name: str,
    nodes: int,
    packages: Sequence[str],
    image: str | None,
    resources: Mapping[str, Any] | None,
    spec: Mapping[str, Any],
) -> Object:
    """The job, with a name of the ConfigMap's that will do for the rules."""
    trainer = spec.get("trainer") or {}
    if not isinstance(trainer, Mapping):
        raise ClientError("spec.trainer: must be an object")
    taken = [f"spec.{key}" for key in _BY_ARGUMENT if key in spec]
    taken += [f"spec.trainer.{key}" for key in (*_OURS, *(("image",) if image is not None else ())) if key in trainer]
    if taken:
        raise ClientError(f"{taken[0]}: the function or another argument says that; leave it out, or submit a manifest")
    own = {
        "entrypoint": FILE,
        "hyperparameters": dict(packed.hyperparameters),
        **({"requirements": list(packages)} if packages else {}),
        **({"image": image} if image is not None else {}),
    }
    size = {"nodes": nodes, **({"resources": dict(resources)} if resources is not None else {})}
    whole = {"metadata": {"name": name}, "spec": {**spec, **size, "trainer": {**trainer, **own}}}
    return _with_source(whole, f"{name}-code")


def _with_source(job: Object, config_map: str) -> dict[str, Any]:
    spec = block(job, "spec")
    trainer = {**block(spec, "trainer"), "source": {"configMap": {"name": config_map}}}
    return {**job, "spec": {**spec, "trainer": trainer}}


def _code(packed: PackedFunction, name: str, namespace: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"generateName": f"{name}-code-", "namespace": namespace},
        "immutable": True,
        "data": {FILE: packed.program},
    }


def _give(connection: Connection, code: Object, job: Object) -> None:
    """Makes the ConfigMap go with the job."""
    owner = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "TrainingJob", "name": job["metadata"]["name"]}
    metadata = {"uid": uid_of(code), "ownerReferences": [{**owner, "uid": uid_of(job)}]}
    namespace, name = (text(block(code, "metadata"), field) for field in ("namespace", "name"))
    try:
        connection.run(connection.patch(CONFIG_MAPS, namespace, name, {"metadata": metadata}))
    except (ClientError, ApiError) as error:
        warnings.warn(
            f"ConfigMap {name}, which holds the function, stays when the job is deleted: {error}", stacklevel=4
        )


def _delete(connection: Connection, code: Object) -> None:
    namespace, name = (text(block(code, "metadata"), field) for field in ("namespace", "name"))
    with suppress(NotAllowed, NotFound, Conflict):
        connection.run(connection.delete(CONFIG_MAPS, namespace, name, uid=uid_of(code)))
