from typing import Any

import pytest

from footplate.machinery.store import Store
from footplate.objects import is_newer
from unit.machinery.support import make


class Watched(Store):
    """A store that remembers its changes as (name, old version, new version)."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, str | None, str | None]] = []
        super().__init__(on_change=self._note, indexes={"node": lambda obj: obj.get("node")})

    def _note(self, old: Any, new: Any) -> None:
        versions = [obj["metadata"]["resourceVersion"] if obj else None for obj in (old, new)]
        self.changes.append(((new or old)["metadata"]["name"], versions[0], versions[1]))

    def names(self) -> list[str]:
        return sorted(name for _, name in self.objects())


@pytest.fixture
def store() -> Watched:
    return Watched()


@pytest.mark.parametrize(
    ("version", "than", "newer"),
    [
        pytest.param("10", "9", True, id="integers, not text"),
        pytest.param("9", "10", False, id="older"),
        pytest.param("9", "9", False, id="same"),
        pytest.param("b", "a", True, id="opaque and different"),
        pytest.param("a", "a", False, id="opaque and same"),
    ],
)
def test_versions_are_compared_as_integers_where_they_are(version: str, than: str, newer: bool) -> None:
    assert is_newer(version, than) is newer


def test_the_newer_version_stays_whichever_side_brings_it(store: Watched) -> None:
    store.observe(make("a", version=5))
    store.apply(make("a", version=3), deleted=False)
    store.apply(make("a", version=5), deleted=False)
    store.apply(make("a", version=7), deleted=False)
    store.observe(make("a", version=6))
    assert store.changes == [("a", None, "5"), ("a", "5", "7")]


def test_an_answer_that_comes_after_the_watch_showed_the_end_is_no_object(store: Watched) -> None:
    store.apply(make("a", version=5), deleted=False)
    store.apply(make("a", version=6), deleted=True)
    store.observe(make("a", version=5))
    assert store.names() == []
    store.observe(make("a", version=7, uid="another"))
    assert store.names() == ["a"]


def test_a_bookmark_says_what_was_seen_too(store: Watched) -> None:
    store.advance("9")
    store.observe(make("a", version=8))
    store.observe(make("b", version=10))
    assert store.names() == ["b"]


def test_a_watch_of_another_namespace_says_nothing_of_this_one(store: Watched) -> None:
    store.advance("9", scope="other")
    store.observe(make("a", version=8))
    assert store.names() == ["a"]


def test_a_list_deletes_what_is_not_in_it_but_not_what_was_written_since(store: Watched) -> None:
    for name, version in (("kept", 1), ("gone", 2), ("written", 12)):
        store.observe(make(name, version=version))
    store.replace([make("kept", version=1), make("new", version=9)], "10")
    assert store.names() == ["kept", "new", "written"]
    assert ("gone", "2", None) in store.changes


def test_a_list_of_one_namespace_leaves_the_others_alone(store: Watched) -> None:
    store.observe(make("a", namespace="x"))
    store.observe(make("b", namespace="y"))
    store.replace([], "10", scope="x")
    assert store.names() == ["b"]


def test_a_list_doesnt_undo_a_newer_answer(store: Watched) -> None:
    store.observe(make("a", version=12))
    store.replace([make("a", version=9)], "10")
    assert store.changes == [("a", None, "12")]


def test_the_deletion_of_a_predecessor_leaves_the_successor(store: Watched) -> None:
    store.observe(make("a", version=9, uid="second"))
    store.apply(make("a", version=8, uid="first"), deleted=True)
    assert store.names() == ["a"]


@pytest.mark.parametrize(("uid", "left"), [("uid-a", []), ("another", ["a"])], ids=["the same", "another object"])
def test_discard_means_one_object_not_one_name(store: Watched, uid: str, left: list[str]) -> None:
    store.observe(make("a"))
    store.discard(("ns", "a"), uid=uid)
    assert store.names() == left


def test_indexes_follow_their_objects(store: Watched) -> None:
    store.observe(make("a", version=1, node="n1"))
    store.observe(make("b", version=2, node="n1"))
    store.observe(make("c", version=3))
    assert store.counts("node") == {"n1": 2}
    store.apply(make("a", version=4, node="n2"), deleted=False)
    assert [obj["metadata"]["name"] for obj in store.indexed("node", "n1")] == ["b"]
    assert [obj["metadata"]["name"] for obj in store.indexed("node", "n2")] == ["a"]
    store.apply(make("a", version=5, node="n2"), deleted=True)
    assert store.counts("node") == {"n1": 1}
    assert store.indexed("node", "n2") == []


def test_what_is_stored_is_slim() -> None:
    store = Store(on_change=lambda old, new: None, slim=lambda obj: {"metadata": obj["metadata"]})
    store.observe(make("a", spec={"bulk": 1}))
    assert "spec" not in (store.get(("ns", "a")) or {})
