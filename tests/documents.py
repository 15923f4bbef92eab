"""Reads what docs/ promise, for tests to hold against the code: each promise stands below a comment that names it."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def read_block(document: str, mark: str) -> str:
    """What stands between `<!-- mark -->` and the next empty line outside a fence; a fence's content without it."""
    text = (DOCS / document).read_text()
    _, found, rest = text.partition(f"<!-- {mark} -->\n")
    assert found, f"docs/{document} has no <!-- {mark} -->"
    if rest.startswith("```"):
        return rest.partition("\n")[2].partition("\n```")[0]
    return rest.partition("\n\n")[0]


def read_table(document: str, mark: str) -> list[list[str]]:
    """The cells of a table's rows, without its head."""
    lines = read_block(document, mark).splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def names_in(cell: str) -> list[str]:
    """What a cell has between backquotes, in its order."""
    return re.findall(r"`([^`]*)`", cell)
