"""Objects, revisions and history."""

import asyncio
from typing import Any

import pytest

from footplate.devcluster.errors import ApiError
from footplate.devcluster.store import Store

KIND = ("", "things")


def thing(name: str, namespace: str = "a", **fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, **fields}


def test_revisions_are_one_row_of_numbers() -> None:
    store = Store()
    revisions = [store.put(KIND, thing("x")).revision, store.put(("g", "others"), thing("y")).revision]
    revisions.append(store.remove(KIND, thing("x")).revision)
    assert revisions == [2, 3, 4]
    assert store.get(KIND, ("a", "x")) is None


def test_versions_come_in_key_order_and_by_namespace() -> None:
    store = Store()
    for name, namespace in (("z", "a"), ("b", "b"), ("a", "a")):
        store.put(KIND, thing(name, namespace))
    assert [version.key for version in store.versions(KIND)] == [("a", "a"), ("a", "z"), ("b", "b")]
    assert [version.key[1] for version in store.versions(KIND, "a")] == ["a", "z"]


def test_history_tells_what_was_before() -> None:
    store = Store()
    start = store.revision
    store.put(KIND, thing("x", size=1))
    store.put(KIND, thing("x", size=2))
    store.remove(KIND, thing("x", size=2))
    changes = store.since(KIND, start)
    assert [(change.old and change.old.body["size"], change.new.body["size"]) for change in changes] == [
        (None, 1), (1, 2), (2, 2),
    ]  # fmt: skip
    assert [change.deleted for change in changes] == [False, False, True]
    assert [len(store.since(KIND, change.new.revision)) for change in changes] == [2, 1, 0]


def test_a_full_history_forgets_its_beginning() -> None:
    store = Store(window=10)
    for number in range(30):
        store.put(KIND, thing("x", size=number))
    with pytest.raises(ApiError) as refused:
        store.since(KIND, 2)
    assert (refused.value.code, refused.value.reason) == (410, "Expired")
    assert store.since(KIND, store.revision - 10)[-1].new.body["size"] == 29


def test_compaction_forgets_everything_but_the_present() -> None:
    store = Store()
    store.put(KIND, thing("x"))
    store.compact()
    assert store.since(KIND, store.revision) == []
    with pytest.raises(ApiError, match="Expired"):
        store.since(KIND, store.revision - 1)


async def test_a_change_wakes_who_waits_for_it() -> None:
    store = Store()
    waiting = asyncio.create_task(store.wait(KIND, 20))
    await asyncio.sleep(0)
    store.put(("g", "others"), thing("x"))
    await asyncio.sleep(0)
    assert not waiting.done()
    store.put(KIND, thing("x"))
    await asyncio.wait_for(waiting, 20)


async def test_waiting_ends() -> None:
    await asyncio.wait_for(Store().wait(KIND, 0.01), 20)


def test_a_version_is_serialised_once_and_whole() -> None:
    version = Store().put(KIND, thing("x", text="é"))
    assert version.json is version.json
    assert b"{" + version.json == (
        '{"metadata":{"name":"x","namespace":"a","resourceVersion":"2"},"text":"é"}'.encode()
    )
