"""Snapshots of the checkpoint folder, in real folders and a store that is one."""

import contextlib
import hashlib
import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from footplate.api.reports import CheckpointStatus
from footplate_trainer.errors import ConfigError, DataError, PeerLost, UserError
from footplate_trainer.storage.store import Store
from footplate_trainer.supervisor.held import held_files
from footplate_trainer.supervisor.pod import Pod, read_pod
from footplate_trainer.supervisor.snapshots import keeper as keepers
from footplate_trainer.supervisor.snapshots.archive import LAST, Number, Part, complete, parse, too_old
from footplate_trainer.supervisor.snapshots.beginning import begin
from footplate_trainer.supervisor.snapshots.manifest import Damaged, Manifest, is_inside
from footplate_trainer.supervisor.snapshots.quiet import PATIENCE_SECONDS, QUIET_SECONDS, Watcher
from footplate_trainer.supervisor.snapshots.restore import choose
from footplate_trainer.supervisor.snapshots.scan import State, scan
from footplate_trainer.supervisor.snapshots.sending import Sender, Torn
from trainer_pods import pod_environment


class Node:
    """A pod's folder, and what keeps it; time passes when the test says so."""

    def __init__(self, root: Path, *, node: int = 0, nodes: int = 1, attempt: int = 0, keep: int = 2, **more: Any):
        self.now = 1000.0
        self.notes: list[str] = []
        self.safe: list[CheckpointStatus] = []
        spec = {"checkpoint": {"uri": f"file://{root}/store", "keep": keep, "resume": more.pop("resume", "latest")}}
        spec["trainer"] = {"command": ["true"]}
        self.pod: Pod = read_pod(
            pod_environment(
                root / f"{more.get('run', 1)}-{attempt}-{node}",
                spec,
                node_rank=node,
                nodes=nodes,
                attempt=attempt,
                **more,
            )
        )
        self.pod.make_folders()
        self.folder = self.pod.checkpoint_dir
        self.run = root / "store" / "digits" / f"run-{self.pod.run}-uid-1"

    def begin(self) -> "Node":
        keeper, self.resumed_from = begin(
            self.pod, note=self.notes.append, safe=self.safe.append, clock=lambda: self.now
        )
        assert keeper is not None
        self.keeper = keeper
        return self

    def write(self, name: str, text: str = "") -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text or name)

    def look(self, *, after: float = 0.0) -> bool:
        self.now += after
        return self.keeper.look()

    def rest(self) -> bool:
        """Looks twice, with enough time between for what was written to be at rest."""
        self.look()
        return self.look(after=QUIET_SECONDS)

    def read(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.folder)): path.read_text()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }

    def newest(self) -> Any:
        return json.loads((self.run / "snapshots" / self.manifests()[-1]).read_text())

    def contents(self, node: int = 0) -> set[str]:
        return {path.name for path in self.run.glob(f"snapshot-files/node-{node}/*")}

    def manifests(self) -> list[str]:
        return sorted(path.relative_to(self.run / "snapshots").as_posix() for path in self.run.glob("snapshots/*/*"))


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_what_code_leaves_is_there_again_in_the_next_attempt(tmp_path: Path) -> None:
    node = Node(tmp_path).begin()
    node.write("checkpoint-200/model.bin", "weights")
    node.write("checkpoint-200/state.json", "{}")
    (node.folder / "last.ckpt").symlink_to(node.folder / "checkpoint-200/model.bin")
    (node.folder / "checkpoint-200/model.bin").chmod(0o640)
    os.utime(node.folder / "checkpoint-200/model.bin", ns=(5, 1_700_000_000_123_456_789))
    assert node.rest()
    (status,) = node.safe
    assert (status.step, status.size_bytes) == (None, len("weights{}"))
    assert status.uri == f"file://{node.run}/snapshots/00000000-00000001/"

    heir = Node(tmp_path, attempt=1).begin()
    assert heir.read() == {
        "checkpoint-200/model.bin": "weights",
        "checkpoint-200/state.json": "{}",
        "last.ckpt": "weights",
    }
    there = (heir.folder / "checkpoint-200/model.bin").stat()
    assert (there.st_mode & 0o777, there.st_mtime_ns) == (0o640, 1_700_000_000_123_456_789)
    assert str((heir.folder / "last.ckpt").readlink()) == "checkpoint-200/model.bin"
    assert heir.safe == [status]
    assert heir.resumed_from == status.uri
    assert not heir.rest()  # nothing is new, so nothing is sent


