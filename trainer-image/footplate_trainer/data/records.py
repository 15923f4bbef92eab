"""Reads what a language model learns from: files of JSON lines, Parquet or Feather, of which each record is a chat, a
prompt with its completion, or a text.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from footplate.api.errors import nearest
from footplate_trainer.data.splits import TEST, TRAIN, VALIDATION
from footplate_trainer.data.table_arrow import open_arrow
from footplate_trainer.data.table_folders import FEATHER, PARQUET, find_files
from footplate_trainer.data.text_lines import is_lines, kind_of, read_objects
from footplate_trainer.errors import DataError

KINDS = "JSON lines, Parquet or Feather"
MESSAGES = "messages", "conversations"
SHAPES: Mapping[str, tuple[str, ...]] = {
    "messages": ("messages",),
    "conversations": ("conversations",),
    "prompt and completion": ("prompt", "completion"),
    "text": ("text",),
}
"""What a record may be, by the keys that it then has; of several that it has, the first."""
ASSISTANT = "assistant"
SPEAKERS = {"human": "user", "gpt": ASSISTANT}
"""Roles by ShareGPT's names, whose messages have `from` and `value`."""
ROWS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Chat:
    """Messages as a chat template takes them; those of the assistant from number `first` on are to be learnt, but
    those of weight 0."""

    messages: list[dict[str, Any]]
    first: int = 0
    tools: list[Any] | None = None

    @property
    def learnt(self) -> list[int]:
        """The numbers of the messages that are to be learnt."""
        return [
            number
            for number, each in enumerate(self.messages)
            if number >= self.first and each["role"] == ASSISTANT and each.get("weight", 1)
        ]


@dataclass(frozen=True, slots=True)
class Continuation:
    """A completion, which is to be learnt, and the prompt before it, which isn't: empty of a plain text."""

    prompt: str
    completion: str


Record = Chat | Continuation


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record is."""

    path: Path
    number: int

    def __str__(self) -> str:
        """For people."""
        return f"{self.path}, {'line' if is_lines(self.path) else 'row'} {self.number:,}"


def find_records(inputs: Mapping[str, Path], *, said: list[str]) -> dict[str, list[Path]]:
    """The files of each split. A channel of a split's own name comes before what another one has of it.

    Raises:
        DataError: a channel holds none.
    """
    found = _files(inputs[TRAIN], TRAIN, said)
    for split in (VALIDATION, TEST):
        if split in inputs:
            if split in found:
                said.append(f"input {TRAIN}: its {split} data are left out, as there is an input {split}")
            found[split] = _files(inputs[split], split, said)[split]
        elif split in found:
            said.append(f"input {TRAIN}: some files are taken for {split}, as named so")
    return found


def _files(folder: Path, channel: str, said: list[str]) -> dict[str, list[Path]]:
    found = find_files(folder, channel=channel, said=said, wanted=is_of_records, kinds=KINDS)
    if channel not in found:
        raise DataError(f"input {channel}: {folder} holds {' and '.join(found)} data, but none named {channel}")
    return found


def is_of_records(path: Path) -> bool:
    """Whether the file's name is one of such data."""
    return is_lines(path) or path.suffix.lower() in (*PARQUET, *FEATHER)


class Reader:
    """Reads records, which are all of the shape that the first one has."""

    def __init__(self) -> None:
        self.shape: str | None = None
        self._first: Place | None = None
        self._of_messages = False

    def read(self, path: Path) -> Iterator[tuple[Place, Record]]:
        """All records of a file.

        Raises:
            DataError: it can't be read, or a record isn't of that shape, naming its line or row.
        """
        place = Place(path, 0)
        try:
            for number, row in _rows(path):
                place = Place(path, number)
                yield place, self._parse(row, place)
        except Mistake as error:
            raise DataError(f"{place}: {error}") from None
        except (OSError, ValueError, pa.ArrowException) as error:
            raise DataError(f"{path} can't be read: {error}. Correct or remove it") from None
        if not place.number:
            raise DataError(f"{path} has no records; fill or remove it")

    def _parse(self, row: Mapping[str, Any], place: Place) -> Record:
        if self.shape is None:
            self.shape, self._first = _shape_of(row), place
            self._of_messages = isinstance(row.get("prompt"), list)
        if missing := [key for key in SHAPES[self.shape] if key not in row]:
            raise Mistake(
                f"has no {missing[0]!r}, and the first record ({self._first}) has {self.shape}: all records are of one "
                f"shape. It has {_listed(row)}; complete it, or put records of another shape into another job"
            )
        if self.shape == "text":
            return Continuation("", _text(row["text"], "text"))
        if self.shape != "prompt and completion":
            messages = _messages(row[self.shape], self.shape)
            return _learnable(Chat(messages, tools=_tools(row)), self.shape)
        prompt, completion = row["prompt"], row["completion"]
        if isinstance(prompt, list) != self._of_messages:
            raise Mistake(
                f"'prompt' is {kind_of(prompt)}, and that of the first record ({self._first}) is "
                f"{'a list' if self._of_messages else 'a text'}: all records are of one shape"
            )
        if not self._of_messages:
            return Continuation(_text(prompt, "prompt"), _text(completion, "completion"))
        before, after = _messages(prompt, "prompt"), _messages(completion, "completion")
        return _learnable(Chat([*before, *after], len(before), _tools(row)), "completion")


