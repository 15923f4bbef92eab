"""The building blocks of the API's models: the base class, CEL rules, and the types with rules of their own.

Invariant: whatever a CEL rule says here, the Python validator beside it says too, with the same message, so that a
cluster without CEL is as safe. `tests/unit/api/test_rules.py` holds the two against each other.

What only the generated CRD needs travels in the models' JSON schema under `x-` keys, for `footplate.api.crd` to read.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError


@dataclass(frozen=True, slots=True)
class Rule:
    """A CEL rule of the generated CRD (`x-kubernetes-validations`), and the message its violation gives."""

    cel: str
    message: str
    field_path: str | None = None
    """The field that the message speaks of, below the object that the rule is on; None where it is that object."""

    def to_json(self) -> dict[str, str]:
        """The rule as the CRD has it."""
        path = {"fieldPath": f".{self.field_path}"} if self.field_path else {}
        return {"rule": self.cel, "message": self.message, **path}

    def broken(self) -> PydanticCustomError:
        """What a Python validator raises where the rule doesn't hold."""
        return PydanticCustomError("rule", "{message}", {"message": self.message, "field": self.field_path or ""})


class Model(BaseModel):
    """Base of all API models: camelCase on the wire, unknown fields and other types refused, values frozen."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, strict=True, allow_inf_nan=False
    )

    rules: ClassVar[tuple[Rule, ...]] = ()
    """CEL rules on objects of this type."""

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        """Null is as good as absent, as it is for the API server."""
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if value is not None}
        return data

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        reference = handler(core_schema)
        if cls.rules:
            handler.resolve_ref_schema(reference)["x-kubernetes-validations"] = [rule.to_json() for rule in cls.rules]
        return reference

    def to_json(self) -> dict[str, Any]:
        """The object as Kubernetes would show it: camelCase, unset fields left out, JSON types only."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


@dataclass(frozen=True, slots=True, eq=False)
class Schema:
    """Extra keys for a field's JSON schema, among them its CEL rules."""

    extra: Mapping[str, Any] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        rules = {"x-kubernetes-validations": [rule.to_json() for rule in self.rules]} if self.rules else {}
        return handler(core_schema) | rules | dict(self.extra)


MUTABLE = Schema({"x-footplate-mutable": "Can change after creation."})
"""Marks a field that may change after creation: its description says so, and no immutability rule covers it."""

SERVER_DEFAULT = Schema({"x-footplate-server-default": True})
"""Marks a field whose default the API server fills in, which is right only where no runtime could have one."""

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
        "&& !self.matches('[^:/]//') && !self.matches('[\\\\x00-\\\\x20\\\\x7f]')",
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
        and re.search(r"[^:/]//", uri) is None
        and re.search(r"[\x00-\x20\x7f]", uri) is None
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


def check_resume(resume: str) -> str:
    """Returns `latest`, `run`, `never` or a URI as it is.

    Raises:
        ValueError: what it must be and, for a URI, the first rule that it breaks.
    """
    if resume in RESUME_WORDS:
        return resume
    try:
        return check_uri(resume)
    except ValueError as error:
        raise ValueError(f"{RESUME_PREFIX}{error}") from None


RESUME_WORDS = ("latest", "run", "never")
RESUME_PREFIX = "must be latest, run, never or a checkpoint's URI: "

Uri = Annotated[
    str,
    Field(min_length=1, max_length=MAX_URI_LENGTH),
    AfterValidator(check_uri),
    Schema(rules=URI_RULES),
]
"""An address in object storage or, with file://, in a mounted volume."""

Resume = Annotated[
    str,
    Field(min_length=1, max_length=MAX_URI_LENGTH),
    AfterValidator(check_resume),
    Schema(
        rules=tuple(
            Rule(f"self in {list(RESUME_WORDS)} || ({rule.cel})", RESUME_PREFIX + rule.message) for rule in URI_RULES
        )
    ),
]
"""`latest`, `run`, `never` or a `Uri`."""

QUANTITY_PATTERN = r"[+]?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]+)?"
MAX_QUANTITY_LENGTH = 32


def _check_quantity(value: Any) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if (
        not isinstance(text, str)
        or len(text) > MAX_QUANTITY_LENGTH
        or not re.fullmatch(QUANTITY_PATTERN, text, re.ASCII)
    ):
        raise ValueError("must be a Kubernetes quantity such as 500m, 4, 16Gi or 1e9")
    return text


Quantity = Annotated[
    str,
    BeforeValidator(_check_quantity),
    Schema(
        {
            "x-kubernetes-int-or-string": True,
            "pattern": f"^{QUANTITY_PATTERN}$",
            "maxLength": MAX_QUANTITY_LENGTH,
        }
    ),
]
"""A Kubernetes resource quantity; integers are taken as they are."""

MAX_PROCESSES_PER_NODE = 1024


def _check_processes(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    try:
        return check(value)
    except ValueError:
        raise ValueError(f"must be auto or a whole number from 1 to {MAX_PROCESSES_PER_NODE}") from None


ProcessCount = Annotated[
    Literal["auto"] | Annotated[int, Field(strict=True, ge=1, le=MAX_PROCESSES_PER_NODE)],
    WrapValidator(_check_processes),
]
"""Ranks in each pod; auto is the accelerators in the pod's limits, else 1."""


class Named(Protocol):
    """Anything with a name."""

    @property
    def name(self) -> str:
        """What tells it from its siblings."""


T = TypeVar("T", bound=Named)


def check_names(items: list[T]) -> list[T]:
    """Returns the items if no two have the same name.

    Raises:
        ValueError: naming the first name that comes twice.
    """
    seen: set[str] = set()
    for item in items:
        if item.name in seen:
            raise ValueError(f"the name {item.name} comes twice; names must differ")
        seen.add(item.name)
    return items


ByName = Annotated[
    list[T],
    AfterValidator(check_names),
    Schema({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}),
]
"""A list whose items differ by name; the API server checks that without CEL."""

DNS_LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
LABEL_KEY_PATTERN = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
HTTP_PATTERN = r"^https?://[!-?A-~]+$"
HTTPS_PATTERN = r"^https://[!-?A-~]+$"
SHA256_PATTERN = r"^[0-9a-f]{64}$"

DnsLabel = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL_PATTERN)]
DnsSubdomain = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN_PATTERN)]
EnvName = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$")]
Sha256 = Annotated[str, Field(max_length=64, pattern=SHA256_PATTERN)]
MountPath = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^/[^:]*$")]
LabelKey = Annotated[str, Field(min_length=1, max_length=317, pattern=LABEL_KEY_PATTERN)]
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")]
Seconds = Annotated[int, Field(ge=0, le=31_536_000)]
"""A duration in whole seconds, a year at most."""

FreeForm = Annotated[
    dict[str, Any],
    Field(max_length=1024),
    Schema({"additionalProperties": {"x-kubernetes-preserve-unknown-fields": True, "nullable": True}}),
]
"""A JSON object whose keys are the user's own. A map of anything rather than an object with unknown fields: of those,
Kubernetes' CEL doesn't see that a field was renamed."""
