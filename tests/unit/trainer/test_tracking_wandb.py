"""What W&B's run is made of, and when none is made. The run itself: tests/frameworks/test_wandb.py."""

import sys
from pathlib import Path

import pytest

from footplate.api.tracking import WandbTracking
from footplate.records import Line
from footplate_trainer.storage.store import Store
from footplate_trainer.supervisor.tracking.tracker import End, Subject, TrackerTrouble
from footplate_trainer.supervisor.tracking.wandb import Wandb, thinned


def line(step: int, **metrics: float) -> Line:
    return Line(1e9 + step, step, None, metrics or {"loss": float(step)})


def run(tmp_path: Path, *lines: tuple[int, Line]) -> Wandb:
    (tmp_path / "logs").mkdir(exist_ok=True)
    subject = Subject(
        namespace="team", job="digits", uid="0123456789", run=2, attempt=0, image="i", parameters={"lr": "1"}
    )
    return Wandb(
        WandbTracking(entity="vision"),
        subject,
        logs_dir=tmp_path / "logs",
        uri=f"file://{tmp_path}/stored",
        open_store=lambda uri: Store.open(uri),
        lines=lambda: lines,
        python=lambda: Path(sys.executable),
    )


def test_steps_that_were_undone_are_left_out() -> None:
    lines = [(0, line(1)), (0, line(2)), (0, line(3)), (1, line(2, loss=9.0)), (1, line(2, acc=1.0)), (1, line(4))]
    assert [(each.step, each.metrics) for each in thinned(lines)] == [
        (1, {"loss": 1.0}), (2, {"loss": 9.0}), (2, {"acc": 1.0}), (4, {"loss": 4.0}),
    ]  # fmt: skip


@pytest.mark.parametrize("count", [10, 11, 39, 40, 41, 1000])
def test_of_many_lines_neighbours_are_told_as_one(count: int) -> None:
    lines = [(0, line(step, **{"loss": float(step), f"at {step % 3}": 1.0})) for step in range(count)]
    kept = thinned(lines, most=10)
    assert len(kept) <= 10
    assert kept[-1].step == count - 1
    assert [each.step for each in kept] == sorted({each.step for each in kept})
    assert all(each.metrics["loss"] == each.step for each in kept), "the newest value"
    if count > 30:
        assert {"at 0", "at 1", "at 2"} <= {*kept[0].metrics}, "and what is said besides"


def test_a_line_of_another_attempt_says_nothing_of_this_one() -> None:
    lines = [(0, line(step, old=1.0)) for step in range(5)] + [(1, line(step, new=1.0)) for step in range(5)]
    assert all(each.metrics == {"new": 1.0} for each in thinned(lines, most=5))


def test_without_a_key_the_code_is_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    expected = {
        "WANDB_PROJECT": "team", "WANDB_ENTITY": "vision", "WANDB_RUN_ID": "digits-2-01234567",
        "WANDB_RESUME": "allow", "WANDB_NAME": "digits", "WANDB_DIR": str(tmp_path / "logs"),
    }  # fmt: skip
    assert run(tmp_path).environment == {**expected, "WANDB_MODE": "offline"}
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert run(tmp_path).environment == expected


def test_an_image_without_the_library_says_so(tmp_path: Path) -> None:
    with pytest.raises(TrackerTrouble, match=r"the image has no wandb; name it in trainer\.requirements"):
        run(tmp_path, (0, line(1))).end(End("succeeded"))


def test_a_library_that_fails_is_told_by_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "packages"
    broken.mkdir()
    (broken / "wandb.py").write_text("raise ValueError('too old')")
    monkeypatch.setenv("PYTHONPATH", str(broken))
    with pytest.raises(TrackerTrouble, match="its library says: ValueError: too old"):
        run(tmp_path, (0, line(1))).end(End("succeeded"))


@pytest.mark.parametrize("kind", ["run", "offline-run"])
def test_the_codes_own_run_is_left_alone(tmp_path: Path, kind: str) -> None:
    made = run(tmp_path, (0, line(1)))
    (tmp_path / f"logs/wandb/{kind}-20260101_000000-digits-2-01234567").mkdir(parents=True)
    made.end(End("succeeded"))
    assert made.url == ""


def test_of_nothing_no_run_is_made(tmp_path: Path) -> None:
    made = run(tmp_path)
    made.end(End("succeeded"))
    assert made.url == ""