class Mistake(ValueError):
    """What is wrong with a record."""


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if is_lines(path):
        yield from ((number, row) for number, _, row in read_objects(path))
        return
    file = open_arrow(path)
    number = 0
    for batch in file.batches(dict(zip(file.names, file.types, strict=True))):
        for start in range(0, batch.num_rows, ROWS_AT_ONCE):
            for row in batch.slice(start, ROWS_AT_ONCE).to_pylist():
                number += 1
                yield number, {name: _without_nulls(value) for name, value in row.items()}


def _without_nulls(value: Any) -> Any:
    """Of objects only what they had: Arrow gives each of a column all keys of all, null where there is none, and a tool
    would be shown with the others' parameters.
    """
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [*map(_without_nulls, value)] if isinstance(value, list) else value


def _shape_of(row: Mapping[str, Any]) -> str:
    found = next((shape for shape, keys in SHAPES.items() if all(key in row for key in keys)), None)
    if found is None:
        lacks = next((key for key in ("prompt", "completion") if key not in row), "")
        half = {"prompt", "completion"} & row.keys()
        near = next(filter(None, (nearest(key, [*MESSAGES, "prompt", "completion", "text"]) for key in row)), "")
        hint = f"{lacks!r} is missing" if half else near
        raise Mistake(
            f"has {_listed(row)}; a record has messages, a list of {{role, content}}; or prompt and completion; or "
            f"text{f'. {hint}' if hint else ''}"
        )
    return found


def _listed(row: Mapping[str, Any]) -> str:
    return f"the keys {', '.join(map(repr, [*row][:8]))}" if row else "no keys"


def _text(value: Any, key: str) -> str:
    """A text; empty of null."""
    if value is not None and not isinstance(value, str):
        raise Mistake(f"{key!r} is {kind_of(value)}, not a text")
    return value or ""


def _tools(row: Mapping[str, Any]) -> list[Any] | None:
    """What the assistant may call; in tables often a text in JSON, since tools differ in their keys."""
    tools = row.get("tools")
    if isinstance(tools, str) and tools.strip():
        try:
            tools = json.loads(tools)
        except ValueError as error:
            raise Mistake(f"'tools' is a text that is no JSON ({error}); write a list of tools") from None
    if tools and not (isinstance(tools, list) and all(isinstance(each, dict) for each in tools)):
        raise Mistake(f"'tools' is {kind_of(tools)}, not a list of tools, each an object")
    return tools or None


def _messages(value: Any, key: str) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise Mistake(f'{key!r} is {kind_of(value)}, not a list of messages: [{{"role": "user", "content": "…"}}, …]')
    if not value:
        raise Mistake(f"{key!r} is empty; give it messages, or remove the record")
    return [_message(each, f"{key}[{number}]") for number, each in enumerate(value)]


def _message(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Mistake(f"{where} is {kind_of(value)}, not a message: an object with role and content")
    message = {key: item for key, item in value.items() if item is not None}  # null in Parquet: there is none
    if "from" in message and "role" not in message:
        speaker = message.pop("from")
        message["role"] = SPEAKERS.get(speaker, speaker) if isinstance(speaker, str) else speaker
        message["content"] = message.pop("value", None)
    if not isinstance(message.get("role"), str):
        raise Mistake(f"{where} has no 'role' that is a text, such as user or {ASSISTANT}")
    content = message.get("content")
    if not isinstance(content, str) and not (content is None and message.get("tool_calls")):
        raise Mistake(f"{where} has a 'content' that is {kind_of(content)}, not a text")
    if message.get("weight", 1) not in (0, 1):
        raise Mistake(
            f"{where} has the weight {message['weight']!r}; it is 1, or 0 of a message that isn't to be learnt"
        )
    return message


def _learnable(chat: Chat, key: str) -> Chat:
    if not chat.learnt:
        after = chat.messages[chat.first :]
        roles = ", ".join(dict.fromkeys(each["role"] + " (weight 0)" * (each["role"] == ASSISTANT) for each in after))
        raise Mistake(
            f"{key!r} has no message of the {ASSISTANT}, only of {roles}: there is nothing to learn from it; complete "
            "or remove the record"
        )
    if chat.learnt[0] == 0:
        raise Mistake(f"the first message is the {ASSISTANT}'s; begin with one that it answers, or a system message")
    return chat