def test_what_is_unchanged_is_sent_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    put_file = Store.put_file
    monkeypatch.setattr(Store, "put_file", lambda self, key, path: (sent.append(path.name), put_file(self, key, path)))
    node = Node(tmp_path).begin()
    node.write("a", "same")
    node.write("b", "same")
    assert node.rest()
    assert len(sent) == 1
    node.write("c")
    assert node.rest()
    assert sent[1:] == ["c"]
    heir = Node(tmp_path, attempt=1).begin()
    heir.write("d")
    assert heir.rest()
    assert sent[2:] == ["d"]
    assert Node(tmp_path, attempt=2).begin().read() == {"a": "same", "b": "same", "c": "c", "d": "d"}


def test_nothing_is_taken_while_anything_is_being_written(tmp_path: Path) -> None:
    node = Node(tmp_path).begin()
    node.write("checkpoint-1/model.bin")
    node.look()
    node.write("checkpoint-1/optimizer.bin", "half")
    assert not node.look(after=QUIET_SECONDS)
    node.write("checkpoint-1/optimizer.bin", "whole")
    assert not node.look(after=QUIET_SECONDS)
    assert node.look(after=QUIET_SECONDS)
    assert Node(tmp_path, attempt=1).begin().read()["checkpoint-1/optimizer.bin"] == "whole"


def test_a_file_that_changes_all_the_time_keeps_its_last_rest_and_holds_nobody_up(tmp_path: Path) -> None:
    node = Node(tmp_path).begin()
    node.write("train.log", "at rest")
    assert node.rest()
    node.write("ckpt.pt")
    looks = 0
    while not node.look(after=QUIET_SECONDS):
        looks += 1
        assert looks < 2 * PATIENCE_SECONDS / QUIET_SECONDS
        with (node.folder / "train.log").open("a") as log:
            log.write(f"line {looks}")
    assert Node(tmp_path, attempt=1).begin().read() == {"ckpt.pt": "ckpt.pt", "train.log": "at rest"}
    assert any("train.log" in note and "without a pause" in note for note in node.notes)


@pytest.mark.parametrize("last", [False, True])
def test_a_checkpoint_of_files_that_take_long_is_taken_as_a_whole(tmp_path: Path, last: bool) -> None:
    node = Node(tmp_path).begin()
    node.write("checkpoint-1/shard-0")
    assert node.rest()
    node.write("checkpoint-2/shard-0")
    node.write("checkpoint-2/sub/shard-1")
    node.write("unrelated/new")
    while node.now < 1000 + 3 * PATIENCE_SECONDS:
        node.write("checkpoint-2/sub/shard-2", f"{node.now}")
        node.look(after=QUIET_SECONDS - 1)
    if last:
        node.keeper.last(whole=False, prune=True)
    assert [file["path"] for file in node.newest()["files"]] == ["checkpoint-1/shard-0", "unrelated/new"]
    if not last:
        node.look(after=QUIET_SECONDS)
        assert len(node.newest()["files"]) == 5


def test_a_node_that_takes_longer_to_write_is_waited_for(gang: list[Node]) -> None:
    for each in gang:
        each.look()
    gang[0].look(after=QUIET_SECONDS)
    gang[1].write("checkpoint-1/shard_1a.distcp", "half")
    while gang[1].now < 1000 + 3 * PATIENCE_SECONDS:
        gang[1].write("checkpoint-1/shard_1b.distcp", f"{gang[1].now}")
        assert not gang[1].look(after=QUIET_SECONDS - 1)
    gang[1].keeper.last(whole=False, prune=True)
    assert complete(parse(f"snapshots/{name}" for name in gang[0].manifests())) == []
    assert gang[1].look(after=QUIET_SECONDS)
    assert gang[0].look(after=keepers.ASK_SECONDS)
    assert complete(parse(f"snapshots/{name}" for name in gang[0].manifests())) == [Number(0, 2)]


def test_a_folder_that_always_has_something_new_is_taken_after_a_while(tmp_path: Path) -> None:
    node = Node(tmp_path).begin()
    while not node.look(after=QUIET_SECONDS - 1):
        node.write(f"samples/{node.now}.png")
        assert node.now < 1000 + 2 * keepers.ALWAYS * PATIENCE_SECONDS
    assert len(node.newest()["files"]) > PATIENCE_SECONDS / QUIET_SECONDS


