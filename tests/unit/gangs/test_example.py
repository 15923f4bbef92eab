"""examples/kueue is what docs/scheduling.md says it is."""

from pathlib import Path

import yaml

from footplate.api.trainingjob import TrainingJob
from footplate.client.rendering import render
from footplate.gangs import kueue

FOLDER = Path(__file__).parents[3] / "examples" / "kueue"
RUNTIME = {
    "apiVersion": "footplate.dev/v1alpha1",
    "kind": "ClusterTrainingRuntime",
    "metadata": {"name": "torch"},
    "spec": {"trainer": {"image": "registry.example.com/footplate/trainer:0.1.0"}},
}


def test_the_job_is_a_gang_in_the_queue_that_the_platform_team_makes() -> None:
    raw = yaml.safe_load((FOLDER / "job.yaml").read_text())
    job = TrainingJob.model_validate(raw, by_name=False)
    *_, queue = yaml.safe_load_all((FOLDER / "queue.yaml").read_text())
    assert (queue["kind"], queue["metadata"]) == (
        "LocalQueue",
        {"name": job.spec.scheduling.queue_name, "namespace": "team-vision"},
    )
    pods = [each for each in render(raw, RUNTIME) if each["kind"] == "Pod"]
    assert len(pods) == 4
    assert {pod["metadata"]["labels"][kueue.QUEUE_NAME] for pod in pods} == {"vision"}
    assert len({pod["metadata"]["labels"][kueue.GROUP_NAME] for pod in pods}) == 1
