"""`footplate dev`'s arguments and its folder."""

import os
import platform
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from footplate import __version__
from footplate.cli.dev_files import Upload
from footplate.cli.dev_home import DevHome
from footplate.cli.dev_options import describe_images, parse_images, parse_uri
from footplate.cli.dev_run import read_job
from footplate.devcluster.images import Images
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
        ("nowhere=s3://datasets/", "--data nowhere: there is no such folder; put a single file into one"),
        ("empty=s3://datasets/", "--data empty: there is no file in that folder"),
    ],
)
def test_uploads_that_cannot_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty" / "folder").mkdir(parents=True)
    with pytest.raises(ConfigurationError) as refusal:
        Upload.parse(text)
    assert str(refusal.value) == message


def make_venv(folder: Path, *, python: str = f'#!/bin/sh\nexec {sys.executable} -S "$@"\n') -> Path:
    """What looks like a virtual environment; by default its Python sees no package."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").write_text(python)
    (folder / "bin" / "python").chmod(0o755)
    return folder


def test_images_stand_for_virtual_environments_wherever_those_lie(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    make_venv(tmp_path / "a")
    images = parse_images(["acme/tf:2@sha256:0=a", "localhost:5000/x=~/a"], "/opt/bin:/bin")
    assert images.pythons == {"acme/tf:2@sha256:0": tmp_path / "a", "localhost:5000/x": tmp_path / "a"}
    assert images.path == "/opt/bin:/bin"


@pytest.mark.parametrize(
    ("pythons", "path", "message"),
    [
        (["acme/tf"], None, "--python acme/tf: write it as IMAGE=VENV"),
        (["tf=none"], None, "--python tf=none: there is no {here}/none/bin/python, so that is no virtual environment; "
         "`python3 -m venv none` makes one"),
        (["tf=a", "tf=a"], None, "--python tf=a: {here}/a stands for tf already; map each image once"),
        ([], "bin:/bin", "--path bin:/bin: 'bin' is no absolute path, and each pod has a folder of its own; "
         "write it whole"),
        ([], "/bin:", "--path /bin:: '' is no absolute path, and each pod has a folder of its own; write it whole"),
        ([], "", "--path : '' is no absolute path, and each pod has a folder of its own; write it whole"),
        ([], "/nowhere", "--path /nowhere: there is no sh in it, without which commands don't run; to add folders, "
         "write --path /nowhere:$PATH"),
    ],
)  # fmt: skip
def test_images_that_cannot_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pythons: list[str], path: str | None, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make_venv(tmp_path / "a")
    with pytest.raises(ConfigurationError) as refusal:
        parse_images(pythons, path)
    assert str(refusal.value) == message.format(here=tmp_path)


def test_what_pods_run_in_is_said_with_what_an_image_would_lack(tmp_path: Path) -> None:
    full = make_venv(tmp_path / "full", python=f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    bare = make_venv(tmp_path / "bare")
    version = platform.python_version()
    own = f"Footplate's own Python {version} ({Path(sys.executable).parent})"
    assert describe_images(Images()) == [
        f"Pods run in {own}, whatever their image; --python IMAGE=VENV gives an image another."
    ]
    assert describe_images(Images({"tf": full, "jax": bare})) == [
        f"Pods of tf run in {full}: Python {version} with Footplate {__version__}.",
        f"Pods of jax run in {bare}: Python {version}.",
        "  It has no Footplate: as from such an image, only a command that needs no supervisor runs in it. For others: "
        f"{bare}/bin/python -m pip install 'footplate[supervisor]', or [trainer] for an entrypoint.",
        f"Pods of other images run in {own}.",
    ]


@pytest.mark.parametrize(
    ("python", "why"),
    [
        ("#!/bin/sh\necho broken >&2; exit 3\n", "bin/python doesn't run: broken; make the environment anew"),
        ("#!/bin/sh\nexit 3\n", "bin/python doesn't run: exit code 3; make the environment anew"),
        ("#!/nowhere/python\n", "No such file or directory"),
    ],
)
def test_a_python_that_does_not_run_is_refused_at_the_start(tmp_path: Path, python: str, why: str) -> None:
    venv = make_venv(tmp_path / "v", python=python)
    with pytest.raises(ConfigurationError, match=f"^--python tf={venv}: ") as refusal:
        describe_images(Images({"tf": venv}))
    assert why in str(refusal.value)


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
