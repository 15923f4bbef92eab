"""What pods say of progress, checkpoint and artifact, and what is believed."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from footplate.api.reports import ProgressStatus
from footplate.api.scalars import format_time
from footplate.api.status import Phase, TrainingJobStatus
from footplate.contract import Progress
from footplate.curves import MAX_BYTES
from footplate.policy.job import with_attempt_ended
from footplate.policy.progress import believed, last_step, on_our_clock, update
from footplate.policy.reasons import Reason
from unit.policy.build import NOW, UID, at, gang, job, look, pod, status, terminated

JSON = dict[str, Any]
NEW, OLD = at(-100), at(-700)
"""Since and before the attempt began."""
STATUS = TrainingJobStatus.model_validate(status(job()))


def polled(step: int = 7, *, uid: str = UID, run: int = 1, attempt: int = 0, **more: Any) -> Progress:
    raw = {"uid": uid, "run": run, "attempt": attempt, "progress": {"step": step}, **more}
    return Progress.model_validate(raw)


def checkpoint(step: int) -> JSON:
    return {"uri": f"s3://bucket/step-{step}/", "step": step}


def says(rank: int = 0, *, attempt: int = 0, run: int = 1, **verdict: Any) -> JSON:
    message = json.dumps({"outcome": "succeeded", "exitCode": 0, **verdict})
    state = terminated(0, message=message)
    return pod(rank, phase="Succeeded", attempt=attempt, run=run, state=state)


def after(*pods: JSON, poll: Progress | None = None, before: TrainingJobStatus = STATUS) -> TrainingJobStatus:
    return update(before, polled=believed(poll, before, uid=UID), gang=gang(*pods), now=NOW)


@pytest.mark.parametrize(
    ("poll", "believed"),
    [
        (polled(), True),
        (polled(uid="another"), False),
        (polled(run=2), False),
        (polled(attempt=1), False),
        (None, False),
    ],
    ids=["its own", "another job's", "another run's", "another attempt's", "none"],
)
def test_only_the_present_attempt_is_believed(poll: Progress | None, believed: bool) -> None:
    assert (after(poll=poll).progress == ProgressStatus(step=7)) is believed


def test_polled_checkpoint_and_where_it_resumed_from() -> None:
    result = after(poll=polled(checkpoint=checkpoint(5), resumedFromStep=3))
    assert result.checkpoint is not None
    assert (result.checkpoint.step, result.attempts[-1].resumed_from_step) == (5, 3)


def test_of_snapshots_without_a_step_the_later_one_counts() -> None:
    old, new = ({"uri": f"s3://bucket/{name}/", "time": time} for name, time in (("old", at(-50)), ("new", at(-20))))
    for first, second in ((old, new), (new, old)):
        result = after(says(1, checkpoint=first), says(0, checkpoint=second))
        assert result.checkpoint is not None
        assert (result.checkpoint.uri, result.checkpoint.step) == ("s3://bucket/new/", None)


def test_the_newest_checkpoint_of_the_run_counts() -> None:
    pods = (says(1, checkpoint=checkpoint(9)), says(0, attempt=5, checkpoint=checkpoint(12)))
    result = after(*pods, says(1, run=0, attempt=0, checkpoint=checkpoint(99)), poll=polled(checkpoint=checkpoint(5)))
    assert result.checkpoint is not None
    assert result.checkpoint.step == 12
    assert after(before=result, poll=polled(checkpoint=checkpoint(3))).checkpoint == result.checkpoint


def test_a_damaged_checkpoint_is_not_the_newest() -> None:
    """The attempt before saved step 9, and this one could only read step 4."""
    before = TrainingJobStatus.model_validate({**STATUS.to_json(), "checkpoint": {**checkpoint(9), "time": OLD}})
    said = polled(checkpoint={**checkpoint(4), "time": OLD}, resumedFromStep=4)
    found = after(before=before, poll=said).checkpoint
    assert (found and found.step) == 4
    assert after(before=before, poll=polled()).checkpoint == before.checkpoint
    ended = with_attempt_ended(before, Reason.COMPLETED, now=NOW)
    assert after(before=ended, poll=said).checkpoint == before.checkpoint


def test_last_words_tell_where_an_attempt_resumed() -> None:
    """It was over before anybody asked."""
    assert after(says(0, resumedFromStep=6)).attempts[-1].resumed_from_step == 6
    assert after(says(1, resumedFromStep=6)).attempts[-1].resumed_from_step is None


def test_an_attempt_may_come_further_while_it_stops() -> None:
    ended = with_attempt_ended(STATUS, Reason.SUSPENDED, now=NOW, last_step=28)
    assert after(says(0, step=36), says(1, step=35), before=ended).attempts[-1].last_step == 36
    assert after(says(0, step=20), before=ended).attempts[-1].last_step == 28
    assert after(before=ended).attempts[-1].last_step == 28


def test_a_step_stays_until_the_next_attempt_says_another() -> None:
    """It loads, and has none yet: what the user sees doesn't go back to nothing."""
    known = STATUS.model_copy(update={"progress": ProgressStatus(step=40)})
    assert after(pod(0), poll=polled(progress={"totalSteps": 100}), before=known).progress == known.progress
    said = after(pod(0), poll=polled(progress={"step": 35}), before=known).progress
    assert said is not None
    assert said.step == 35


