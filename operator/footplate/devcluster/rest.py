"""Requests for one resource or object: what a URL means, and the verbs as HTTP has them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import yaml
from aiohttp import web

from footplate.devcluster.errors import (
    ApiError,
    bad_request,
    conflict,
    internal_error,
    invalid_object,
    required,
    unsupported,
)
from footplate.devcluster.events import GROUP as EVENTS_GROUP
from footplate.devcluster.events import to_core
from footplate.devcluster.listing import TRUE, Listing, render
from footplate.devcluster.ownership import apply_configuration, record_apply
from footplate.devcluster.patch import json_patch, merge_patch, strategic_merge_patch
from footplate.devcluster.registry import Deletion, Options, Registry
from footplate.devcluster.resources import Resource
from footplate.devcluster.schema import fill_defaults
from footplate.devcluster.store import Body, Version
from footplate.devcluster.values import look_up, parse, quote

APPLY = "application/apply-patch+yaml"
PROPAGATIONS = ("Foreground", "Background", "Orphan")
YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Target:
    """What a URL means: a resource (and the one that stores it), a namespace, an object, a subresource (or "")."""

    resource: Resource
    stored: Resource
    namespace: str
    name: str
    subresource: str


def find_target(registry: Registry, path: str) -> Target | None:
    """The target of a path under `/api/v1` or `/apis/<group>/<version>`; None where nothing is served."""
    parts = path.strip("/").split("/")
    if parts[0] == "api":
        parts.insert(1, "")
    group, version, *rest = *parts[1:], "", ""
    rest = [part for part in rest if part]
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces" and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    resource = registry.resources.get((group, version, rest[0])) if rest else None
    if resource is None or len(rest) > 3 or (namespace and not resource.namespaced):
        return None
    _, name, subresource = (*rest, "", "")[:3]
    if subresource and subresource not in resource.subresources:
        return None
    stored = registry.resources["", "v1", "events"] if resource.group == EVENTS_GROUP else resource
    return Target(resource, stored, namespace, name, subresource)


def json_response(value: Any, status: int = 200, *, warnings: list[str] | None = None) -> web.Response:
    """A JSON answer; raw bytes are sent as they are."""
    data = value if isinstance(value, bytes) else quote(value).encode()
    response = web.Response(body=data, status=status, content_type="application/json")
    for text in warnings or ():
        response.headers.add("Warning", f"299 - {quote(text)}")
    return response


class Rest:
    """The verbs. Each takes the target and the request, and `writes` (by method and whether an object is named) the
    body's bytes too.
    """

    def __init__(self, registry: Registry, listing: Listing) -> None:
        self._registry = registry
        self._listing = listing
        self.writes: Mapping[tuple[str, bool], Callable[..., web.Response]] = {
            ("POST", False): self.create,
            ("PUT", True): self.replace,
            ("PATCH", True): self.patch,
            ("DELETE", True): self.delete,
            ("DELETE", False): self.delete_collection,
        }

    def get(self, target: Target, request: web.BaseRequest) -> web.Response:
        """One object, its scale, or a table of it."""
        version = self._registry.get(target.stored, target.namespace, target.name)
        if target.subresource == "scale":
            path = target.resource.scale["spec"]
            if look_up(version.body, path) is None:
                raise internal_error(f'the spec replicas field ".{path}" does not exist')
            return json_response(_scale(target.resource, version))
        if wants_table(request):
            metadata = {"resourceVersion": str(version.revision)}
            return json_response(
                {**self._listing.make_table(target.resource, [version], request.query), "metadata": metadata}
            )
        return json_response(render(target.resource, version))

    def get_list(self, target: Target, request: web.BaseRequest) -> web.Response:
        """A list or a table."""
        as_table = wants_table(request)
        return json_response(
            self._listing.make_list(target.resource, target.namespace, request.query, as_table=as_table)
        )

    def create(self, target: Target, request: web.BaseRequest, data: bytes) -> web.Response:
        """POST to a collection."""
        options = _options(target, request)
        body = _stored(target, _decode(target.resource, data))
        version = self._registry.create(target.stored, target.namespace, body, options)
        return json_response(render(target.resource, version), 201, warnings=options.warnings)

    def replace(self, target: Target, request: web.BaseRequest, data: bytes) -> web.Response:
        """PUT of an object or of its status."""
        body = _stored(target, _decode(target.resource, data))
        return self._update(target, lambda _: body, _options(target, request))

    def patch(self, target: Target, request: web.BaseRequest, data: bytes) -> web.Response:
        """PATCH in one of the four forms."""
        options = _options(target, request)
        if request.content_type == APPLY:
            return self._apply(target, request, data, options)
        try:
            patch = parse(data)
        except ValueError as error:
            raise bad_request(f"error decoding patch: {error}") from error
        changes: dict[str, Callable[[Body], Body]] = {
            "application/json-patch+json": lambda body: json_patch(body, patch),
            "application/merge-patch+json": lambda body: merge_patch(body, patch),
        }
        if not target.resource.custom:
            change = partial(strategic_merge_patch, patch=patch, schema=target.stored.schema)
            changes["application/strategic-merge-patch+json"] = change
        if request.content_type not in changes:
            accepted = ", ".join([*changes, APPLY])
            message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
            raise ApiError(415, "UnsupportedMediaType", message)
        if target.subresource == "scale":
            return self._patch_scale(target, changes[request.content_type], options)
        return self._update(target, changes[request.content_type], options)

    def delete(self, target: Target, request: web.BaseRequest, data: bytes) -> web.Response:
        """DELETE of an object: what is left of it, or a bare success."""
        deletion = _deletion(request, data)
        version, shown = self._registry.delete(target.stored, target.namespace, target.name, deletion)
        if shown:
            return json_response(render(target.resource, version))
        details = {"name": target.name, "group": target.resource.group, "kind": target.resource.plural}
        details = {key: value for key, value in details.items() if value} | {"uid": version.body["metadata"]["uid"]}
        return json_response(_success(details=details))

    def delete_collection(self, target: Target, request: web.BaseRequest, data: bytes) -> web.Response:
        """DELETE of all objects that the selectors choose: the list of them as they were."""
        deletion = _deletion(request, data)
        answer = self.get_list(target, request)
        versions, _ = self._listing.page(target.resource, target.namespace, request.query)
        for version in versions:
            self._registry.delete(target.stored, *version.key, deletion)
        return answer

    def bind(self, target: Target, data: bytes) -> web.Response:
        """POST to a pod's `binding`: what a scheduler does."""
        node = parse(data)["target"]["name"]
        pod: Body = parse(b"{" + self._registry.get(target.stored, target.namespace, target.name).json)
        if pod["spec"].get("nodeName"):
            why = f'pod {target.name} is already assigned to node "{pod["spec"]["nodeName"]}"'
            raise conflict("", "pods/binding", target.name, why)
        pod["spec"]["nodeName"] = node
        scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None}
        scheduled["lastTransitionTime"] = self._registry.now()
        others = [each for each in pod["status"].get("conditions", ()) if each["type"] != "PodScheduled"]
        pod["status"]["conditions"] = [*others, scheduled]
        self._registry.store.put(target.stored.storage, pod)
        return json_response(_success(code=201), 201)

    def _update(self, target: Target, change: Callable[[Body], Body], options: Options) -> web.Response:
        version = self._registry.update(target.stored, target.namespace, target.name, change, options)
        return json_response(render(target.resource, version), warnings=options.warnings)

    def _apply(self, target: Target, request: web.BaseRequest, data: bytes, options: Options) -> web.Response:
        resource, name = target.stored, target.name
        if not request.query.get("fieldManager"):
            error = required("fieldManager", "is required for apply patch")
            raise invalid_object("meta.k8s.io", "PatchOptions", "", [error])
        applied = _stored(target, _decode_configuration(data, name))
        if not resource.custom:
            fill_defaults(applied, resource.schema)
        own = partial(record_apply, configuration=applied)
        if self._registry.exists(resource, target.namespace, name):
            force = request.query.get("force") in TRUE
            change = partial(apply_configuration, resource, configuration=applied, manager=options.manager, force=force)
            version = self._registry.update(resource, target.namespace, name, change, options, own=own)
            return json_response(render(target.resource, version), warnings=options.warnings)
        version = self._registry.create(resource, target.namespace, parse(quote(applied)), options, own=own)
        return json_response(render(target.resource, version), 201, warnings=options.warnings)

    def _patch_scale(self, target: Target, change: Callable[[Body], Body], options: Options) -> web.Response:
        *parents, last = target.resource.scale["spec"].split(".")

        def set_replicas(body: Body) -> Body:
            wanted = change(_scale(target.resource, Version(body, 0)))
            look_up(body, ".".join(parents))[last] = wanted["spec"]["replicas"]
            return body

        options.subresource = ""
        version = self._registry.update(target.stored, target.namespace, target.name, set_replicas, options)
        return json_response(_scale(target.resource, version))


