"""Objects and texts without what may be secret, so that they can be handed to somebody else. Pure.

Fail closed: a value of an environment variable goes whatever it is, and what has a name that speaks of a key, or the
shape of one, goes too. Too much masked costs a question; a key that went out costs a key. Texts may be anything and of
any length, so the engine is RE2's.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import re2

from footplate.objects import Object, block
from footplate_trainer.supervisor.secrets import CREDENTIALS, TELLING

MASK = "***"
MAX_DEPTH = 100
"""Of an object, in levels; Python itself gives up at some hundred."""
_PRIVATE_KEY = re2.compile(r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|\z)")
_SHAPES = re2.compile(
    r"\b(?:A[KS]IA[A-Z0-9]{12,}|gh[a-z]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|hf_\w{16,}|sk-[\w-]{16,}"
    r"|xox[a-z]-[\w-]{8,}|eyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*)"
)
"""Of access keys and tokens whose makers gave them a beginning of their own."""
_AUTHORIZATION = re2.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{4,}")
_ASSIGNED = re2.compile(
    rf"""(?i)([\w.-]*(?:{TELLING.pattern}|SIG)[\w.-]*["']?\s?[=:]\s?)"""
    r"""(?:"[^"\n]*"?|'[^'\n]*'?|[^\s"',;&]+)"""
)
"""`name=value`, `"name": "value"` and the like, where the name tells."""
_MASKED = (
    (_PRIVATE_KEY, MASK),
    (re2.compile(CREDENTIALS), rf"\1{MASK}@"),
    (_AUTHORIZATION, rf"\1 {MASK}"),
    (_ASSIGNED, rf"\1{MASK}"),
    (_SHAPES, MASK),
)
_OPTION = re.compile(r"--?[\w.-]+\Z")

_VALUES = ("env", "httpHeaders")
"""Lists of names with a value, which goes."""
_FREE = ("annotations", "volumeAttributes", "options")
"""Names and values of others' making, of which those go whose names tell."""
_NOT_TOLD = ("kubectl.kubernetes.io/last-applied-configuration",)
"""Annotations that hold a manifest as a whole."""


def redact_text(text: str) -> str:
    """A text without credentials in URIs, values that are assigned to telling names, and what has a key's shape."""
    text = text.encode(errors="replace").decode()  # half a character is none to RE2
    for pattern, instead in _MASKED:
        text = pattern.sub(instead, text)
    return text


def redact_job(job: Object) -> dict[str, Any]:
    """A TrainingJob as it may be shown to others: metadata, spec and status."""
    trainer = {**block(job, "spec", "trainer")}
    if "hyperparameters" in trainer:
        trainer["hyperparameters"] = redact_named(trainer["hyperparameters"])
    spec = {**block(job, "spec"), **({"trainer": trainer} if trainer else {})}
    return {**_redacted({**job, "metadata": _metadata(job), "spec": spec})}


def redact_object(obj: Object) -> dict[str, Any]:
    """Any other object: a pod, an event. What a Secret or ConfigMap holds goes as a whole."""
    held = {key: MASK for key in ("data", "stringData", "binaryData") if key in obj}
    return {**_redacted({**obj, **held, "metadata": _metadata(obj)})}


def redact_named(value: Any, *, depth: int = 0) -> Any:
    """Free-form values without those whose names tell, and without what lies deeper than anybody reads."""
    if depth > MAX_DEPTH:
        return MASK
    if isinstance(value, Mapping):
        return {
            key: MASK if TELLING.search(str(key)) else redact_named(each, depth=depth + 1)
            for key, each in value.items()
        }
    return [redact_named(each, depth=depth + 1) for each in value] if isinstance(value, list | tuple) else value


def _metadata(obj: Object) -> dict[str, Any]:
    return {key: value for key, value in block(obj, "metadata").items() if key != "managedFields"}


def _redacted(value: Any, *, of: str = "", depth: int = 0) -> Any:
    """`of` is the name of the field that holds it."""
    if depth > MAX_DEPTH:
        return MASK
    if isinstance(value, Mapping):
        if of in _VALUES and "value" in value:
            return {**value, "value": MASK}
        if of in _FREE:
            value = redact_named({key: each for key, each in value.items() if key not in _NOT_TOLD})
        return {key: _redacted(each, of=str(key), depth=depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple):
        words = of in ("args", "command")
        return (
            _redacted_words(value, depth=depth + 1)
            if words
            else [_redacted(each, of=of, depth=depth + 1) for each in value]
        )
    return redact_text(value) if isinstance(value, str) else value


def _redacted_words(words: Sequence[Any], *, depth: int) -> list[Any]:
    """A command line: what follows `--api-key` is its value."""
    kept: list[Any] = []
    for before, word in zip(["", *words], words, strict=False):
        follows = isinstance(before, str) and bool(_OPTION.match(before)) and bool(TELLING.search(before))
        is_option = isinstance(word, str) and word.startswith("-")
        kept.append(MASK if follows and not is_option else _redacted(word, depth=depth))
    return kept
