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
from deltalake import write_deltalake
from pyarrow import csv

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


def of_stage(root: Path, spec: dict[str, Any], **place: Any) -> RunningPod:
    """The pod that comes before the gang."""
    root.mkdir(exist_ok=True)
    return RunningPod(root, pod_environment(root, spec, **place) | {"FOOTPLATE_STAGE": "data"})


def has(done: Done) -> list[str]:
    return re.findall(r"has \S+\.parquet \S+", done.log)


def kept(rows: Path) -> Path:
    return rows.parent / "kept/digits/records-1-uid-1/data"


def test_every_node_and_retry_takes_the_files_that_were_made_once(tmp_path: Path, rows: Path) -> None:
    job = spec(rows, profile=True)
    data = of_stage(tmp_path / "data", job).finish()
    assert (data.exit_code, data.verdict.outcome) == (0, "succeeded"), data.log
    assert not has(data), "it starts nothing of the user's"
    first, second, retry = (
        pod(tmp_path / f"{attempt}-{rank}", job, nodes=2, node_rank=rank, attempt=attempt).finish()
        for attempt, rank in ((1, 0), (1, 1), (2, 0))
    )
    assert [done.exit_code for done in (first, second, retry)] == [0, 0, 0], first.log + second.log + retry.log
    assert len(has(first)) == 3
    assert has(first) == has(second) == has(retry)
    assert "[data]" not in first.log + second.log + retry.log
    prepared = json.loads((kept(rows) / "prepared.json").read_text())
    assert prepared["splits"] == {"train": 70, "validation": 20, "test": 10}
    assert (kept(rows) / "profile.html").is_file()
    told = data.verdict.data
    assert told is not None
    assert told.in_words == "100 rows in 2 classes: train 70 (70.0%), validation 20 (20.0%), test 10 (10.0%)"
    assert {each.name: each.rows for each in told.classes} == {"x": 50, "y": 50}
    assert (told.problems, told.digest) == (0, prepared["inputs"]["train"])
    assert told.profile == f"file://{kept(rows)}/profile.html"
    assert first.verdict.data == retry.verdict.data == told
    assert second.verdict.data is None, "node 0 tells it"
    # Data that have changed meanwhile are no longer those that were checked and divided.
    (rows / "a.csv").write_text("age,label\n1,x\n2,y\n")
    changed = pod(tmp_path / "changed", job, nodes=2, attempt=3).finish()
    assert changed.exit_code == ExitCode.DATA_ERROR
    assert changed.verdict.error is not None
    assert "spec.inputs[train]: the data have changed since" in changed.verdict.error.message
    assert not has(changed)
    (kept(rows) / "prepared.json").unlink()
    lost = pod(tmp_path / "lost", job, nodes=2, attempt=4).finish()
    assert lost.exit_code == ExitCode.DATA_ERROR
    assert "prepared.json, which says how this run's data were divided, isn't there any more" in str(lost.verdict.error)


def test_a_broken_check_ends_the_pod_before_anything_starts(tmp_path: Path, rows: Path) -> None:
    with (rows / "a.csv").open("a") as file:
        file.write("131,x\n-5,y\n")
    done = of_stage(tmp_path / "data", spec(rows)).finish()
    assert done.exit_code == ExitCode.DATA_ERROR
    assert done.verdict.error is not None
    said = done.verdict.error.message
    assert "column 'age': minimum: 0 is broken once: -5 in row 102 of train/a.csv" in said
    assert "column 'age': maximum: 130 is broken once: 131 in row 101 of train/a.csv" in said
    assert "correct the data, or the check" in said
    told = done.verdict.data
    assert told is not None
    assert (told.rows, told.class_count, told.problems) == (102, 2, 2)
    assert [(each.column, each.rule, each.count) for each in told.broken] == [
        ("age", "minimum: 0", 1), ("age", "maximum: 130", 1),
    ]  # fmt: skip
    assert told.profile == f"file://{kept(rows)}/profile.html"
    assert (kept(rows) / "profile.html").is_file()
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
    assert of_stage(tmp_path / "data", job).finish().exit_code == 0
    first, retry = (pod(tmp_path / name, job, attempt=place).finish() for place, name in ((1, "a"), (2, "b")))
    assert (first.exit_code, retry.exit_code) == (0, 0), first.log + retry.log
    (line,) = re.findall(r"has (.*)", first.log)
    assert len(line.split()) == 20
    assert line in retry.log


def test_a_pod_that_is_asked_to_stop_while_it_prepares_stops(tmp_path: Path, rows: Path) -> None:
    data = of_stage(tmp_path / "data", spec(rows))
    data.wait_for_log("the data are being prepared")
    data.process.send_signal(signal.SIGTERM)
    assert data.finish(seconds=30).exit_code == ExitCode.STOPPED
    assert not (kept(rows) / "prepared.json").exists()


def test_one_that_was_killed_leaves_what_the_next_goes_on_with(tmp_path: Path, rows: Path) -> None:
    killed = of_stage(tmp_path / "data", spec(rows))
    killed.wait_for_log("the data are being prepared")
    killed.kill()
    assert of_stage(tmp_path / "again", spec(rows), attempt=1).finish().exit_code == 0
    assert len(has(pod(tmp_path / "gang", spec(rows), attempt=2).finish())) == 3