def wants_table(request: web.BaseRequest) -> bool:
    """Whether the client asks for a table, as `kubectl get` does."""
    return "as=Table" in request.headers.get("Accept", "")


def _success(**parts: Any) -> Body:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", **parts}


def _options(target: Target, request: web.BaseRequest) -> Options:
    query = request.query
    return Options(
        manager=query.get("fieldManager") or request.headers.get("User-Agent", "unknown").partition("/")[0],
        dry_run=query.get("dryRun") == "All",
        validation=query.get("fieldValidation") or "Warn",
        subresource=target.subresource,
    )


def _deletion(request: web.BaseRequest, data: bytes) -> Deletion:
    """DeleteOptions from the body, else from the query."""
    options: Mapping[str, Any] = parse(data) if data else {}
    grace = options.get("gracePeriodSeconds", request.query.get("gracePeriodSeconds"))
    propagation = options.get("propagationPolicy", request.query.get("propagationPolicy"))
    if propagation not in (None, *PROPAGATIONS):
        error = unsupported("propagationPolicy", propagation, (*PROPAGATIONS, "nil"))
        raise invalid_object("meta.k8s.io", "DeleteOptions", "", [error])
    preconditions = options.get("preconditions") or {}
    return Deletion(
        grace=None if grace is None else int(grace),
        propagation=propagation,
        uid=preconditions.get("uid"),
        revision=preconditions.get("resourceVersion"),
        dry_run="All" in (options.get("dryRun") or ()) or request.query.get("dryRun") == "All",
    )


