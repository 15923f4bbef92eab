"""Scouts: pods that show that there is room for more ranks of a running gang, and keep it. Pure.

A scout is what a rank's pod would be to the scheduler (name scheme, constraints, resources, volumes), and nothing to
training: it runs no code of the user's, knows no secret, writes nothing, and goes at once when it is deleted.
"""

from collections.abc import Iterable
from dataclasses import replace

from footplate.attempt_spec import AttemptSpec
from footplate.contract import Label
from footplate.gangs.table import scout_membership
from footplate.objects import Object
from footplate.podspec import build_pods

WAIT = ("sleep", "2147483647")
"""In every image with a shell, and understood by GNU, BusyBox and macOS alike."""

_KEPT = ("name", "image", "resources", "securityContext")
"""Of a rank's container."""


def build_scouts(gang: AttemptSpec, ranks: Iterable[int]) -> list[Object]:
    """The scouts for ranks that the attempt doesn't have: as pods of a gang that has them would be."""
    ranks = [*ranks]
    wide = replace(gang, nodes=max([gang.nodes, *(rank + 1 for rank in ranks)]))
    return [_scout(pod) for pod in build_pods(wide, ranks, member=scout_membership(gang))]


def _scout(pod: Object) -> Object:
    metadata, spec = pod["metadata"], pod["spec"]
    [container] = spec["containers"]
    waiting = {key: container[key] for key in _KEPT} | {"command": list(WAIT)}
    return {
        **pod,
        "metadata": {**metadata, "labels": {**metadata["labels"], str(Label.SCOUT): "true"}},
        "spec": {**spec, "terminationGracePeriodSeconds": 0, "containers": [waiting]},
    }
