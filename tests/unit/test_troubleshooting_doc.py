"""docs/troubleshooting.md explains every reason that a status may show, and says rightly who pays."""

from datetime import UTC, datetime

import pytest

from documents import names_in, read_table
from footplate.policy.failure import Failure
from footplate.policy.reasons import Reason

PARTS = ("waiting", "attempts", "notices", "runs")
ROWS = {names_in(row[0])[0]: row for part in PARTS for row in read_table("troubleshooting.md", f"reasons: {part}")}
CLASSES = {Reason(names_in(row[0])[0]): row[1] for row in read_table("troubleshooting.md", "reasons: attempts")}


def test_every_reason_has_its_row() -> None:
    explained = [names_in(row[0])[0] for part in PARTS for row in read_table("troubleshooting.md", f"reasons: {part}")]
    assert sorted(explained) == sorted(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_every_row_says_why_and_what_to_do(reason: Reason) -> None:
    *_, why, what_to_do = ROWS[reason]
    assert len(why) > 15
    assert what_to_do


@pytest.mark.parametrize(("reason", "class_"), [(reason, class_) for reason, class_ in CLASSES.items() if class_])
def test_who_pays(reason: Reason, class_: str) -> None:
    assert Failure(reason, "", datetime.now(UTC)).failure_class == class_
