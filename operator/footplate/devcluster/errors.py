"""What the API server refuses, in Kubernetes' own words.

Clients match on `reason`, `code` and often on the text, so every message here is the text that a real
kube-apiserver gives for the same request.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from footplate.devcluster.values import quote

REASONS = {
    "Required": "FieldValueRequired",
    "Invalid": "FieldValueInvalid",
    "TypeInvalid": "FieldValueTypeInvalid",
    "Unsupported": "FieldValueNotSupported",
    "Duplicate": "FieldValueDuplicate",
    "Forbidden": "FieldValueForbidden",
    "TooLong": "FieldValueTooLong",
    "TooMany": "FieldValueTooMany",
    "NotFound": "FieldValueNotFound",
}


@dataclass(frozen=True)
class FieldError:
    """One refused field: its path, the kind of refusal (a key of REASONS) and the text after the path."""

    path: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"

    def cause(self) -> dict[str, str]:
        """The entry of `details.causes`."""
        return {"reason": REASONS[self.kind], "message": self.text, "field": self.path}


def required(path: str, why: str = "") -> FieldError:
    """`path: Required value`."""
    return FieldError(path, "Required", f"Required value: {why}" if why else "Required value")


def invalid(path: str, value: object, why: str, *, kind: str = "Invalid") -> FieldError:
    """`path: Invalid value: value: why`."""
    return FieldError(path, kind, f"Invalid value: {quote(value)}: {why}")


def forbidden_field(path: str, why: str) -> FieldError:
    """`path: Forbidden: why`."""
    return FieldError(path, "Forbidden", f"Forbidden: {why}")


def duplicate(path: str, value: object) -> FieldError:
    """`path: Duplicate value: value`."""
    return FieldError(path, "Duplicate", f"Duplicate value: {quote(value)}")


def unsupported(path: str, value: object, allowed: Iterable[object]) -> FieldError:
    """`path: Unsupported value: value: supported values: …`."""
    names = ", ".join(quote(name) for name in allowed)
    return FieldError(path, "Unsupported", f"Unsupported value: {quote(value)}: supported values: {names}")


@dataclass
class ApiError(Exception):
    """An answer that isn't a success: HTTP code, machine-readable reason and text, and what it was about."""

    code: int
    reason: str
    message: str
    details: Mapping[str, Any] | None = None

    def status(self) -> dict[str, Any]:
        """The `Status` object that is the body of the answer."""
        status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        status["message"] = self.message
        status |= {"reason": self.reason} if self.reason else {}
        status |= {"details": dict(self.details)} if self.details is not None else {}
        return status | {"code": self.code}


def about(name: str, group: str, kind: str, causes: Iterable[FieldError] = ()) -> dict[str, Any]:
    """The `details` of a Status: only what is set, as Go's omitempty has it."""
    listed = [error.cause() for error in causes]
    parts = {"name": name, "group": group, "kind": kind, "causes": listed}
    return {key: value for key, value in parts.items() if value}


def bad_request(message: str) -> ApiError:
    """400: the request itself can't be read."""
    return ApiError(400, "BadRequest", message)


def internal_error(why: str) -> ApiError:
    """500: the server can't answer."""
    return ApiError(500, "InternalError", f"Internal error occurred: {why}", {"causes": [{"message": why}]})


def not_found(group: str, plural: str, name: str) -> ApiError:
    """404: no such object."""
    return ApiError(404, "NotFound", f'{qualify(plural, group)} "{name}" not found', about(name, group, plural))


def already_exists(group: str, plural: str, name: str, *, deleting: bool = False) -> ApiError:
    """409 on create."""
    message = f'{"object is being deleted: " if deleting else ""}{qualify(plural, group)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, about(name, group, plural))


def conflict(group: str, plural: str, name: str, why: str) -> ApiError:
    """409: a precondition failed, most often the resourceVersion."""
    message = f'Operation cannot be fulfilled on {qualify(plural, group)} "{name}": {why}'
    return ApiError(409, "Conflict", message, about(name, group, plural))


def forbidden(group: str, plural: str, name: str, why: str, *, causes: list[dict[str, str]] | None = None) -> ApiError:
    """403: admission refused it."""
    details = about(name, group, plural) | ({"causes": causes} if causes else {})
    return ApiError(403, "Forbidden", f'{qualify(plural, group)} "{name}" is forbidden: {why}', details)


def invalid_object(group: str, kind: str, name: str, errors: list[FieldError]) -> ApiError:
    """422: the object breaks a rule of its schema or kind."""
    text = str(errors[0]) if len(errors) == 1 else f"[{', '.join(map(str, errors))}]"
    message = f'{qualify(kind, group)} "{name}" is invalid: {text}'
    return ApiError(422, "Invalid", message, about(name, group, kind, errors))


def expired(message: str) -> ApiError:
    """410: the history that was asked for is gone."""
    return ApiError(410, "Expired", message)


def qualify(name: str, group: str) -> str:
    """`jobs.batch`, but `pods`."""
    return f"{name}.{group}" if group else name
