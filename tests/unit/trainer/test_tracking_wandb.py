"""What W&B's run is made of, and when none is made. The run itself: tests/frameworks/test_wandb.py."""

from pathlib import Path

import pytest

from footplate.api.tracking import WandbTracking
from footplate_trainer.supervisor.tracking.tracker import End
from footplate_trainer.supervisor.tracking.wandb import LIBRARY, Wandb
from offline_runs import line, offline, subject


def run(tmp_path: Path) -> Wandb:
    (tmp_path / "logs").mkdir(exist_ok=True)
    made = offline(tmp_path, LIBRARY, "wandb_program", [(0, line(1))])
    return Wandb(WandbTracking(entity="vision"), subject(), logs_dir=tmp_path / "logs", offline=made)


def test_without_a_key_the_code_is_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    expected = {
        "WANDB_PROJECT": "team", "WANDB_ENTITY": "vision", "WANDB_RUN_ID": "digits-2-01234567",
        "WANDB_RESUME": "allow", "WANDB_NAME": "digits", "WANDB_DIR": str(tmp_path / "logs"),
    }  # fmt: skip
    assert run(tmp_path).environment == {**expected, "WANDB_MODE": "offline"}
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert run(tmp_path).environment == expected


@pytest.mark.parametrize("kind", ["run", "offline-run"])
def test_the_codes_own_run_is_left_alone(tmp_path: Path, kind: str) -> None:
    made = run(tmp_path)
    (tmp_path / f"logs/wandb/{kind}-20260101_000000-digits-2-01234567").mkdir(parents=True)
    made.end(End("succeeded"))
    assert made.url == ""
