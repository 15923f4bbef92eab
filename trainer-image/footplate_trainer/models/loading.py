"""Loads the models that the recipes have made.

from footplate_trainer import load_model
model = load_model("folder")
model.predict(images)
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from footplate_trainer.checkpoint.names import WEIGHTS_FILE
from footplate_trainer.data.inputs import ImageInput, PromptInput, TableInput, TextInput
from footplate_trainer.data.tokens import check_packages
from footplate_trainer.errors import DataError
from footplate_trainer.models import images, language, texts
from footplate_trainer.models.cards import CARD_FILE, ModelCard
from footplate_trainer.models.networks import NETWORKS, build_network

TEXTS_AT_ONCE = 64


class LoadedModel:
    """A trained model, on the CPU, with what it needs to be asked in the user's own terms."""

    def __init__(self, card: ModelCard, network: nn.Module) -> None:
        self.card = card
        self.network: Any = network

    def predict(self, inputs: Any, *, max_new_tokens: int = language.NEW_TOKENS) -> list[str] | list[float]:
        """The most likely class of each input; of a regression, its quantity; of a language model, what comes after it.

        Args:
            inputs: of a model of images: pixels 0–255, [N, C, H, W] or [N, H, W], as a tensor or array; or paths of PNG
                or JPEG files. Of a model of tables: rows as mappings from a column's name to its value. Of a model of
                texts: strings. Of a language model: strings to go on with, or chats to answer, each a list of messages
                with role and content. One image [H, W], one path, row or text counts as a batch of one.
            max_new_tokens: of a language model: tokens after which it stops, where it hasn't come to an end by itself.
                Each is the likeliest, so the same inputs give the same texts.

        Raises:
            DataError: the inputs are not what the model takes, or its outputs for some are NaN or infinite.
        """
        takes = self.card.input
        if isinstance(takes, PromptInput):
            texts: list[str] = self.network.generate(_prompts(inputs), max_new_tokens)
            return texts
        outputs = self._outputs(inputs, takes)
        if not self.card.classes:
            quantities: list[float] = outputs.tolist()
            return quantities
        return [self.card.classes[place] for place in outputs.argmax(dim=1).tolist()]

    def probabilities(self, inputs: Any) -> Tensor:
        """Probabilities [N, classes], in the order of `card.classes`; inputs as in `predict`.

        Raises:
            DataError: as `predict`, or it is no classifier.
        """
        takes = self.card.input
        if isinstance(takes, PromptInput) or not self.card.classes:
            gives = "a text" if isinstance(takes, PromptInput) else "a quantity"
            raise DataError(f"a model of {self.card.recipe} gives {gives} for each row; ask predict for it")
        return torch.softmax(self._outputs(inputs, takes), dim=1)

    @torch.inference_mode()
    def _outputs(self, inputs: Any, takes: ImageInput | TableInput | TextInput) -> Tensor:
        outputs: Tensor
        if isinstance(takes, TextInput):
            outputs = self._of_texts(_texts(inputs))
        else:
            outputs = self.network(_pixels(inputs, takes) if isinstance(takes, ImageInput) else _columns(inputs, takes))
        finite = torch.isfinite(outputs.unsqueeze(-1)).flatten(1).all(dim=1)
        if wrong := (~finite).nonzero().flatten().tolist():
            raise DataError(
                f"the model gives NaN or infinite numbers for {len(wrong):,} of {len(outputs):,} inputs, the first of "
                f"them number {wrong[0]:,}, counted from 0: look there for such values or, where it is so of all "
                "inputs, for a training that diverged"
            )
        return outputs

    def _of_texts(self, texts: Sequence[str]) -> Tensor:
        parts = [texts[start : start + TEXTS_AT_ONCE] for start in range(0, len(texts), TEXTS_AT_ONCE)]
        return torch.cat([self.network(self.network.tokens.batch(part)) for part in parts])


def load_model(folder: str | Path) -> LoadedModel:
    """Loads a model from the folder that a recipe's artifact was downloaded to.

    Raises:
        DataError: the folder holds no such model, or a damaged one.
        ConfigError: it needs packages that aren't installed.
    """
    path = Path(folder) / CARD_FILE
    _check_there(path, folder)
    try:
        card = ModelCard.model_validate_json(path.read_bytes())
        return LoadedModel(card, _network(path, card).eval())
    except (OSError, ValueError, SafetensorError, RuntimeError, TypeError) as error:
        raise DataError(
            f"{folder} holds no whole model of a recipe ({error}); download all of the artifact's files. "
            f"Other models' weights can be read with safetensors.torch.load_file"
        ) from error


