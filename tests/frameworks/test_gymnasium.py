"""Reinforcement learning: examples/reinforcement-learning."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from example_gangs import PATIENCE_SECONDS, Example
from footplate.contract import ExitCode, Verdict
from trainer_pods import Done

VENV = "torch"
pytestmark = [pytest.mark.frameworks, pytest.mark.timeout(1200)]


def finish(example: Example, attempt: int) -> Verdict:
    with example.attempt(attempt) as (pod,):
        done: Done = pod.finish(seconds=PATIENCE_SECONDS)
    assert done.exit_code == ExitCode.OK, done.log
    return done.verdict


def test_learns_to_balance_a_pole_and_a_killed_training_ends_with_the_same_weights(tmp_path: Path, python: str) -> None:
    weights = []
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        example = Example("reinforcement-learning", tmp_path / name, python)
        example.spec["trainer"]["hyperparameters"]["episodes"] = 60
        example.spec["checkpoint"]["every"] = {"steps": 20}
        if name == "killed":
            with example.attempt() as (pod,):
                saved = example.root / "checkpoint"
                pod.wait_for(lambda at=saved: any(at.rglob("step-*/manifest.json")) or None, seconds=PATIENCE_SECONDS)
        verdict = finish(example, attempt=int(name == "killed"))
        assert verdict.step == 60
        assert verdict.metrics["averageReturn"] > 40, "by chance it is 20"
        weights.append(load_file(example.output / "policy.safetensors"))
    whole, killed = weights
    assert whole.keys() == killed.keys()
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
