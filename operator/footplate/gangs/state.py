"""What is observed of other people's schedulers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from footplate.gangs.kinds import GangKind
from footplate.objects import Object, block, text


@dataclass(frozen=True, slots=True)
class GangState:
    """Which schedulers' APIs the cluster serves, and the objects that stand for one job's gangs."""

    apis: Mapping[GangKind, str] = field(default_factory=dict)
    """Group and version that is used of each kind whose API is served."""
    watched: frozenset[GangKind] = frozenset()
    """Kinds whose objects are seen; of others nothing can be said."""
    groups: Sequence[Object] = ()
    """PodGroups that the job controls, and Kueue's Workload of its newest attempt."""

    def group(self, kind: GangKind, name: str) -> Object | None:
        """The object of this name; None where none is seen."""
        api = self.apis.get(kind)
        return next((each for each in self.groups if each.get("apiVersion") == api and name_of(each) == name), None)


def name_of(group: Object) -> str:
    """The object's name."""
    return text(block(group, "metadata"), "name")