def _check_there(card: Path, folder: str | Path) -> None:
    if "://" in str(folder):
        raise DataError(f"load_model reads folders, not {folder}; footplate artifact get JOB FOLDER downloads a model")
    if not card.is_file():
        there = ", ".join(sorted(path.name for path in card.parent.iterdir())[:5]) if card.parent.is_dir() else ""
        raise DataError(
            f"{folder} holds no {CARD_FILE}, which every recipe leaves beside its model, but {there or 'nothing'}; "
            "download all of the artifact's files. Other models' weights can be read with "
            "safetensors.torch.load_file, and folders of transformers with transformers"
        )


def _network(path: Path, card: ModelCard) -> nn.Module:
    """The network that a card describes, with the weights beside it."""
    if isinstance(card.input, TextInput):
        check_packages()
        return texts.load_classifier(path.parent, card.input.max_length)
    if isinstance(card.input, PromptInput):
        check_packages()
        return language.load_language_model(path.parent)
    if card.network == images.NAME:
        check_packages()
        return images.load_classifier(path.parent)
    if card.network not in NETWORKS:
        raise DataError(f"{path} names the network {card.network!r}; a newer footplate may know it")
    network = build_network(card.network, card.arguments)
    network.load_state_dict(load_file(path.with_name(WEIGHTS_FILE)))
    return network


def _pixels(inputs: Any, takes: ImageInput) -> Tensor:
    channels, height, width = takes.shape
    if isinstance(inputs, str | Path):
        inputs = [inputs]
    if isinstance(inputs, Sequence) and inputs and all(isinstance(path, str | Path) for path in inputs):
        from footplate_trainer.data.pictures import read_picture
        from footplate_trainer.data.pixels import with_channels

        pictures = [torch.from_numpy(read_picture(Path(path), (width, height)).copy()) for path in inputs]
        return torch.cat([with_channels(picture[None], channels) for picture in pictures])
    try:
        pixels = inputs if isinstance(inputs, Tensor) else torch.from_numpy(np.array(inputs))
    except (TypeError, ValueError):
        raise DataError("the model takes images: pixels as a tensor or array, or paths of picture files") from None
    shape = list(pixels.shape)
    if pixels.ndim == 2:
        pixels = pixels[None]
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    if pixels.ndim != 4 or tuple(pixels.shape[1:]) != takes.shape or not len(pixels):
        raise DataError(f"the model takes pixels [N, {channels}, {height}, {width}], not {shape}; N is at least 1")
    return pixels


def _texts(inputs: Any) -> list[str]:
    found = _all([inputs] if isinstance(inputs, str) else inputs, str, "texts: strings")
    return [text.encode(errors="replace").decode() for text in found]  # half a pair of surrogates is no letter


def _prompts(inputs: Any) -> list[Any]:
    prompts = [inputs] if isinstance(inputs, str) else list(inputs)
    if not prompts or not all(isinstance(each, str) or _is_chat(each) for each in prompts):
        raise DataError(
            'the model takes at least one text, or chat, a list of messages: [[{"role": "user", "content": "…"}], …]'
        )
    return prompts


def _is_chat(value: Any) -> bool:
    return isinstance(value, Sequence) and all(isinstance(each, Mapping) and "role" in each for each in value)


def _columns(inputs: Any, takes: TableInput) -> Tensor:
    import pyarrow as pa

    from footplate_trainer.data.table_columns import encode

    rows = [inputs] if isinstance(inputs, Mapping) else inputs
    found = _all(rows, Mapping, "rows: mappings from a column's name to its value")
    return encode(pa.Table.from_pylist([dict(row) for row in found]), takes.columns)


def _all(inputs: Any, kind: type, what: str) -> list[Any]:
    """The inputs, all of them of a kind; raises DataError where they aren't, or there are none."""
    listed = [*inputs] if isinstance(inputs, Iterable) and not isinstance(inputs, Mapping) else []
    if not listed or not all(isinstance(one, kind) for one in listed):
        raise DataError(f"the model takes {what}, at least one")
    return listed
