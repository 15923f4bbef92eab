"""What a container's process is given: variables as a kubelet resolves and expands them, rewritten for the host.

Every value is rewritten: mount paths become folders of the pod, and names `<pod>.<service>` become the pod's loopback
address, which follows from its name and so is known before the pod exists. Code that hard-codes a path or a name,
instead of reading it from its environment or its arguments, is what runs here otherwise than in a container.
"""

import hashlib
import re
import socket
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

Object = Mapping[str, Any]
LookUp = Callable[[str, str], Awaitable[Mapping[str, bytes] | None]]
"""Data of a Secret or ConfigMap by resource (`secrets`, `configmaps`) and name; None where there is none."""

_KINDS = {"secrets": "Secret", "configmaps": "ConfigMap"}


class ContainerConfigError(Exception):
    """The container can't be made as it is written; in a kubelet's words."""


class Rewriter:
    """Rewrites what a container would see to what the host has.

    `paths`: folder or file by mount path. `subdomain`: the headless Service of the pod and its peers, or empty.
    """

    def __init__(self, paths: Mapping[str, Path], *, namespace: str, subdomain: str) -> None:
        self._paths = paths
        self._namespace = namespace
        # A path ends at anything that can't go on with a name, and starts where no longer path leads up to it.
        mounts = "|".join(re.escape(path) for path in sorted(paths, key=len, reverse=True))
        self._path = re.compile(rf"(?<![\w./-])(?:{mounts})(?![\w.-])") if paths else None
        suffix = rf"\.{re.escape(subdomain)}(?:\.{re.escape(namespace)}(?:\.svc(?:\.cluster\.local)?)?)?"
        self._peer = re.compile(rf"(?<![\w.-])([a-z0-9-]+){suffix}(?![\w-]|\.\w)") if subdomain else None

    def __call__(self, text: str) -> str:
        """`text` with all mount paths and peers' names replaced."""
        if self._path is not None:
            text = self._path.sub(lambda match: str(self._paths[match[0]]), text)
        if self._peer is not None:
            text = self._peer.sub(lambda match: pod_address(self._namespace, match[1]), text)
        return text


@cache
def has_loopback_block() -> bool:
    """Whether any 127.x.y.z can be listened on, as on Linux; elsewhere all pods share 127.0.0.1 and its ports."""
    try:
        socket.create_server(("127.77.1.1", 0)).close()
    except OSError:
        return False
    return True


def pod_address(namespace: str, name: str) -> str:
    """The loopback address of a pod, in 127.1.0.1–127.254.255.254."""
    if not has_loopback_block():
        return "127.0.0.1"
    first, second, third = hashlib.sha256(f"{namespace}/{name}".encode()).digest()[:3]
    return f"127.{first % 254 + 1}.{second}.{third % 254 + 1}"


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replaces `$(NAME)`; unknown names stay as they are, and `$$` is a dollar sign."""

    def value(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else variables.get(match[1], match[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", value, text)


async def resolve_environment(container: Object, pod: Object, look_up: LookUp) -> dict[str, str]:
    """The variables of `envFrom`, then those of `env`, each expanded with the ones before it.

    Raises ContainerConfigError.
    """
    variables: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        prefix = source.get("prefix") or ""
        for resource, field in (("configmaps", "configMapRef"), ("secrets", "secretRef")):
            if field in source:
                data = await _read(source[field], resource, look_up)
                variables |= {prefix + key: value.decode(errors="replace") for key, value in data.items()}
    for entry in container.get("env") or ():
        if "valueFrom" not in entry:
            variables[entry["name"]] = expand(entry.get("value") or "", variables)
        elif (value := await _resolve(entry["valueFrom"], pod, look_up)) is not None:
            variables[entry["name"]] = value
    return variables


def field_value(pod: Object, path: str) -> str:
    """What a `fieldRef` of the downward API says; raises ContainerConfigError for a field it doesn't have."""
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    if match := re.fullmatch(r"metadata\.(labels|annotations)\['([^']+)'\]", path):
        return str((metadata.get(match[1]) or {}).get(match[2], ""))
    fields = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName"),
        "spec.serviceAccountName": spec.get("serviceAccountName"),
        "status.podIP": status.get("podIP"),
        "status.podIPs": status.get("podIP"),
        "status.hostIP": status.get("hostIP"),
    }
    if path not in fields:
        raise ContainerConfigError(f"unsupported fieldPath: {path}")
    return str(fields[path] or "")


async def _resolve(source: Object, pod: Object, look_up: LookUp) -> str | None:
    """None where an optional source isn't there."""
    if "fieldRef" in source:
        return field_value(pod, source["fieldRef"]["fieldPath"])
    for resource, field in (("configmaps", "configMapKeyRef"), ("secrets", "secretKeyRef")):
        if field in source:
            reference = source[field]
            data = await _read(reference, resource, look_up)
            if reference["key"] in data:
                return data[reference["key"]].decode(errors="replace")
            if reference.get("optional"):
                return None
            where = f"{_KINDS[resource]} {pod['metadata']['namespace']}/{reference['name']}"
            raise ContainerConfigError(f"couldn't find key {reference['key']} in {where}")
    raise ContainerConfigError(f"the devcluster doesn't know this source of a variable: {', '.join(source)}")


async def _read(reference: Object, resource: str, look_up: LookUp) -> Mapping[str, bytes]:
    data = await look_up(resource, reference["name"])
    if data is None and not reference.get("optional"):
        raise ContainerConfigError(f'{_KINDS[resource].lower()} "{reference["name"]}" not found')
    return data or {}
