"""Who may leave a model where: claims before training, races at the end, and zombies that write late."""

import hashlib
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from footplate.api.reports import ArtifactStatus
from footplate_trainer.errors import ConfigError, Denied, NotFound, TrainerError
from footplate_trainer.exchange import RankReport
from footplate_trainer.model_manifest import ModelManifest
from footplate_trainer.storage.store import Store
from footplate_trainer.supervisor import artifact, model_claims
from footplate_trainer.supervisor.pod import Pod, read_pod
from footplate_trainer.supervisor.source import Code
from trainer_pods import pod_environment

ROUNDS = 50
NAMES = ("model.safetensors", "model.json", "data/labels.json")


def make_pod(root: Path, models: Path, *, content: str, **place: Any) -> Pod:
    """A pod that has trained its model, whose every byte tells whose it is."""
    spec = {"trainer": {"entrypoint": "train.py"}, "output": {"uri": f"file://{models}/"}}
    pod = read_pod(pod_environment(root, spec, **place))
    pod.make_folders()
    for name in NAMES:
        path = pod.output_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content} {name} " * 500)
    return pod


def publish(pod: Pod) -> ArtifactStatus:
    return artifact.publish(pod, report=RankReport(), code=Code(Path("/code"), None), inputs={})


def check_manifests(models: Path) -> list[Path]:
    """All manifests, each of which names what is there."""
    found = sorted(models.rglob("manifest.json"))
    for path in found:
        manifest = ModelManifest.model_validate_json(path.read_bytes())
        assert [file.name for file in manifest.files] == sorted(NAMES)
        for file in manifest.files:
            assert hashlib.sha256((path.parent / file.name).read_bytes()).hexdigest() == file.sha256, (path, file.name)
    return found


def check_status(status: ArtifactStatus) -> None:
    data = Path(status.manifest.removeprefix("file://")).read_bytes()
    assert hashlib.sha256(data).hexdigest() == status.sha256, "a committed manifest was replaced"


@pytest.fixture(autouse=True)
def _no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """To list them takes a second a manifest."""
    monkeypatch.setattr("footplate_trainer.supervisor.manifest.installed_versions", lambda folders: {})


@pytest.fixture
def slow_uploads(monkeypatch: pytest.MonkeyPatch) -> random.Random:
    """Writes arrive when they like: what was sent before may arrive after."""
    chance, put_file = random.Random(8), Store.put_file

    def put_later(self: Store, key: str, path: Path) -> None:
        time.sleep(chance.random() * 0.004)
        put_file(self, key, path)

    monkeypatch.setattr(Store, "put_file", put_later)
    return chance


def test_of_two_namespaces_one_trains(tmp_path: Path) -> None:
    one, other = (
        make_pod(tmp_path / name, tmp_path / "m", content=name, namespace=name, uid=f"uid-{name}") for name in "ab"
    )
    artifact.check_output(one)
    with pytest.raises(
        ConfigError, match=r"^spec.output.uri: .*/digits/1 is claimed by run 1 of TrainingJob a/digits "
    ):
        artifact.check_output(other)
    artifact.check_output(one)
    (tmp_path / "m/digits/1" / ".footplate/claim-00000001.json").unlink()
    artifact.check_output(other)  # the way out that the message names


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_many_begin_at_once_and_one_has_the_place(tmp_path: Path, seed: int) -> None:
    pods = [
        make_pod(tmp_path / str(n), tmp_path / "m", content=str(n), namespace=f"team-{n}", uid=f"uid-{n}")
        for n in range(4)
    ]

    def begin(pod: Pod) -> Pod | None:
        try:
            artifact.check_output(pod)
        except ConfigError:
            return None
        return pod

    with ThreadPoolExecutor(4) as pool:
        begun = [pod for pod in pool.map(begin, random.Random(seed).sample(pods, 4)) if pod is not None]
    assert len(begun) == 1
    check_status(publish(begun[0]))
    assert len(check_manifests(tmp_path / "m")) == 1


def attempts(root: Path, models: Path) -> list[Pod]:
    """A zombie of attempt 0 has trained to other bytes than attempts 1 and 2."""
    return [make_pod(root / str(n), models, content=f"attempt {n}", attempt=n) for n in range(3)]


def alike(root: Path, models: Path) -> list[Pod]:
    return [make_pod(root / str(n), models, content="the same", attempt=n) for n in range(3)]


def made_anew(root: Path, models: Path) -> list[Pod]:
    """A job that was deleted while it uploaded, and one that was created under its name."""
    return [make_pod(root / str(n), models, content=f"uid {n}", uid=f"{n}-uid") for n in range(3)]


