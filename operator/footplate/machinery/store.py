"""What the cluster holds, as far as we know: objects of one kind by key, with indexes.

Fed from two sides: the watch (events and lists) and the answers to our own writes and reads, so that a worker never
acts on less than it has done itself or was told. Of two versions of an object the newer stays, whichever side brings
it, and an answer that arrives after the watch has already shown that object's deletion is no object any more.

No object is forgotten for its size: one for which its namespace has no room left is kept as a stub.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from footplate.machinery.fair import Shares
from footplate.machinery.slim import weigh
from footplate.objects import Key, Object, is_newer, key_of, uid_of, version_of

OnChange = Callable[[Object | None, Object | None], None]
"""Called with the old and the new object, None where there was or is none."""

Index = Callable[[Object], Hashable | None]
"""An index's value for an object; None leaves the object out."""


class Store:
    """Objects of one kind, cut by `slim` to what is read of them; what it cuts to None isn't kept. Callers must not
    change what they get.

    `most_bytes` is shared fairly by the namespaces; `stub` cuts an object for which there is no room.
    """

    def __init__(
        self,
        *,
        on_change: OnChange,
        indexes: Mapping[str, Index] | None = None,
        slim: Callable[[Object], Object | None] = lambda obj: obj,
        stub: Callable[[Object], Object] = lambda obj: obj,
        most_bytes: int = 2**60,
    ) -> None:
        self._on_change = on_change
        self.slim: Callable[[Object], Any] = slim
        self._stub = stub
        self._room = Shares(most_bytes)
        self._weights: dict[Key, int] = {}
        self._stubs: set[Key] = set()
        self._index_functions = dict(indexes or {})
        self._objects: dict[Key, Object] = {}
        self._indexes: dict[str, defaultdict[Hashable, dict[Key, Object]]] = {
            name: defaultdict(dict) for name in self._index_functions
        }
        self._horizons: dict[str, str] = {}
        self._listed: dict[str, str] = {}
        self._gone_meanwhile: dict[str, dict[Key, tuple[str, str]]] = {}

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, key: Key) -> Object | None:
        """The object of this namespace and name."""
        return self._objects.get(key)

    def objects(self) -> Mapping[Key, Object]:
        """A live, read-only view of everything."""
        return MappingProxyType(self._objects)

    def indexed(self, index: str, value: Hashable) -> list[Object]:
        """The objects for which the index has this value."""
        return list(self._indexes[index].get(value, {}).values())

    def apply(self, obj: Object, *, deleted: bool, scope: str = "") -> None:
        """Takes over one event of the watch of `scope`: a namespace, or "" for all of them. One that is older than the
        last list tells of something that the list has judged already.
        """
        if not is_newer(version_of(obj), self._listed.get(scope, "")):
            return
        self.advance(version_of(obj), scope=scope)
        kept = None if deleted else self.slim(obj)
        if kept is None:
            if scope in self._gone_meanwhile:
                self._gone_meanwhile[scope][key_of(obj)] = (uid_of(obj), version_of(obj))
            self._remove(obj)
        else:
            self._put_if_newer(kept)

    def advance(self, version: str, *, scope: str = "") -> None:
        """A bookmark: the watch of `scope` has shown everything up to this resourceVersion. Where several watchers tell
        of one scope, an older event may come after a newer one.
        """
        if is_newer(version, self._horizons.get(scope, "")):
            self._horizons[scope] = version

    def expect_list(self, *, scope: str = "") -> None:
        """A list of `scope` is asked for while its watch goes on: what goes before the list is there isn't brought back
        by it. Nobody would ever tell again that it is gone.
        """
        self._gone_meanwhile[scope] = {}

    def replace(self, objects: Iterable[Object | None], version: str, *, scope: str = "") -> None:
        """Takes over a full list of `scope`, slim already, as of its resourceVersion: what isn't in it is deleted,
        except what was written since.
        """
        self._listed[scope] = version
        self.advance(version, scope=scope)
        gone = self._gone_meanwhile.pop(scope, {})
        kept = [obj for obj in objects if obj is not None and not _is_before(obj, gone.get(key_of(obj)))]
        listed = {key_of(obj) for obj in kept}
        for key, stored in list(self._objects.items()):
            outside = scope and key[0] != scope
            if key not in listed and not outside and not is_newer(version_of(stored), version):
                self._remove(stored)
        for obj in kept:
            self._put_if_newer(obj)

    def observe(self, obj: Object) -> None:
        """Takes over the answer to one of our own writes or reads."""
        kept = self.slim(obj)
        if kept is None or (key_of(obj) not in self._objects and not self._is_unseen(obj)):
            return
        self._put_if_newer(kept)

    def discard(self, key: Key, *, uid: str) -> None:
        """The API server says that this object is gone."""
        stored = self._objects.get(key)
        if stored is not None and uid_of(stored) == uid:
            self._remove(stored)

    def _is_unseen(self, obj: Object) -> bool:
        horizons: Iterable[str | None] = (self._horizons.get(""), self._horizons.get(key_of(obj)[0]))
        return all(is_newer(version_of(obj), horizon) for horizon in horizons if horizon)

    def _put_if_newer(self, obj: Object) -> None:
        key = key_of(obj)
        old = self._objects.get(key)
        if old is not None and not is_newer(version_of(obj), version_of(old)) and not self._fits_now(key, obj, old):
            return
        obj = self._make_room(key, obj)
        self._objects[key] = obj
        self._reindex(key, old, obj)
        self._on_change(old, obj)

    def _fits_now(self, key: Key, obj: Object, old: Object) -> bool:
        """Whether this is what is known as a stub, and there is room for it by now."""
        is_same = key in self._stubs and version_of(obj) == version_of(old)
        return is_same and self._room.admits(key[0], amount=weigh(obj))

    def _make_room(self, key: Key, obj: Object) -> Object:
        self._free(key)
        weight = weigh(obj)
        if not self._room.admits(key[0], amount=weight):
            self._stubs.add(key)
            obj = self._stub(obj)
            weight = weigh(obj)
        self._room.take(key[0], weight)
        self._weights[key] = weight
        return obj

    def _free(self, key: Key) -> None:
        self._stubs.discard(key)
        if key in self._weights:
            self._room.give_back(key[0], self._weights.pop(key))

    def _remove(self, obj: Object) -> None:
        key = key_of(obj)
        old = self._objects.get(key)
        if old is None or (uid_of(old) != uid_of(obj) and is_newer(version_of(old), version_of(obj))):
            return
        del self._objects[key]
        self._free(key)
        self._reindex(key, old, None)
        self._on_change(old, None)

    def _reindex(self, key: Key, old: Object | None, new: Object | None) -> None:
        for name, function in self._index_functions.items():
            before = None if old is None else function(old)
            after = None if new is None else function(new)
            index = self._indexes[name]
            if before is not None and before != after:
                index[before].pop(key, None)
                if not index[before]:
                    del index[before]
            if after is not None and new is not None:
                index[after][key] = new


def either(old: Object | None, new: Object | None) -> Object:
    """The object that a change is of: as it is now, or was."""
    obj = new if new is not None else old
    if obj is None:
        raise ValueError("a change has an old object, a new one, or both")
    return obj


def _is_before(obj: Object, end: tuple[str, str] | None) -> bool:
    """Whether this is an object as it was before it went: `end` is its UID, and the version of its deletion."""
    return end is not None and uid_of(obj) == end[0] and is_newer(end[1], version_of(obj))