def _decode(resource: Resource, data: bytes) -> Body:
    text = data.decode(errors="replace")
    short = text if len(text) <= 30 else f"{text[:30]} ..."
    unrecognized = f"the object provided is unrecognized (must be of type {resource.kind}): "
    try:
        body = parse(data)
    except ValueError as error:
        raise bad_request(f"{unrecognized}couldn't get version/kind; json parse error: {error} ({short})") from error
    if not isinstance(body, dict) or not body.get("kind"):
        raise bad_request(f"{unrecognized}Object 'Kind' is missing in '{text}' ({short})")
    return body


def _decode_configuration(data: bytes, name: str) -> Body:
    """What a server-side apply sends, which must say what it is about and mustn't claim ownership itself."""
    try:
        configuration = parse(quote(yaml.load(data, Loader=YAML_LOADER)))  # noqa: S506 - a safe one
    except (yaml.YAMLError, ValueError) as error:
        raise bad_request(f"error decoding YAML: error converting YAML to JSON: yaml: {error}") from error
    if not isinstance(configuration, dict) or not configuration.get("kind"):
        raise bad_request("invalid object type: /, Kind=")
    metadata = configuration.get("metadata") or {}
    if metadata.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    if not metadata.get("name"):
        raise bad_request(f"the name of the object ({name} based on URL) was undeterminable: name must be provided")
    return configuration


def _stored(target: Target, body: Body) -> Body:
    return to_core(body) if target.resource is not target.stored else body


def _scale(resource: Resource, version: Version) -> Body:
    metadata = version.body["metadata"]
    kept = {name: metadata[name] for name in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")}
    paths = resource.scale
    status = {"replicas": look_up(version.body, paths["status"]) or 0}
    if selector := look_up(version.body, paths.get("selector", "")):
        status["selector"] = selector
    spec = {"replicas": look_up(version.body, paths["spec"]) or 0}
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": kept, "spec": spec, "status": status}
