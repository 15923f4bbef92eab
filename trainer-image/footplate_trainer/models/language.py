"""Language models: decoders of transformers that go on with a text, pretrained, in full or by low-rank adapters.

They are saved as transformers' `save_pretrained` does, and so are read by whatever reads its folders.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from footplate_trainer.errors import ConfigError, DataError
from footplate_trainer.models.model_files import told
from footplate_trainer.models.pretrained import (
    DECODERS,
    TOKENIZER_FILE,
    check_folder,
    check_whole,
    load_network,
    load_tokenizer,
    load_weights,
    quiet,
    read_tokenizer,
)
from footplate_trainer.models.texts import TextModel

NAME = "language-model"
"""The network's name in model.json, and the recipe's."""
POSITIONS = ("max_position_embeddings", "n_positions")
"""What configurations call the number of tokens that a model reads."""
MAX_LENGTH = 1024
PROMPTS_AT_ONCE = 16
NEW_TOKENS = 64

Prompt = str | Sequence[Mapping[str, Any]]
"""A text to go on with, or a chat to answer: messages with role and content."""


class LanguageModel(TextModel):
    """A decoder of transformers, called with a batch's inputs as one mapping."""

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Logits [N, T, tokens] of what comes next, of `input_ids` and `position_ids` [N, T]; a text sees no other one
        of its row.
        """
        logits: Tensor = self.network(**inputs, use_cache=False).logits
        return logits

    def read_back(self, folder: Path) -> "LanguageModel":
        """See `FolderModel`."""
        return load_language_model(folder)

    @property
    def pad(self) -> int:
        """The token that stands where there is none; nothing sees it."""
        return int(next(n for n in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id) if n is not None))

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[str]:
        """What comes after each prompt, whatever others are beside it: each time the likeliest token, up to the end
        mark, to so many, or to what the model reads.

        Raises:
            DataError: a prompt is longer than the model reads, or the template doesn't take a chat.
        """
        several = [self._ids(prompt) for prompt in prompts]
        rooms = [self._room(len(ids), max_new_tokens) for ids in several]
        found = [""] * len(several)
        for room in dict.fromkeys(rooms):  # those that are asked at once get as many tokens
            alike = [number for number, each in enumerate(rooms) if each == room]
            for start in range(0, len(alike), PROMPTS_AT_ONCE):
                part = alike[start : start + PROMPTS_AT_ONCE]
                for number, text in zip(part, self._generate([several[each] for each in part], room), strict=True):
                    found[number] = text
        return found

    def _room(self, width: int, max_new_tokens: int) -> int:
        """For how many tokens there is room behind a prompt of so many."""
        most = positions_of(self.network.config.to_dict())
        if most is None:
            return max_new_tokens
        if width >= most:
            raise DataError(
                f"a prompt has {width:,} tokens, and the model reads {most:,} with what comes after it; shorten it"
            )
        return min(max_new_tokens, most - width)

    def _generate(self, several: Sequence[list[int]], max_new_tokens: int) -> list[str]:
        width = max(map(len, several))
        ids = torch.tensor([[self.pad] * (width - len(each)) + each for each in several])
        mask = torch.tensor([[0] * (width - len(each)) + [1] * len(each) for each in several])
        with quiet(), self._likeliest():
            made = self.network.generate(input_ids=ids, attention_mask=mask, max_new_tokens=max_new_tokens)
        found: list[str] = self.tokenizer.batch_decode(made[:, width:], skip_special_tokens=True)
        return found

    @contextmanager
    def _likeliest(self) -> Iterator[None]:
        """Leaves out what the model's folder says of how to generate (beams, penalties, least lengths), but its end
        marks.
        """
        from transformers import GenerationConfig

        said = self.network.generation_config
        plain = GenerationConfig(do_sample=False, pad_token_id=self.pad, eos_token_id=self._end_marks())
        self.network.generation_config = plain
        try:
            yield
        finally:
            self.network.generation_config = said

    def _ids(self, prompt: Prompt) -> list[int]:
        if isinstance(prompt, str):
            ids = self.tokenizer(prompt, return_attention_mask=False)["input_ids"]
            if ids[-1:] == [self.tokenizer.eos_token_id]:  # a mark that some tokenizers end each text with
                ids = ids[:-1]
        else:
            from footplate_trainer.data.prompts import render
            from footplate_trainer.data.records import Mistake

            try:
                text = render(self.tokenizer, prompt, add_generation_prompt=True)
            except Mistake as error:
                raise DataError(str(error)) from None
            ids = self.tokenizer(text, add_special_tokens=False, return_attention_mask=False)["input_ids"]
        return list(ids) or [int(self.tokenizer.eos_token_id)]

    def _end_marks(self) -> list[int]:
        said = self.network.generation_config.eos_token_id
        said = said if isinstance(said, list) else [said]
        return sorted({mark for mark in (*said, self.tokenizer.eos_token_id) if mark is not None})


def read_language_model(folder: Path) -> tuple[LanguageModel, dict[str, Any]]:
    """The model of a folder, in float32, with its tokenizer; and what its config.json says.

    Raises:
        DataError: a file is missing or damaged, or holds what isn't loaded.
    """
    config = check_folder(folder, DECODERS)
    tokenizer = read_tokenizer(folder, config)
    if not tokenizer.is_fast or tokenizer.eos_token_id is None:
        raise DataError(
            f"input model: {folder / TOKENIZER_FILE} has no token that ends a text (eos_token), so no model could "
            "learn when to stop; take the model's own tokenizer, or set eos_token and save_pretrained it"
        )
    network, loaded = load_weights(folder, DECODERS, ignore_mismatched_sizes=True)
    check_whole(folder, network, [*loaded["missing_keys"], *(name for name, *_ in loaded["mismatched_keys"])])
    with told(folder / "generation_config.json"), quiet():
        network.generation_config.validate(strict=True)  # else it can't be saved, which would show after training
    return LanguageModel(network, tokenizer), config


def load_language_model(folder: Path) -> LanguageModel:
    """What `LanguageModel.save` has written.

    Raises:
        DataError: the folder holds none, or a damaged one.
    """
    return LanguageModel(load_network(folder, DECODERS), load_tokenizer(folder))


def positions_of(config: Mapping[str, Any]) -> int | None:
    """How many tokens a model of this configuration reads; None where it doesn't say."""
    return next((config[name] for name in POSITIONS if isinstance(config.get(name), int)), None)


def choose_length(max_length: int | None, config: Mapping[str, Any]) -> int:
    """Tokens of a text that are read: as asked, else `MAX_LENGTH` or what the model reads.

    Raises:
        ConfigError: the model doesn't read so many.
    """
    most = positions_of(config)
    if max_length is None:
        return min(MAX_LENGTH, most or MAX_LENGTH)
    if most is not None and max_length > most:
        raise ConfigError(
            f"spec.trainer.hyperparameters.maxLength = {max_length}: the model reads at most {most:,} tokens; use "
            f"{most} or fewer"
        )
    return max_length
