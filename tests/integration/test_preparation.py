"""Data are prepared once a run, before any rank starts; nodes and retries take these very files, and changed data are
refused.
"""

import json
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from footplate.contract import ExitCode
from trainer_pods import Done, RunningPod, pod_environment

pytestmark = pytest.mark.integration

SHOW = """
import hashlib, os, pathlib
root = pathlib.Path(os.environ["SPLITS"])
for path in sorted(root.rglob("*.parquet")):
    print("has", path.relative_to(root), hashlib.sha256(path.read_bytes()).hexdigest(), flush=True)
"""
READ = """
from footplate_trainer import context
import pyarrow.parquet as pq
ctx = context()
print({name: pq.read_table(folder).num_rows for name, folder in ctx.splits.items()})
"""
SPLIT = {"train": 0.7, "validation": 0.2, "test": 0.1, "by": "stratified", "column": "label"}
CHECKS = {"columns": [{"name": "age", "type": "integer", "constraints": {"minimum": 0, "maximum": 130}}]}


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    folder = tmp_path / "rows"
    folder.mkdir()
    (folder / "a.csv").write_text("age,label\n" + "".join(f"{row},{'xy'[row % 2]}\n" for row in range(100)))
    return folder


def spec(rows: Path, *, stored: bool = True, code: str = SHOW, **data: Any) -> dict[str, Any]:
    output = {"checkpoint": {"uri": f"file://{rows.parent}/kept"}} if stored else {}
    return {
        "trainer": {"command": [sys.executable, "-c", code]},
        "inputs": [{"name": "train", "uri": f"file://{rows}/"}],
        "data": {"split": SPLIT, "checks": CHECKS, **data},
        **output,
    }


def pod(root: Path, spec: dict[str, Any], **place: Any) -> RunningPod:
    root.mkdir(exist_ok=True)
    return RunningPod(root, pod_environment(root, spec, **place))


def has(done: Done) -> list[str]:
    return re.findall(r"has \S+\.parquet \S+", done.log)


def kept(rows: Path) -> Path:
    (folder,) = (rows.parent / "kept/digits").glob("records-1-*/data")
    return folder


def test_every_node_and_retry_takes_the_files_that_node_0_has_made(tmp_path: Path, rows: Path) -> None:
    job = spec(rows, profile=True)
    waiting = pod(tmp_path / "one", job, nodes=2, node_rank=1)
    waiting.wait_for_log("waiting for node 0, which prepares the data")
    first = pod(tmp_path / "zero", job, nodes=2).finish()
    second = waiting.finish()
    retry = pod(tmp_path / "retry", job, nodes=2, attempt=1).finish()
    assert [done.exit_code for done in (first, second, retry)] == [0, 0, 0], first.log + second.log + retry.log
    assert len(has(first)) == 3
    assert has(first) == has(second) == has(retry)
    prepared = json.loads((kept(rows) / "prepared.json").read_text())
    assert prepared["splits"] == {"train": 70, "validation": 20, "test": 10}
    assert (kept(rows) / "profile.html").is_file()
    assert any("data: 100 rows: train 70 (70.0%), validation 20 (20.0%)" in note for note in first.verdict.notes)
    # Data that have changed meanwhile are no longer those that were checked and divided.
    (rows / "a.csv").write_text("age,label\n1,x\n2,y\n")
    changed = pod(tmp_path / "changed", job, nodes=2, attempt=2).finish()
    assert changed.exit_code == ExitCode.DATA_ERROR
    assert changed.verdict.error is not None
    assert "spec.inputs[train]: the data have changed since" in changed.verdict.error.message
    assert not has(changed)


def test_a_broken_check_ends_the_pod_before_anything_starts(tmp_path: Path, rows: Path) -> None:
    with (rows / "a.csv").open("a") as file:
        file.write("131,x\n-5,y\n")
    done = pod(tmp_path / "zero", spec(rows)).finish()
    assert done.exit_code == ExitCode.DATA_ERROR
    assert done.verdict.error is not None
    said = done.verdict.error.message
    assert "column 'age': minimum: 0 is broken once: -5 in row 102 of train/a.csv" in said
    assert "column 'age': maximum: 130 is broken once: 131 in row 101 of train/a.csv" in said
    assert "correct the data, or the check" in said
    assert not has(done)
    assert [each["rule"] for each in json.loads((kept(rows) / "problems.json").read_text())] == [
        "minimum: 0", "maximum: 130",
    ]  # fmt: skip
    assert not (kept(rows) / "prepared.json").exists()


def test_our_library_reads_the_parts_where_nothing_is_stored(tmp_path: Path, rows: Path) -> None:
    job = {**spec(rows, stored=False), "trainer": {"entrypoint": "train.py"}}
    done = RunningPod(tmp_path, pod_environment(tmp_path, job, files={"train.py": READ})).finish()
    assert done.exit_code == 0, done.log
    assert "{'train': 70, 'validation': 20, 'test': 10}" in done.log


def test_pictures_are_links_and_retries_have_the_same(tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "rows"
    for number in range(10):
        for name in ("cat", "dog"):
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), 10 * number + len(name)).save(folder / name / f"{number}.png")
    code = "import os, pathlib; print('has', *sorted(str(p.relative_to(os.environ['SPLITS'])) for p in "
    code += "pathlib.Path(os.environ['SPLITS']).rglob('*.png')), flush=True)"
    job = spec(folder, code=code, split={**SPLIT, "column": "class"}, checks={"minRows": 20})
    first, retry = (pod(tmp_path / name, job, attempt=place).finish() for place, name in enumerate(("a", "b")))
    assert (first.exit_code, retry.exit_code) == (0, 0), first.log + retry.log
    (line,) = re.findall(r"has (.*)", first.log)
    assert len(line.split()) == 20
    assert line in retry.log


def test_a_pod_that_is_asked_to_stop_while_it_prepares_stops(tmp_path: Path, rows: Path) -> None:
    waiting = pod(tmp_path / "one", spec(rows), nodes=2, node_rank=1)
    waiting.wait_for_log("waiting for node 0")
    waiting.process.send_signal(signal.SIGTERM)
    assert waiting.finish(seconds=30).exit_code == ExitCode.STOPPED
