"""A TrainingJob from the flags of `footplate submit --recipe`; pure."""

from collections.abc import Sequence
from typing import Any

from footplate.errors import ConfigurationError
from footplate.manifests.kubectl_yaml import read_plain


def recipe_job(
    *,
    name: str,
    recipe: str,
    settings: Sequence[str] = (),
    inputs: Sequence[str] = (),
    nodes: int | None = None,
    gpus: int | None = None,
    **fields: str | None,
) -> dict[str, Any]:
    """The manifest.

    Args:
        name: of the job.
        recipe: of `trainer.recipe`.
        settings: hyperparameters as `name=value`, each value as it would be read in YAML; commas make a list.
        inputs: channels as `name=URI`.
        nodes: of the gang.
        gpus: of each node.
        fields: image, runtime, cpu, memory, checkpoint, output and secret; what isn't given is left to the runtime.

    Raises:
        ConfigurationError: a setting or an input isn't written so.
    """
    hyperparameters = {key: _value(text) for key, text in (_pair(each, "--set", "NAME=VALUE") for each in settings)}
    channels = [_pair(each, "--input", "CHANNEL=URI") for each in inputs]
    spec = {
        "runtimeRef": _block(name=fields.get("runtime")),
        "trainer": _block(image=fields.get("image"), recipe=recipe, hyperparameters=hyperparameters),
        "nodes": nodes,
        "resources": _block(
            requests=_block(cpu=fields.get("cpu"), memory=fields.get("memory")),
            limits=_block(**{"nvidia.com/gpu": gpus}),
        ),
        "inputs": [{"name": channel, "uri": uri} for channel, uri in channels],
        "checkpoint": _block(uri=fields.get("checkpoint")),
        "output": _block(uri=fields.get("output")),
        "storage": _block(secretRef=_block(name=fields.get("secret"))),
    }
    return {
        "apiVersion": "footplate.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": _block(**spec),
    }


def _block(**fields: Any) -> dict[str, Any]:
    """The fields that are set."""
    return {name: value for name, value in fields.items() if value not in (None, {}, [])}


def _pair(text: str, option: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ConfigurationError(f"{option} {text}: write it as {form}")
    return name, value


def _value(text: str) -> Any:
    return [read_plain(part) for part in text.split(",")] if "," in text else read_plain(text)
