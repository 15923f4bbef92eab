"""The termination message fits, whatever there is to say."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footplate.api.reports import (
    ArtifactStatus,
    BrokenRule,
    CheckpointStatus,
    DataClass,
    DataStatus,
    ProgressStatus,
)
from footplate.contract import MAX_VERDICT_BYTES, ExitCode, Failure, parse_verdict
from footplate.curves import curve_of
from footplate_trainer.exchange import RankReport
from footplate_trainer.supervisor.verdict import encode, judge, write_verdict

ARTIFACT = ArtifactStatus(uri="s3://m/a/", manifest="s3://m/a/manifest.json", sha256="0" * 64, size_bytes=1)


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (0, "succeeded"),
        (75, "stopped"),
        (76, "peer_lost"),
        (77, "hang"),
        (70, "failed"),
        (137, "failed"),
        (1, "failed"),
    ],
)
def test_outcome(code: int, outcome: str) -> None:
    assert judge(code).outcome == outcome


def test_a_verdict_tells_what_rank_0_reported(tmp_path: Path) -> None:
    report = RankReport(
        progress=ProgressStatus(step=7, metrics={"loss": 0.5}),
        checkpoint=CheckpointStatus(uri="s3://c/7/", step=7),
        resumed_from_step=3,
        productive_node_seconds=12.5,
        notes=("one", "two"),
    )
    write_verdict(tmp_path / "log", judge(ExitCode.OK, report=report, artifact=ARTIFACT))
    verdict = parse_verdict((tmp_path / "log").read_text())
    assert verdict is not None
    assert (verdict.step, verdict.resumed_from_step, verdict.metrics) == (7, 3, {"loss": 0.5})
    assert (verdict.checkpoint, verdict.artifact) == (report.checkpoint, ARTIFACT)
    assert (verdict.productive_node_seconds, verdict.notes) == (12.5, ["one", "two"])


texts = st.text(st.characters(codec="utf-8"), max_size=3072)


@given(
    message=texts.map(lambda text: text[:1024]),
    trace=texts,
    names=st.sets(texts.map(lambda t: t[:63]), max_size=64),
    notes=st.lists(texts.map(lambda text: text[:1024]), max_size=16),
)
def test_any_verdict_fits_and_is_read_again(message: str, trace: str, names: set[str], notes: list[str]) -> None:
    metrics = dict.fromkeys(names, 0.1234567890123)
    verdict = judge(
        ExitCode.USER_ERROR,
        report=RankReport(progress=ProgressStatus(step=9, metrics=metrics), notes=tuple(notes)),
        error=Failure(rank=1, type="E", message=message, traceback=trace),
        artifact=ARTIFACT.model_copy(update={"metrics": metrics}),
    )
    text = encode(verdict)
    assert len(text) <= MAX_VERDICT_BYTES
    read = parse_verdict(text.decode())
    assert read is not None
    assert (read.exit_code, read.step) == (70, 9)
    assert read.artifact is not None


@given(names=st.lists(texts.map(lambda t: t[:63]), min_size=8, max_size=8), page=texts.map(lambda t: t[:2000]))
def test_what_the_data_are_fits_beside_an_error_and_is_read_again(names: list[str], page: str) -> None:
    data = DataStatus(
        rows=7,
        classes=[DataClass(name=name, rows=1) for name in names],
        broken=[BrokenRule(column=name, rule=(name * 3)[:128], count=1) for name in names[:3]],
        digest="a" * 64,
        profile=page,
    )
    error = Failure(message="x" * 1024)
    text = encode(judge(65, error=error, data=data, report=RankReport(notes=("n" * 1024,) * 16)))
    assert len(text) <= MAX_VERDICT_BYTES
    read = parse_verdict(text.decode())
    assert read is not None
    assert read.exit_code == 65
    small = sum(len(name.encode("unicode-escape")) for name in (*names, page)) < 500
    assert (read.data is not None and read.data.rows == 7) or not small


def test_what_is_most_useful_is_kept() -> None:
    error = Failure(rank=1, type="E", message="what", traceback="x" * 3000 + "the line")
    metrics = {f"metric-number-{i}-with-a-rather-long-name": 1 / 3 for i in range(64)}
    read = parse_verdict(
        encode(judge(70, report=RankReport(progress=ProgressStatus(metrics=metrics)), error=error)).decode()
    )
    assert read is not None
    assert read.error is not None
    assert read.error.message == "what"
    assert read.error.traceback is not None
    assert read.error.traceback.endswith("the line")


@pytest.mark.parametrize(
    ("trace", "notes", "kept"),
    [
        pytest.param("", 2, ["0" * 1024, "1" * 1024], id="all there is room for"),
        pytest.param("x" * 1000, 9, [f"{note}" * 256 for note in (5, 6, 7, 8)], id="the last ones, shortened"),
        pytest.param("x" * 3072, 9, [f"{note}" * 128 for note in (7, 8)], id="few"),
    ],
)
def test_notes_go_before_anything_else(trace: str, notes: int, kept: list[str]) -> None:
    error = Failure(rank=1, type="E", message="what", traceback=trace or None)
    report = RankReport(notes=tuple(str(note) * 1024 for note in range(notes)))
    read = parse_verdict(encode(judge(70, report=report, error=error)).decode())
    assert read is not None
    assert read.notes == kept
    assert read.error == error


def test_the_model_is_in_every_verdict_of_success_or_there_is_none() -> None:
    metrics = {f"metric-{i}": 1 / 3 for i in range(64)}
    report = RankReport(
        progress=ProgressStatus(metrics=metrics), checkpoint=CheckpointStatus(uri=f"s3://{'c' * 2000}", step=1)
    )
    long = ARTIFACT.model_copy(update={"uri": f"s3://{'m' * 1800}", "manifest": f"s3://{'m' * 1800}"})
    read = parse_verdict(encode(judge(0, report=report, artifact=long)).decode())
    assert read is not None
    assert read.artifact == long
    longer = long.model_copy(update={"uri": f"s3://{'m' * 2040}", "manifest": f"s3://{'m' * 2040}"})
    with pytest.raises(ValueError, match="takes more than 4096 bytes"):
        encode(judge(0, report=report, artifact=longer))


@pytest.mark.parametrize(
    "report",
    [
        RankReport(resumed_from_step=-1),
        RankReport(productive_node_seconds=-1.0),
        RankReport(notes=("x" * 5000, "\ud800")),
        RankReport(notes=("x",) * 100),
        RankReport().model_copy(update={"notes": ("caf\udce9",)}),
    ],
    ids=str,
)
def test_no_report_keeps_a_verdict_from_being_told(report: RankReport) -> None:
    read = parse_verdict(encode(judge(0, report=report, artifact=ARTIFACT)).decode())
    assert read is not None
    assert (read.outcome, read.artifact) == ("succeeded", ARTIFACT)


def test_of_a_curve_as_many_points_as_fit_are_told_and_it_is_the_first_to_go() -> None:
    curve = curve_of((step, {"loss": 1 / (1 + step), "accuracy": step / 999}) for step in range(1000))
    report = RankReport(progress=ProgressStatus(step=999, history=curve))
    told = parse_verdict(encode(judge(0, report=report, artifact=ARTIFACT)).decode())
    assert told is not None
    assert told.progress is not None
    assert told.progress.history == curve, "which has room"
    full = report.model_copy(update={"notes": ("note " * 100,) * 5})
    told = parse_verdict(encode(judge(0, report=full, artifact=ARTIFACT)).decode())
    assert told is not None
    assert told.progress is not None
    assert len(told.notes) == 5
    assert told.progress.history is not None
    assert 10 < len(told.progress.history.steps) < len(curve.steps)
    assert told.progress.history.steps[-1] == 999
    crowded = report.model_copy(update={"notes": ("note " * 100,) * 8})
    told = parse_verdict(encode(judge(0, report=crowded, artifact=ARTIFACT)).decode())
    assert told is not None
    assert told.progress is not None
    assert told.progress.history is None
    assert told.notes
