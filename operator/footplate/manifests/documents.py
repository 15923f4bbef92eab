"""Reads manifests as kubectl does, and remembers on which line each field stands."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import yaml

from footplate.api.errors import Problem, join
from footplate.manifests.kubectl_yaml import MERGE, Loader, name_of

STDIN = "-"
SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file: its number from 1, its content, and the line of each field by its path."""

    file: str
    number: int
    content: Any = None
    lines: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    """What is wrong before anyone looks at the content: YAML that can't be read, a key that comes twice."""

    def line_of(self, path: str) -> int:
        """The line of a field or, where it is missing, of the nearest object around it."""
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get(path, 1)


def find_files(path: str) -> list[str]:
    """The manifests that a path names: itself, or all in a folder and below it.

    Raises:
        FileNotFoundError: there is nothing of that name, or no manifest in the folder.
    """
    if path == STDIN:
        return [path]
    if Path(path).is_dir():
        found = sorted(str(each) for each in Path(path).rglob("*") if each.suffix in SUFFIXES and each.is_file())
        if not found:
            raise FileNotFoundError(f"{path} holds no {', '.join(SUFFIXES)} file")
        return found
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} doesn't exist")
    return [path]


def read_documents(file: str, *, stdin: TextIO) -> Iterator[Document]:
    """The documents of a file that aren't empty; one that isn't YAML ends it.

    Raises:
        OSError, UnicodeDecodeError: the file can't be read.
    """
    text = stdin.read() if file == STDIN else Path(file).read_text(encoding="utf-8")
    if text.lstrip().startswith("{"):
        text = text.replace("\t", " ")  # JSON, in which tabs are blanks
    name = "stdin" if file == STDIN else file
    number = 1
    try:
        for node in yaml.compose_all(text, Loader):
            document = _document(name, number, node)
            if document.content is not None or document.problems:
                yield document
            number += 1
    except yaml.YAMLError as error:
        yield _broken(name, number, error)


def _document(file: str, number: int, node: yaml.Node) -> Document:
    lines: dict[str, int] = {}
    try:
        problems = tuple(_map_lines(node, "", lines, seen=set()))
        return Document(file, number, Loader("").construct_document(node), lines, problems)
    except yaml.YAMLError as error:
        return _broken(file, number, error)


def _map_lines(node: yaml.Node, path: str, lines: dict[str, int], *, seen: set[int]) -> Iterator[Problem]:
    """Fills `lines`; yields the keys that come twice, of which the first would be lost in silence."""
    lines.setdefault(path, node.start_mark.line + 1)
    if id(node) in seen:  # an alias; it may even lead back to itself
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _map_lines(item, join(path, index), lines, seen=seen)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.tag == MERGE:  # what it brings has its lines elsewhere
                continue
            child = join(path, name_of(key))
            if child in lines:
                yield Problem(child, None, "comes twice", f"keep one; the first is on line {lines[child]}")
            lines[child] = key.start_mark.line + 1
            yield from _map_lines(value, child, lines, seen=seen)


def _broken(file: str, number: int, error: yaml.YAMLError) -> Document:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error)
    line = mark.line + 1 if mark else 1
    problem = Problem("", None, f"isn't YAML: {what}", "check indentation, quotes and colons around this line")
    return Document(file, number, lines={"": line}, problems=(problem,))
