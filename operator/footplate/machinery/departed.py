"""Pods that are gone, and whose last words no look at their job has read yet."""

from collections.abc import Callable, Collection

from footplate.objects import Key, Object, is_newer, uid_of, version_of

_MOST = 1024
"""Of one job, between two looks at it."""


class DepartedPods:
    """By their job's key."""

    def __init__(self, enqueue: Callable[[Key], None]) -> None:
        self._enqueue = enqueue
        self._pods: dict[Key, dict[str, Object]] = {}

    def add(self, key: Key, pod: Object) -> None:
        """A pod of the job whose trainer had ended is gone."""
        departed = self._pods.setdefault(key, {})
        departed[uid_of(pod)] = pod
        if len(departed) > _MOST:
            del departed[next(iter(departed))]

    def of(self, key: Key) -> list[Object]:
        """The pods of a job of this key that are gone, as they were last, where their trainers had ended: a kubelet
        tells of an end and of the removal within milliseconds, and what a trainer says at its end, such as its last
        checkpoint, is in no other place. Each is kept until `note_look`.
        """
        return [*self._pods.get(key, {}).values()]

    def note_look(self, key: Key, pods: Collection[Object]) -> None:
        """A look at a job saw these pods, and what it decided is done: the next one sees no departed pod that this one
        has seen as it was last. Of one that ended since the look, nobody has read the last words.
        """
        departed = self._pods.get(key)
        if departed is None:
            return
        seen = {uid_of(pod): version_of(pod) for pod in pods}
        self._pods[key] = {
            uid: pod for uid, pod in departed.items() if uid not in seen or is_newer(version_of(pod), seen[uid])
        }
        if len(self._pods[key]) < len(departed):
            self._enqueue(key)
        if not self._pods[key]:
            del self._pods[key]

    def forget(self, key: Key) -> None:
        """There is no job of this key."""
        self._pods.pop(key, None)
