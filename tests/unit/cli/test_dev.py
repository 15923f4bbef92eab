"""`footplate dev`'s arguments and its folder."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from footplate.cli.dev_home import DevHome
from footplate.cli.dev_run import Upload, parse_uri, read_job
from footplate.errors import ConfigurationError

JOB = "apiVersion: footplate.dev/v1alpha1\nkind: TrainingJob\nmetadata: {name: digits, namespace: team}\n"


@pytest.mark.parametrize(
    ("uri", "parsed"),
    [
        ("s3://datasets/digits/", ("datasets", "digits/")),
        ("s3://datasets/digits", ("datasets", "digits/")),
        ("s3://models/a/b/", ("models", "a/b/")),
        ("s3://datasets", ("datasets", "")),
        ("s3://datasets/", ("datasets", "")),
    ],
)
def test_uris(uri: str, parsed: tuple[str, str]) -> None:
    assert parse_uri(uri, option="--data") == parsed


@pytest.mark.parametrize("uri", ["datasets/digits", "gs://datasets/x", "s3://other/x", "s3://"])
def test_uris_of_other_stores_are_refused_with_the_buckets(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="s3://datasets/, s3://checkpoints/, s3://models/"):
        parse_uri(uri, option="--data")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("folder", "--data folder: write it as FOLDER=s3://BUCKET/PREFIX"),
        ("=s3://datasets/", "--data =s3://datasets/: write it as FOLDER=s3://BUCKET/PREFIX"),
        ("nowhere=s3://datasets/", "--data nowhere=s3://datasets/: there is no folder nowhere"),
    ],
)
def test_uploads_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Upload.parse(text)
    assert str(refusal.value) == message


def test_the_job_is_found_among_the_manifests(tmp_path: Path) -> None:
    runtime, job = tmp_path / "runtime.yaml", tmp_path / "job.yaml"
    runtime.write_text("kind: ClusterTrainingRuntime\nmetadata: {name: torch}\n")
    job.write_text(f"---\nkind: ConfigMap\n---\n{JOB}")
    assert read_job([runtime, job]) == ("team", "digits")
    job.write_text("kind: List\nitems:\n- kind: TrainingJob\n  metadata: {name: digits}\n")
    assert read_job([job]) == ("default", "digits")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: ConfigMap", "holds 0 TrainingJobs"),
        (f"{JOB}---\n{JOB}", "holds 2 TrainingJobs"),
        ("kind: TrainingJob", "metadata.name of the TrainingJob is missing"),
        ("a: [", "isn't YAML"),
    ],
)
def test_manifests_without_one_job(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        read_job([path])


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="doesn't exist"):
        read_job([tmp_path / "none.yaml"])


def test_only_one_devcluster_lives_in_a_folder(tmp_path: Path) -> None:
    home = DevHome(tmp_path)
    assert home.running_pid() is None
    with home.claimed():
        home.write_state({"KUBECONFIG": "x"})
        assert home.running_pid() == os.getpid()
        assert home.read_state() == {"KUBECONFIG": "x"}
        with pytest.raises(ConfigurationError, match="runs already"), home.claimed():
            pass
    assert home.running_pid() is None
    assert home.read_state() is None


def test_what_a_killed_devcluster_told_is_not_taken_for_the_next_ones(tmp_path: Path) -> None:
    home = DevHome(tmp_path)
    home.write_state({"KUBECONFIG": "gone"})
    with home.claimed():
        assert home.read_state() is None


def test_who_asks_while_a_devcluster_starts_neither_hinders_it_nor_reads_half_of_it(tmp_path: Path) -> None:
    home = DevHome(tmp_path)
    state = {"KUBECONFIG": "x" * 100_000}
    asked: list[dict[str, str] | None] = []

    def ask() -> None:
        while not over.is_set():
            asked.append(home.read_state())

    over = threading.Event()
    with ThreadPoolExecutor(2) as askers:
        reading = [askers.submit(ask) for _ in range(2)]
        try:
            for _ in range(200):
                with home.claimed():
                    home.write_state(state)
                    home.write_state(state)
        finally:
            over.set()
        for future in reading:
            future.result()
    assert [answer for answer in asked if answer not in (None, state)] == []


def test_the_home_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FOOTPLATE_DEV_HOME", str(tmp_path))
    assert DevHome.find() == DevHome(tmp_path)
