"""`make audit` passes nothing that it couldn't look up."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

AUDIT = runpy.run_path(str(Path(__file__).parents[2] / ".ci/audit"))
GOOD = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
SKIPPED = {"name": "c", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("dependencies", "code", "why"),
    [
        ([GOOD], 0, "audited: 1 packages"),
        ([GOOD, BAD], 1, "b 2: PYSEC-1, mended in 3"),
        ([BAD, SKIPPED], 1, "PYSEC-1"),
        ([GOOD, SKIPPED], 3, "NOT AUDITED: 1 of 2 packages, such as: Dependency not found on PyPI"),
        ([SKIPPED], 3, "NOT AUDITED: 1 of 1"),
        ([], 3, "nothing is locked"),
    ],
)
def test_what_was_not_looked_up_has_not_passed(dependencies: Any, code: int, why: str) -> None:
    found, said = AUDIT["judge"](json.dumps({"dependencies": dependencies}), "")
    assert found == code
    assert why in said


@pytest.mark.parametrize("report", ["", "no JSON", "[]", "{}", "null"])
def test_without_a_report_the_last_word_is_the_reason(report: str) -> None:
    assert AUDIT["judge"](report, "Traceback\nConnectionError: no name\n") == (
        3, "NOT AUDITED: ConnectionError: no name",
    )  # fmt: skip