def test_what_takes_long_to_be_written_anew_is_waited_for_and_what_always_is_is_not(tmp_path: Path) -> None:
    node = Node(tmp_path).begin()
    for name in ("model.bin", "state.json"):
        node.write(name, "old")
    assert node.rest()
    node.write("model.bin", "new")
    while digest("new") not in {each["sha256"] for each in node.newest()["files"]}:
        assert node.now - 1000 < 2 * keepers.ALWAYS * PATIENCE_SECONDS
        node.write("state.json", f"{node.now}")
        with contextlib.suppress(Torn):
            node.look(after=QUIET_SECONDS - 1)
    assert node.now - 1000 > keepers.ALWAYS * PATIENCE_SECONDS


def test_a_file_that_changes_while_it_is_sent_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(tmp_path).begin()
    node.write("ckpt.pt", "old")
    assert node.rest()
    node.write("ckpt.pt", "new")
    put_file = Store.put_file

    def put_while_written(self: Store, key: str, path: Path) -> None:
        put_file(self, key, path)
        if key.endswith(digest("new")):
            path.write_text("changed")

    monkeypatch.setattr(Store, "put_file", put_while_written)
    node.write("other")
    assert node.rest()
    assert Node(tmp_path, attempt=1).begin().read() == {"ckpt.pt": "old"}  # and nothing that was written with it
    assert node.manifests() == ["00000000-00000001/node-0-of-1.json"]


def test_keep_are_kept_and_their_contents(tmp_path: Path) -> None:
    node = Node(tmp_path, keep=2).begin()
    for step in range(4):
        node.write("ckpt.pt", f"step {step}")
        assert node.rest()
    assert node.contents() == {digest("step 2"), digest("step 3")}
    assert node.manifests() == [f"00000000-0000000{n}/node-0-of-1.json" for n in (3, 4)]


def test_what_is_gone_is_not_put_back(tmp_path: Path) -> None:
    node = Node(tmp_path).begin()
    node.write("checkpoint-1/model.bin")
    assert node.rest()
    (node.folder / "checkpoint-1/model.bin").unlink()
    node.write("checkpoint-2/model.bin")
    assert node.rest()
    assert list(Node(tmp_path, attempt=1).begin().read()) == ["checkpoint-2/model.bin"]


def test_the_last_look_takes_what_an_ended_program_wrote_last(tmp_path: Path) -> None:
    node = Node(tmp_path).begin()
    node.write("ckpt.pt", "on SIGTERM")
    node.keeper.last(whole=True, prune=True)
    assert node.manifests() == [f"00000000-{LAST}/node-0-of-1.json"]
    assert node.safe[-1].size_bytes == len("on SIGTERM")
    assert Node(tmp_path, attempt=1).begin().read() == {"ckpt.pt": "on SIGTERM"}


def test_what_was_being_written_by_a_killed_program_is_not_taken(tmp_path: Path) -> None:
    node = Node(tmp_path).begin()
    node.write("ckpt.pt", "old")
    assert node.rest()
    node.write("ckpt.pt", "ha")
    node.keeper.last(whole=False, prune=True)
    assert Node(tmp_path, attempt=1).begin().read() == {"ckpt.pt": "old"}
    assert any("may be half" in note for note in node.notes)


