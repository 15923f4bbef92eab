"""`Trainer`'s options on several ranks: each computes what one rank computes, and is resumed exactly."""

import json
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from footplate.contract import ExitCode
from rank_processes import Job

pytestmark = pytest.mark.integration

Results = dict[str, dict[str, Any]]
CASES = [
    "counted", "weighted", "clipped", "unused", "static", "recomputed", "sharded", "half", "sharded half",
]  # fmt: skip


def finish(job: Job, attempt: int = 0) -> str:
    with job.start(attempt) as gang:
        assert gang.wait() == [ExitCode.OK] * job.world_size, gang.logs()
    texts = {(job.output / f"result-{rank}.json").read_text() for rank in range(job.world_size)}
    assert len(texts) == 1
    return texts.pop()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Results]:
    """By the number of ranks."""
    return {ranks: json.loads(finish(Job(tmp_path_factory.mktemp("job"), "options.py", ranks, {}))) for ranks in (1, 3)}


@pytest.mark.parametrize("case", CASES)
def test_an_option_computes_the_same_on_any_number_of_ranks(results: dict[int, Results], case: str) -> None:
    """Shares are uneven, and so is what counts in them."""
    alone, gang = results[1][case], results[3][case]
    exact = {"rtol": 1e-9, "atol": 1e-12} if "half" not in case else {"rtol": 0.02, "atol": 0.005}
    np.testing.assert_allclose(gang["weights"], alone["weights"], **exact)
    assert alone["history"].keys() == gang["history"].keys() == {"loss", "val_loss"}
    for name, values in alone["history"].items():
        np.testing.assert_allclose(gang["history"][name], values, rtol=1e-7 if "half" not in case else 0.02)
    assert alone["skipped"] == gang["skipped"] == ("half" in case)


def test_options_make_a_difference(results: dict[int, Results]) -> None:
    ends = [tuple(results[3][case]["weights"]) for case in ("counted", "weighted", "clipped", "static")]
    assert len(set(ends)) == 4


def test_what_no_output_needs_is_named_with_the_option(results: dict[int, Results]) -> None:
    assert "refused" not in results[1]
    assert "ddp_options={'find_unused_parameters': True}" in results[3]["refused"]["said"]


@pytest.mark.parametrize(("remembering", "workers"), [(False, 1), (True, 0)])
def test_a_stream_is_resumed_at_the_sample_where_it_was(tmp_path: Path, remembering: bool, workers: int) -> None:
    """In fp16, whose scale and count of steps left out are in the checkpoint too."""
    settings = {"remembering": remembering, "workers": workers, "stepSeconds": 0.0}
    expected = finish(Job(tmp_path / "whole", "stream.py", 2, settings))
    assert expected.endswith(" 1")
    job = Job(
        tmp_path / "cut", "stream.py", 2, settings | {"stepSeconds": 0.05},
        checkpoint={"every": {"steps": 2}, "keep": 2},
    )  # fmt: skip
    chance, step = random.Random(workers), 0
    for attempt in range(2):
        step += chance.randint(5, 9)
        with job.start(attempt) as gang:
            assert gang.wait_for_step(step), gang.logs()
            gang.send(signal.SIGKILL)
            gang.wait()
            step = max(gang.steps())
    assert finish(job, 2) == expected
