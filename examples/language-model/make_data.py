"""Makes chats about numbers, and a tiny language model that knows nothing yet. No download.

    python make_data.py FOLDER

FOLDER/train and FOLDER/test get JSON lines of chats: asked for a number in words, the assistant says it in digits. All
numbers up to 9,999 are there once; a tenth of them is in the test. FOLDER/model gets a Llama of 0.3 million weights as
transformers' save_pretrained writes it, with random weights and a tokenizer that is learnt from the chats. Put a real
model's folder in its place: nothing else changes.
"""

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
END = "<|end|>"
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def main(folder: Path) -> None:
    chats = [chat(number) for number in range(10_000)]
    random.Random(0).shuffle(chats)
    for split, part in (("test", chats[:1000]), ("train", chats[1000:])):
        (folder / split).mkdir(parents=True, exist_ok=True)
        (folder / split / "chats.jsonl").write_text("".join(json.dumps(each) + "\n" for each in part))
    make_model(folder / "model", [message["content"] for each in chats for message in each["messages"]])


def chat(number: int) -> dict[str, list[dict[str, str]]]:
    question = f"Write {words(number)} in digits."
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": f"{number:,}"}]}


def words(number: int) -> str:
    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10 - 2] + (f"-{ONES[number % 10]}" if number % 10 else "")
    size, name = (100, "hundred") if number < 1000 else (1000, "thousand")
    rest = f" {words(number % size)}" if number % size else ""
    return f"{words(number // size)} {name}{rest}"


def make_model(folder: Path, texts: list[str]) -> None:
    tokenizer = make_tokenizer(iter(texts))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=192,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_tokenizer(texts: Iterator[str]) -> PreTrainedTokenizerFast:
    """Byte pairs, of which digits are none: each is a token by itself, as in most language models."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[END, "<|user|>", "<|assistant|>", "<|system|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END)
    made.chat_template = TEMPLATE
    return made


if __name__ == "__main__":
    main(Path(sys.argv[1]))