def test_rank_0_has_the_last_word() -> None:
    artifact = {"uri": "s3://m/", "manifest": "s3://m/manifest.json", "sha256": "a" * 64, "sizeBytes": 5}
    spoken: JSON = {"artifact": artifact, "progress": {"step": 9}}
    result = after(says(0, **spoken), poll=polled(8))
    assert result.artifact is not None
    assert result.progress == ProgressStatus(step=9)
    assert after(says(1, **spoken)).artifact is None
    assert after(says(0), before=result).artifact == result.artifact


@pytest.mark.parametrize(
    ("exit_code", "said", "percent"),
    [
        pytest.param(0, 35.0, 100.0, id="done"),
        pytest.param(80, 35.0, 100.0, id="gate not passed"),
        pytest.param(1, 35.0, 35.0, id="failed"),
        pytest.param(0, None, None, id="not known"),
    ],
)
def test_what_has_stopped_early_is_done(exit_code: int, said: float | None, percent: float | None) -> None:
    progress = {"step": 70, "totalSteps": 200, "epoch": 7, "epochs": 20, "percent": said}
    shown = after(says(0, exitCode=exit_code, progress=progress)).progress
    assert shown is not None
    assert (shown.percent, shown.step, shown.total_steps, shown.epoch, shown.epochs) == (percent, 70, 200, 7, 20)


def test_an_older_poll_does_not_outlive_the_last_word() -> None:
    """The finished pods are deleted a moment before the poll is forgotten."""
    spoken = after(says(0, progress={"step": 9}), poll=polled(8))
    ended = with_attempt_ended(spoken, Reason.COMPLETED, now=NOW)
    assert after(before=ended, poll=polled(8)).progress == ProgressStatus(step=9)


@pytest.mark.parametrize(
    ("pods", "progress", "step"),
    [
        ([], None, None),
        ([], 5, 5),
        ([says(0, step=3), says(1, step=4)], 9, 4),
        ([says(0)], 9, 9),
    ],
)
def test_last_step(pods: list[JSON], progress: int | None, step: int | None) -> None:
    known = STATUS.model_copy(update={"progress": ProgressStatus(step=progress)})
    assert last_step(known, gang(*pods)) == step


@pytest.mark.parametrize("step", [-1, 2**60, 1e300], ids=str)
def test_numbers_that_json_doesnt_carry_are_refused(step: float) -> None:
    assert after(says(0, step=5, checkpoint={"uri": "s3://b/", "step": step})).checkpoint is None


CHECKPOINTED = [
    pytest.param([], {"step": 5, "updateTime": NEW}, {**checkpoint(6), "time": NEW}, 6, id="newer than the poll"),
    pytest.param([], {"step": 7, "updateTime": NEW}, {**checkpoint(6), "time": NEW}, 7, id="older than the poll"),
    pytest.param([], {"step": 3, "updateTime": NEW}, {**checkpoint(6), "time": OLD}, 3, id="another attempt's"),
    pytest.param([], {"step": 9, "updateTime": OLD}, {**checkpoint(6), "time": OLD}, None, id="nothing of this one"),
    pytest.param([says(0, step=4)], {}, {**checkpoint(6), "time": NEW}, 6, id="newer than the last words"),
]


