"""Where what a pod stores lies, and what a reader makes of it."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footplate import records
from footplate.api.trainingjob import TrainingJobSpec
from footplate.records import Line, Part, attempts_of, part, read_line, standing, to_read, whole, write_line

LOG = records.pod_log(3)


def test_paths() -> None:
    folder = records.records_uri("s3://models/", job="mnist", run=2, uid="0123456789ab")
    assert f"{folder}/{records.pod_logs_folder(7)}/{whole(LOG)}" == (
        "s3://models/mnist/records-2-01234567/pods/attempt-00000007/node-00003.log.gz"
    )
    assert f"{records.METRICS}/{part(records.metrics(7), 12)}" == "metrics/attempt-00000007.jsonl.part-000012.gz"


@pytest.mark.parametrize(
    ("spec", "uri"),
    [
        ({}, None),
        ({"checkpoint": {"uri": "s3://checkpoints/"}}, "s3://checkpoints/"),
        ({"checkpoint": {"uri": "s3://checkpoints/"}, "output": {"uri": "s3://models/"}}, "s3://models/"),
    ],
)
def test_records_lie_with_the_output_else_with_the_checkpoints(spec: dict[str, object], uri: str | None) -> None:
    assert (
        records.base_uri(TrainingJobSpec.model_validate({"trainer": {"image": "i", "entrypoint": "train.py"}, **spec}))
        == uri
    )


def test_a_text_is_read_from_its_parts_until_the_whole_is_there() -> None:
    parts = [part(LOG, number) for number in (0, 1, 10, 9)]
    others = [part(records.pod_log(30), 0), f"{LOG}.part-7.gz", f"{LOG}.gz.part-000001.gz", "node-00003"]
    assert to_read(LOG, [*parts, *others]) == [
        Part(part(LOG, 0)),
        Part(part(LOG, 1)),
        Part(part(LOG, 9), follows_gap=True),
        Part(part(LOG, 10)),
    ]
    assert to_read(LOG, [*parts, whole(LOG)]) == [Part(whole(LOG))]
    assert to_read(LOG, others) == []


def test_parts_one_after_the_other_are_the_whole() -> None:
    assert gzip.decompress(gzip.compress(b"one\n") + gzip.compress(b"two\n")) == b"one\ntwo\n"


def test_attempts_are_those_that_are_named() -> None:
    listed = [part(records.metrics(4), 1), whole(records.metrics(0)), "attempt-00000002/node-00000.log.gz", "other", ""]
    assert attempts_of(listed) == [0, 2, 4]


def test_a_line_is_read_as_it_was_written() -> None:
    line = Line(1_700_000_000.25, 12, None, {"loss": 0.5, "a\n\x1b[2J": 1e300})
    assert read_line(write_line(line)) == line
    assert write_line(line).count(b"\n") == 1


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b'{"time": 1, "step": 2, "metr',
        b"[1]",
        b"\xff\xfe",
        b"[" * 60_000,
        b" " * 70_000,
        json.dumps({"time": 1, "step": 2, "metrics": []}).encode(),
        json.dumps({"time": "now", "step": 2, "metrics": {}}).encode(),
        json.dumps({"time": 1, "step": -2, "metrics": {}}).encode(),
        json.dumps({"time": 1, "step": 2**60, "metrics": {}}).encode(),
        json.dumps({"time": 10**400, "step": 2, "metrics": {}}).encode(),
    ],
)
def test_what_is_no_line_is_none(text: bytes) -> None:
    assert read_line(text) is None


@given(st.binary(max_size=200))
def test_nothing_that_is_read_raises(text: bytes) -> None:
    read_line(text)


def test_of_a_strange_line_what_can_be_used_is() -> None:
    strange = {"time": 1, "step": 2, "epoch": -1, "metrics": {"x" * 100: 1, "b": "NaN", "c": float("nan"), "d": True}}
    assert read_line(json.dumps(strange).encode()) == Line(1.0, 2, None, {"x" * 63: 1.0})


@pytest.mark.parametrize(
    ("steps", "standing_steps"),
    [
        ([(0, 1), (0, 2), (0, 2), (0, 3)], [(0, 1), (0, 2), (0, 2), (0, 3)]),
        ([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3)], [(0, 1), (1, 2), (1, 3)]),
        ([(0, 5), (1, 9), (2, 1)], [(2, 1)]),
        ([(0, 5), (0, 9), (0, 6)], [(0, 5), (0, 6)]),
        ([], []),
    ],
    ids=["goes on", "resumes", "begins anew", "goes back by itself", "nothing"],
)
def test_undone_steps_do_not_stand(steps: list[tuple[int, int]], standing_steps: list[tuple[int, int]]) -> None:
    assert [line for line, holds in zip(steps, standing(steps), strict=True) if holds] == standing_steps