@pytest.mark.parametrize("seed", range(ROUNDS))
@pytest.mark.parametrize("gang", [attempts, alike, made_anew])
def test_no_write_replaces_what_a_manifest_names(
    tmp_path: Path, slow_uploads: random.Random, gang: Callable[[Path, Path], list[Pod]], seed: int
) -> None:
    models, chance = tmp_path / "m", random.Random(seed)
    pods = gang(tmp_path, models)
    for pod in pods:
        artifact.check_output(pod)

    def end(pod: Pod) -> ArtifactStatus:
        time.sleep(chance.random() * 0.01)
        status = publish(pod)
        check_manifests(models)
        return status

    with ThreadPoolExecutor(3) as pool:
        ended = list(pool.map(end, pods))
    assert check_manifests(models)
    for status in ended:
        check_status(status)
    if gang is not made_anew:
        assert (models / "digits/1/manifest.json").exists(), "the place that docs name"


def test_a_zombies_late_upload_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands still in the middle of its upload, and goes on when the next attempt is done."""
    zombie, heir = attempts(tmp_path, tmp_path / "m")[:2]
    put_file, done = Store.put_file, []

    def put(self: Store, key: str, path: Path) -> None:
        if zombie.output_dir in path.parents and not done:
            monkeypatch.setattr(Store, "put_file", put_file)
            done.append(publish(heir))
            check_manifests(tmp_path / "m")
        put_file(self, key, path)

    monkeypatch.setattr(artifact, "FILES_AT_ONCE", 1)
    monkeypatch.setattr(Store, "put_file", put)
    publish(zombie)
    assert len(check_manifests(tmp_path / "m")) == 2
    check_status(done[0])
    assert done[0].uri.endswith("/digits/1/uid-1-attempt-1/")


def test_a_job_that_is_created_anew_takes_the_place_of_the_deleted_one(tmp_path: Path) -> None:
    old, new = made_anew(tmp_path, tmp_path / "m")[:2]
    artifact.check_output(old)
    artifact.check_output(new)
    assert publish(new).uri == f"file://{tmp_path}/m/digits/1/"
    assert publish(old).uri == f"file://{tmp_path}/m/digits/1/0-uid-attempt-0/", "what is left of it does no harm"
    assert len(check_manifests(tmp_path / "m")) == 2


def test_a_later_attempt_has_the_runs_place(tmp_path: Path) -> None:
    first, second = attempts(tmp_path, tmp_path / "m")[:2]
    artifact.check_output(first)
    artifact.check_output(second)
    assert publish(second).uri == f"file://{tmp_path}/m/digits/1/"


def test_what_was_left_half_by_other_bytes_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first attempt dies while it uploads; what it had written is never taken for the second one's."""
    first, second = attempts(tmp_path, tmp_path / "m")[:2]
    with monkeypatch.context() as patched:
        patched.setattr(Store, "sha256", lambda _self, _key: "0" * 64)
        with pytest.raises(TrainerError):
            publish(first)
    status = publish(second)
    assert status.uri == f"file://{tmp_path}/m/digits/1/uid-1-attempt-1/"
    check_status(status)
    check_manifests(tmp_path / "m")


def test_storage_that_ignores_conditions_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Store.put
    monkeypatch.setattr(Store, "put", lambda self, key, data, create=False: put(self, key, data))
    with pytest.raises(ConfigError, match=r"ignores conditional puts \(If-None-Match"):
        artifact.check_output(make_pod(tmp_path, tmp_path / "m", content="x"))


def test_a_claim_that_nobody_can_read_is_no_claim_to_ignore(tmp_path: Path) -> None:
    place = tmp_path / "m/digits/1/.footplate"
    place.mkdir(parents=True)
    (place / "claim-00000001.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"claim-00000001.json is not what Footplate wrote there"):
        artifact.check_output(make_pod(tmp_path, tmp_path / "m", content="x"))


def test_the_place_is_proved_before_each_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim of an earlier attempt says nothing of what this one may write."""
    for pod in attempts(tmp_path, tmp_path / "m")[:2]:
        artifact.check_output(pod)
    monkeypatch.setattr(Store, "put", denied)
    with pytest.raises(Denied, match=r"^spec.output.uri: no"):
        artifact.check_output(make_pod(tmp_path / "2", tmp_path / "m", content="x", attempt=2))


def denied(_: Store, _key: str, _data: bytes, *, create: bool = False) -> None:
    raise Denied("no")


def test_what_cant_be_read_back_is_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a role that may only write would train, and then fail to verify."""

    def get(_: Store, key: str) -> bytes:
        raise NotFound(key) if key == "manifest.json" else Denied("no")

    monkeypatch.setattr(Store, "get", get)
    with pytest.raises(Denied):
        artifact.check_output(make_pod(tmp_path, tmp_path / "m", content="x"))


def test_another_jobs_place_is_not_written_to(tmp_path: Path) -> None:
    one, other = (
        make_pod(tmp_path / name, tmp_path / "m", content=name, namespace=name, uid=f"uid-{name}") for name in "ab"
    )
    artifact.check_output(one)
    proof = tmp_path / "m/digits/1" / model_claims.FOLDER / "proof-00000000"
    proof.unlink()
    with pytest.raises(ConfigError, match="is claimed by"):
        artifact.check_output(other)
    assert not proof.exists()
