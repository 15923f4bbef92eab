"""The documents as a whole: README leads to each of them, decisions are numbered once, changes are told once."""

import re

from documents import DOCS

ROOT = DOCS.parent


def test_readme_leads_to_every_document() -> None:
    text = (ROOT / "README.md").read_text()
    assert [page.name for page in sorted(DOCS.glob("*.md")) if f"](docs/{page.name}" not in text] == []


def test_each_decision_has_a_number_of_its_own() -> None:
    pages = sorted((DOCS / "decisions").glob("*.md"))
    assert [page.name[:3] for page in pages] == [f"{number:03}" for number in range(1, len(pages) + 1)]
    assert [page.name for page in pages if not page.read_text().startswith(f"# {page.name[:3]}: ")] == []


def test_nothing_is_told_twice_in_the_changelog() -> None:
    starts = re.findall(r"^- (.{40})", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert [start for start in set(starts) if starts.count(start) > 1] == []
