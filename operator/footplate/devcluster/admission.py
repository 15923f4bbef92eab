"""From what a client sends to what may be stored: envelope, unknown fields, defaults, and every rule there is."""

from footplate.devcluster.builtin import CHECKS, DEFAULTS
from footplate.devcluster.errors import ApiError, FieldError, bad_request, forbidden_field, invalid, invalid_object
from footplate.devcluster.names import check_metadata
from footplate.devcluster.resources import Resource
from footplate.devcluster.schema import BLOCKING, decode_builtin, fill_defaults, find_unknown, validate
from footplate.devcluster.store import Body


def open_envelope(resource: Resource, namespace: str, body: Body) -> None:
    """Take `apiVersion` and `kind` off the body, which must match the URL, as must the namespace."""
    version, kind = body.pop("apiVersion", resource.api_version), body.pop("kind", resource.kind)
    if version != resource.api_version:
        expected = f"the expected API version ({resource.api_version})"
        raise bad_request(f"the API version in the data ({version}) does not match {expected}")
    metadata = body.setdefault("metadata", {})
    if kind != resource.kind:
        error = invalid("kind", kind, f"must be {resource.kind}")
        raise invalid_object(resource.group, kind, metadata.get("name", ""), [error])
    if resource.namespaced and (metadata.get("namespace") or namespace) != namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")


def decode(resource: Resource, body: Body, validation: str) -> list[str]:
    """Drop unknown fields and refuse wrong types of built-in kinds. The texts are warnings, or with `validation`
    Strict the reason of a refusal (ApiError 400).
    """
    prefix = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
    try:
        if not resource.custom:
            decode_builtin(body, resource.schema, "", resource.kind)
    except ApiError as error:
        raise bad_request(prefix + error.message) from error
    unknown = list(find_unknown(body, resource.schema))
    if resource.custom:
        unknown.sort(key=lambda path: (not path.startswith("metadata."), "." not in path, path))
    texts = [f'unknown field "{path}"' for path in unknown]
    if texts and validation == "Strict":
        raise bad_request(f"{prefix}strict decoding error: {', '.join(texts)}")
    return texts if validation == "Warn" else []


def complete(resource: Resource, body: Body, old: Body | None) -> None:
    """Fill in defaults and hold the object to its rules; ApiError 422 names every one it breaks."""
    metadata = body["metadata"]
    for name in ("labels", "annotations", "finalizers", "ownerReferences", "managedFields"):
        if name in metadata and not metadata[name]:
            del metadata[name]
    if resource.custom:
        fill_defaults(body, resource.schema)
    known = list(check_metadata(metadata, resource.kind))
    known += _check_new_finalizers(body, old) if old else []
    errors = validate(body, old, resource.schema, rules=resource.rules, known=known)
    if not resource.custom and not any(error.kind in BLOCKING for error in errors):
        if resource.kind in DEFAULTS:
            DEFAULTS[resource.kind](body, old)
        if resource.kind in CHECKS:
            errors += CHECKS[resource.kind](body, old)
    if errors:
        raise invalid_object(resource.group, resource.kind, metadata.get("name", ""), errors)


def _check_new_finalizers(body: Body, old: Body) -> list[FieldError]:
    before = old["metadata"]
    added = [each for each in body["metadata"].get("finalizers", ()) if each not in before.get("finalizers", ())]
    if not added or "deletionTimestamp" not in before:
        return []
    names = ", ".join(f'"{each}"' for each in added)
    why = f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{names}}}"
    return [forbidden_field("metadata.finalizers", why)]
