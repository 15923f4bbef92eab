"""docs/reliability.md: every row names its proof, and each proof is there; every kind of fault of the chaos suite has a
row.
"""

import re

import pytest

from chaos.schedule import KINDS
from documents import DOCS, names_in, read_table

ROWS = read_table("reliability.md", "faults")
TESTS = DOCS.parent / "tests"


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_every_row_is_proved(row: list[str]) -> None:
    proofs = names_in(row[-1])
    assert proofs
    for proof in proofs:
        path, _, name = proof.partition("::")
        text = (TESTS / path).read_text()
        assert not name or re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), proof


def test_every_kind_of_chaos_has_its_row() -> None:
    told = {kind.strip() for row in ROWS for kind in row[1].split(";") if kind.strip()}
    assert told == {str(kind) for kind in KINDS}
