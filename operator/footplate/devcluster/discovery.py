"""What kubectl asks first: which groups, versions and resources there are, and their OpenAPI v3 documents."""

from collections.abc import Iterable, Mapping
from typing import Any

from footplate.devcluster.resources import Resource, model_schema

VERSION = {"major": "1", "minor": "36", "gitVersion": "v1.36.0-devcluster", "gitCommit": "", "gitTreeState": "clean",
           "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "", "platform": "linux/amd64"}  # fmt: skip
REVIEWS = ({"name": "selfsubjectaccessreviews", "kind": "SelfSubjectAccessReview"},
           {"name": "selfsubjectrulesreviews", "kind": "SelfSubjectRulesReview"})  # fmt: skip
AUTHORIZATION = "authorization.k8s.io"
PATCH_TYPES = ("application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json")


def discover(path: str, resources: Iterable[Resource]) -> Mapping[str, Any] | None:
    """The document at `/version`, `/api`, `/apis` or below, or None where there is none."""
    resources = list(resources)
    groups = list(dict.fromkeys((each.group, each.version) for each in resources if each.group))
    groups.append((AUTHORIZATION, "v1"))
    if path == "/version":
        return VERSION
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    if path == "/apis":
        listed = [_group(name, groups) for name in dict.fromkeys(name for name, _ in groups)]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
    parts = path.strip("/").split("/")
    if len(parts) == 2 and parts[0] == "apis" and parts[1] in dict(groups):
        return {"kind": "APIGroup", "apiVersion": "v1", **_group(parts[1], groups)}
    if path == "/api/v1":
        return _resource_list("", "v1", resources)
    if len(parts) == 3 and parts[0] == "apis" and (parts[1], parts[2]) in groups:
        return _resource_list(parts[1], parts[2], resources)
    return None


def _group(name: str, groups: list[tuple[str, str]]) -> dict[str, Any]:
    versions = [
        {"groupVersion": f"{group}/{version}", "version": version} for group, version in groups if group == name
    ]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def _resource_list(group: str, version: str, resources: list[Resource]) -> dict[str, Any]:
    entries = [
        entry for each in resources if (each.group, each.version) == (group, version) for entry in each.discovery()
    ]
    if group == AUTHORIZATION:
        entries = [{**each, "singularName": "", "namespaced": False, "verbs": ["create"]} for each in REVIEWS]
    name = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": entries}


def openapi_index(resources: Iterable[Resource], prefix: str) -> Mapping[str, Any]:
    """`/openapi/v3`: where each group version's document is, below `prefix`. A new hash makes clients read it again."""
    paths: dict[str, Any] = {}
    for each in resources:
        path = f"apis/{each.api_version}" if each.group else f"api/{each.version}"
        paths[path] = {"serverRelativeURL": f"{prefix}/openapi/v3/{path}?hash={id(each):x}"}
    return {"paths": paths}


def openapi_document(path: str, resources: Iterable[Resource]) -> Mapping[str, Any] | None:
    """`/openapi/v3/apis/<group>/<version>`: schemas and what kubectl looks for in paths, or None."""
    served = [
        each for each in resources if path == (f"apis/{each.api_version}" if each.group else f"api/{each.version}")
    ]
    if not served:
        return None
    schemas = {_component(each): _documented(each) for each in served}
    paths = {url: item for each in served for url, item in _paths(each).items()}
    info = {"title": "Kubernetes", "version": "v1.36.0-devcluster"}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


def _component(resource: Resource) -> str:
    group = ".".join(reversed(resource.group.split("."))) if resource.group else "io.k8s.api.core"
    return f"{group}.{resource.version}.{resource.kind}"


def _gvk(resource: Resource) -> dict[str, str]:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _documented(resource: Resource) -> dict[str, Any]:
    texts = {"apiVersion": "The versioned schema of this object.", "kind": "What this object is."}
    names = {name: {"type": "string", "description": text} for name, text in texts.items()}
    properties = {**names, "metadata": model_schema("ObjectMeta", ""), **resource.schema.get("properties", {})}
    return {**resource.schema, "properties": properties, "x-kubernetes-group-version-kind": [_gvk(resource)]}


def _paths(resource: Resource) -> dict[str, Any]:
    root = f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.version}"
    middle = "/namespaces/{namespace}" if resource.namespaced else ""
    reference = {"schema": {"$ref": f"#/components/schemas/{_component(resource)}"}}
    parameters = [{"name": name, "in": "query", "schema": {"type": "string"}}
                  for name in ("dryRun", "fieldManager", "fieldValidation", "force")]  # fmt: skip
    operation = {"x-kubernetes-group-version-kind": _gvk(resource), "parameters": parameters}
    answer = {"responses": {"200": {"description": "OK", "content": {"application/json": reference}}}}
    body = {"requestBody": {"content": {kind: {"schema": {"type": "object"}} for kind in PATCH_TYPES}}}
    create = {"requestBody": {"content": {"application/json": reference}}}
    act = {"get": "get", "put": "put", "delete": "delete"}
    one = {verb: operation | answer | {"x-kubernetes-action": action} for verb, action in act.items()}
    one["patch"] = operation | answer | body | {"x-kubernetes-action": "patch"}
    many = {"get": operation | answer | {"x-kubernetes-action": "list"},
            "post": operation | answer | create | {"x-kubernetes-action": "post"}}  # fmt: skip
    return {f"{root}{middle}/{resource.plural}": many, f"{root}{middle}/{resource.plural}/{{name}}": one}
