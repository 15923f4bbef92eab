"""What a run's data are, from what the preparation has written beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from footplate.api.data import SplitName
from footplate.api.trainingjob import TrainingJobSpec
from footplate.client.connection import Connection
from footplate.client.errors import NothingThere
from footplate.client.storage import StorageUnreadable
from footplate.client.stored import Records, open_records
from footplate.objects import Object, key_of
from footplate_trainer.preparation.layout import FOLDER, PREPARED, PROBLEMS, PROFILE
from footplate_trainer.preparation.report import Prepared, Profile, Violation

T = TypeVar("T")
MAX_BYTES = 16 << 20
"""Of a document that is read: ours of 500 columns has 3 MB at most."""


@dataclass(frozen=True, slots=True)
class JobData:
    """What a run's data are. Texts in it are the data's own."""

    rows: int | None
    """None where checks were broken and nothing was described."""
    splits: Mapping[SplitName, int]
    """Rows of each part, by its name: train, validation, test."""
    problems: Sequence[Violation] = ()
    """The checks that are broken, each with how often, and where first."""
    hints: Sequence[str] = ()
    """What is suspicious, where a profile was asked for."""
    notes: Sequence[str] = ()
    """What was said when the data were read, such as a table's version."""
    profile: Profile | None = field(default=None, repr=False)
    """What each column holds; None where the job asks for no profile."""


def read_data(connection: Connection, job: Object, spec: TrainingJobSpec | None) -> JobData:
    """What was prepared for a job's run.

    Raises:
        NothingThere: the job has no `spec.data`, or they aren't prepared yet.
        StorageUnreadable: it keeps nothing, or that can't be read from here.
    """
    name = key_of(job)[1]
    if spec is not None and spec.data is None:
        raise NothingThere(
            f"TrainingJob {name!r} has no spec.data: nothing has divided, checked or described its data before training"
        )
    found = of_records(open_records(connection, job, spec))
    if found is None:
        raise NothingThere(f"the data of TrainingJob {name!r} aren't prepared yet")
    return found


def of_records(records: Records) -> JobData | None:
    """The same from a run's records; None where nothing is there.

    Raises:
        StorageUnreadable: it can't be read, or is none of ours.
    """
    prepared = _read(records, PREPARED, TypeAdapter(Prepared))
    problems = None if prepared is not None else _read(records, PROBLEMS, TypeAdapter(list[Violation]))
    profile = _read(records, PROFILE, TypeAdapter(Profile))
    if profile is not None:
        hints = [hint.text for hint in profile.hints]
        return JobData(profile.rows, profile.splits, problems or (), hints, profile.notes, profile)
    if prepared is not None:
        return JobData(prepared.rows, prepared.splits, (), prepared.hints, prepared.notes)
    return None if problems is None else JobData(None, {}, problems)


def _read(records: Records, name: str, kind: TypeAdapter[T]) -> T | None:
    raw = records.document(f"{FOLDER}/{name}", most=MAX_BYTES)
    try:
        return kind.validate_json(raw, extra="ignore") if raw is not None else None
    except ValidationError as error:
        raise StorageUnreadable(f"{records.uri}/{FOLDER}/{name} isn't one that Footplate wrote") from error