def test_what_an_ended_writer_held_open_is_not_taken(tmp_path: Path) -> None:
    node = Node(tmp_path).begin()
    node.write("ckpt.pt", "old")
    assert node.rest()
    write = "import sys, time; files = [open(name, 'w') for name in sys.argv[1:]]; print(flush=True); time.sleep(60)"
    names = [str(node.folder / name) for name in ("ckpt.pt", "new.pt")]
    add = f"exec 3>>{node.folder}/log; exec {sys.executable} -c {shlex.quote(write)} {' '.join(names)}"
    with subprocess.Popen(["sh", "-c", add], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        held = held_files(node.folder, os.getpid())
        writer.kill()
    assert held == {"ckpt.pt", "new.pt"}
    with pytest.raises(Torn, match=r"ckpt\.pt"):
        node.keeper.last(whole=True, prune=True, held=held)
    node.write("ckpt.pt", "whole")
    node.keeper.last(whole=True, prune=True, held={"new.pt"})
    assert Node(tmp_path, attempt=1).begin().read() == {"ckpt.pt": "whole", "log": ""}


def test_what_a_killed_program_left_at_rest_is_taken(tmp_path: Path) -> None:
    node = Node(tmp_path).begin()
    node.write("ckpt.pt", "whole")
    node.look()
    node.now += QUIET_SECONDS
    node.keeper.last(whole=False, prune=True)
    assert Node(tmp_path, attempt=1).begin().read() == {"ckpt.pt": "whole"}


def test_a_zombie_commits_nothing(tmp_path: Path) -> None:
    zombie = Node(tmp_path).begin()
    zombie.write("ckpt.pt", "old")
    assert zombie.rest()
    Node(tmp_path, attempt=1).begin()
    zombie.write("ckpt.pt", "of a zombie")
    zombie.look()
    with pytest.raises(PeerLost):
        zombie.look(after=QUIET_SECONDS)
    assert Node(tmp_path, attempt=2).begin().read() == {"ckpt.pt": "old"}


@pytest.fixture
def gang(tmp_path: Path) -> list[Node]:
    nodes = [Node(tmp_path, node=node, nodes=2).begin() for node in range(2)]
    for node, each in enumerate(nodes):
        each.write(f"checkpoint-1/shard_{node}.distcp")
        each.write("checkpoint-1/same", f"of node {node}")
    nodes[0].write("checkpoint-1/.metadata")
    return nodes


def test_each_node_gets_its_own_files_then_the_others(gang: list[Node], tmp_path: Path) -> None:
    assert gang[0].rest()
    assert gang[0].safe == []  # nobody says that it is safe before the other node has answered
    assert gang[1].rest()
    gang[0].look(after=keepers.ASK_SECONDS)
    assert len(gang[0].safe) == 1
    shared = {f"checkpoint-1/shard_{node}.distcp": f"checkpoint-1/shard_{node}.distcp" for node in range(2)}
    shared["checkpoint-1/.metadata"] = "checkpoint-1/.metadata"
    for node in range(2):
        heir = Node(tmp_path, attempt=1, node=node, nodes=2).begin()
        assert heir.read() == {**shared, "checkpoint-1/same": f"of node {node}"}
    grown = Node(tmp_path, attempt=2, node=2, nodes=3).begin()
    assert grown.read() == {**shared, "checkpoint-1/same": "of node 0"}


def test_what_another_node_writes_does_not_grow_old_on_this_one(tmp_path: Path) -> None:
    for attempt in range(3):
        nodes = [Node(tmp_path, attempt=attempt, node=node, nodes=2).begin() for node in range(2)]
        if attempt:
            assert [node.read() for node in nodes] == [{"ckpt.pt": f"of attempt {attempt - 1}"}] * 2
        nodes[0].write("ckpt.pt", f"of attempt {attempt}")
        for node in reversed(nodes):
            node.keeper.last(whole=True, prune=False)
    assert nodes[1].contents(1) == set()
    alone = Node(tmp_path, attempt=3, node=0, nodes=1).begin()
    assert alone.read() == {"ckpt.pt": "of attempt 2"}


def test_the_files_of_a_node_that_is_no_more_are_the_first_ones(gang: list[Node], tmp_path: Path) -> None:
    for node in reversed(gang):
        node.keeper.last(whole=True, prune=False)
    for attempt in (1, 2):
        alone = Node(tmp_path, attempt=attempt).begin()
        assert "checkpoint-1/shard_1.distcp" in alone.read()
        alone.keeper.last(whole=True, prune=True)


def test_what_not_all_nodes_have_is_no_snapshot(gang: list[Node], tmp_path: Path) -> None:
    for node in gang:
        assert node.rest()
    assert gang[0].look(after=keepers.ASK_SECONDS)
    gang[0].write("checkpoint-2/.metadata")
    assert gang[0].rest()  # node 1 is lost before it answers
    heir = Node(tmp_path, attempt=1, node=0, nodes=2).begin()
    assert "checkpoint-1/.metadata" in heir.read()
    assert "checkpoint-2/.metadata" not in heir.read()


def test_a_node_that_writes_nothing_answers(tmp_path: Path) -> None:
    nodes = [Node(tmp_path, node=node, nodes=2).begin() for node in range(2)]
    nodes[0].write("ckpt.pt")
    assert nodes[0].rest()
    assert nodes[1].look(after=keepers.ASK_SECONDS)
    assert not nodes[1].look(after=keepers.ASK_SECONDS)  # and once
    nodes[0].look(after=keepers.ASK_SECONDS)
    assert len(nodes[0].safe) == 1
    assert Node(tmp_path, attempt=1, node=1, nodes=2).begin().read() == {"ckpt.pt": "ckpt.pt"}


def test_the_last_of_several_nodes_is_of_all(gang: list[Node], tmp_path: Path) -> None:
    for node in reversed(gang):
        node.keeper.last(whole=True, prune=False)
    assert gang[0].safe[-1].uri.endswith(f"00000000-{LAST}/")
    assert "checkpoint-1/shard_1.distcp" in Node(tmp_path, attempt=1, node=0, nodes=2).begin().read()


def test_a_damaged_snapshot_is_told_and_the_one_before_is_taken(tmp_path: Path) -> None:
    node = Node(tmp_path).begin()
    for text in ("old", "new"):
        node.write("ckpt.pt", text)
        assert node.rest()
    (node.run / "snapshot-files/node-0" / digest("new")).write_text("nEw")
    heir = Node(tmp_path, attempt=1).begin()
    assert heir.read() == {"ckpt.pt": "old"}
    assert any("is damaged" in note for note in heir.notes)
    (node.run / "snapshot-files/node-0" / digest("old")).unlink()
    with pytest.raises(DataError, match="all 1 snapshots of this run are damaged"):
        Node(tmp_path, attempt=2).begin()


@pytest.mark.parametrize(
    ("resume", "finished", "expected"),
    [("latest", False, {"a": "a"}), ("latest", True, {}), ("run", False, {}), ("never", False, {})],
)
def test_another_run_begins_as_resume_says(
    tmp_path: Path, resume: str, finished: bool, expected: dict[str, str]
) -> None:
    node = Node(tmp_path).begin()
    node.write("a")
    assert node.rest()
    if finished:
        (node.run / "finished").touch()
    heir = Node(tmp_path, run=2, resume=resume).begin()
    assert heir.read() == expected
    assert heir.safe == []  # of its own run nothing is safe yet
    if expected:
        assert heir.look()  # so it is saved
        assert heir.contents() == {digest("a")}


def test_what_cannot_be_kept_is_left_out_and_told(tmp_path: Path) -> None:
    node = Node(tmp_path).begin()
    node.write("kept")
    (node.folder / "out").symlink_to("/etc/passwd")
    (node.folder / "up").symlink_to("../../..")
    os.mkfifo(node.folder / "pipe")
    here = Path.cwd()
    os.chdir(node.folder)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("sock")
    finally:
        os.chdir(here)
    Path(os.fsdecode(os.fsencode(node.folder) + b"/latin-\xe9")).touch()
    node.write(".footplate/model.0.saving", "the library's own")
    assert node.rest()
    assert Node(tmp_path, attempt=1).begin().read() == {"kept": "kept"}
    told = " ".join(scan(node.folder).left_out)
    for name in (
        "out (a link out of the folder",
        "up (a link",
        "pipe (a pipe",
        "sock (a pipe, socket",
        r"latin-\udce9",
    ):
        assert name in told
    assert "saving" not in told
    assert any("not saved of $FOOTPLATE_CHECKPOINT_DIR" in note for note in node.notes)


def test_a_folder_that_code_has_removed_holds_nothing(tmp_path: Path) -> None:
    node = Node(tmp_path).begin()
    node.folder.rmdir()
    assert not node.look()
    node.keeper.last(whole=True, prune=True)


def test_of_too_many_files_the_largest_folder_is_left_out(tmp_path: Path) -> None:
    for name, count in (("frames", 30), ("checkpoint-1", 5)):
        (tmp_path / name).mkdir()
        for number in range(count):
            (tmp_path / name / str(number)).touch()
    (tmp_path / "ckpt.pt").touch()
    found = scan(tmp_path, max_files=10)
    assert set(found.files) == {"ckpt.pt", *(f"checkpoint-1/{number}" for number in range(5))}
    assert len(found.left_out) == 1
    assert "frames" in found.left_out[0]
    (tmp_path / "checkpoint-1").rename(tmp_path / "x")
    assert len(scan(tmp_path, max_files=40).files) == 36


def test_no_space_is_said_before_anything_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(tmp_path).begin()
    node.write("a", "12345")
    assert node.rest()
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 4}))
    with pytest.raises(ConfigError, match=r"spec\.checkpoint\.uri: 5 bytes don't fit"):
        Node(tmp_path, attempt=1).begin()


