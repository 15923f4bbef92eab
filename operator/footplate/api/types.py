"""The building blocks of the API's models: the base class, CEL rules, and the string types with rules of their own.

Invariant: whatever a CEL rule says here, the Python validator beside it says too, with the same message, so that a
cluster without CEL is as safe. `tests/unit/api/test_rules.py` holds the two against each other.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel


@dataclass(frozen=True, slots=True)
class Rule:
    """A CEL rule of the generated CRD (`x-kubernetes-validations`), and the message its violation gives."""

    cel: str
    message: str
    field_path: str | None = None


class Model(BaseModel):
    """Base of all API models: camelCase on the wire, unknown fields refused, values frozen."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, allow_inf_nan=False
    )

    rules: ClassVar[tuple[Rule, ...]] = ()
    """CEL rules on objects of this type."""

    def to_json(self) -> dict[str, Any]:
        """The object as Kubernetes would show it: camelCase, unset fields left out, JSON types only."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


@dataclass(frozen=True, slots=True)
class Schema:
    """Extra keys for a field's generated OpenAPI schema, among them its CEL rules."""

    rules: tuple[Rule, ...] = ()
    extra: tuple[tuple[str, Any], ...] = ()


MUTABLE = Schema(extra=(("x-footplate-mutable", True),))
"""Marks a field that may change after creation; the generator drops the mark and leaves the field out of the
immutability rules."""

MAX_URI_LENGTH = 1024
URI_SCHEMES = ("s3", "gs", "az", "file")

URI_RULES = (
    Rule(
        "self.matches('^(s3|gs|az|file)://')",
        "the scheme must be s3://, gs://, az:// or file:// (a path inside a mounted volume)",
    ),
    Rule(
        "!self.contains('@')",
        "a URI must not carry credentials or '@'; name a Secret in storage.secretRef instead",
    ),
    Rule(
        "!self.contains('%') && !self.contains('?') && !self.contains('#') && !self.contains('\\\\')",
        "a URI is not percent-decoded and has no query or fragment; write the object's key as it is, "
        "without '%', '?', '#' or '\\'",
    ),
    Rule(
        "!self.matches('/[.]{1,2}(/|$)')",
        "a URI must not contain '.' or '..' as a path segment; write the path out",
    ),
    Rule(
        "self.matches('^((s3|gs|az)://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/|$)|file:///[^/])') "
        "&& !self.matches('[^:]//') && !self.matches('[[:cntrl:][:space:]]')",
        "a URI must be scheme://bucket/path, with a bucket of 3 to 63 lower-case letters, digits, '.', '_' or '-', "
        "no empty path segment and no blank; or file:///an/absolute/path",
    ),
)

_URI_CHECKS: tuple[Callable[[str], bool], ...] = (
    lambda uri: re.match(r"^(s3|gs|az|file)://", uri) is not None,
    lambda uri: "@" not in uri,
    lambda uri: not any(char in uri for char in "%?#\\"),
    lambda uri: re.search(r"/[.]{1,2}(/|$)", uri) is None,
    lambda uri: (
        re.match(r"^((s3|gs|az)://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/|$)|file:///[^/])", uri) is not None
        and re.search(r"[^:]//", uri) is None
        and re.search(r"[\x00-\x1f\x7f\s]", uri) is None
    ),
)


def check_uri(uri: str) -> str:
    """Returns the URI if it keeps every rule of `URI_RULES`.

    Raises:
        ValueError: with the message of the first rule that it breaks.
    """
    for rule, keeps in zip(URI_RULES, _URI_CHECKS, strict=True):
        if not keeps(uri):
            raise ValueError(rule.message)
    return uri


def _check_quantity(value: Any) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not re.fullmatch(QUANTITY_PATTERN, text):
        raise ValueError("must be a Kubernetes quantity such as 500m, 4, 16Gi or 1e9")
    return text


QUANTITY_PATTERN = r"[+]?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]+)?"

Uri = Annotated[
    str,
    Field(min_length=1, max_length=MAX_URI_LENGTH),
    AfterValidator(check_uri),
    Schema(rules=URI_RULES),
]
"""An address in object storage or, with file://, in a mounted volume."""

Quantity = Annotated[
    str,
    BeforeValidator(_check_quantity),
    Schema(extra=(("x-kubernetes-int-or-string", True), ("pattern", f"^{QUANTITY_PATTERN}$"))),
]
"""A Kubernetes resource quantity; integers are taken as they are."""

DnsLabel = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
DnsSubdomain = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    ),
]
EnvName = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
MountPath = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^/[^:]*$")]
LabelKey = Annotated[str, Field(min_length=1, max_length=317)]
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")]
Seconds = Annotated[int, Field(ge=0, le=31_536_000)]
"""A duration in whole seconds, a year at most."""

FreeForm = Annotated[
    dict[str, Any],
    Schema(extra=(("x-kubernetes-preserve-unknown-fields", True),)),
]
"""A JSON object whose keys are the user's own."""
