"""The building blocks of the API's models: the base class, CEL rules, and the types with rules of their own.

Invariant: whatever a CEL rule says here, the Python validator beside it says too, with the same message, so that a
cluster without CEL is as safe. `tests/unit/api/test_rules.py` holds the two against each other.

What only the generated CRD needs travels in the models' JSON schema under `x-` keys, for `footplate.api.crd` to read.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, InitErrorDetails, PydanticCustomError

from footplate.api.patterns import (
    ABSOLUTE_PATH_PATTERN,
    DNS_LABEL_PATTERN,
    DNS_SUBDOMAIN_PATTERN,
    ENV_NAME_PATTERN,
    LABEL_KEY_PATTERN,
    LABEL_VALUE_PATTERN,
    SHA256_PATTERN,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as the API server judges it (CEL, `x-kubernetes-validations`) and as we do, with one message for both."""

    cel: str
    message: str
    holds: Callable[[Any], bool]
    """The same for us, of the raw JSON value."""
    field_path: str | None = None
    """The field that the message speaks of, below the object that the rule is on; None where it is that object."""

    def to_json(self) -> dict[str, str]:
        """The rule as the CRD has it."""
        path = {"fieldPath": f".{self.field_path}"} if self.field_path else {}
        return {"rule": self.cel, "message": self.message, **path}

    def is_broken_by(self, value: Any) -> bool:
        """Whether a raw value breaks it. One that has another shape doesn't: the fields' own rules tell that."""
        try:
            return not self.holds(value)
        except (AttributeError, KeyError, TypeError, ValueError):
            return False

    def broken(self) -> PydanticCustomError:
        """What a validator raises where the rule doesn't hold."""
        return PydanticCustomError("rule", "{message}", {"message": self.message, "field": self.field_path or ""})


def at(value: Any, *path: str) -> Any:
    """What stands at a path of fields in a raw value; None where there is nothing, or null."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def count(value: Mapping[str, Any], *names: str) -> int:
    """How many of these fields are set."""
    return sum(value.get(name) is not None for name in names)


def keep(*rules: Rule) -> AfterValidator:
    """Holds a value that isn't an object to rules, of which the first broken one is told."""

    def check(value: T) -> T:
        for rule in rules:
            if rule.is_broken_by(value):
                raise rule.broken()
        return value

    return AfterValidator(check)


class Model(BaseModel):
    """Base of all API models: camelCase on the wire, unknown fields and other types refused, values frozen."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, strict=True, allow_inf_nan=False
    )

    rules: ClassVar[tuple[Rule, ...]] = ()
    """Rules on objects of this type. They see null as absent, and what the user wrote, defaults left out."""
    atomic: ClassVar[bool] = False
    """True where two appliers never share an object of this type, as with references and selectors."""

    @model_validator(mode="wrap")
    @classmethod
    def _judge(cls, data: Any, fields: ModelWrapValidatorHandler[Self]) -> Self:
        """Null is as good as absent, as it is for the API server. Rules are judged beside the fields, so that all
        mistakes are told at once.
        """
        if not isinstance(data, dict):
            return fields(data)
        data = {name: value for name, value in data.items() if value is not None}
        broken = [rule for rule in cls.rules if rule.is_broken_by(cls._on_the_wire(data))]
        try:
            valid = fields(data)
        except ValidationError as error:
            if not broken:
                raise
            mistakes = [_as_raised(details) for details in error.errors(include_url=False)]
        else:
            if not broken:
                return valid
            mistakes = []
        mistakes += [InitErrorDetails(type=rule.broken(), input=data) for rule in broken]
        raise ValidationError.from_exception_data(cls.__name__, mistakes)

    @classmethod
    def _on_the_wire(cls, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same with the names and values of JSON, where Python code gave its own."""
        names = {name: field.alias or name for name, field in cls.model_fields.items()}
        return {
            names.get(name, name): value.to_json() if isinstance(value, Model) else value
            for name, value in data.items()
        }

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        reference = handler(core_schema)
        schema = handler.resolve_ref_schema(reference)
        if cls.rules:
            schema["x-kubernetes-validations"] = [rule.to_json() for rule in cls.rules]
        if cls.atomic:
            schema["x-kubernetes-map-type"] = "atomic"
        return reference

    def to_json(self) -> dict[str, Any]:
        """The object as Kubernetes would show it: camelCase, unset fields left out, JSON types only."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def _as_raised(details: ErrorDetails) -> InitErrorDetails:
    """An error as it was before it was told, to be told again beside others."""
    context = details.get("ctx", {})
    kind: Any = details["type"]
    if kind == "rule":
        kind = PydanticCustomError("rule", "{message}", context)
    return InitErrorDetails(type=kind, loc=details["loc"], input=details["input"], ctx=context)


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

URI_RULES = (
    Rule(
        "self.matches('^(s3|gs|az|file)://')",
        "the scheme must be s3://, gs://, az:// or file:// (a path inside a mounted volume)",
        lambda uri: re.match(r"^(s3|gs|az|file)://", uri) is not None,
    ),
    Rule(
        "!self.contains('@')",
        "a URI must not carry credentials or '@'; name a Secret in storage.secretRef instead",
        lambda uri: "@" not in uri,
    ),
    Rule(
        "!self.contains('%') && !self.contains('?') && !self.contains('#') && !self.contains('\\\\')",
        "a URI is not percent-decoded and has no query or fragment; write the object's key as it is, "
        "without '%', '?', '#' or '\\'",
        lambda uri: not any(char in uri for char in "%?#\\"),
    ),
    Rule(
        "!self.matches('/[.]{1,2}(/|$)')",
        "a URI must not contain '.' or '..' as a path segment; write the path out",
        lambda uri: re.search(r"/[.]{1,2}(/|\Z)", uri) is None,
    ),
    Rule(
        "self.matches('^((s3|gs|az)://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/|$)|file:///[^/])') "
        "&& !self.matches('[^:/]//') && !self.matches('[\\\\x00-\\\\x20\\\\x7f]')",
        "a URI must be scheme://bucket/path, with a bucket of 3 to 63 lower-case letters, digits, '.', '_' or '-', "
        "no empty path segment and no blank; or file:///an/absolute/path",
        lambda uri: (
            re.match(r"^((s3|gs|az)://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/|\Z)|file:///[^/])", uri) is not None
            and re.search(r"[^:/]//", uri) is None
            and re.search(r"[\x00-\x20\x7f]", uri) is None
        ),
    ),
)


Uri = Annotated[str, Field(min_length=1, max_length=MAX_URI_LENGTH), keep(*URI_RULES), Schema(rules=URI_RULES)]
"""An address in object storage or, with file://, in a mounted volume."""