@pytest.mark.parametrize(("pods", "progress", "saved", "step"), CHECKPOINTED)
def test_last_step_of_this_very_attempt(pods: list[JSON], progress: JSON, saved: JSON, step: int | None) -> None:
    raw = {**STATUS.to_json(), "progress": progress, "checkpoint": saved}
    assert last_step(TrainingJobStatus.model_validate(raw), gang(*pods)) == step


NOTES = [
    pytest.param([], ["a", "b"], ["a", "b"], id="first"),
    pytest.param(["a", "b"], ["b", "a"], ["a", "b"], id="known: nothing changes"),
    pytest.param(["a", "b"], ["c"], ["a", "b", "c"], id="one more"),
    pytest.param(["a", "b"], ["a", "c"], ["b", "a", "c"], id="said again with news"),
    pytest.param([], ["a", "", "a"], ["a"], id="each once"),
    pytest.param([*"abcdefgh"], ["i"], [*"bcdefghi"], id="the newest eight"),
    pytest.param([], [*"abcdefghij"], [*"cdefghij"], id="more than are kept"),
    pytest.param([*"cdefghij"], [*"abcdefghij"], [*"cdefghij"], id="and the same again"),
    pytest.param([], ["x" * 1024, "\x1b[1m"], ["x" * 1024, "[1m"], id="cleaned"),
]


@pytest.mark.parametrize(("known", "said", "kept"), NOTES)
def test_notes(known: list[str], said: list[str], kept: list[str]) -> None:
    before = STATUS.model_copy(update={"notes": known})
    assert after(poll=polled(notes=said), before=before).notes == kept


def test_notes_of_last_words_count_for_the_run() -> None:
    pods = (says(0, notes=["a"]), says(1, attempt=7, notes=["b"]), says(1, run=0, notes=["another run's"]))
    assert set(after(*pods).notes) == {"a", "b"}


def straggler(rank: int, node_rank: int, factor: float = 1.84, **more: Any) -> JSON:
    return {"rank": rank, "nodeRank": node_rank, "factor": factor, **more}


def stragglers(*said: JSON, step: int = 7, before: TrainingJobStatus = STATUS) -> TrainingJobStatus:
    return after(pod(0), pod(1, on="node-1"), poll=polled(step, stragglers=list(said)), before=before)


def test_a_straggler_gets_the_node_that_the_operator_sees() -> None:
    lies = [straggler(3, 1, node="somebody-elses"), straggler(9, 4), straggler(1, 0)]
    found = [(each.rank, each.node, each.factor) for each in stragglers(*lies).stragglers]
    assert found == [(3, "node-1", 1.8), (1, "node-0", 1.8)]


def test_a_factor_alone_is_no_news() -> None:
    first = stragglers(straggler(3, 1))
    assert stragglers(straggler(3, 1, 9.0), before=first) == first
    assert stragglers(straggler(3, 1, 9.0), step=8, before=first).stragglers[0].factor == 9.0
    assert stragglers(before=first).stragglers == []


def test_stragglers_go_with_their_attempt() -> None:
    slow = stragglers(straggler(3, 1)).to_json()["stragglers"]
    plan = look(job(), pod(0), pod(1, phase="Failed"), stragglers=slow)
    assert plan.status is not None
    assert plan.status["stragglers"] == []
    running = look(job(), pod(0), pod(1), stragglers=slow)
    assert running.status is not None
    assert running.status["stragglers"] == slow


@pytest.mark.parametrize(
    "said", ["1970-01-01T00:00:00+23:59", "9000-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"]
)
def test_a_time_that_is_out_of_bounds_in_utc_is_never_taken(said: str) -> None:
    """The status is written in UTC, and must be readable at the next look."""
    with pytest.raises(ValueError, match="must lie between"):
        ProgressStatus.model_validate({"step": 1, "updateTime": said})


