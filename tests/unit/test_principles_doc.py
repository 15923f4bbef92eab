"""docs/principles.md: what is final is a list of reasons that exist, each with its proof."""

import re

import pytest

from documents import DOCS, names_in, read_table
from footplate.policy.reasons import Reason

ROWS = read_table("principles.md", "final")
TESTS = DOCS.parent / "tests"
RUNS = {names_in(row[0])[0] for row in read_table("troubleshooting.md", "reasons: runs")}
FAILURES = {names_in(row[0])[0] for row in read_table("troubleshooting.md", "reasons: attempts") if row[1]}
"""Ends of attempts that somebody pays for, so that a run without a budget ends with them."""


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_every_row_is_proved(row: list[str]) -> None:
    assert [Reason(name) for name in names_in(row[0])]
    proofs = names_in(row[-1])
    assert proofs
    for proof in proofs:
        path, _, name = proof.partition("::")
        assert re.search(rf"^def {name}\(", (TESTS / path).read_text(), re.MULTILINE), proof


def test_every_end_of_a_run_is_on_the_list() -> None:
    assert {name for row in ROWS for name in names_in(row[0])} >= RUNS | FAILURES
