"""The recipe language-model on several ranks, packed and not, killed and not, in full and by adapters."""

import json
import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from footplate.contract import ExitCode
from footplate_trainer import exchange, load_model
from footplate_trainer.evaluation_file import read_evaluation
from rank_processes import Gang, Job
from text_cases import make_chats, make_language_model, write_lines

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3000)]


def make_job(root: Path, inputs: dict[str, Path], *, ranks: int = 2, checkpoints: bool = False, **values: Any) -> Job:
    settings = {
        "recipe": "language-model",
        "inputs": {name: str(folder) for name, folder in inputs.items()},
        "of_recipe": {"batchSize": 5, "epochs": 3, "learningRate": 3e-3, **values},
    }
    return Job(root, "recipe.py", ranks, settings, checkpoint={"every": {"steps": 6}} if checkpoints else None)


def run(job: Job, attempt: int = 0) -> exchange.RankReport:
    with job.start(attempt) as gang:
        wait(gang)
        assert gang.wait() == [ExitCode.OK] * job.world_size, gang.logs()
        report = exchange.read_report(gang.run_dirs[0])
    assert report is not None
    return report


def wait(gang: Gang, *, until: float = math.inf) -> None:
    """Until a step or the end; transformers takes long to import where much else goes on."""
    gang.wait_until(lambda: max(gang.steps()) >= until or gang.ended(), seconds=600)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("inputs")
    return {
        "train": write_lines(root / "data/chats.jsonl", make_chats(59)),
        "model": make_language_model(root / "model"),
    }


@pytest.mark.slow
def test_two_ranks_learn_what_one_does(tmp_path: Path, inputs: dict[str, Path]) -> None:
    """Batches of 5 chats, whose answers differ in length: 3 on one rank and 2 on the other."""
    jobs = [make_job(tmp_path / str(ranks), inputs, ranks=ranks, clipNorm=1.0) for ranks in (1, 2)]
    one, two = (run(job).progress.metrics for job in jobs)
    names = {"loss", "perplexity", "valLoss", "valPerplexity", "testLoss", "testPerplexity"}
    assert names <= one.keys()
    assert one["tokensPerSecond"] > 0
    assert {name: two[name] for name in names} == pytest.approx({name: one[name] for name in names}, rel=1e-3)
    assert one["testPerplexity"] == pytest.approx(math.exp(one["testLoss"]))
    weights = [load_file(job.output / "model.safetensors") for job in jobs]
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-2, atol=1e-4)


def test_chats_are_learnt(tmp_path: Path, inputs: dict[str, Path]) -> None:
    test = write_lines(tmp_path / "test/chats.jsonl", make_chats(40, seed=1))
    train = write_lines(tmp_path / "data/chats.jsonl", make_chats(300, seed=2))
    job = make_job(
        tmp_path, {**inputs, "train": train, "test": test}, epochs=10, packing=True, maxLength=64, batchSize=4
    )
    report = run(job)
    metrics = report.progress.metrics
    assert metrics["testPerplexity"] < 1.2, metrics
    evaluation = read_evaluation(job.output)
    assert evaluation is not None
    assert evaluation.headlines() == {"testPerplexity": metrics["testPerplexity"]}
    assert (evaluation.data["test"].samples, evaluation.data["test"].task) == (40, "text-generation")
    card = (job.output / "README.md").read_text()
    assert "pipeline_tag: text-generation" in card
    assert "type: perplexity" in card
    model = load_model(job.output)
    assert model.card.metrics["testPerplexity"] == metrics["testPerplexity"]
    chats = [[{"role": "user", "content": text}] for text in ("a lovely garden, a happy song", "a sad film")]
    assert model.predict(chats) == ["good", "bad"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ranks", "values"),
    [(1, {}), (2, {"packing": True, "maxLength": 64, "epochs": 9}), (2, {"fineTuning": "lora", "loraRank": 4})],
    ids=["one rank", "packed", "lora"],
)
def test_kills_change_nothing(tmp_path: Path, inputs: dict[str, Path], ranks: int, values: dict[str, Any]) -> None:
    values = {"epochs": 4, "earlyStopping": {"monitor": "valPerplexity", "patience": 9}, **values}
    whole = make_job(tmp_path / "whole", inputs, ranks=ranks, **values)
    run(whole)
    killed = make_job(tmp_path / "killed", inputs, ranks=ranks, checkpoints=True, **values)
    steps = json.loads((whole.output / "model.json").read_text())["metrics"]
    for attempt, step in enumerate((9, 20)):
        with killed.start(attempt) as gang:
            wait(gang, until=step)
            gang.ranks[-1].send_signal(signal.SIGKILL)
            codes = gang.wait()
        assert -signal.SIGKILL in codes
    run(killed, attempt=2)
    assert json.loads((killed.output / "model.json").read_text())["metrics"] == steps
    for name in ("model.safetensors", "config.json", "tokenizer.json", "model.json"):
        assert (killed.output / name).read_bytes() == (whole.output / name).read_bytes(), name


@pytest.mark.slow
def test_a_sharded_model_learns_too(tmp_path: Path, inputs: dict[str, Path]) -> None:
    jobs = [make_job(tmp_path / strategy, inputs, strategy=strategy, precision="fp32") for strategy in ("ddp", "fsdp")]
    ddp, fsdp = (run(job).progress.metrics for job in jobs)
    assert fsdp["testPerplexity"] == pytest.approx(ddp["testPerplexity"], rel=1e-3)
    assert load_model(jobs[1].output).card.metrics["testPerplexity"] == fsdp["testPerplexity"]


@pytest.mark.slow
def test_a_mistake_is_told_with_its_line(tmp_path: Path, inputs: dict[str, Path]) -> None:
    rows = [*make_chats(5), {"prompt": "a", "completion": "b"}]
    job = make_job(tmp_path, {**inputs, "train": write_lines(tmp_path / "data/mixed.jsonl", rows)})
    with job.start(0) as gang:
        wait(gang)
        assert gang.wait() == [ExitCode.DATA_ERROR] * 2, gang.logs()
        assert "mixed.jsonl, line 6: has no 'messages', and the first record (" in gang.logs()