def test_last_words_of_an_attempt_that_never_got_to_a_step_wipe_nothing() -> None:
    known = ProgressStatus(epoch=3, step=1000, total_steps=9380)
    before = STATUS.model_copy(update={"progress": known})
    assert after(says(outcome="failed", exitCode=1, progress={"metrics": {}}), before=before).progress == known
    assert after(says(progress={"step": 2000}), before=before).progress == ProgressStatus(step=2000)


def curve(*steps: int, **metrics: float) -> JSON:
    return {"steps": [*steps], "metrics": {name: [value] * len(steps) for name, value in metrics.items()}}


def said_curve(*steps: int, loss: float = 1.0, **more: Any) -> Progress:
    return polled(progress={"step": steps[-1] if steps else 0, "history": curve(*steps, loss=loss)}, **more)


def shown(status: TrainingJobStatus) -> list[tuple[int, float | None]]:
    assert status.progress is not None
    assert status.progress.history is not None
    return list(zip(status.progress.history.steps, status.progress.history.metrics["loss"], strict=True))


def test_a_curve_goes_on_over_attempts_without_what_was_undone() -> None:
    first = after(poll=said_curve(1, 5, 9))
    assert shown(first) == [(1, 1.0), (5, 1.0), (9, 1.0)]
    assert shown(after(before=first, poll=said_curve(6, 7, loss=0.5))) == [(1, 1.0), (5, 1.0), (6, 0.5), (7, 0.5)]
    assert shown(after(before=first, poll=said_curve())) == shown(first), "it loads"
    assert shown(after(before=first, poll=polled(9))) == shown(first), "it says none"


def test_last_words_add_what_came_after_the_last_poll() -> None:
    """They have room for a few points only."""
    known = after(poll=said_curve(1, 2, 3, 4))
    words = says(progress={"step": 6, "history": curve(1, 6, loss=0.5)})
    assert shown(after(words, before=known, poll=said_curve(1, 2, 3, 4))) == [*shown(known), (6, 0.5)]
    dated = known.model_copy(update={"progress": known.progress.model_copy(update={"update_time": NOW})})  # type: ignore[union-attr]
    assert shown(after(words, before=dated)) == [*shown(known), (6, 0.5)]
    assert shown(after(words)) == [(1, 0.5), (6, 0.5)], "nobody had asked"


def test_last_words_add_what_was_reported_after_the_last_poll_at_the_same_step() -> None:
    known = after(poll=said_curve(1, 2, 3, 4))
    words = says(
        progress={"step": 4, "history": {"steps": [1, 4], "metrics": {"loss": [1.0] * 2, "test": [None, 0.9]}}}
    )
    history = after(words, before=known, poll=said_curve(1, 2, 3, 4)).progress.history  # type: ignore[union-attr]
    assert history is not None
    assert (history.steps, history.metrics) == ([1, 2, 3, 4], {"loss": [1.0] * 4, "test": [None, None, None, 0.9]})


def test_the_last_words_of_another_attempt_undo_what_it_did_again() -> None:
    known = after(poll=said_curve(1, 2, 3, 4))
    old = known.model_copy(update={"progress": known.progress.model_copy(update={"update_time": NOW - HOUR})})  # type: ignore[union-attr]
    words = says(progress={"step": 3, "history": curve(2, 3, loss=0.5)})
    assert shown(after(words, before=old)) == [(1, 1.0), (2, 0.5), (3, 0.5)]


def test_a_finished_run_gets_no_curve_any_more() -> None:
    """The store has none of finished jobs, so that what is written would be all there is."""
    over = STATUS.model_copy(update={"phase": Phase.SUCCEEDED})
    words = says(progress={"step": 6, "history": curve(1, 6, loss=0.5)})
    found = after(words, before=over).progress
    assert found is not None
    assert found.history is None


def test_a_curve_that_says_nothing_new_changes_nothing() -> None:
    """Thinned twice, a curve could differ, and each look would be another write."""
    many = said_curve(*range(0, 4000, 37))
    known = after(before=after(poll=said_curve(*range(100))), poll=many)
    assert after(before=known, poll=many).progress == known.progress


