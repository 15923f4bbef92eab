"""The scale bench and the soak do what they say, at small sizes on the devcluster."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600), pytest.mark.slow]

TESTS = Path(__file__).parents[1]
BENCHES = ["create", "player", "arrivals", "gang restart", "rest", "delete", "store", "tenants", "turns"]


def run(*arguments: str) -> list[dict[str, Any]]:
    """The lines that a program printed; the error has the rest if it failed."""
    env = {**os.environ, "PYTHONPATH": str(TESTS)}
    done = subprocess.run([sys.executable, "-m", *arguments], env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_bench_prints_every_figure_and_a_plot(tmp_path: Path) -> None:
    lines = run("bench.scale", "--smoke", "--plot", str(tmp_path / "scale.png"))
    found = {line["bench"]: line for line in lines}
    assert [bench for bench in BENCHES if bench not in found] == []
    idle = found["rest"]["writes"], found["store"]["writes"], found["tenants"]["writes"]
    assert (*idle, found["delete"]["operator_writes"]) == (0, 0, 0, 0)
    assert 0 < found["arrivals"]["pods_p50"] <= found["arrivals"]["pods_p99"] < found["arrivals"]["succeeded_p99"]
    assert found["rest"]["resident_mib"] > 20
    assert (tmp_path / "scale.png").stat().st_size > 0


def test_a_soak_of_seconds_finds_nothing() -> None:
    [line] = run("soak", "--minutes=0.2", "--jobs=4")
    assert line["violations"] == []
    assert line["jobs"] > 0
