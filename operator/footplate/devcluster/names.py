"""Names, labels, owner references and finalizers: what Kubernetes demands of every object's metadata."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from footplate.devcluster.errors import FieldError, invalid, required

LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = rf"{LABEL}(\.{LABEL})*"
NAME_PART = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
BAD_LABEL = f"a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{LABEL}')"  # noqa: E501
BAD_SUBDOMAIN = f"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{SUBDOMAIN}')"  # noqa: E501
BAD_KEY = f"name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{NAME_PART}')"  # noqa: E501
BAD_VALUE = f"a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '({NAME_PART})?')"  # noqa: E501
STANDARD_FINALIZERS = {"foregroundDeletion", "orphan", "kubernetes"}
PATH_SEGMENT_NAMES = {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
MAX_ANNOTATIONS = 256 * 1024


def check_metadata(metadata: Mapping[str, Any], kind: str) -> Iterator[FieldError]:
    """The rules for names, labels and annotations of every object."""
    name = metadata.get("name", "")
    if not name:
        yield required("metadata.name", "name or generateName is required")
    elif kind == "Namespace":
        if "." in name:
            yield invalid("metadata.name", name, "must not contain dots")
        else:
            yield from check_name("metadata.name", name, LABEL, BAD_LABEL, 63)
    elif kind not in PATH_SEGMENT_NAMES:
        yield from check_name("metadata.name", name, SUBDOMAIN, BAD_SUBDOMAIN, 253)
    for key, value in (metadata.get("labels") or {}).items():
        yield from check_key("metadata.labels", key)
        yield from check_name("metadata.labels", value, f"({NAME_PART})?", BAD_VALUE, 63)
    for index, finalizer in enumerate(metadata.get("finalizers") or ()):
        if "/" not in finalizer and finalizer not in STANDARD_FINALIZERS:
            why = "name is neither a standard finalizer name nor is it fully qualified"
            yield invalid(f"metadata.finalizers[{index}]", finalizer, why)
    yield from _check_owners(metadata.get("ownerReferences") or ())
    for key in metadata.get("annotations") or {}:
        yield from check_key("metadata.annotations", key.lower())
    if sum(len(key) + len(value) for key, value in (metadata.get("annotations") or {}).items()) > MAX_ANNOTATIONS:
        yield FieldError("metadata.annotations", "TooLong", "Too long: may not be more than 262144 bytes")


def _check_owners(references: Sequence[Mapping[str, Any]]) -> Iterator[FieldError]:
    for reference in references:
        for part in ("apiVersion", "kind", "name", "uid"):
            if not reference.get(part):
                why = "version must not be empty" if part == "apiVersion" else "must not be empty"
                yield invalid(f"metadata.ownerReferences.{part}", "", why)
    controllers = [f"{each.get('kind')}/{each.get('name')}" for each in references if each.get("controller")]
    if len(controllers) > 1:
        found = f'Found "true" in references for {" and ".join(controllers[:2])}'
        why = f"Only one reference can have Controller set to true. {found}"
        yield invalid("metadata.ownerReferences", references, why)


def check_name(path: str, name: str, pattern: str, why: str, limit: int) -> Iterator[FieldError]:
    """A name must match in full and be no longer than `limit`."""
    if len(name) > limit:
        unit = "bytes" if limit == 63 else "characters"
        yield invalid(path, name, f"must be no more than {limit} {unit}")
    if not re.fullmatch(pattern, name):
        yield invalid(path, name, why)


def check_key(path: str, key: str) -> Iterator[FieldError]:
    """A key of labels or annotations: an optional DNS prefix, a slash, a short name."""
    prefix, slash, name = key.rpartition("/")
    if slash and not re.fullmatch(SUBDOMAIN, prefix):
        yield invalid(path, key, f"prefix part {BAD_SUBDOMAIN}")
    if not name:
        yield invalid(path, key, "name part must be non-empty")
    if not re.fullmatch(NAME_PART, name):
        yield invalid(path, key, BAD_KEY)
    if len(name) > 63:
        yield invalid(path, key, "name part must be no more than 63 bytes")
