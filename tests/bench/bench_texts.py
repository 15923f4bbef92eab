"""The recipe text-classification beside a loop by hand with transformers: samples a second, and memory.

    python tests/bench/bench_texts.py [BLOCKS]

Both train the recipe's own BERT (4 layers of 256) on the same texts, whose lengths differ as tweets' do, in one
process, in blocks that take turns; the loop by hand pads each batch to its longest text, as transformers' own collator
does. Prints a JSON line with batches put together by length, as the recipe does, and one with batches at random, as by
hand: medians, and the median of the pairs' ratios. Goal: at least 0.9 of the samples a second. Each line also has the
most memory (MiB) that a process of its own takes for one block, of either kind.
"""

import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).parents[1]))

from footplate_trainer import Trainer, data, metrics
from footplate_trainer.callbacks import Callback, Logs
from footplate_trainer.data.texts import Asked, TextSplits, read_splits
from footplate_trainer.models.texts import TextClassifier, make_network
from text_cases import write_csv

BATCH, STEPS = 16, 5
WORDS = [f"{first}{middle}{last}" for first in "bdfgkl" for middle in "aeiou" for last in "mnprst"]
Block = Callable[[], None]


def read_texts() -> TextSplits:
    draw = random.Random(0)
    rows = [
        (" ".join(draw.choices(WORDS, k=max(1, min(60, round(draw.lognormvariate(2.4, 0.6)))))), draw.choice("abc"))
        for _ in range(BATCH * STEPS)
    ]
    with tempfile.TemporaryDirectory() as folder:
        write_csv(Path(folder), rows)
        asked = Asked(
            inputs={"train": Path(folder)}, text="text", target="label", fractions={}, seed=0, vocabulary_size=4000
        )
        return read_splits(asked, tokens=None, max_length=128)


def make_model(splits: TextSplits) -> TextClassifier:
    torch.manual_seed(0)
    return TextClassifier(make_network(splits.tokens, splits.classes, hidden=256, layers=4, dropout=0.1), splits.tokens)


def by_hand(splits: TextSplits) -> Block:
    """What transformers' documentation shows."""
    from transformers import DataCollatorWithPadding

    model = make_model(splits).network
    samples = [
        {"input_ids": ids.tolist(), "labels": int(label)}
        for ids, label in (splits.train[place] for place in range(len(splits.train)))
    ]
    collate = DataCollatorWithPadding(splits.tokens.tokenizer)
    loader = DataLoader(samples, batch_size=BATCH, shuffle=True, collate_fn=collate)  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)

    def train() -> None:
        model.train()
        for batch in loader:
            model(**batch).loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return train


class TakeTurns(Callback):
    """Runs a block by hand before each epoch of `fit`, and takes the time of both."""

    def __init__(self, hand: Block) -> None:
        self._hand = hand
        self._began = self._hand_seconds = 0.0
        self.pairs: list[tuple[float, float]] = []

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        began = time.perf_counter()
        self._hand()
        self._began = time.perf_counter()
        self._hand_seconds = self._began - began

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.pairs.append((self._hand_seconds, time.perf_counter() - self._began))


def fit(splits: TextSplits, *, by_length: bool, epochs: int, turns: list[Callback], name: str = "main") -> None:
    model = make_model(splits)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    trainer = Trainer(model, nn.functional.cross_entropy, optimizer, metrics=[metrics.accuracy])
    loader = data.loader(
        splits.train,
        batch_size=BATCH,
        collate=splits.tokens.collate,
        lengths=splits.train.lengths if by_length else None,
    )
    trainer.fit(loader, epochs=epochs, callbacks=turns, name=name)


def peak(kind: str) -> float:
    """The most memory (MiB) of a process that does one block alone."""
    done = subprocess.run([sys.executable, __file__, "--alone", kind], check=True, capture_output=True, text=True)
    return float(done.stdout)


def compare(splits: TextSplits, blocks: int, *, by_length: bool) -> None:
    turns = TakeTurns(by_hand(splits))
    fit(splits, by_length=by_length, epochs=1 + blocks, turns=[turns], name=f"by-length-{by_length}".lower())
    pairs = turns.pairs[1:]  # the first warms up
    hand, recipe = (len(splits.train) / statistics.median(column) for column in zip(*pairs, strict=True))
    result = {
        "bench": "texts",
        "batches": "by length" if by_length else "at random",
        "hand_written_samples_per_second": round(hand, 1),
        "recipe_samples_per_second": round(recipe, 1),
        "ratio": round(statistics.median(by_hand / ours for by_hand, ours in pairs), 3),
        "goal": 0.9,
        "hand_written_peak_mib": round(peak("hand")),
        "recipe_peak_mib": round(peak("recipe")),
        "blocks": blocks,
    }
    print(json.dumps(result), flush=True)


def main() -> None:
    splits = read_texts()
    if sys.argv[1:2] == ["--alone"]:
        if sys.argv[2] == "hand":
            by_hand(splits)()
        else:
            fit(splits, by_length=True, epochs=1, turns=[])
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    for by_length in (True, False):
        compare(splits, int(sys.argv[1]) if len(sys.argv) > 1 else 10, by_length=by_length)


if __name__ == "__main__":
    main()
