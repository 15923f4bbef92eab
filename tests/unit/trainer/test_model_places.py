"""A job that is created anew: the model of the same spec is taken, another is left alone, a new nonce trains again."""

import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from footplate.api.reports import ArtifactStatus
from footplate.contract import Verdict
from footplate_trainer.errors import ConfigError, NotFound
from footplate_trainer.exchange import RankReport
from footplate_trainer.model_manifest import ModelManifest
from footplate_trainer.storage.store import Store
from footplate_trainer.supervisor import artifact, committed
from footplate_trainer.supervisor.pod import Pod, read_pod
from footplate_trainer.supervisor.source import Code, fetch_code
from footplate_trainer.supervisor.verdict import encode, judge
from trainer_pods import pod_environment

Json = dict[str, Any]

SPEC = "5" * 64
OTHER_SPEC = "0" * 64
FILES = {"model.bin": b"weights" * 100, "parts/labels.json": b"[]"}


@pytest.fixture(autouse=True)
def _no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """To list them takes a second a manifest."""
    monkeypatch.setattr("footplate_trainer.supervisor.manifest.installed_versions", lambda folders: {})


def pod(
    root: Path, *, spec: str = SPEC, nonce: str = "", content: bytes = b"", source: Json | None = None, **place: Any
) -> Pod:
    """A pod of the job `digits` in `team`, unless told otherwise, that stores its models in `models` beside it."""
    folder = root / f"{place.get('uid', 'old')}-{place.get('run', 1)}-{place.get('attempt', 0)}"
    code = {"source": source} if source is not None else {}
    wanted = {"trainer": {"entrypoint": "train.py", **code}, "output": {"uri": f"file://{root}/models/"}}
    made = read_pod(pod_environment(folder, wanted, **{"uid": "old", **place}))
    made.make_folders()
    for name, data in FILES.items():
        path = made.output_dir / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data + content)
    return replace(made, spec_sha256=spec, nonce=nonce)


def train(of: Pod) -> ArtifactStatus:
    """What a pod does that finds no model: it claims its place, and stores one there."""
    place = artifact.check_output(of)
    assert place.model is None, "it was there already"
    return artifact.publish(of, report=RankReport(), code=fetch_code(of), inputs={}, number=place.number)


def folder_of(model: ArtifactStatus) -> Path:
    return Path(model.uri.removeprefix("file://"))


def everything(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in (root / "models").rglob("*") if path.is_file()}


def test_the_model_of_the_same_job_is_taken_and_nothing_is_written(tmp_path: Path) -> None:
    model = train(pod(tmp_path))
    before = everything(tmp_path)
    assert artifact.check_output(pod(tmp_path, uid="new")).model == model
    assert everything(tmp_path) == before


def test_an_attempt_of_the_run_itself_goes_its_own_way(tmp_path: Path) -> None:
    """Its model is looked at when it has trained: one that is damaged is then mended."""
    train(pod(tmp_path))
    assert artifact.check_output(pod(tmp_path, attempt=1)).model is None


def archived(root: Path, text: str) -> Json:
    """A source at one URI, whatever is in it."""
    with zipfile.ZipFile(root / "code.zip", "w") as bundle:
        bundle.writestr("train.py", text)
    return {"source": {"uri": f"file://{root}/code.zip"}}


def of_config_map(root: Path, text: str) -> Json:
    return {"files": {"train.py": text}}


def on_a_branch(root: Path, text: str) -> Json:
    folder = root / "repository"

    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=x", "-c", "user.email=x@example.com")
        subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)

    if not folder.exists():
        folder.mkdir()
        git("init", "--quiet", "--initial-branch=main")
    (folder / "train.py").write_text(text)
    git("add", "train.py")
    git("commit", "--quiet", "--allow-empty", "--message=x")
    return {"source": {"git": {"url": "https://git.example.com/repository", "ref": "main"}}}


