"""An elastic gang on a real control plane: a node is drained and uncordoned with kubectl, under real training."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from realcluster.site import Site

pytestmark = [pytest.mark.realcluster, pytest.mark.timeout(300)]

PROGRAM = Path(__file__).parents[1] / "programs" / "elastic.py"


def elastic_job(witness: Path) -> dict[str, Any]:
    """A job each pod of which needs a node of its own."""
    settings = {"samples": 2500, "batchSize": 25, "epochs": 20, "stepSeconds": 0.1, "witness": str(witness)}
    spec = {
        "trainer": {
            "image": "registry.example.com/trainer:1",
            "entrypoint": "train.py",
            "source": {"configMap": {"name": "elastic-code"}},
            "hyperparameters": settings,
        },
        "nodes": 2,
        "elastic": {"minNodes": 1, "maxNodes": 2},
        "resources": {"requests": {"cpu": "5"}},
        "checkpoint": {"uri": "s3://checkpoints/elastic/", "every": {"steps": 10}},
        "storage": {"secretRef": {"name": "s3"}},
        "runPolicy": {"terminationGracePeriodSeconds": 20},
    }
    return {
        "apiVersion": "footplate.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "elastic"},
        "spec": spec,
    }


def test_a_drained_node_shrinks_the_gang_and_an_uncordoned_one_lets_it_grow(site: Site, tmp_path: Path) -> None:
    witness = tmp_path / "witness"

    def worlds() -> dict[int, int]:
        """World sizes of the attempts that have taken steps."""
        lines = witness.read_text().splitlines() if witness.exists() else []
        return {step["attempt"]: step["world"] for step in map(json.loads, lines)}

    code = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "elastic-code"}}
    site.apply({**code, "data": {"train.py": PROGRAM.read_text()}}, elastic_job(witness))
    site.until(worlds, lambda seen: seen == {0: 2})
    try:
        site.kubectl("drain", "node-1", "--delete-emptydir-data", "--timeout=60s")
        site.until(worlds, lambda seen: seen.get(1) == 1)
        waiting = site.wait("elastic", "jsonpath={.status.nodes.summary}=1/1")
        assert waiting["attempts"][0]["reason"] == "Evicted"
        site.until(lambda: site.names("pods", "elastic"), lambda pods: pods == ["elastic-1-1-0", "elastic-1-1-1"])
    finally:
        site.kubectl("uncordon", "node-1")
    site.until(worlds, lambda seen: seen.get(2) == 2)
    status = site.get("tj", "elastic")["status"]
    assert [each["nodes"] for each in status["attempts"]] == [2, 1, 2]
    assert status["restarts"] == {"user": 0, "infrastructure": 1, "hang": 0, "total": 1}
    steps = [json.loads(line)["step"] for line in witness.read_text().splitlines()]
    assert all(after == before + 1 for before, after in pairwise(steps)), "every stop was clean: no step is lost"
    assert site.kubectl("delete", "tj", "elastic").returncode == 0
    site.until(lambda: site.names("pods", "elastic"), lambda left: not left)
