"""The model's way into storage, on folders: what is committed, and when it is not."""

import hashlib
import json
import os
import time
import timeit
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from footplate.api.reports import ArtifactStatus, ProgressStatus
from footplate_trainer.errors import ConfigError, Exists, StorageUnavailable, UserError
from footplate_trainer.exchange import ModelReport, RankReport
from footplate_trainer.model_manifest import ModelManifest
from footplate_trainer.storage.fetch import Fetched
from footplate_trainer.storage.store import Store
from footplate_trainer.supervisor import artifact, committed, model_files
from footplate_trainer.supervisor.pod import Pod, read_pod
from footplate_trainer.supervisor.source import Code
from trainer_pods import pod_environment

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FILES = {"model.safetensors": b"weights", "data/labels.json": b"[]"}
REPORT = RankReport(
    progress=ProgressStatus(step=9, epoch=1, metrics={"accuracy": 0.9}),
    seed=7,
    resumed_from="s3://c/step-5/",
    notes=("column 'id': left out",),
)


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return make_pod(tmp_path)


def make_pod(root: Path, **place: Any) -> Pod:
    spec = {
        "trainer": {"entrypoint": "train.py", "args": ["--token", "$(TOKEN)"], "hyperparameters": {"epochs": 1}},
        "inputs": [{"name": "train", "uri": "s3://datasets/x/"}],
        "output": {"uri": f"file://{root}/models/"},
        "resources": {"limits": {"nvidia.com/gpu": "8", "cpu": "4"}},
    }
    pod = read_pod(pod_environment(root, spec, **place))
    pod.make_folders()
    for name, data in FILES.items():
        path = pod.output_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return pod


def publish(
    pod: Pod,
    *,
    history: Path | None = None,
    note: Callable[[str], object] = str,
    report: RankReport = REPORT,
) -> ArtifactStatus:
    return artifact.publish(
        pod,
        history=history,
        note=note,
        report=report,
        code=Code(Path("/code"), "c" * 64),
        inputs={"train": Fetched("d" * 64, 2, 10, version=12)},
        clock=lambda: NOW,
    )


def model_folder(pod: Pod) -> Path:
    root = pod.output_dir.parents[1]
    return root / "models" / pod.job / str(pod.run)


def test_a_model_is_committed_with_all_that_it_is_made_of(pod: Pod) -> None:
    status = publish(pod)
    folder = model_folder(pod)
    text = (folder / "manifest.json").read_bytes()
    assert status == ArtifactStatus(
        uri=f"file://{folder}/",
        manifest=f"file://{folder}/manifest.json",
        sha256=hashlib.sha256(text).hexdigest(),
        size_bytes=9,
        metrics={"accuracy": 0.9},
        step=9,
        epoch=1,
    )
    manifest = ModelManifest.model_validate_json(text)
    assert {file.name: file.sha256 for file in manifest.files} == {
        name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()
    }
    assert (manifest.uid, manifest.run, manifest.created, manifest.seed) == ("uid-1", 1, NOW, 7)
    assert manifest.notes == ["column 'id': left out"]
    assert (manifest.step, manifest.parent_checkpoint) == (9, "s3://c/step-5/")
    assert (manifest.inputs["train"].sha256, manifest.inputs["train"].version) == ("d" * 64, 12)
    assert manifest.code.sha256 == "c" * 64
    assert (manifest.code.run, manifest.code.args) == ("train.py", ["--token", "$(TOKEN)"])
    assert manifest.hyperparameters_passed == ["context", "environment"]
    assert manifest.hardware.accelerators == {"nvidia.com/gpu": "8"}
    assert {"torch", "obstore"} <= set(manifest.packages)


def test_a_model_that_is_an_earlier_state_has_that_states_numbers(pod: Pod) -> None:
    """What was measured since then, and isn't of that epoch, stays as it was reported."""
    progress = ProgressStatus(step=9, epoch=3, metrics={"valLoss": 0.7, "testLoss": 0.4})
    best = ModelReport(step=6, epoch=2, metrics={"valLoss": 0.3})
    status = publish(pod, report=RankReport(progress=progress, ended="earlyStopping", model=best))
    manifest = ModelManifest.model_validate_json((model_folder(pod) / "manifest.json").read_bytes())
    for told in (status, manifest):
        assert (told.step, told.epoch, told.ended) == (6, 2, "earlyStopping")
        assert told.metrics == {"valLoss": 0.3, "testLoss": 0.4}


