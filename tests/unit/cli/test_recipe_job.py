"""A job from flags."""

import pytest

from footplate.api.trainingjob import TrainingJob
from footplate.cli.recipe_job import recipe_job
from footplate.errors import ConfigurationError


def test_flags_make_a_job() -> None:
    job = recipe_job(
        name="wine",
        recipe="tabular-classification",
        settings=["target=grower", "epochs=60", "learningRate=1e-2", "compile=y", "dropped=a,b"],
        inputs=["train=s3://datasets/wine/a=b/"],
        nodes=2,
        gpus=8,
        image="registry.example.com/footplate/trainer:0.1.0",
        cpu="4",
        memory="16Gi",
        checkpoint="s3://checkpoints/wine/",
        output="s3://models/wine/",
        secret="s3",
    )
    TrainingJob.model_validate(job)
    assert job["metadata"] == {"name": "wine"}
    assert job["spec"] == {
        "trainer": {
            "image": "registry.example.com/footplate/trainer:0.1.0",
            "recipe": "tabular-classification",
            "hyperparameters": {
                "target": "grower",
                "epochs": 60,
                "learningRate": 0.01,
                "compile": True,
                "dropped": ["a", "b"],
            },
        },
        "nodes": 2,
        "resources": {"requests": {"cpu": "4", "memory": "16Gi"}, "limits": {"nvidia.com/gpu": 8}},
        "inputs": [{"name": "train", "uri": "s3://datasets/wine/a=b/"}],
        "checkpoint": {"uri": "s3://checkpoints/wine/"},
        "output": {"uri": "s3://models/wine/"},
        "storage": {"secretRef": {"name": "s3"}},
    }


def test_what_is_not_given_is_left_to_the_runtime() -> None:
    job = recipe_job(name="a", recipe="image-classification", runtime="team")
    assert job["spec"] == {"runtimeRef": {"name": "team"}, "trainer": {"recipe": "image-classification"}}


@pytest.mark.parametrize(
    ("settings", "inputs", "said"),
    [
        (["epochs"], [], "--set epochs: write it as NAME=VALUE"),
        (["=3"], [], "--set =3: write it as NAME=VALUE"),
        ([], ["s3://datasets/wine/"], "--input s3://datasets/wine/: write it as CHANNEL=URI"),
    ],
)
def test_a_flag_that_is_written_wrong_is_explained(settings: list[str], inputs: list[str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        recipe_job(name="a", recipe="image-classification", settings=settings, inputs=inputs)