def of_recipe(rows: Path, **trainer: Any) -> dict[str, Any]:
    hyperparameters = {"target": "label", "epochs": 1, "batchSize": 16}
    recipe = {"recipe": "tabular-classification", "hyperparameters": hyperparameters, **trainer}
    return {**spec(rows), "trainer": recipe, "output": {"uri": f"file://{rows.parent}/models"}}


def test_a_recipe_fetches_the_parts_alone_and_trains_on_what_was_checked(tmp_path: Path, rows: Path) -> None:
    job = of_recipe(rows)
    assert of_stage(tmp_path / "data", job).finish().exit_code == 0
    whole = (rows / "a.csv").stat().st_size
    (rows / "a.csv").write_text("age,label\n-5,z\n")  # what breaks a check comes too late to be trained on
    done = pod(tmp_path / "gang", job, attempt=1).finish()
    assert done.exit_code == 0, done.log
    assert "input fetched" not in done.log
    told, artifact = done.verdict.data, done.verdict.artifact
    assert told is not None
    assert artifact is not None
    assert told.rows == 100
    (train,) = json.loads(Path(artifact.manifest.removeprefix("file://")).read_text())["inputs"].values()
    assert (train["sha256"], train["files"], train["sizeBytes"]) == (told.digest, 1, whole)


def test_the_version_of_a_table_that_no_node_fetches_again_is_the_models(tmp_path: Path, rows: Path) -> None:
    write_deltalake(rows, csv.read_csv(rows / "a.csv"))
    (rows / "a.csv").unlink()
    job = of_recipe(rows)
    assert of_stage(tmp_path / "data", job).finish().exit_code == 0
    done = pod(tmp_path / "gang", job, attempt=1).finish()
    assert done.exit_code == 0, done.log
    assert "input fetched" not in done.log
    assert done.verdict.artifact is not None
    (train,) = json.loads(Path(done.verdict.artifact.manifest.removeprefix("file://")).read_text())["inputs"].values()
    assert train["version"] == 0


@pytest.mark.parametrize(
    "changes",
    [{"trainer": {"command": ["true"]}}, {"trainer": {"recipe": "evaluate"}}, {"data": {"profile": True}}],
    ids=str,
)
def test_who_may_read_the_inputs_has_them(tmp_path: Path, rows: Path, changes: dict[str, Any]) -> None:
    job = {**of_recipe(rows), **changes}
    assert of_stage(tmp_path / "data", {**job, "trainer": {"command": ["true"]}}).finish().exit_code == 0
    root = tmp_path / "gang"
    root.mkdir()
    done = RunningPod(root, pod_environment(root, job, attempt=1)).finish()
    assert "input fetched" in done.log


def in_gang(root: Path, spec: dict[str, Any], **place: Any) -> RunningPod:
    """A pod of a gang whose node 0 prepares the data."""
    root.mkdir(exist_ok=True)
    environment = pod_environment(root, spec, nodes=2, **place)
    config = Path(environment["FOOTPLATE_CONFIG"])
    config.write_text(json.dumps({**json.loads(config.read_text()), "dataInGang": True}))
    return RunningPod(root, environment)


def test_small_data_are_prepared_by_node_0_and_the_others_wait_for_it(tmp_path: Path, rows: Path) -> None:
    job = spec(rows, profile=True)
    second = in_gang(tmp_path / "second", job, node_rank=1)
    second.wait_for_log("node 0 prepares the data, which is waited for")
    first = in_gang(tmp_path / "first", job).finish()
    waited = second.finish()
    assert (first.exit_code, waited.exit_code) == (0, 0), first.log + waited.log
    assert len(has(first)) == 3
    assert has(first) == has(waited)
    assert "the data are being prepared" not in waited.log
    assert first.verdict.data is not None
    retry = in_gang(tmp_path / "retry", job, attempt=1).finish()
    assert has(retry) == has(first)
    assert "the data are being prepared" not in retry.log


def test_one_that_waits_for_node_0_stops_when_it_is_asked_to(tmp_path: Path, rows: Path) -> None:
    second = in_gang(tmp_path / "second", spec(rows), node_rank=1)
    second.wait_for_log("node 0 prepares the data, which is waited for")
    second.process.send_signal(signal.SIGTERM)
    assert second.finish(seconds=30).exit_code == ExitCode.STOPPED


def test_an_input_that_holds_more_than_it_may_is_refused_before_it_is_fetched(tmp_path: Path, rows: Path) -> None:
    job = {**spec(rows), "inputs": [{"name": "train", "uri": f"file://{rows}/", "maxSize": "1Mi"}]}
    assert of_stage(tmp_path / "data", job).finish().exit_code == 0
    (rows / "b.csv").write_bytes(bytes(2**20))
    done = of_stage(tmp_path / "more", job, run=2).finish()
    assert done.exit_code == ExitCode.DATA_ERROR
    assert done.verdict.error is not None
    size = 2**20 + (rows / "a.csv").stat().st_size
    said = f"spec.inputs[train]: uri file://{rows}/ holds {size:,} bytes, and maxSize is 1Mi"
    assert said in done.verdict.error.message
    assert "input fetched" not in done.log