def state(size: int = 1) -> State:
    return State(size, 1, 1, 1, 0o644)


def test_a_folder_of_ever_new_files_is_taken_all_the_same() -> None:
    watcher, now, files = Watcher({}, now=0.0), 0.0, {}
    while not watcher.is_due({}, now=now):
        assert now < 2 * PATIENCE_SECONDS
        now += 2.0
        files[f"sample-{now}"] = state()
        watcher.look(files, now=now)
    assert watcher.at_rest(now=now)


def test_snapshots_are_complete_when_all_nodes_have_their_part() -> None:
    listing = parse(
        [
            "snapshots/00000000-00000001/node-0-of-2.json",
            "snapshots/00000000-00000001/node-1-of-2.json",
            "snapshots/00000000-00000002/node-0-of-2.json",
            "snapshots/00000001-00000001/node-0-of-1.json",
            "snapshots/00000001-00000002/node-0-of-1.json",
            "snapshots/00000001-00000002/bad-0",
            "snapshots/whatever",
        ]
    )
    assert complete(listing) == [Number(1, 1), Number(0, 1)]
    assert too_old(listing, keep=1) == [Number(0, 1), Number(0, 2)]
    assert too_old(listing, keep=2) == []
    assert listing[Number(0, 2)] == {Part(0, 2)}