@pytest.mark.parametrize(
    ("again", "metrics"),
    [
        ([], {"valLoss": 0.3, "testLoss": 0.4}),
        (["valLoss"], {"valLoss": 0.7, "testLoss": 0.4}),
        (["valF1"], {"valLoss": 0.3, "valF1": 0.9, "testLoss": 0.4}),
    ],
)
def test_the_model_has_no_values_of_other_epochs_unless_they_are_reported_again(
    again: list[str], metrics: dict[str, float]
) -> None:
    """Its own epoch may have had none, or one that was no number: a gate would be passed by another model's."""
    latest = {"valLoss": 0.7, "valF1": 0.9, "testLoss": 0.4}
    report = RankReport(
        progress=ProgressStatus(metrics=latest),
        reported={name: 20.0 if name in ("testLoss", *again) else 5.0 for name in latest},
        model=ModelReport(step=6, epoch=2, metrics={"valLoss": 0.3}, without=["valF1"], told_at=10.0),
    )
    assert report.final_metrics == metrics


def test_of_the_course_of_the_metrics_the_first_stays_and_costs_the_model_no_place(
    pod: Pod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attempts that come to the same model differ in their times: what the first of them has left half done."""
    history = tmp_path / "metrics.parquet"
    history.write_bytes(b"first")
    with monkeypatch.context() as broken:
        broken.setattr(artifact, "_commit", lambda *_: (_ for _ in ()).throw(StorageUnavailable("gone")))
        with pytest.raises(StorageUnavailable):
            publish(pod, history=history)
    history.write_bytes(b"second")
    notes: list[str] = []
    publish(replace(pod, attempt=1), history=history, note=notes.append)
    folder = model_folder(pod)
    manifest = ModelManifest.model_validate_json((folder / "manifest.json").read_bytes())
    found = {file.name: file.sha256 for file in manifest.files}
    assert found.keys() == {*FILES, "metrics.parquet"}
    assert found["metrics.parquet"] == hashlib.sha256(b"first").hexdigest()
    assert ((folder / "metrics.parquet").read_bytes(), notes) == (b"first", [])


def test_a_file_of_the_code_under_that_name_is_the_codes_own(pod: Pod, tmp_path: Path) -> None:
    history = tmp_path / "metrics.parquet"
    history.write_bytes(b"ours")
    (pod.output_dir / "metrics.parquet").write_bytes(b"theirs")
    publish(pod, history=history)
    assert (model_folder(pod) / "metrics.parquet").read_bytes() == b"theirs"


def test_half_an_installation_costs_no_model(pod: Pod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site/~orch-2.13.0.dist-info").mkdir(parents=True)
    nameless = tmp_path / "site/~umpy-2.0.0.dist-info"
    nameless.mkdir()
    (nameless / "METADATA").write_text("Metadata-Version: 2.1\nName: umpy\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    publish(pod)
    manifest = ModelManifest.model_validate_json((model_folder(pod) / "manifest.json").read_bytes())
    assert "torch" in manifest.packages
    assert "umpy" not in manifest.packages


def test_a_second_attempt_takes_the_committed_model(pod: Pod) -> None:
    first = publish(pod)
    (pod.output_dir / "model.safetensors").write_bytes(b"other weights")
    assert publish(pod) == first
    assert (model_folder(pod) / "model.safetensors").read_bytes() == b"weights"


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"other"), lambda path: path.unlink()])
def test_a_damaged_model_is_replaced(pod: Pod, damage: Callable[[Path], object]) -> None:
    first = publish(pod)
    damage(model_folder(pod) / "model.safetensors")
    assert publish(pod).uri == first.uri
    assert (model_folder(pod) / "model.safetensors").read_bytes() == b"weights"


def test_another_jobs_model_is_never_touched(tmp_path: Path, pod: Pod) -> None:
    publish(pod)
    before = {path: path.read_bytes() for path in model_folder(pod).rglob("*") if path.is_file()}
    other = make_pod(tmp_path, uid="uid-2")
    with pytest.raises(ConfigError, match=r"^spec.output.uri: .*another TrainingJob.*\(uid uid-1\).*restartNonce"):
        artifact.check_output(other)
    assert publish(other).uri == f"file://{model_folder(pod)}/uid-2-attempt-0/", "it was trained: somewhere it must go"
    assert {path: path.read_bytes() for path in before} == before


def test_a_new_run_has_a_place_of_its_own(tmp_path: Path, pod: Pod) -> None:
    assert publish(pod).uri != publish(make_pod(tmp_path, run=2)).uri


def test_what_is_no_manifest_is_not_overwritten(pod: Pod) -> None:
    model_folder(pod).mkdir(parents=True)
    (model_folder(pod) / "manifest.json").write_text(json.dumps({"my": "own"}))
    with pytest.raises(ConfigError, match=r"not a manifest that Footplate wrote; choose another output.uri"):
        artifact.check_output(pod)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("claim-00000001.json", b"<html>maintenance</html>"),
        ("claim-00000001.json", b'{"job":"d","namespace":"others","uid":"u","run":1,"time":"2026-01-01T00:00:00Z"}'),
        ("content.json", b""),
    ],
)
def test_what_is_done_to_a_claim_while_training_costs_no_model(pod: Pod, name: str, said: bytes) -> None:
    artifact.check_output(pod)
    (model_folder(pod) / ".footplate" / name).write_bytes(said)
    notes: list[str] = []
    status = publish(pod, note=notes.append)
    assert status.uri == f"file://{model_folder(pod)}/uid-1-attempt-0/"
    assert publish(pod) == status, "a later look finds it there"
    assert (model_folder(pod) / ".footplate" / name).read_bytes() == said
    assert [note.partition(": ")[0] for note in notes] == [f"the model is stored beside its place, as {status.uri}"]
    assert "is claimed by run 1" in notes[0] or "is not what Footplate wrote there" in notes[0]


def test_what_takes_the_manifests_name_while_training_costs_no_model(pod: Pod) -> None:
    artifact.check_output(pod)
    (model_folder(pod) / "manifest.json").write_text(json.dumps({"my": "own"}))
    status = publish(pod)
    assert status.uri == f"file://{model_folder(pod)}/uid-1-attempt-0/"
    assert json.loads((model_folder(pod) / "manifest.json").read_text()) == {"my": "own"}


def test_an_empty_output_says_where_to_save(pod: Pod) -> None:
    for path in (pod.output_dir / "model.safetensors", pod.output_dir / "data/labels.json"):
        path.unlink()
    with pytest.raises(ConfigError, match=r"without leaving a file in \$FOOTPLATE_OUTPUT_DIR .*save the model there"):
        publish(pod)
    assert not model_folder(pod).exists()


@pytest.mark.parametrize(
    ("own", "stored"),
    [
        pytest.param("manifest.json", "own-manifest.json", id="the manifest"),
        pytest.param("model.sig", "own-model.sig", id="the signature"),
        pytest.param("manifest.json/x", "own-manifest.json/x", id="a folder of that name"),
        pytest.param(".footplate/content.json", "own-.footplate/content.json", id="our folder"),
    ],
)
def test_a_name_that_is_ours_is_no_reason_to_lose_a_model(pod: Pod, own: str, stored: str) -> None:
    path = pod.output_dir / own
    path.parent.mkdir(exist_ok=True)
    path.write_text("the user's")
    notes: list[str] = []
    first = publish(pod, note=notes.append)
    assert names_of(pod) == sorted([*FILES, stored])
    assert (model_folder(pod) / stored).read_text() == "the user's"
    assert f"manifest.json, model.sig, .footplate/): {stored}" in notes[0]
    assert publish(pod) == first


def test_a_name_that_another_file_has_gets_a_number(pod: Pod) -> None:
    for name in ("manifest.json", "own-manifest.json", "own-manifest.json~2"):
        (pod.output_dir / name).write_text(name)
    publish(pod)
    stored = {"own-manifest.json", "own-manifest.json~2", "own-manifest.json~3"}
    assert set(names_of(pod)) == {*FILES, *stored}
    assert (model_folder(pod) / "own-manifest.json").read_text() == "own-manifest.json"
    assert (model_folder(pod) / "own-manifest.json~3").read_text() == "manifest.json"


def test_without_a_manifest_there_is_no_model(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "sha256", lambda _self, _key: "0" * 64)
    with pytest.raises(StorageUnavailable, match="read back with other bytes"):
        publish(pod)
    assert not (model_folder(pod) / "manifest.json").exists()


def test_a_commit_whose_answer_was_lost_counts(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    put = Store.put

    def put_and_lose_answer(self: Store, key: str, data: bytes, *, create: bool = False) -> None:
        put(self, key, data, create=create)
        raise Exists("exists already")

    monkeypatch.setattr(Store, "put", put_and_lose_answer)
    assert publish(pod).size_bytes == 9


def test_the_output_is_checked_before_training(pod: Pod) -> None:
    artifact.check_output(pod)
    publish(pod)
    artifact.check_output(pod)


def names_of(pod: Pod) -> list[str]:
    model = committed.find(artifact.output_store(pod))
    assert model is not None
    return [file.name for file in model.manifest.files]


def test_what_is_no_file_is_left_out_and_told(pod: Pod, tmp_path: Path) -> None:
    out, best = pod.output_dir, tmp_path / "best"
    best.mkdir()
    (best / "weights.bin").write_bytes(b"best")
    (out / "empty").mkdir()
    (out / "best").symlink_to(best)
    (out / "gone").symlink_to("/nowhere")
    (out / "last.ckpt").symlink_to("model.safetensors")
    os.mkfifo(out / "pipe")
    notes: list[str] = []
    publish(pod, note=notes.append)
    assert names_of(pod) == sorted([*FILES, "last.ckpt"])
    [note] = notes
    assert f"best (a link to the folder {best})" in note
    assert "gone (a link to nothing: /nowhere)" in note
    assert "pipe (a pipe, socket or device)" in note
    assert "empty" not in note
    assert "last.ckpt" not in note


def test_a_file_that_cant_be_read_is_named(pod: Pod) -> None:
    (pod.output_dir / "labels.json").symlink_to("/proc/self/mem")
    with pytest.raises(UserError, match=r"labels.json in \$FOOTPLATE_OUTPUT_DIR can't be read \(Input/output error\)"):
        publish(pod)
    assert not (model_folder(pod) / "manifest.json").exists()


def test_many_that_are_left_out_are_counted(pod: Pod) -> None:
    for number in range(8):
        (pod.output_dir / f"link-{number}").symlink_to("/nowhere")
    notes: list[str] = []
    publish(pod, note=notes.append)
    assert "and 3 more" in notes[0]


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        pytest.param(b"caf\xe9.bin", "caf\\udce9.bin", id="no UTF-8"),
        pytest.param(b"two\nlines.bin", "two\\x0alines.bin", id="control characters"),
    ],
)
def test_a_name_that_storage_cant_take_is_escaped_and_told(pod: Pod, name: bytes, escaped: str) -> None:
    (pod.output_dir / os.fsdecode(name)).write_bytes(b"x")
    notes: list[str] = []
    publish(pod, note=notes.append)
    assert names_of(pod) == sorted([*FILES, escaped])
    assert escaped in notes[0]


def test_two_names_that_would_be_one_are_two(pod: Pod) -> None:
    for name in (os.fsdecode(b"caf\xe9.bin"), "caf\\udce9.bin"):
        (pod.output_dir / name).write_bytes(os.fsencode(name))
    publish(pod)
    assert set(names_of(pod)) == {*FILES, "caf\\udce9.bin", "caf\\udce9.bin~2"}
    assert (model_folder(pod) / "caf\\udce9.bin").read_bytes() == b"caf\\udce9.bin"


def test_ten_times_the_files_take_ten_times_as_long(tmp_path: Path) -> None:
    def seconds(files: int) -> float:
        paths = [tmp_path / f"part-{n}.bin" for n in range(files)]
        name = partial(model_files._by_name, tmp_path, paths, str)
        return min(timeit.repeat(name, timer=time.process_time, number=1))  # without the garbage of other tests

    assert seconds(10_000) < 40 * seconds(1_000)


def test_a_folder_without_trouble_is_told_nothing(pod: Pod) -> None:
    notes: list[str] = []
    publish(pod, note=notes.append)
    assert notes == []