RESUME_WORDS = ("latest", "run", "never")
RESUME_RULE = Rule(
    f"self in {list(RESUME_WORDS)}",
    "must be latest, run or never: a job goes on from its own checkpoints alone; to begin with the weights of another "
    "job's, set checkpoint.initFrom to its URI",
    lambda value: value in RESUME_WORDS,
)
Resume = Annotated[str, Field(min_length=1, max_length=MAX_URI_LENGTH), keep(RESUME_RULE), Schema(rules=(RESUME_RULE,))]
"""`latest`, `run` or `never`."""

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


def _check_differ(*keys: str) -> AfterValidator:
    def check(items: list[M]) -> list[M]:
        seen: set[tuple[Any, ...]] = set()
        for item in items:
            identity = tuple(getattr(item, key) for key in keys)
            if identity in seen:
                raise ValueError(f"{to_camel(keys[0])} {identity[0]} comes twice; items must differ in it")
            seen.add(identity)
        return items

    return AfterValidator(check)


M = TypeVar("M", bound=Model)


def _map_list(key: str) -> Schema:
    return Schema({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [to_camel(key)]})


ByName = Annotated[list[M], _check_differ("name"), _map_list("name")]
"""A list whose items differ by name; the API server checks that without CEL, and merges such lists by it."""
ByMountPath = Annotated[list[M], _check_differ("mount_path"), _map_list("mount_path")]
ByType = Annotated[list[M], _check_differ("type"), _map_list("type")]

DnsLabel = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL_PATTERN)]
DnsSubdomain = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN_PATTERN)]
EnvName = Annotated[str, Field(min_length=1, max_length=256, pattern=ENV_NAME_PATTERN)]
Sha256 = Annotated[str, Field(max_length=64, pattern=SHA256_PATTERN)]
MountPath = Annotated[str, Field(min_length=1, max_length=1024, pattern=ABSOLUTE_PATH_PATTERN)]
LabelKey = Annotated[str, Field(min_length=1, max_length=317, pattern=LABEL_KEY_PATTERN)]
LabelValue = Annotated[str, Field(max_length=63, pattern=LABEL_VALUE_PATTERN)]
Seconds = Annotated[int, Field(ge=0, le=31_536_000)]
"""A duration in whole seconds, a year at most."""
Limit = Annotated[int, Field(ge=1, le=31_536_000)]
"""The same where nothing could happen within 0 seconds."""

MAX_TEXT_BYTES = 65_536
"""Of each group of a user's own texts, such as all arguments together."""


def size_of(texts: Iterable[Any]) -> int:
    """Bytes of all texts together; what isn't text counts as nothing."""
    return sum(len(text.encode()) for text in texts if isinstance(text, str))


FreeForm = Annotated[
    dict[str, Any],
    Field(max_length=256),
    Schema(
        {
            "additionalProperties": {
                "x-kubernetes-preserve-unknown-fields": True,
                "nullable": True,
                "maxLength": MAX_TEXT_BYTES,
                "maxItems": 10_000,
                "maxProperties": 1024,
            }
        }
    ),
]
"""A JSON object whose keys are the user's own. A map of anything rather than an object with unknown fields: of those,
Kubernetes' CEL doesn't see that a field was renamed. What lies deeper than the bounds here no schema can bound.
"""
