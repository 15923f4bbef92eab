"""The checks of `make test-gpu` work, as far as can be told without a GPU: all run, at tiny sizes, on the CPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gpu.checks import CHECKS
from gpu.gpt import Gpt, operations_a_token, peak_of
from gpu.setting import full

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def test_all_checks_run_on_a_cpu() -> None:
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-m", "gpu", "--tiny"], env=environ, capture_output=True, text=True, timeout=560, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line[:16].strip() for line in lines[:-1]] == list(CHECKS)
    assert lines[-1] == "all hold"
    assert "fit tokens/s" in done.stdout


def test_the_model_and_what_is_counted_of_it_are_those_that_are_said(tmp_path: Path) -> None:
    setting = full(tmp_path)
    with torch.device("meta"):
        model = Gpt(setting)
    assert 124e6 < sum(weight.numel() for weight in model.parameters()) < 125e6
    assert 0.84e9 < operations_a_token(setting, model) < 0.87e9
    assert peak_of("NVIDIA H200") == 989e12
    assert peak_of("Radeon") is None
