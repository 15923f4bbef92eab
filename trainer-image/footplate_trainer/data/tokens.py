"""Texts as tokens: what a tokenizer of transformers makes of them, cut to a length, and padded to a batch's longest."""

import os
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from footplate_trainer.errors import ConfigError

LETTERS_A_TOKEN = 64
"""So many letters are looked at for each token that is read: a text of 10 MB takes no longer than a page."""
MULTIPLE = 8
"""Batches are padded to multiples of this, so that there are few different shapes."""
SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
PACKAGES = ("transformers", "tokenizers", "peft")


def check_packages() -> None:
    """Raises ConfigError where the extra `text` isn't installed."""
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise ConfigError(
            f"models of texts, and pretrained ones, need {' and '.join(missing)}, which this image lacks: "
            "pip install 'footplate[text]' into it, or take the trainer's own image"
        )


class Tokens:
    """A tokenizer, and the most tokens of a text that a model reads, its marks of beginning and end included."""

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length

    def encode(self, texts: Sequence[str]) -> tuple[list[list[int]], int]:
        """The numbers of each text's tokens, at most `max_length`, and how many texts were longer."""
        most = self.max_length * LETTERS_A_TOKEN
        made = self.tokenizer(
            [text[:most] for text in texts],
            truncation=True,
            max_length=self.max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        longer = sum(
            len(text) > most or bool(encoding.overflowing) for text, encoding in zip(texts, made.encodings, strict=True)
        )
        return made["input_ids"], longer

    def pad(self, several: Sequence[Tensor]) -> dict[str, Tensor]:
        """A model's inputs of texts' tokens [T]: `input_ids` and `attention_mask`, int64 [N, longest T]."""
        longest = max(len(one) for one in several)
        width = min(-(-longest // MULTIPLE) * MULTIPLE, self.max_length)
        ids = torch.full((len(several), width), self.tokenizer.pad_token_id, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, one in enumerate(several):
            ids[row, : len(one)] = one
            mask[row, : len(one)] = 1
        return {"input_ids": ids, "attention_mask": mask}

    def batch(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """A model's inputs of texts."""
        return self.pad([torch.tensor(ids, dtype=torch.int64) for ids in self.encode(texts)[0]])

    def collate(self, samples: Sequence[tuple[Tensor, Tensor]]) -> tuple[Mapping[str, Tensor], Tensor]:
        """A batch of (tokens [T], label []): the inputs [N, T], and the labels [N]."""
        return self.pad([tokens for tokens, _ in samples]), torch.stack([label for _, label in samples])


def learn_tokenizer(texts: Iterable[str], *, size: int) -> str:
    """A tokenizer of at most `size` tokens that is made for these texts, as JSON; the same for the same texts.

    Byte pairs, since WordPiece numbers its tokens otherwise each time: no restarted training could go on.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[*SPECIAL.values()],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    marks = [(SPECIAL[name], tokenizer.token_to_id(SPECIAL[name])) for name in ("cls_token", "sep_token")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=marks)
    return str(tokenizer.to_str())


def tokens_of(learnt: str, max_length: int) -> Tokens:
    """What `learn_tokenizer` gave, as transformers' own."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(learnt), model_max_length=max_length, **SPECIAL
    )
    return Tokens(tokenizer, max_length)


def keep_to_threads() -> None:
    """Has tokenizers use as many threads as torch does, not as many as the node has cores. Before the first call."""
    os.environ.setdefault("RAYON_NUM_THREADS", str(torch.get_num_threads()))