@pytest.mark.parametrize(
    ("path", "of", "inside"),
    [
        ("a/b", "", True),
        ("../a", "", False),
        ("a/../../b", "", False),
        ("/a", "", False),
        ("a//b", "", False),
        ("../b", "a/link", True),
        ("../../b", "a/link", False),
        ("b", "link", True),
        ("../b", "link", False),
    ],
)
def test_a_manifest_leads_nowhere_else(path: str, of: str, inside: bool) -> None:
    assert is_inside(path, of=of) is inside


def make_manifest(*paths: str) -> Manifest:
    files = [{"path": path, "size": 1, "mode": 0o644, "modifiedNs": 1, "sha256": digest(path)} for path in paths]
    head = {"job": "j", "uid": "u", "run": 1, "attempt": 0, "node": 0, "nodes": 1, "time": "2026-01-01T00:00:00Z"}
    return Manifest.model_validate({**head, "files": files}, strict=False)


def test_a_changed_manifest_is_damaged() -> None:
    data = make_manifest("a").to_bytes()
    assert Manifest.from_bytes(data, "uri") == make_manifest("a").model_copy(
        update={"checksum": Manifest.from_bytes(data, "uri").checksum}
    )
    for bad in (data.replace(b'"size":1', b'"size":2'), data[:-1], data.replace(b'"a"', b'"../a"')):
        with pytest.raises(Damaged):
            Manifest.from_bytes(bad, "uri")


def test_what_is_a_file_of_ones_own_is_no_folder_of_anothers() -> None:
    own, other = make_manifest("a", "b/c"), make_manifest("a/x", "b", "d")
    assert {path: owner for path, (owner, _) in choose([own, other], node=0).items()} == {"a": 0, "b/c": 0, "d": 1}


def while_sent(monkeypatch: pytest.MonkeyPatch, text: str, change: Callable[[Path], object]) -> None:
    """Does something, once, when these contents have just been uploaded."""
    put_file, done = Store.put_file, []

    def put_and_change(self: Store, key: str, path: Path) -> None:
        put_file(self, key, path)
        if key.endswith(digest(text)) and not done:
            done.append(key)
            change(path)

    monkeypatch.setattr(Store, "put_file", put_and_change)


def test_files_that_are_written_anew_while_they_are_sent_are_not_mixed_with_older_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(tmp_path).begin()
    optimizer = node.folder / "optimizer.bin"
    while_sent(monkeypatch, "model 200", lambda _: optimizer.write_text("optimizer 300"))
    while_sent(monkeypatch, "optimizer 200", lambda path: path.write_text("optimizer 300"))
    for step in (100, 200):
        node.write("model.bin", f"model {step}")
        node.write("optimizer.bin", f"optimizer {step}")
        assert node.rest()
    saved = {each["sha256"] for each in node.newest()["files"]}
    assert saved == {digest("model 100"), digest("optimizer 100")}
    assert node.rest()
    assert {each["sha256"] for each in node.newest()["files"]} == {digest("model 200"), digest("optimizer 300")}


