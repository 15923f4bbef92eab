"""What the API server says within one look at a job, where the view may be old.

An answer goes into the stores, and over what the look sees of them: a store takes over nothing that its watch must have
shown already, such as a pod that lost our label and is watched no more.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import structlog

from footplate.errors import NotFound
from footplate.machinery.client import KubeClient
from footplate.machinery.cluster import Cluster
from footplate.machinery.resources import resource_of_kind
from footplate.machinery.store import Store
from footplate.objects import Key, Object, is_newer, key_of, uid_of, version_of
from footplate.policy.plan import Doubt, Plan

log = structlog.get_logger(__name__)

_Key = TypeVar("_Key")

_BEHIND_SECONDS = 10.0
"""What isn't watched as it should be is looked at again so soon."""


class Answers:
    """What was asked for a job in `namespace`, and answered."""

    def __init__(self, client: KubeClient, cluster: Cluster, *, namespace: str) -> None:
        self._client = client
        self._cluster = cluster
        self._namespace = namespace
        self._answers: dict[Doubt, Object | None] = {}

    @property
    def confirmed(self) -> frozenset[Doubt]:
        """What was asked for."""
        return frozenset(self._answers)

    async def ask(self, doubts: Iterable[Doubt]) -> None:
        """Reads what is in doubt, as the API server has it now."""
        doubts = [*doubts]
        found = await asyncio.gather(*map(self._read, doubts))
        self._answers.update(zip(doubts, found, strict=True))

    def correct_pods(self, seen: Sequence[Object]) -> Sequence[Object]:
        """The pods that a view shows, as they were answered."""
        if not self._answers:
            return seen
        known = _newest({key_of(pod): pod for pod in seen}, self._of_kind("Pod"))
        return [*known.values()]

    def correct_nodes(self, seen: Mapping[str, Object]) -> Mapping[str, Object]:
        """The nodes that a view shows, as they were answered."""
        answered = {name: node for (_, name), node in self._of_kind("Node").items()}
        if not answered:
            return seen
        return _newest(seen, answered)

    def watched(self, plan: Plan) -> Plan:
        """The plan, with a look before long at what no watch will tell of."""
        behind = [doubt for doubt, answer in self._answers.items() if answer is not None and self._is_behind(doubt)]
        if not behind:
            return plan
        log.warning("watch_is_behind", names=[doubt.name for doubt in behind[:10]])
        soonest = _BEHIND_SECONDS if plan.requeue_after is None else min(_BEHIND_SECONDS, plan.requeue_after)
        return replace(plan, requeue_after=soonest)

    async def _read(self, doubt: Doubt) -> Object | None:
        store, key = self._place_of(doubt)
        seen = store.get(key)
        try:
            found = await self._client.get(resource_of_kind(doubt.kind), *key)
        except NotFound:
            if seen is not None:  # and not what was created under its name since
                store.discard(key, uid=uid_of(seen))
            return None
        store.observe(found)
        kept: Object | None = store.slim(found)
        return kept

    def _is_behind(self, doubt: Doubt) -> bool:
        store, key = self._place_of(doubt)
        answer, seen = self._answers[doubt], store.get(key)
        return answer is not None and (seen is None or is_newer(version_of(answer), version_of(seen)))

    def _place_of(self, doubt: Doubt) -> tuple[Store, Key]:
        if doubt.kind == "Node":
            return self._cluster.nodes, ("", doubt.name)
        store = self._cluster.jobs if doubt.kind == "TrainingJob" else self._cluster.pods
        return store, (self._namespace, doubt.name)

    def _of_kind(self, kind: str) -> dict[Key, Object | None]:
        return {self._place_of(doubt)[1]: answer for doubt, answer in self._answers.items() if doubt.kind == kind}


def _newest(seen: Mapping[_Key, Object], answered: Mapping[_Key, Object | None]) -> dict[_Key, Object]:
    """What is seen, as it was answered unless the watch has shown a newer version since; without what is gone."""
    known = {**seen}
    for key, answer in answered.items():
        if answer is None:
            known.pop(key, None)
        elif key not in known or is_newer(version_of(answer), version_of(known[key])):
            known[key] = answer
    return known
