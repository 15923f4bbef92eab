"""`make test-gpu`: the whole script, with what it prints."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch


@pytest.mark.gpu
@pytest.mark.timeout(500)
def test_the_trainer_on_a_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip(f"no CUDA device: torch {torch.__version__} sees none on this machine")
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    assert subprocess.run([sys.executable, "-m", "gpu"], env=environ, timeout=480, check=False).returncode == 0