@pytest.fixture
def _git_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Repositories beside the models, at an address that the API takes."""
    config = {"COUNT": "1", "KEY_0": f"url.file://{tmp_path}/.insteadOf", "VALUE_0": "https://git.example.com/"}
    for name, value in config.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "file")


SOURCES = [of_config_map, archived, on_a_branch]


@pytest.mark.usefixtures("_git_server")
@pytest.mark.parametrize("put", SOURCES)
def test_other_code_behind_the_same_spec_is_seen(tmp_path: Path, put: Callable[[Path, str], Json]) -> None:
    """Which file a URI, a branch or a ConfigMap leads to is no part of a spec."""
    old = train(pod(tmp_path, **put(tmp_path, "print(1)")))
    before = everything(tmp_path)
    changed = put(tmp_path, "print(2)")
    with pytest.raises(ConfigError, match=r"^spec.trainer.source leads to other code .*another runPolicy.restartNonce"):
        artifact.check_output(pod(tmp_path, uid="new", **changed))
    assert everything(tmp_path) == before
    new = train(pod(tmp_path, uid="new", nonce="a", content=b"2", **changed))
    assert folder_of(new) == tmp_path / "models/digits/2"
    assert artifact.check_output(pod(tmp_path, uid="newer", **changed)).model == new
    assert artifact.check_output(pod(tmp_path, uid="newest", **put(tmp_path, "print(1)"))).model == old


@pytest.mark.usefixtures("_git_server")
def test_the_same_code_of_another_commit_is_the_same(tmp_path: Path) -> None:
    model = train(pod(tmp_path, **on_a_branch(tmp_path, "print(1)")))
    assert artifact.check_output(pod(tmp_path, uid="new", **on_a_branch(tmp_path, "print(1)"))).model == model


def test_code_that_cant_be_had_is_told_by_its_own_field(tmp_path: Path) -> None:
    source = archived(tmp_path, "print(1)")
    train(pod(tmp_path, **source))
    (tmp_path / "code.zip").unlink()
    with pytest.raises(NotFound, match=r"^spec.trainer.source: "):
        artifact.check_output(pod(tmp_path, uid="new", **source))


@pytest.mark.parametrize(
    "other",
    [{"spec": OTHER_SPEC}, {"namespace": "team-b"}, {"spec": ""}],
    ids=["another spec", "another namespace", "an older operator"],
)
def test_a_model_of_another_job_is_refused_and_left_alone(tmp_path: Path, other: dict[str, Any]) -> None:
    train(pod(tmp_path))
    before = everything(tmp_path)
    with pytest.raises(ConfigError, match=r"^spec.output.uri: .*holds the model of .*uid old.*restartNonce"):
        artifact.check_output(pod(tmp_path, uid="new", **other))
    assert everything(tmp_path) == before


def test_a_job_of_another_name_trains(tmp_path: Path) -> None:
    train(pod(tmp_path))
    assert folder_of(train(pod(tmp_path, uid="new", job="letters"))) == tmp_path / "models/letters/1"


def test_what_a_manifest_of_an_older_footplate_says_is_of_no_known_spec(tmp_path: Path) -> None:
    train(pod(tmp_path, spec=""))
    with pytest.raises(ConfigError, match="another TrainingJob of this name"):
        artifact.check_output(pod(tmp_path, uid="new"))


def rewrite(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


LIES: dict[str, Callable[[Path], object]] = {
    "a file is gone": lambda folder: (folder / "model.bin").unlink(),
    "a file is cut": lambda folder: (folder / "model.bin").write_bytes(b"weights"),
    "a bit is turned": lambda folder: (folder / "model.bin").write_bytes(b"W" + FILES["model.bin"][1:]),
    "no file at all": lambda folder: rewrite(folder, files=[]),
    "another's file": lambda folder: rewrite(
        folder, files=[{"name": "../../secret", "sizeBytes": 1, "sha256": "0" * 64}]
    ),
    "an absolute name": lambda folder: rewrite(
        folder, files=[{"name": "/etc/hostname", "sizeBytes": 1, "sha256": "0" * 64}]
    ),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_manifest_that_lies_isnt_believed(tmp_path: Path, lie: Callable[[Path], object]) -> None:
    lie(folder_of(train(pod(tmp_path))))
    before = everything(tmp_path)
    with pytest.raises(ConfigError, match=r"damaged .*models/digits/1: .*another runPolicy.restartNonce"):
        artifact.check_output(pod(tmp_path, uid="new"))
    assert everything(tmp_path) == before


def test_a_model_that_was_cut_is_found_out_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = train(pod(tmp_path))
    (folder_of(model) / "parts/labels.json").write_bytes(b"")
    monkeypatch.setattr(Store, "sha256", lambda *_: pytest.fail("it was read"))
    with pytest.raises(ConfigError, match="damaged"):
        artifact.check_output(pod(tmp_path, uid="new"))


def test_of_two_models_of_the_spec_the_one_that_is_whole_is_taken(tmp_path: Path) -> None:
    first = train(pod(tmp_path))
    newest = train(pod(tmp_path, run=2, nonce="a"))
    assert artifact.check_output(pod(tmp_path, uid="new")).model == newest, "the newest, where both are whole"
    (folder_of(newest) / "model.bin").unlink()
    assert artifact.check_output(pod(tmp_path, uid="new")).model == first


def test_a_new_nonce_trains_again_into_the_next_place(tmp_path: Path) -> None:
    first = train(pod(tmp_path))
    again = train(pod(tmp_path, uid="new", nonce="a", content=b"2"))
    assert folder_of(again) == tmp_path / "models/digits/2"
    assert artifact.check_output(pod(tmp_path, uid="newer", nonce="a")).model == again, "not a second time"
    assert artifact.check_output(pod(tmp_path, uid="newer")).model == again
    third = train(pod(tmp_path, uid="new", run=2, nonce="b", content=b"3"))
    assert folder_of(third) == tmp_path / "models/digits/3"
    manifests = [
        ModelManifest.model_validate_json((folder_of(each) / "manifest.json").read_bytes())
        for each in (first, again, third)
    ]
    made = [(each.uid, each.run, each.nonce) for each in manifests]
    assert made == [
        ("old", 1, ""),
        ("new", 1, "a"),
        ("new", 2, "b"),
    ]


def test_a_new_nonce_takes_another_spec_along(tmp_path: Path) -> None:
    """An immutable field and the nonce were changed in one commit, and the job replaced."""
    train(pod(tmp_path))
    assert folder_of(train(pod(tmp_path, uid="new", nonce="a", spec=OTHER_SPEC))) == tmp_path / "models/digits/2"
    with pytest.raises(ConfigError, match="a TrainingJob of this name with another spec"):
        artifact.check_output(pod(tmp_path, uid="newer", nonce="a", spec="7" * 64))


def test_another_attempt_comes_to_the_same_place(tmp_path: Path) -> None:
    train(pod(tmp_path))
    places = [artifact.check_output(pod(tmp_path, uid="new", nonce="a", attempt=n)).number for n in range(3)]
    assert places == [2, 2, 2]


def test_a_run_that_failed_in_its_place_leaves_it_to_nobody_else(tmp_path: Path) -> None:
    """Its last attempt may still write there."""
    train(pod(tmp_path))
    assert artifact.check_output(pod(tmp_path, uid="new", nonce="a")).number == 2
    assert artifact.check_output(pod(tmp_path, uid="new", run=2, nonce="b")).number == 3


def test_a_job_that_failed_and_is_created_anew_trains(tmp_path: Path) -> None:
    artifact.check_output(pod(tmp_path))
    assert folder_of(train(pod(tmp_path, uid="new"))) == tmp_path / "models/digits/1"


def test_a_model_beside_its_place_is_found_too(tmp_path: Path) -> None:
    zombie, next_ = pod(tmp_path), pod(tmp_path, attempt=1, content=b"other bytes")
    train(zombie)
    (tmp_path / "models/digits/1/manifest.json").unlink()  # it died between its last file and the manifest
    model = train(next_)
    assert folder_of(model) == tmp_path / "models/digits/1/old-attempt-1"
    assert artifact.check_output(pod(tmp_path, uid="new")).model == model


def test_two_clusters_with_one_bucket(tmp_path: Path) -> None:
    """The same job of both, at once: both train, and each has its model. A third takes what is there."""
    one, two = pod(tmp_path, uid="cluster-1"), pod(tmp_path, uid="cluster-2", content=b"2")
    places = [artifact.check_output(each).number for each in (one, two)]
    models = [
        artifact.publish(each, report=RankReport(), code=Code(Path("/code"), None), inputs={}, number=number)
        for each, number in zip((two, one), reversed(places), strict=True)
    ]
    assert [folder_of(model).relative_to(tmp_path / "models/digits") for model in models] == [
        Path("1"),
        Path("1/cluster--attempt-0"),
    ]
    for model in models:
        store = Store.open(model.uri)
        found = committed.find(store)
        assert found is not None
        assert committed.what_is_wrong(store, found.manifest.files) == ""
    assert artifact.check_output(pod(tmp_path, uid="standby")).model == models[0]


def test_the_bucket_isnt_searched_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = train(pod(tmp_path))
    for number in range(2, 130):
        (tmp_path / f"models/digits/{number}").mkdir()
        shutil.copy(folder_of(model) / "model.bin", tmp_path / f"models/digits/{number}/model.bin")
    asked: list[str] = []
    find = committed.find
    monkeypatch.setattr(committed, "find", lambda store: asked.append(store.uri) or find(store))
    with pytest.raises(ConfigError, match="holds the model"):
        artifact.check_output(pod(tmp_path, uid="new"))
    assert len(asked) < 110


def test_a_verdict_says_so_even_where_there_is_no_room(tmp_path: Path) -> None:
    model = ArtifactStatus(uri="s3://m/" + "x" * 990, manifest="s3://m/" + "x" * 990, sha256="0" * 64, size_bytes=1)
    said = judge(0, artifact=model, already_complete=True)
    assert Verdict.model_validate_json(encode(said)).already_complete
    many = model.model_copy(update={"metrics": {f"metric-{number}" * 4: 0.1 for number in range(60)}})
    assert Verdict.model_validate_json(encode(judge(0, artifact=many, already_complete=True))).already_complete
