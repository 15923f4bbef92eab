"""Labelled sentences that can be learnt, and a tiny pretrained model of theirs, made without a download."""

import csv
import json
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


def write_lines(path: Path, rows: Sequence[Any]) -> Path:
    """Records as JSON lines; returns their folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path.parent


def make_chats(count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Records of one or two questions each: is something good or bad?"""
    sentences = iter(make_sentences(2 * count, seed=seed))
    draw = random.Random(seed)
    return [
        {
            "messages": [
                {"role": role, "content": content}
                for text, label in (next(sentences) for _ in range(draw.randint(1, 2)))
                for role, content in (("user", text), ("assistant", label))
            ]
        }
        for _ in range(count)
    ]


END = "<|end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|end|>' }}{% endgeneration %}"
    "{% elif message['role'] in ['user', 'system'] %}{{ message['content'] + '<|end|>' }}"
    "{% else %}{{ raise_exception('only user, assistant and system') }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
"""In which transformers finds by itself what the assistant says."""


def make_tokenizer(*, size: int = 500, template: str | None = CHAT_TEMPLATE) -> Any:
    """One of byte pairs, as GPT-2's and Llama 3's are, learnt of sentences; without a token to pad with."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    marks = [END, "<|user|>", "<|assistant|>", "<|system|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=marks,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((text for text, _ in make_sentences(200)), trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END)
    made.chat_template = template
    return made


def make_language_model(
    folder: Path, *, kind: str = "llama", max_length: int = 64, template: str | None = CHAT_TEMPLATE
) -> Path:
    """A tiny decoder with random weights and no dropout, and a tokenizer, as save_pretrained writes them."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = make_tokenizer(template=template)
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
        "head_dim": 16,
        "max_position_embeddings": max_length,
    }
    if kind == "gpt2":
        sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": max_length}
        sizes |= {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    marks = dict.fromkeys(("bos_token_id", "eos_token_id"), tokenizer.eos_token_id)
    config = AutoConfig.for_model(kind, **sizes, **marks, vocab_size=len(tokenizer) + 16, pad_token_id=None)
    for name in ("attention_dropout", "hidden_dropout", "embd_pdrop", "resid_pdrop", "residual_dropout"):
        if isinstance(getattr(config, name, None), float):
            setattr(config, name, 0.0)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