def test_what_a_writer_through_memory_changes_unseen_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a mapped page doesn't change a file's time until it is written back."""
    node = Node(tmp_path).begin()
    node.write("table.npy", "old")
    assert node.rest()

    monkeypatch.setattr(Sender, "_is_still", lambda *_: True)
    node.write("table.npy", "new")
    while_sent(monkeypatch, "new", lambda path: path.write_text("nEw"))
    node.rest()
    assert Node(tmp_path, attempt=1).begin().read() == {"table.npy": "old"}


def test_a_folder_that_is_emptied_before_it_is_written_anew_stays_safe(tmp_path: Path) -> None:
    node = Node(tmp_path, keep=1).begin()
    node.write("checkpoint/model.bin", "old")
    assert node.rest()
    (node.folder / "checkpoint/model.bin").unlink()
    node.look()
    node.look(after=10 * PATIENCE_SECONDS)
    assert Node(tmp_path, attempt=1, keep=1).begin().read() == {"checkpoint/model.bin": "old"}
    assert Path(node.safe[-1].uri.removeprefix("file://")).is_dir()


def test_a_path_too_long_is_left_out_and_the_rest_is_kept(tmp_path: Path) -> None:
    node = Node(tmp_path).begin()
    node.write("ckpt.pt")
    here = os.open(node.folder, os.O_RDONLY)
    for _ in range(17):
        os.mkdir("d" * 250, dir_fd=here)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
        os.close(os.open("f" * 255, os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    assert node.rest()
    assert "ckpt.pt" in Node(tmp_path, attempt=1).begin().read()
    assert any("not saved of" in note for note in node.notes)


def test_others_files_take_no_room_from_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for attempt in range(2):
        nodes = [Node(tmp_path, attempt=attempt, node=node, nodes=2).begin() for node in range(2)]
        monkeypatch.setattr(keepers, "MAX_FILES", 7)
        for node, each in enumerate(nodes):
            for number in range(6):
                each.write(f"checkpoint-1/{node}-{number}")
            each.write("log", f"attempt {attempt}")
        for each in reversed(nodes):
            each.keeper.last(whole=True, prune=True)
    heir = Node(tmp_path, attempt=2, node=1, nodes=2).begin()
    assert len(heir.read()) == 13


def test_the_end_tells_of_what_could_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(tmp_path).begin()
    node.write("ckpt.pt", "result")
    while_sent(monkeypatch, "result", lambda path: path.write_text("still written to"))
    with pytest.raises(UserError, match=r"ckpt\.pt"):
        node.keeper.last(whole=True, prune=True)


def test_a_content_that_is_cut_short_is_damage(tmp_path: Path) -> None:
    node = Node(tmp_path).begin()
    for text in ("old", "new"):
        node.write("ckpt.pt", text)
        assert node.rest()
    (node.run / "snapshot-files/node-0" / digest("new")).write_text("n")
    assert Node(tmp_path, attempt=1).begin().read() == {"ckpt.pt": "old"}


def test_nodes_parts_of_different_moments_are_no_snapshot(gang: list[Node], tmp_path: Path) -> None:
    for each in gang:
        assert not each.look()  # as each does every few seconds
    for each in gang:
        assert each.look(after=QUIET_SECONDS)
    assert gang[0].manifests() == [f"00000000-00000001/node-{node}-of-2.json" for node in range(2)]
    gang[0].write("checkpoint-1/same", "200")
    gang[0].look(after=QUIET_SECONDS)
    assert gang[0].look(after=QUIET_SECONDS)  # node 1 is still at work with something else
    gang[1].write("checkpoint-1/same", "300")
    gang[1].look(after=QUIET_SECONDS)
    assert gang[1].look(after=QUIET_SECONDS)
    listing = parse(f"snapshots/{name}" for name in gang[0].manifests())
    assert complete(listing) == [Number(0, 1)]  # of 200 there is one half, and of 300 the other
    gang[0].write("checkpoint-1/same", "300")
    gang[0].look(after=keepers.ASK_SECONDS)
    assert gang[0].look(after=QUIET_SECONDS)
    gang[1].look(after=keepers.ASK_SECONDS)
    newest = complete(parse(f"snapshots/{name}" for name in gang[0].manifests()))[0]
    for node in range(2):
        heir = Node(tmp_path, attempt=1, node=node, nodes=2).begin()
        assert heir.read()["checkpoint-1/same"] == "300", newest
