"""Requests for resources: which one is meant, what the query asks for, and how the answer is written."""

import json
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import yaml
from aiohttp import web

from footplate.devcluster.errors import ApiError, bad_request, conflict, expired, invalid_object, required, unsupported
from footplate.devcluster.events import present, to_core
from footplate.devcluster.faults import WatchFault
from footplate.devcluster.ownership import apply_configuration, record_apply
from footplate.devcluster.patch import json_patch, merge_patch, strategic_merge_patch
from footplate.devcluster.registry import Deletion, Options, Registry
from footplate.devcluster.resources import Resource
from footplate.devcluster.schema import fill_defaults
from footplate.devcluster.selectors import select
from footplate.devcluster.store import Body, Version
from footplate.devcluster.table import make_table
from footplate.devcluster.values import look_up, parse, quote
from footplate.devcluster.watch import Watch

JSON = "application/json"
APPLY = "application/apply-patch+yaml"
ONE_SUBRESOURCE = ("status", "finalize")
PROPAGATIONS = ("Foreground", "Background", "Orphan")
YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
TRUE = ("true", "1")


@dataclass(frozen=True)
class Target:
    """What a URL means: a resource (and the one that stores it), a namespace, an object, a subresource (may be empty)."""

    resource: Resource
    stored: Resource
    namespace: str
    name: str
    subresource: str


def find_target(registry: Registry, path: str) -> Target | None:
    """The target of a path under `/api/v1` or `/apis/<group>/<version>`."""
    parts = path.strip("/").split("/")
    if parts[0] == "api":
        parts.insert(1, "")
    group, version, *rest = *parts[1:], "", ""
    rest = [part for part in rest if part]
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces" and rest[2] not in ONE_SUBRESOURCE:
        namespace, rest = rest[1], rest[2:]
    resource = registry.find(group, version, rest[0]) if rest else None
    if resource is None or len(rest) > 3 or (namespace and not resource.namespaced):
        return None
    known = {"", "status" if resource.status else "", "scale" if resource.scale else ""}
    if (*rest, "", "")[2] not in known | ({"log", "binding"} if resource.kind == "Pod" else set()):
        return None
    stored = registry.resources["", "v1", "events"] if resource.group == "events.k8s.io" else resource
    _, name, subresource = (*rest, "", "")[:3]
    return Target(resource, stored, namespace, name, subresource)


def json_response(value: Any, status: int = 200, *, warnings: list[str] | None = None) -> web.Response:
    """A JSON answer; raw bytes are sent as they are."""
    data = value if isinstance(value, bytes) else quote(value).encode()
    response = web.Response(body=data, status=status, content_type=JSON)
    for text in warnings or ():
        response.headers.add("Warning", f"299 - {quote(text)}")
    return response


