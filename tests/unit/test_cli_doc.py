"""docs/cli.md names every command, and no other."""

import re

from documents import DOCS
from footplate.cli.main import SUBCOMMANDS

ELSEWHERE = {"dev", "operator", "ui"}
"""Commands with a page of their own."""


def test_every_command_is_in_the_page_and_no_other() -> None:
    page = (DOCS / "cli.md").read_text()
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    named = {words.split()[0] for cell in cells for words in re.findall(r"`([^`]+)`", cell)}
    assert named == set(SUBCOMMANDS) - ELSEWHERE
