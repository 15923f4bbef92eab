"""Manifests of jobs that only run a command."""

from typing import Any


def job(name: str, *command: str, **spec: Any) -> dict[str, Any]:
    """Of two nodes, unless `spec` says otherwise."""
    trainer = {"image": "registry.example.com/trainer:1", "command": [*command]}
    return {
        "apiVersion": "footplate.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {"trainer": trainer, "nodes": 2, **spec},
    }
