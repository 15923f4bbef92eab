"""Labelled sentences that can be learnt, and a tiny pretrained model of theirs, made without a download."""

import csv
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

GOOD = ("lovely", "fine", "great", "happy", "bright")
BAD = ("awful", "sad", "poor", "grey", "broken")
THINGS = ("day", "train", "soup", "song", "house", "letter", "garden", "film")


def make_sentences(count: int, *, seed: int = 0) -> list[tuple[str, str]]:
    """(text, label); of many lengths."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        label, words = draw.choice((("good", GOOD), ("bad", BAD)))
        said = [f"a {draw.choice(words)} {draw.choice(THINGS)}" for _ in range(draw.randint(1, 6))]
        rows.append((", ".join(said), label))
    return rows


def write_csv(folder: Path, rows: Sequence[tuple[Any, Any]], *, name: str = "rows.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return folder


def make_model(folder: Path, *, kind: str = "bert", max_length: int = 32) -> Path:
    """A tiny encoder with random weights, and a tokenizer, as save_pretrained writes them."""
    import torch
    from transformers import AutoConfig, AutoModel

    from footplate_trainer.data.tokens import learn_tokenizer, tokens_of

    texts = [text for text, _ in make_sentences(200)]
    tokens = tokens_of(learn_tokenizer(texts, size=400), max_length)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    if kind == "distilbert":
        sizes = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
    if kind in ("albert", "electra"):
        sizes["embedding_size"] = 32
    words = {"vocab_size": len(tokens.tokenizer), "max_position_embeddings": max_length + 2, "pad_token_id": 0}
    AutoModel.from_config(AutoConfig.for_model(kind, **sizes, **words)).save_pretrained(folder)
    tokens.tokenizer.save_pretrained(folder)
    return folder
