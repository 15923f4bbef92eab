"""What a job's status says of its data: in short, from what was prepared, or from the checks that are broken. Needs no
pyarrow.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter

from footplate.api.data import SplitName
from footplate.api.reports import (
    MAX_BROKEN_RULES,
    MAX_CLASS_NAME,
    MAX_CLASSES,
    MAX_RULE,
    BrokenRule,
    DataClass,
    DataPart,
    DataStatus,
)
from footplate_trainer.errors import sendable
from footplate_trainer.preparation.layout import PROBLEMS, PROFILE
from footplate_trainer.preparation.report import Prepared, Profile, ValueCount, Violation
from footplate_trainer.storage.fetch import listing_digest

_VIOLATIONS = TypeAdapter(list[Violation])


def of_prepared(prepared: Prepared, *, profile: str | None) -> DataStatus:
    """Of data that are as they should be; `profile` is where the page of their profile is kept."""
    return DataStatus(
        rows=prepared.rows,
        splits=_parts(prepared.splits, prepared.rows),
        class_count=prepared.class_count,
        classes=_classes(prepared.classes),
        digest=digest_of(prepared.inputs),
        profile=profile,
    )


def of_broken(folder: Path, digests: Mapping[str, str], *, profile: str | None) -> DataStatus | None:
    """Of data that break checks, by what was written of them into a folder; None where they break none."""
    if not (folder / PROBLEMS).is_file():
        return None
    broken = _VIOLATIONS.validate_json((folder / PROBLEMS).read_bytes())
    found = Profile.model_validate_json((folder / PROFILE).read_bytes())
    label = next((column for column in found.columns if column.name == found.label), None)
    return DataStatus(
        rows=found.rows,
        splits=_parts(found.splits, found.rows),
        class_count=None if label is None else label.distinct,
        classes=_classes((label and label.values) or ()),
        problems=len(broken),
        broken=[
            BrokenRule(
                column=_cut(each.column, MAX_CLASS_NAME) or None, rule=_cut(each.rule, MAX_RULE), count=each.count
            )
            for each in broken[:MAX_BROKEN_RULES]
        ],
        digest=digest_of(digests),
        profile=profile,
    )


def digest_of(digests: Mapping[str, str]) -> str:
    """One SHA-256 of the data of all channels, as DataStatus.digest defines it."""
    return next(iter(digests.values())) if len(digests) == 1 else listing_digest(digests)


def _parts(rows: Mapping[SplitName, int], total: int) -> list[DataPart]:
    return [DataPart(name=name, rows=count, share=round(count / max(1, total), 4)) for name, count in rows.items()]


def _classes(values: Sequence[ValueCount]) -> list[DataClass]:
    return [DataClass(name=_cut(each.value, MAX_CLASS_NAME), rows=each.count) for each in values[:MAX_CLASSES]]


def _cut(text: str, most: int) -> str:
    text = sendable(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"