class Rest:
    """The handlers of resource requests. `snapshots` keeps what paged lists have yet to send."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._store = registry.store
        self._snapshots: OrderedDict[str, list[Version]] = OrderedDict()

    def get(self, target: Target, request: web.BaseRequest) -> web.Response:
        """One object, its scale, or a table of it."""
        version = self._registry.get(target.stored, target.namespace, target.name)
        if target.subresource == "scale":
            return json_response(self._scale(target.resource, version))
        if "as=Table" in request.headers.get("Accept", ""):
            return json_response(self._table(target.resource, [version], request.query))
        return json_response(render(target.resource, version))

    def list_objects(self, target: Target, request: web.BaseRequest) -> web.Response:
        """A list or a table, in pages where `limit` asks for them."""
        query = request.query
        versions, metadata = self._page(target, query)
        if "as=Table" in request.headers.get("Accept", ""):
            return json_response(self._table(target.resource, versions, query) | {"metadata": metadata})
        head = target.resource.head if target.resource.custom else b"{"
        items = b",".join(head + version.json for version in versions)
        start = {"kind": f"{target.resource.kind}List", "apiVersion": target.resource.api_version, "metadata": metadata}
        return json_response(quote(start).encode()[:-1] + b',"items":[' + items + b"]}")

    def watch(self, target: Target, request: web.BaseRequest, fault: WatchFault | None) -> Watch:
        """The watch that a list request with `watch` asks for."""
        query, resource = request.query, target.resource
        revision = query.get("resourceVersion", "")
        if revision and not revision.isdigit():
            raise ApiError(
                500,
                "",
                f"resourceVersion: Invalid value: {quote(revision)}: strconv.ParseUint: parsing {quote(revision)}: invalid syntax",
            )  # noqa: E501
        initial = query.get("sendInitialEvents") in TRUE
        as_table = "as=Table" in request.headers.get("Accept", "")
        show = partial(self._table_bytes, resource, query) if as_table else partial(render, resource)
        return Watch(
            self._store, resource, target.namespace, self._predicate(target, query), show,
            revision=None if initial or revision in ("", "0") else int(revision),
            bookmarks=query.get("allowWatchBookmarks") in TRUE, initial_end=initial,
            seconds=float(query.get("timeoutSeconds") or 1800), fault=fault,
        )  # fmt: skip

    def create(self, target: Target, request: web.BaseRequest, data: bytes) -> web.Response:
        """POST to a collection."""
        options = self._options(target, request)
        body = self._decode(target.resource, data)
        version = self._registry.create(target.stored, target.namespace, self._stored(target, body), options)
        return json_response(render(target.resource, version), 201, warnings=options.warnings)

    def replace(self, target: Target, request: web.BaseRequest, data: bytes) -> web.Response:
        """PUT of an object or of its status."""
        body = self._stored(target, self._decode(target.resource, data))
        options = self._options(target, request)
        version = self._registry.update(target.stored, target.namespace, target.name, lambda _: body, options)
        return json_response(render(target.resource, version), warnings=options.warnings)

    def patch(self, target: Target, request: web.BaseRequest, data: bytes) -> web.Response:
        """PATCH in one of the four forms."""
        kind, resource = request.content_type, target.resource
        options = self._options(target, request)
        if kind == APPLY:
            return self._apply(target, request, data, options)
        try:
            patch = parse(data)
        except ValueError as error:
            raise bad_request(f"error decoding patch: {error}") from error
        changes: Mapping[str, Callable[[Body], Body]] = {
            "application/merge-patch+json": lambda body: merge_patch(body, patch),
            "application/json-patch+json": lambda body: json_patch(body, patch),
        }
        if not resource.custom:
            change = partial(strategic_merge_patch, patch=patch, schema=resource.schema)
            changes = {**changes, "application/strategic-merge-patch+json": change}
        if kind not in changes:
            accepted = ", ".join([*sorted(changes), APPLY])
            message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
            raise ApiError(415, "UnsupportedMediaType", message)
        if target.subresource == "scale":
            return self._patch_scale(target, changes[kind], options)
        version = self._registry.update(target.stored, target.namespace, target.name, changes[kind], options)
        return json_response(render(resource, version), warnings=options.warnings)

    def _apply(self, target: Target, request: web.BaseRequest, data: bytes, options: Options) -> web.Response:
        resource = target.resource
        if not request.query.get("fieldManager"):
            raise invalid_object(
                "meta.k8s.io", "PatchOptions", "", [required("fieldManager", "is required for apply patch")]
            )
        try:
            configuration = yaml.load(data, Loader=YAML_LOADER)  # noqa: S506 - a safe one
        except yaml.YAMLError as error:
            raise bad_request(f"error decoding YAML: error converting YAML to JSON: yaml: {error}") from error
        _check_configuration(configuration, target.name)
        applied = self._stored(target, configuration)
        if not resource.custom:
            fill_defaults(applied, resource.schema)
        force = request.query.get("force") in TRUE
        key = (target.namespace, target.name)
        if self._store.get(resource.storage, key) is None and not target.subresource:
            applied.setdefault("metadata", {}).setdefault("name", target.name)
            own = partial(record_apply, configuration=parse(quote(applied)))
            version = self._registry.create(target.stored, target.namespace, applied, options, own=own)
            return json_response(render(resource, version), 201, warnings=options.warnings)
        change = partial(apply_configuration, resource, configuration=applied, manager=options.manager, force=force)
        own = partial(record_apply, configuration=applied)
        version = self._registry.update(target.stored, *key, change, options, own=own)
        return json_response(render(resource, version), warnings=options.warnings)

    def delete(self, target: Target, request: web.BaseRequest, data: bytes) -> web.Response:
        """DELETE of an object."""
        version, shown = self._registry.delete(target.stored, target.namespace, target.name, deletion(request, data))
        if shown:
            return json_response(render(target.resource, version))
        details = {"name": target.name, "group": target.resource.group, "kind": target.resource.plural}
        details = {key: value for key, value in details.items() if value} | {"uid": version.body["metadata"]["uid"]}
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        return json_response(status)

    def delete_collection(self, target: Target, request: web.BaseRequest, data: bytes) -> web.Response:
        """DELETE of all objects that the selectors choose."""
        answer = self.list_objects(target, request)
        versions, _ = self._page(target, request.query)
        for version in versions:
            self._registry.delete(target.stored, *version.key, deletion(request, data))
        return answer

    def bind(self, target: Target, data: bytes) -> web.Response:
        """POST to a pod's `binding`: what a scheduler does."""
        node = parse(data)["target"]["name"]
        pod: Body = parse(b"{" + self._registry.get(target.stored, target.namespace, target.name).json)
        if pod["spec"].get("nodeName"):
            why = f'pod {target.name} is already assigned to node "{pod["spec"]["nodeName"]}"'
            raise conflict("", "pods/binding", target.name, why)
        pod["spec"]["nodeName"] = node
        now = self._registry.now()
        scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now}
        others = [each for each in pod["status"].get("conditions", ()) if each["type"] != "PodScheduled"]
        pod["status"]["conditions"] = [*others, scheduled]
        self._store.put(target.resource.storage, pod)
        return json_response(
            {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201
        )

    def _page(self, target: Target, query: Mapping[str, str]) -> tuple[list[Version], dict[str, Any]]:
        """The versions to send, and the list's metadata. A page comes from the snapshot that the first one made."""
        try:
            limit = int(query.get("limit") or 0)
        except ValueError as error:
            raise bad_request(f"strconv.ParseInt: parsing {quote(query['limit'])}: invalid syntax") from error
        token = query.get("continue", "")
        if token:
            name, _, revision = token.partition(".")
            if not revision:
                raise bad_request("invalid continue token: continue key is not valid")
            if name not in self._snapshots:
                raise expired(
                    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter."
                )  # noqa: E501
            versions = self._snapshots.pop(name)
        else:
            revision = self._check_revision(query.get("resourceVersion", ""))
            predicate = self._predicate(target, query)
            found = self._store.versions(target.resource.storage, target.namespace)
            versions = [present(target.resource, each) for each in found]
            versions = [each for each in versions if predicate(each.body)] if predicate else versions
        metadata: dict[str, Any] = {"resourceVersion": revision}
        if limit and len(versions) > limit:
            name = secrets.token_hex(8)
            self._snapshots[name] = versions[limit:]
            if len(self._snapshots) > 64:
                self._snapshots.popitem(last=False)
            metadata["continue"] = f"{name}.{revision}"
            metadata |= (
                {}
                if query.get("labelSelector") or query.get("fieldSelector")
                else {"remainingItemCount": len(versions) - limit}
            )
        return versions[:limit] if limit else versions, metadata

    def _check_revision(self, wanted: str) -> str:
        now = self._store.revision
        if wanted.isdigit() and int(wanted) > now:
            causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
            details = {"causes": causes, "retryAfterSeconds": 1}
            raise ApiError(504, "Timeout", f"Timeout: Too large resource version: {wanted}, current: {now}", details)
        return str(now)

    def _predicate(self, target: Target, query: Mapping[str, str]) -> Any:
        fields = query.get("fieldSelector", "") + (f",metadata.name={target.name}" if target.name else "")
        return select(query.get("labelSelector", ""), fields, selectable=target.resource.selectable)

    def _table(self, resource: Resource, versions: list[Version], query: Mapping[str, str]) -> dict[str, Any]:
        include = query.get("includeObject", "Metadata")
        table = make_table(resource, versions, self._registry.clock(), include=include)
        revision = str(versions[0].revision) if len(versions) == 1 else str(self._store.revision)
        return {**table, "metadata": {"resourceVersion": revision}}

    def _table_bytes(self, resource: Resource, query: Mapping[str, str], version: Version) -> bytes:
        return quote(self._table(resource, [version], query)).encode()

    def _options(self, target: Target, request: web.BaseRequest) -> Options:
        query = request.query
        agent = request.headers.get("User-Agent", "unknown").partition("/")[0]
        return Options(
            query.get("fieldManager") or agent,
            query.get("dryRun") == "All",
            query.get("fieldValidation") or "Warn",
            target.subresource,
        )

    def _decode(self, resource: Resource, data: bytes) -> Body:
        shown = data.decode(errors="replace")
        short = shown if len(shown) <= 30 else f"{shown[:30]} ..."
        unrecognized = f"the object provided is unrecognized (must be of type {resource.kind}): "
        try:
            body = parse(data)
        except ValueError as error:
            raise bad_request(
                f"{unrecognized}couldn't get version/kind; json parse error: {error} ({short})"
            ) from error
        if not isinstance(body, dict) or not body.get("kind"):
            raise bad_request(f"{unrecognized}Object 'Kind' is missing in '{shown}' ({short})")
        return body

    def _stored(self, target: Target, body: Body) -> Body:
        return to_core(body) if target.resource.group == "events.k8s.io" else body

    def _scale(self, resource: Resource, version: Version) -> Body:
        metadata = version.body["metadata"]
        kept = {name: metadata[name] for name in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")}
        replicas = {part: {"replicas": look_up(version.body, path) or 0} for part, path in resource.scale.items()}
        return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": kept, **replicas}

    def _patch_scale(self, target: Target, change: Callable[[Body], Body], options: Options) -> web.Response:
        *parents, last = target.resource.scale["spec"].split(".")

        def set_replicas(body: Body) -> Body:
            wanted = change(self._scale(target.resource, Version(body, 0)))
            parent = look_up(body, ".".join(parents))
            parent[last] = wanted["spec"]["replicas"]
            return body

        options.subresource = ""
        version = self._registry.update(target.stored, target.namespace, target.name, set_replicas, options)
        return json_response(self._scale(target.resource, version))


def _check_configuration(configuration: Any, name: str) -> None:
    """What a server-side apply must hold and what it must not."""
    if not isinstance(configuration, dict) or not configuration.get("kind"):
        raise bad_request("invalid object type: /, Kind=")
    metadata = configuration.get("metadata", {})
    if metadata.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    if not metadata.get("name"):
        raise bad_request(f"the name of the object ({name} based on URL) was undeterminable: name must be provided")


def render(resource: Resource, version: Version) -> bytes:
    """An object as the resource shows it."""
    return resource.head + present(resource, version).json


def deletion(request: web.BaseRequest, data: bytes) -> Deletion:
    """DeleteOptions from the body, else from the query."""
    options = json.loads(data) if data else {}
    grace = options.get("gracePeriodSeconds", request.query.get("gracePeriodSeconds"))
    propagation = options.get("propagationPolicy", request.query.get("propagationPolicy"))
    if propagation not in (None, *PROPAGATIONS):
        error = unsupported("propagationPolicy", propagation, (*PROPAGATIONS, "nil"))
        raise invalid_object("meta.k8s.io", "DeleteOptions", "", [error])
    preconditions = options.get("preconditions") or {}
    return Deletion(
        None if grace is None else int(grace), propagation, preconditions.get("uid"), preconditions.get("resourceVersion"),
        dry_run="All" in (options.get("dryRun") or ()) or request.query.get("dryRun") == "All",
    )  # fmt: skip