LIES = [
    pytest.param({"steps": [5, 3, 3, 9], "metrics": {"loss": [1.0, 2.0]}}, id="neither ascending nor whole"),
    pytest.param({"steps": [], "metrics": {"loss": [1.0]}}, id="values without steps"),
    pytest.param({"steps": [2**53] * 120, "metrics": {}}, id="one step for ever"),
    pytest.param(
        {
            "steps": [number * 10**13 for number in range(120)],
            "metrics": {f"{name}" + "\N{WHITE SQUARE}" * 62: [1.2345678901234567e-300] * 120 for name in range(8)},
        },
        id="as long as it can be",
    ),
]


@pytest.mark.parametrize("lie", LIES)
def test_a_curve_that_lies_stays_within_its_bounds(lie: JSON) -> None:
    status = STATUS
    for step in (1, 7):
        said = polled(progress={"step": step, "history": lie})
        status = after(before=after(before=status, poll=said), poll=said_curve(step, step + 1))
    text = json.dumps(status.to_json()["progress"].get("history", {}), ensure_ascii=False, separators=(",", ":"))
    assert len(text.encode()) <= MAX_BYTES
    assert TrainingJobStatus.model_validate(status.to_json()) == status


@pytest.mark.parametrize("lie", [{"steps": [1] * 121}, {"steps": [-1]}, {"metrics": {"loss": [float("nan")]}}, "x"])
def test_what_is_no_curve_at_all_is_refused_with_all_that_is_said(lie: Any) -> None:
    with pytest.raises(ValueError, match="history"):
        polled(progress={"step": 1, "history": lie})


WITHIN_REASON = [
    pytest.param({"percent": -5.0}, {"percent": 0}, id="less than nothing"),
    pytest.param({"percent": 1e300}, {"percent": 100}, id="more than all"),
    pytest.param({"etaSeconds": 3421}, {"etaSeconds": 3421, "eta": "57m"}, id="eta"),
    pytest.param({"etaSeconds": 2**53, "eta": "<b>"}, {}, id="no eta"),
    pytest.param({"lastStepTime": at(-9)}, {"lastStepTime": at(-9)}, id="last step"),
    pytest.param({"lastStepTime": at(20)}, {"lastStepTime": at(20)}, id="a clock that is a little ahead"),
    pytest.param({"lastStepTime": at(40)}, {}, id="a step in the future"),
]


@pytest.mark.parametrize(("said", "told"), WITHIN_REASON)
def test_what_is_said_is_told_within_reason(said: JSON, told: JSON) -> None:
    found = after(poll=polled(progress={"step": 1, **said})).progress
    assert found is not None
    assert found.to_json() == {"step": 1, "metrics": {}, **told}


def test_who_does_not_train_has_no_eta() -> None:
    known = after(poll=polled(progress={"step": 1, "etaSeconds": 90}))
    assert known.progress is not None
    assert known.progress.eta == "1m30s"
    ended = after(says(progress={"step": 2, "etaSeconds": 80}), before=known).progress
    assert (ended and (ended.step, ended.eta_seconds, ended.eta)) == (2, None, None)
    plan = look(job(), pod(0), pod(1, phase="Failed"), progress=polled(progress={"step": 1, "etaSeconds": 90}))
    assert plan.status is not None
    assert plan.status["progress"] == {"step": 1, "metrics": {}}


def on_clock(theirs: timedelta, **times: str) -> list[str | None]:
    said = polled(progress={"step": 1, **times})
    found = on_our_clock(said, theirs=NOW + theirs, now=NOW).progress
    return [time and format_time(time) for time in (found.update_time, found.last_step_time)]


SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


def test_times_are_told_by_our_clock() -> None:
    said = {"updateTime": at(3600), "lastStepTime": at(3590)}
    assert on_clock(HOUR, **said) == [at(), at(-10)]
    assert on_clock(-HOUR, updateTime=at(-3600)) == [at(), None]
    assert on_clock(20 * SECOND, updateTime=at(20)) == [at(20), None], "an answer may be under way for so long"


@pytest.mark.parametrize("said", ["1970-06-01T00:00:00Z", "8999-12-31T00:00:00Z"])
@pytest.mark.parametrize("theirs", ["0001-01-01T00:00:00Z", "1971-01-01T00:00:00Z", "9999-12-31T23:00:00Z"])
def test_no_clock_makes_a_time_that_the_status_can_not_hold(said: str, theirs: str) -> None:
    progress = polled(progress={"step": 1, "updateTime": said, "lastStepTime": said})
    moved = on_our_clock(progress, theirs=datetime.fromisoformat(theirs), now=NOW)
    status = after(poll=moved)
    assert TrainingJobStatus.model_validate(status.to_json()) == status


