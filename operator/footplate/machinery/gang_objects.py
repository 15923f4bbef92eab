"""What stands for gangs with other people's schedulers, in stores: PodGroups of ours, and Kueue's Workloads."""

from collections.abc import Callable, Mapping

from footplate.gangs.kinds import GangKind
from footplate.gangs.state import GangState
from footplate.gangs.table import SCHEDULERS
from footplate.machinery.indexes import job_key_of, job_of_workload
from footplate.machinery.slim import slim_pod_group, slim_workload, stub_group
from footplate.machinery.store import Store, either
from footplate.objects import Key, Object, key_of, place_of, place_of_controller, uid_of

GROUP_BYTES = 32 * 2**20
"""What all objects of one kind may take. One namespace alone gets a third."""


class GangObjects:
    """A store for each kind of scheduler. A change enqueues the job whose gang it is about."""

    def __init__(self, enqueue: Callable[[Key], None], jobs: Store) -> None:
        self._enqueue = enqueue
        self._jobs = jobs
        self.stores = {kind: self._store(kind) for kind in SCHEDULERS}
        self.apis: Mapping[GangKind, str] = {}
        """Group and version of each kind that the API server serves."""
        self.watched: frozenset[GangKind] = frozenset()
        """Kinds whose objects are seen."""

    def state_of(self, job: Object) -> GangState:
        """What other people's schedulers offer, and say of the job's gangs."""
        found = [group for store in self.stores.values() for group in store.indexed("job", place_of(job))]
        workloads = self.stores[GangKind.KUEUE].indexed("job", key_of(job))
        return GangState(self.apis, self.watched, [*found, *workloads])

    def observe(self, group: Object) -> None:
        """Takes over the answer to a write of a PodGroup."""
        for kind, api in self.apis.items():
            if group["apiVersion"] == api:
                self.stores[kind].observe(group)

    def note_deleted(self, key: Key, api: str, answer: Object | None) -> None:
        """A PodGroup was deleted; `answer` is what is left of it, where something holds it."""
        if answer is not None and answer["kind"] == "PodGroup":
            self.observe(answer)
            return
        for store in (self.stores[kind] for kind, served in self.apis.items() if served == api):
            if (seen := store.get(key)) is not None:
                store.discard(key, uid=uid_of(seen))

    def forget(self, kind: GangKind) -> None:
        """These objects aren't served any more."""
        self.watched -= {kind}
        for key, group in [*self.stores[kind].objects().items()]:
            self.stores[kind].discard(key, uid=uid_of(group))

    def note_apis(self, apis: Mapping[GangKind, str]) -> None:
        """What the API server serves now; jobs that wait for it go on."""
        if apis == self.apis:
            return
        self.apis = apis
        for job in self._jobs.indexed("phase", "Pending"):
            self._enqueue(key_of(job))

    def _store(self, kind: GangKind) -> Store:
        is_workload = kind is GangKind.KUEUE
        return Store(
            on_change=self._workload_changed if is_workload else self._group_changed,
            indexes={"job": job_of_workload if is_workload else place_of_controller},
            slim=slim_workload if is_workload else slim_pod_group,
            stub=stub_group,
            most_bytes=GROUP_BYTES,
        )

    def _group_changed(self, old: Object | None, new: Object | None) -> None:
        key = job_key_of(either(old, new))
        if key is not None:
            self._enqueue(key)

    def _workload_changed(self, old: Object | None, new: Object | None) -> None:
        key = job_of_workload(either(old, new))
        if key is not None and self._jobs.get(key) is not None:
            self._enqueue(key)
