"""Hundreds of races for one place in a real S3 server: namespaces, jobs of one name, attempts, zombies.

In each round some begin at once, and all that may begin end at once, each with other bytes. One namespace wins, and
what a manifest names is there for good.
"""

import hashlib
import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from footplate.api.reports import ArtifactStatus
from footplate.devcluster.s3 import S3Server
from footplate_trainer.errors import ConfigError
from footplate_trainer.exchange import RankReport
from footplate_trainer.model_manifest import ModelManifest
from footplate_trainer.storage.store import Store
from footplate_trainer.supervisor import artifact
from footplate_trainer.supervisor.pod import Pod, read_pod
from footplate_trainer.supervisor.source import Code
from s3_thread import s3_in_a_thread
from trainer_pods import pod_environment

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]

BATCHES, ROUNDS = 20, 10
NAMES = ("model.bin", "parts/labels.json")


@dataclass(frozen=True, slots=True)
class Racer:
    """A pod by what tells it from the others."""

    namespace: str
    uid: str
    attempt: int = 0

    def __str__(self) -> str:
        return f"{self.namespace} {self.uid} {self.attempt}"


SIDES = (
    (
        Racer("team-a", "a1"),
        Racer("team-a", "a1", 1),  # the attempt after, while the first is a zombie
        Racer("team-a", "a2"),  # the job was deleted and created anew
    ),
    (Racer("team-b", "b1"), Racer("team-b", "b1", 1), Racer("team-c", "c1")),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_in_a_thread(tmp_path_factory.mktemp("s3")) as server:
        yield server


def make_pod(root: Path, uri: str, racer: Racer) -> Pod:
    spec = {"trainer": {"entrypoint": "train.py"}, "output": {"uri": uri}}
    place = {"namespace": racer.namespace, "uid": racer.uid, "attempt": racer.attempt}
    pod = read_pod({**os.environ, **pod_environment(root, spec, **place)})
    pod.make_folders()
    for name in NAMES:
        path = pod.output_dir / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{name} of {racer} ")
    return pod


def check(store: Store, status: ArtifactStatus, pod: Pod) -> None:
    """What was committed is there, as it was, and whole."""
    folder = status.uri.removeprefix(f"{store.uri}/")
    data = store.get(f"{folder}manifest.json")
    assert hashlib.sha256(data).hexdigest() == status.sha256, "a committed manifest was replaced"
    manifest = ModelManifest.model_validate_json(data)
    assert (manifest.uid, manifest.namespace) == (pod.uid, pod.config.metadata.namespace)
    assert {file.name for file in manifest.files} == set(NAMES)
    for file in manifest.files:
        assert hashlib.sha256(store.get(f"{folder}{file.name}")).hexdigest() == file.sha256, (status.uri, file.name)


def race(root: Path, uri: str, chance: random.Random) -> tuple[set[str], int]:
    """The namespaces that might train, and the number of models."""
    racers = [racer for side in SIDES for racer in chance.sample(side, k=2)]
    chance.shuffle(racers)
    pods = [make_pod(root / str(number), uri, racer) for number, racer in enumerate(racers)]
    pauses = {id(pod): (chance.random() * 0.02, chance.random() * 0.05) for pod in pods}
    store = artifact.output_store(pods[0])

    def begin(pod: Pod) -> Pod | None:
        time.sleep(pauses[id(pod)][0])
        try:
            artifact.check_output(pod)
        except ConfigError as error:
            if "is claimed by run 1 of TrainingJob" not in str(error):
                raise
            return None
        return pod

    def end(pod: Pod) -> ArtifactStatus:
        time.sleep(pauses[id(pod)][1])
        status = artifact.publish(pod, report=RankReport(), code=Code(root, None), inputs={})
        check(store, status, pod)
        return status

    with ThreadPoolExecutor(len(pods)) as pool:
        begun = [pod for pod in pool.map(begin, pods) if pod is not None]
        ended = list(pool.map(end, begun))
    for pod, status in zip(begun, ended, strict=True):
        check(store, status, pod)
    for item in store.list():
        if item.key.endswith("manifest.json"):
            assert f"{store.uri}/{item.key}" in {status.manifest for status in ended}, "a model that nobody has told of"
    return {pod.config.metadata.namespace for pod in begun}, len({status.uri for status in ended})


@pytest.mark.parametrize("batch", range(BATCHES))
def test_one_namespace_wins_and_nothing_that_is_committed_changes(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    # To list them takes a second a manifest.
    monkeypatch.setattr("footplate_trainer.supervisor.manifest.installed_versions", lambda folders: {})
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    chance, winners, models = random.Random(batch), set[str](), list[int]()
    for number in range(ROUNDS):
        won, count = race(tmp_path / str(number), f"s3://models/race-{batch}-{number}/", chance)
        assert len(won) == 1, (number, won)
        winners |= won
        models.append(count)
    assert len(winners) > 1, "races that always end alike are none"
    assert max(models) > 1, "no zombie has ever come to its end"
