"""The ConfigMaps of runs, read when a job is looked at.

Not watched: a watch of every ConfigMap with our label would let any tenant fill the operator's memory. A run's
ConfigMap never changes, so it is read again only now and then, and that of a finished run never.
"""

from collections import OrderedDict

from footplate.contract import JOB_FILE
from footplate.errors import NotFound
from footplate.machinery.client import KubeClient
from footplate.machinery.clock import Clock
from footplate.machinery.resources import CONFIG_MAPS
from footplate.machinery.slim import slim_config_map
from footplate.objects import Key, Object, block, controller_of, is_controlled_by, key_of, text
from footplate.policy.job import UnknownStatus, is_finished, read_status
from footplate.policy.run import due_run, run_config_name

_CAPACITY = 4_096
_CAPACITY_BYTES = 64 * 2**20
_FRESH_SECONDS = 600.0


class RunConfigs:
    """A small cache over the API server: at most one ConfigMap a job, as long as the job is there."""

    def __init__(self, client: KubeClient, *, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._bytes = 0
        self._cached: OrderedDict[Key, tuple[float, Object]] = OrderedDict()
        """By the job's key: when it was read, and what."""

    async def get(self, job: Object, *, runtime: Object | None) -> Object | None:
        """The ConfigMap of the job's run, None where there is none that the job controls."""
        try:
            status = read_status(job)
        except UnknownStatus:
            return None
        key, name = key_of(job), run_config_name(job, status, runtime=runtime)
        over = is_finished(status) and due_run(job, status, runtime=runtime) == status.run
        found = self._fresh(key, name, ever=over)
        if found is None and not (over and status.resolved is None):
            found = await self._read(key, name)
        return found if found is not None and is_controlled_by(found, job) else None

    def known(self, job: Key) -> Object | None:
        """What was last read for a job, however long ago: a run's never changes."""
        _, config_map = self._cached.get(job, (0.0, None))
        return config_map

    def put(self, config_map: Object) -> None:
        """Remembers one that was just created or read, for the job that controls it."""
        controller = controller_of(config_map)
        if controller is None:
            return
        key, kept = (key_of(config_map)[0], controller["name"]), slim_config_map(config_map)
        self.discard(key)
        self._cached[key] = self._clock.monotonic(), kept
        self._bytes += _size(kept)
        while len(self._cached) > _CAPACITY or self._bytes > _CAPACITY_BYTES:
            _, (_, oldest) = self._cached.popitem(last=False)
            self._bytes -= _size(oldest)

    def discard(self, job: Key) -> None:
        """The job's was deleted, or the job is gone."""
        _, config_map = self._cached.pop(job, (0.0, None))
        if config_map is not None:
            self._bytes -= _size(config_map)

    def _fresh(self, job: Key, name: str, *, ever: bool) -> Object | None:
        read_at, config_map = self._cached.get(job, (float("-inf"), None))
        if config_map is None or config_map["metadata"]["name"] != name:
            return None
        return config_map if ever or self._clock.monotonic() - read_at < _FRESH_SECONDS else None

    async def _read(self, job: Key, name: str) -> Object | None:
        self.discard(job)
        try:
            config_map = await self._client.get(CONFIG_MAPS, job[0], name)
        except NotFound:
            return None
        self.put(config_map)
        return config_map


def _size(config_map: Object) -> int:
    return len(text(block(config_map, "data"), JOB_FILE))
