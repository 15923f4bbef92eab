"""Gradients are on their way while the backward pass still computes, whatever the order of a model's layers."""

import json
from pathlib import Path

import pytest

from footplate.contract import ExitCode
from rank_processes import Job

pytestmark = pytest.mark.integration


def test_the_first_gradients_are_sent_first(tmp_path: Path) -> None:
    job = Job(tmp_path, "overlap.py", 2, {})
    with job.start(0) as gang:
        assert gang.wait() == [ExitCode.OK] * 2, gang.logs()
    result = json.loads((tmp_path / "output" / "result-1.json").read_text())
    for step in result["steps"]:
        assert step["order"] == list(range(8))
        (first, layers_before), *others = step["sent"]
        assert (first, layers_before) == (0, 1), "the first bucket waited for more than the first layer"
        assert [layers for _, layers in others][-1] == 8
        assert step["kept"], "gradients that were accumulated are gone"
    # An embedding with sparse gradients can be prepared too.
    assert result["rows"] == [0, 1]
