"""What Comet's experiment is made of, and when none is made. The experiment itself: tests/frameworks/test_comet.py."""

from pathlib import Path

import pytest

from footplate.api.tracking import CometTracking
from footplate_trainer.supervisor.tracking.comet import LIBRARY, Comet
from footplate_trainer.supervisor.tracking.tracker import End, Subject, TrackerTrouble
from offline_runs import line, offline, subject


def experiment(tmp_path: Path, of: Subject | None = None) -> Comet:
    made = offline(tmp_path, LIBRARY, "comet_program", [(0, line(1))])
    settings = CometTracking(workspace="vision")
    return Comet(settings, of or subject(), logs_dir=tmp_path / "logs", offline=made)


def test_without_a_key_the_code_is_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMET_API_KEY", raising=False)
    found = dict(experiment(tmp_path).environment)
    key = found.pop("COMET_EXPERIMENT_KEY")
    assert key.isalnum()
    assert len(key) == 32
    expected = {
        "COMET_PROJECT_NAME": "team", "COMET_WORKSPACE": "vision", "COMET_START_EXPERIMENT_NAME": "digits",
        "COMET_OFFLINE_DIRECTORY": str(tmp_path / "logs/comet"),
    }  # fmt: skip
    assert found == {**expected, "COMET_START_ONLINE": "false"}
    monkeypatch.setenv("COMET_API_KEY", "0" * 40)
    assert experiment(tmp_path).environment == {**expected, "COMET_EXPERIMENT_KEY": key}


def test_a_key_is_of_one_run_and_all_its_attempts(tmp_path: Path) -> None:
    def key(*, run: int, attempt: int) -> str:
        of = Subject(namespace="team", job="a", uid="1", run=run, attempt=attempt, image="", parameters={})
        return experiment(tmp_path, of).environment["COMET_EXPERIMENT_KEY"]

    assert key(run=1, attempt=0) == key(run=1, attempt=1) != key(run=2, attempt=0)


@pytest.mark.parametrize("suffix", ["", "-abc"], ids=["first", "another"])
def test_the_codes_own_experiment_is_left_alone(tmp_path: Path, suffix: str) -> None:
    made = experiment(tmp_path)
    key = made.environment["COMET_EXPERIMENT_KEY"]
    (tmp_path / "logs/comet").mkdir(parents=True)
    (tmp_path / f"logs/comet/{key}{suffix}.zip").touch()
    made.end(End("succeeded"))
    assert made.url == ""


def test_the_experiment_of_something_else_is_not_the_runs(tmp_path: Path) -> None:
    (tmp_path / "logs/comet").mkdir(parents=True)
    (tmp_path / "logs/comet/other.zip").touch()
    with pytest.raises(TrackerTrouble, match="the image has no comet_ml"):
        experiment(tmp_path).end(End("succeeded"))
