"""docs/threat-model.md: each threat with a test that is named has that test."""

import re

import pytest

from documents import DOCS, names_in, read_table

TESTS = DOCS.parent / "tests"
MARKS = re.findall(r"<!-- (threats: \w+) -->", (DOCS / "threat-model.md").read_text())
ROWS = [(mark, row) for mark in MARKS for row in read_table("threat-model.md", mark)]


@pytest.mark.parametrize(("mark", "row"), ROWS, ids=[row[0][:50] for _, row in ROWS])
def test_each_threat_is_shown_to_be_stopped_or_said_not_to_be(mark: str, row: list[str]) -> None:
    tried, stops, proofs = row
    assert tried, mark
    if not names_in(proofs):
        assert stops.startswith("nothing of ours"), "without a test it must say who else stops it"
    for proof in names_in(proofs):
        path, _, name = proof.partition("::")
        found = re.search(rf"^(?:async )?def {name}\(", (TESTS / path).read_text(), re.MULTILINE)
        assert found, proof


def test_all_who_might_do_harm_have_a_table() -> None:
    assert {mark.removeprefix("threats: ") for mark in MARKS} >= {
        "tenant", "pod", "network", "token", "artifact", "registry", "client",
    }  # fmt: skip
