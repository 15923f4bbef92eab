"""The chart as different platform teams install it: one values file each, in tests/unit/chart_values."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from realcluster.chart import render

VALUES = sorted((Path(__file__).parent / "unit/chart_values").glob("*.yaml"))
Object = dict[str, Any]


@cache
def rendered(path: Path) -> tuple[Object, ...]:
    """All objects, hooks among them."""
    return tuple(render(yaml.safe_load(path.read_text())))


def pods(objects: tuple[Object, ...]) -> Iterator[tuple[str, Object]]:
    """Name and spec of each pod, those of Deployments among them."""
    for each in objects:
        spec = (
            {"Pod": each["spec"], "Deployment": each["spec"].get("template", {}).get("spec")} if "spec" in each else {}
        )
        if found := spec.get(each["kind"]):
            yield each["metadata"]["name"], found