def tracked(name: str = "mlflow", url: str = "https://mlflow.example.com/#/runs/1") -> JSON:
    return {"tracking": [{"name": name, "url": url}]}


def links(status: TrainingJobStatus) -> list[str]:
    return [run.url for run in status.tracking]


def test_where_trackers_show_the_run_stays_until_it_is_said_anew() -> None:
    before = after(poll=polled(**tracked(url="https://a/1")))
    assert links(before) == ["https://a/1"]
    assert links(after(poll=polled(8), before=before)) == ["https://a/1"], "an attempt that doesn't know it yet"
    assert links(after(says(0, **tracked(url="https://a/2")), before=before)) == ["https://a/2"]


def test_a_folder_in_storage_may_have_any_letters_that_a_uri_may_have() -> None:
    url = "s3://models/größe/records-1-4f2a91c0/tensorboard/"
    assert links(after(poll=polled(**tracked(url=url)))) == [url]


@pytest.mark.parametrize(
    "lie",
    [
        tracked(url="javascript:alert(1)"),
        tracked(url="https://user:word@a/1"),
        tracked(url="https://a/größe"),
        tracked(url="s3://a/one two"),
        tracked(url="s3://a/\u202eb"),
        tracked(url="https://a/" + "1" * 3000),
        {"tracking": tracked()["tracking"] * 2},
        {"tracking": [{"name": str(number), "url": "https://a/"} for number in range(9)]},
    ],
    ids=["a script", "credentials", "letters of no host", "a blank", "turned round", "long", "twice", "many"],
)
def test_what_is_no_link_is_refused_with_all_that_is_said(lie: JSON) -> None:
    with pytest.raises(ValueError):
        polled(**lie)
    assert links(after(says(0, **lie))) == []


DATA: JSON = {"rows": 9, "splits": [{"name": "train", "rows": 9, "share": 1.0}], "digest": "a" * 64}


def test_what_the_data_are_stays_until_an_attempt_says_it_anew() -> None:
    known = after(says(data=DATA))
    assert known.data is not None
    assert known.data.rows == 9
    assert after(says(), before=known).data == known.data
    told = after(says(), poll=polled(data={**DATA, "rows": 10}), before=known)
    assert told.data is not None
    assert told.data.rows == 10


@pytest.mark.parametrize(
    "lie",
    [
        {"rows": -1},
        {"rows": "9"},
        {"rows": 2**60},
        {"splits": [{"name": "train", "rows": 9, "share": 7.0}]},
        {"splits": [{"name": "x", "rows": 9, "share": 1.0}]},
        {"splits": [{"name": "train", "rows": 9, "share": 1.0}] * 2},
        {"classes": [{"name": "x" * 64, "rows": 1}]},
        {"classes": [{"name": "x", "rows": 1}] * 9},
        {"broken": [{"rule": "x", "count": 1}] * 4},
        {"digest": "a" * 65},
        {"profile": "s3://" + "x" * 3000},
        {"profile": {"a": 1}},
    ],
    ids=str,
)
def test_data_that_no_honest_pod_tells_are_not_believed(lie: JSON) -> None:
    assert after(says(data={**DATA, **lie})).data is None


def test_texts_of_the_data_are_of_one_line_and_without_what_moves_a_cursor() -> None:
    evil = "\x1b[31mx\nReason: Succeeded"
    told = {"classes": [{"name": evil, "rows": 1}, {"name": "\n" * 63, "rows": 1}], "profile": evil}
    told |= {"broken": [{"column": evil, "rule": evil, "count": 1}]}
    data = after(says(data={**DATA, **told})).data
    assert data is not None
    (rule,) = data.broken
    assert {data.classes[0].name, data.profile, rule.column, rule.rule} == {"[31mx | Reason: Succe…"}
    assert TrainingJobStatus.model_validate(after(says(data={**DATA, **told})).to_json()).data == data
