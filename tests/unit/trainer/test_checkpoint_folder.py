"""A run's checkpoints in storage: what counts as complete, who may commit, and what may be deleted."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkpoints import make_file, make_manifest
from footplate_trainer.checkpoint.folder import Damaged, Folder, choose_garbage, fetch_file, verify_file
from footplate_trainer.checkpoint.manifest import File, Manifest
from footplate_trainer.errors import PeerLost
from footplate_trainer.storage.store import Store

CONTENT = b"weights"
FILE = make_file("model", CONTENT)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(f"file://{tmp_path}/run-1")


@pytest.fixture
def folder(store: Store) -> Folder:
    return Folder(store, attempt=0)


def test_nothing_is_there_at_first(folder: Folder) -> None:
    assert folder.complete_steps() == []


def test_a_step_without_manifest_is_no_checkpoint(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    folder.put_file(5, FILE.name, tmp_path / "file")
    assert folder.complete_steps() == []
    folder.commit(make_manifest(5, files=(FILE,)))
    folder.commit(make_manifest(12))
    assert folder.complete_steps() == [12, 5]
    found = folder.find(5)
    assert found is not None
    assert found.manifest.to_bytes() == make_manifest(5, files=(FILE,)).to_bytes()


def test_a_commit_whose_answer_was_lost_may_be_repeated(folder: Folder) -> None:
    folder.commit(make_manifest(5))
    folder.commit(make_manifest(5))
    assert folder.complete_steps() == [5]


def test_a_zombie_neither_starts_nor_commits(store: Store) -> None:
    zombie, heir = Folder(store, attempt=0), Folder(store, attempt=1)
    zombie.claim()
    zombie.commit(make_manifest(5))
    heir.claim()
    with pytest.raises(PeerLost, match="replaced by attempt 1"):
        zombie.commit(make_manifest(6))
    with pytest.raises(PeerLost, match="replaced by attempt 1"):
        zombie.claim()
    assert heir.complete_steps() == [5]


def test_a_zombie_deletes_nothing(store: Store) -> None:
    zombie, heir = Folder(store, attempt=0), Folder(store, attempt=1)
    zombie.claim()
    heir.claim()
    store.put("step-00000001/debris", b"")
    with pytest.raises(PeerLost, match="replaced by attempt 1"):
        zombie.prune(newest=2, keep=1, protected=())
    assert store.get("step-00000001/debris") == b""


FOREIGN = [
    "README", "attempts/README", "attempts/-1", "attempts/00000009.bak", "attempts/00000009/x", "step-5/manifest.json",
    "step-0000000x/manifest.json", "step-00000007/nested/manifest.json", "xstep-00000007/manifest.json",
]  # fmt: skip


def test_foreign_objects_count_for_nothing_and_are_left_alone(folder: Folder, store: Store) -> None:
    for key in FOREIGN:
        store.put(key, b"foreign")
    folder.claim()
    store.put(f"step-00000005/{FILE.name}", CONTENT)
    folder.commit(make_manifest(5))
    assert folder.complete_steps() == [5]
    folder.prune(newest=5, keep=1, protected=())
    assert {item.key for item in store.list()} >= set(FOREIGN)


def test_a_manifest_of_another_step_is_damage(folder: Folder, store: Store) -> None:
    store.put("step-00000006/manifest.json", make_manifest(5, files=(FILE,)).to_bytes())
    with pytest.raises(Damaged, match="is that of step 5"):
        folder.find(6)
    assert folder.find(6) is None


def test_an_older_attempts_checkpoint_of_the_same_step_is_replaced(store: Store) -> None:
    Folder(store, attempt=0).commit(make_manifest(5, attempt=0))
    heir = Folder(store, attempt=1)
    heir.claim()
    heir.commit(make_manifest(5, attempt=1))
    found = heir.find(5)
    assert found is not None
    assert found.manifest.attempt == 1


def test_a_condemned_checkpoint_is_not_found_until_it_is_replaced(folder: Folder, store: Store) -> None:
    folder.commit(make_manifest(5))
    found = folder.find(5)
    assert found is not None
    folder.condemn(found, "flipped bit")
    assert folder.find(5) is None
    assert Folder(store, attempt=1).find(5) is None
    Folder(store, attempt=1).commit(make_manifest(5, attempt=1))
    assert Folder(store, attempt=2).find(5) is not None
    assert not any("bad-" in item.key for item in store.list())


@pytest.mark.parametrize("content", [b"{", b'{"format": "another/1"}', b""], ids=["cut", "foreign", "empty"])
def test_a_manifest_that_cant_be_read_is_condemned(folder: Folder, store: Store, content: bytes) -> None:
    store.put("step-00000005/manifest.json", content)
    with pytest.raises(Damaged, match="no checkpoint manifest"):
        folder.find(5)
    assert folder.find(5) is None


def test_a_manifest_cant_name_files_outside_its_folder() -> None:
    with pytest.raises(ValueError, match="pattern"):
        File.model_validate(FILE.model_dump() | {"name": "../other/model.safetensors"})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(None, "is missing", id="missing"),
        pytest.param(CONTENT[:-1], "has 6 bytes, its manifest says 7", id="cut"),
        pytest.param(b"weighty", "has SHA-256", id="flipped"),
    ],
)
def test_damage_is_seen(store: Store, tmp_path: Path, content: bytes | None, problem: str) -> None:
    if content is not None:
        store.put(FILE.name, content)

    def fetch_and_verify() -> None:
        fetch_file(store, FILE, tmp_path / "copy")
        verify_file(FILE, tmp_path / "copy")

    with pytest.raises(Damaged, match=problem):
        fetch_and_verify()


def keys_of(steps: Mapping[int, set[str]]) -> list[str]:
    return [f"step-{step:08d}/{name}" for step, names in steps.items() for name in names]


STEPS = st.dictionaries(
    st.integers(1, 40),
    st.sets(st.sampled_from(["manifest.json", "model-1.safetensors", "rank-0.safetensors", "bad-0123"]), min_size=1),
    max_size=10,
)


@given(
    steps=STEPS, newest=st.integers(1, 40), keep=st.integers(1, 5), protected=st.sets(st.integers(1, 40), max_size=2)
)
def test_what_is_needed_is_never_garbage(
    steps: dict[int, set[str]], newest: int, keep: int, protected: set[int]
) -> None:
    steps[newest] = {"manifest.json", "model-1.safetensors"}
    garbage = choose_garbage(["attempts/00000001", *keys_of(steps)], newest=newest, keep=keep, protected=protected)
    deleted = {int(key[5:13]) for key in garbage}
    good = {
        step
        for step, names in steps.items()
        if "manifest.json" in names and "bad-0123" not in names and names != {"manifest.json"}
    }
    assert deleted.isdisjoint({newest, *protected})
    assert len({step for step in good - deleted if step <= newest}) >= min(keep, len([s for s in good if s <= newest]))
    assert {step for step in steps if step > newest} & deleted <= {step for step in steps if "bad-0123" in steps[step]}
    for step in deleted:
        order = [key for key in garbage if key.startswith(f"step-{step:08d}/")]
        assert set(order) == {f"step-{step:08d}/{name}" for name in steps[step]}
        if "manifest.json" in steps[step]:
            assert order[0].endswith("manifest.json")
        if "bad-0123" in steps[step]:
            assert order[-1].endswith("bad-0123")


def test_pruning_keeps_the_newest_and_sweeps_debris(folder: Folder, store: Store) -> None:
    for step in (2, 4, 6, 8):
        store.put(f"step-{step:08d}/{FILE.name}", CONTENT)
        folder.commit(make_manifest(step))
    store.put("step-00000007/manifest.json", b"a zombie's, so late that its files were swept before")
    store.put("step-00000005/model-debris.safetensors", b"half")
    store.put("step-00000009/model-begun.safetensors", b"half")
    folder.prune(newest=8, keep=2, protected={2})
    left = {item.key for item in store.list() if item.key.rpartition("/")[2] != FILE.name}
    assert left == {
        "step-00000002/manifest.json",
        "step-00000006/manifest.json",
        "step-00000008/manifest.json",
        "step-00000009/model-begun.safetensors",
    }


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_flipped_bit_of_a_manifest_changes_what_it_says(at: int, bit: int) -> None:
    data = bytearray(make_manifest(5, files=(FILE,)).to_bytes())
    data[at % len(data)] ^= 1 << bit
    try:
        manifest = Manifest.from_bytes(bytes(data))
    except ValueError:
        return
    assert manifest.to_bytes() == make_manifest(5, files=(FILE,)).to_bytes()
