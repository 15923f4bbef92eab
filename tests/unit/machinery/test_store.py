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
    assert [obj["metadata"]["name"] for obj in store.indexed("node", "n1")] == ["a", "b"]
    store.apply(make("a", version=4, node="n2"), deleted=False)
    assert [obj["metadata"]["name"] for obj in store.indexed("node", "n1")] == ["b"]
    assert [obj["metadata"]["name"] for obj in store.indexed("node", "n2")] == ["a"]
    store.apply(make("a", version=5, node="n2"), deleted=True)
    assert [obj["metadata"]["name"] for obj in store.indexed("node", "n1")] == ["b"]
    assert store.indexed("node", "n2") == []


def test_what_is_stored_is_slim() -> None:
    store = Store(on_change=lambda old, new: None, slim=lambda obj: {"metadata": obj["metadata"]})
    store.observe(make("a", spec={"bulk": 1}))
    assert "spec" not in (store.get(("ns", "a")) or {})


def heavy(name: str, *, namespace: str = "greedy", version: int = 1) -> dict[str, Any]:
    return make(name, namespace=namespace, version=version, text="x" * 10_000)


def small_store() -> Store:
    """Room for 27 heavy objects or so, of which one namespace gets nine."""
    return Store(
        on_change=lambda old, new: None,
        stub=lambda obj: {"kind": obj["kind"], "metadata": obj["metadata"]},
        most_bytes=300_000,
    )


def whole(store: Store) -> list[str]:
    return [name for (_, name), obj in store.objects().items() if "text" in obj]


def test_no_namespace_fills_the_store_and_nothing_is_forgotten() -> None:
    store = small_store()
    for number in range(100):
        store.apply(heavy(str(number), version=number + 1), deleted=False)
    assert len(store) == 100
    assert 7 <= len(whole(store)) <= 10
    store.apply(heavy("other", namespace="other", version=200), deleted=False)
    assert "other" in whole(store)


def test_what_had_no_room_is_taken_up_by_the_next_list_that_finds_some() -> None:
    store = small_store()
    objects = [heavy(str(number), version=number + 1) for number in range(20)]
    store.replace(objects, "100")
    assert len(whole(store)) < 10
    store.replace(objects[15:], "101")
    assert whole(store) == ["15", "16", "17", "18", "19"]


def test_room_is_given_back() -> None:
    store = small_store()
    for version in range(1, 100):
        store.apply(heavy("a", version=version), deleted=False)
    assert whole(store) == ["a"]
    for version in range(100, 200):
        store.apply(heavy("b", version=version), deleted=bool(version % 2))
    store.apply(heavy("c", version=300), deleted=False)
    assert whole(store) == ["a", "c"]


def test_what_is_nobody_s_concern_isnt_kept() -> None:
    store = Store(on_change=lambda old, new: None, slim=lambda obj: obj if obj.get("ours") else None)
    store.apply(make("a", version=1), deleted=False)
    store.observe(make("b", version=2))
    store.replace([None, make("c", version=3, ours=True)], "4")
    assert [name for _, name in store.objects()] == ["c"]
    store.apply(make("c", version=5), deleted=False)
    assert len(store) == 0


def test_a_list_brings_nothing_back_that_went_while_it_was_under_way(store: Watched) -> None:
    """The watch has told its end, and will never tell it again: it would be there until the next list."""
    store.apply(make("a", version=5), deleted=False)
    store.apply(make("again", version=6), deleted=False)
    store.expect_list()
    for name in ("a", "again"):
        store.apply(make(name, version=11), deleted=True)
    store.replace([make("a", version=5), make("again", version=15)], "15")
    assert store.names() == ["again"]


def test_an_older_event_of_another_object_makes_no_end_unseen(store: Watched) -> None:
    """kopf hands events of several objects on side by side."""
    store.apply(make("a", version=5), deleted=False)
    store.apply(make("a", version=9), deleted=True)
    store.apply(make("b", version=7), deleted=False)
    store.observe(make("a", version=8))
    assert store.names() == ["b"]
