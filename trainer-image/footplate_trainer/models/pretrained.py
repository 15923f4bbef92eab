"""Reads a pretrained model of transformers from a folder, and nothing else: no network, no code, no pickle."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from footplate.api.errors import alternatives
from footplate_trainer.data.tokens import Tokens
from footplate_trainer.errors import ConfigError, DataError
from footplate_trainer.models.model_files import check_weights, read_settings, told, weights_files

CONFIG_FILE, TOKENIZER_FILE, TOKENIZER_CONFIG_FILE = "config.json", "tokenizer.json", "tokenizer_config.json"
PREPROCESSOR_FILE = "preprocessor_config.json"
ADAPTER_FILE = "adapter_config.json"


@dataclass(frozen=True, slots=True)
class Trains:
    """What a recipe fine-tunes."""

    recipe: str
    architectures: tuple[str, ...]
    """Model types; each is trained in a test."""
    auto: str
    """The class of transformers that makes such a model of a folder."""
    beside: str
    """The file that must lie beside the weights."""
    writer: str
    """The class of transformers that writes that file."""


TEXTS = Trains(
    "text-classification",
    (
        *("albert", "bert", "camembert", "deberta-v2", "distilbert", "electra", "modernbert", "mpnet", "roberta"),
        "xlm-roberta",
    ),
    "AutoModelForSequenceClassification",
    TOKENIZER_FILE,
    "AutoTokenizer",
)
IMAGES = Trains(
    "image-classification",
    ("convnext", "convnextv2", "mobilenet_v1", "mobilenet_v2", "regnet", "resnet", "swin", "vit"),
    "AutoModelForImageClassification",
    PREPROCESSOR_FILE,
    "AutoImageProcessor",
)
DECODERS = Trains(
    "language-model",
    (
        *("gemma", "gemma2", "gemma3_text", "gpt2", "gpt_neox", "granite", "llama", "mistral", "olmo2", "phi"),
        *("phi3", "qwen2", "qwen3", "smollm3", "stablelm", "starcoder2"),
    ),
    "AutoModelForCausalLM",
    TOKENIZER_FILE,
    "AutoTokenizer",
)
OTHER_LENGTHS = {"roberta": 2, "xlm-roberta": 2, "camembert": 2, "mpnet": 2}
"""Positions that a model keeps for itself: with 514 it reads 512 tokens."""
INITIAL_STD = 0.02
"""Of a head's weights, as transformers draws them."""
FROM_FOLDER = {"local_files_only": True, "trust_remote_code": False}


def stay_offline() -> None:
    """Forbids transformers the network, in this process. Before its first import."""
    os.environ["HF_HUB_OFFLINE"] = "1"


def find_folder(folder: Path, trains: Trains = TEXTS) -> Path:
    """The folder itself or, below it, the only one that holds a model: as in a download of the Hub, which keeps it in
    `snapshots/<revision>`.

    Raises:
        DataError: there is none, or there are several.
    """
    if (folder / CONFIG_FILE).is_file():
        return folder
    below = sorted({path.parent for path in folder.rglob(CONFIG_FILE) if "model_type" in read_settings(path)})
    if len(below) == 1:
        return below[0]
    found = (
        f"several models, in {', '.join(str(one.relative_to(folder)) for one in below[:3])}" if below else "no model"
    )
    there = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) if folder.is_dir() else ""
    raise DataError(
        f"input model: {folder} holds {found}: {CONFIG_FILE} must be in it, beside model.safetensors and "
        f"{trains.beside}, as save_pretrained writes them. It holds {there or 'nothing'}; check the input's uri, and "
        "that it ends in '/'"
    )


def check_folder(folder: Path, trains: Trains = TEXTS) -> dict[str, Any]:
    """What config.json says of a model that may be trained.

    Raises:
        DataError: a file is missing or damaged, or holds what isn't loaded: pickles, code, another architecture.
    """
    config = read_settings(folder / CONFIG_FILE)
    kind = config.get("model_type")
    for path in (folder / name for name in (CONFIG_FILE, TOKENIZER_CONFIG_FILE, PREPROCESSOR_FILE)):
        if path.is_file() and "auto_map" in read_settings(path):
            raise DataError(
                f"input model: {path} asks for code that comes with the model (auto_map), which is never run; take a "
                "model that transformers knows itself, or train with a program of your own (spec.trainer.entrypoint)"
            )
    _check_harmless(folder, config)
    if (folder / ADAPTER_FILE).is_file():
        raise DataError(
            f"input model: {folder / ADAPTER_FILE} is an adapter's; merge it into its model first, by peft's "
            "merge_and_unload() and save_pretrained()"
        )
    if "quantization_config" in config:
        raise DataError(
            f"input model: {folder / CONFIG_FILE} says that the weights are quantized (quantization_config), and such "
            "aren't trained; take the model that it was made of"
        )
    if kind not in trains.architectures:
        other = next((each.recipe for each in (TEXTS, IMAGES, DECODERS) if kind in each.architectures), None)
        raise DataError(
            f"input model: {folder / CONFIG_FILE} has model_type {kind!r}; {trains.recipe} trains "
            f"{alternatives(list(trains.architectures))}" + (f"; recipe {other} trains this one" if other else "")
        )
    check_weights(folder)
    if not (folder / trains.beside).is_file():
        raise DataError(
            f"input model: {folder} has no {trains.beside}; "
            f"{trains.writer}.from_pretrained(model).save_pretrained(folder) writes it"
        )
    return config


def _check_harmless(folder: Path, config: Mapping[str, Any]) -> None:
    """Raises DataError for what config.json has transformers load besides the weights that are looked at."""
    for key in ("attn_implementation", "_attn_implementation"):
        if "/" in str(config.get(key)):
            raise DataError(
                f"input model: {folder / CONFIG_FILE} asks for code of the Hub ({key}: {config[key]}), which is never "
                "run; remove that line"
            )
    if "transformers_weights" in config:
        raise DataError(
            f"input model: {folder / CONFIG_FILE} names a file of weights (transformers_weights); remove that line, "
            "and name the file model.safetensors"
        )


def read_tokens(folder: Path, config: Mapping[str, Any], max_length: int) -> Tokens:
    """The tokenizer beside a model.

    Raises:
        DataError: it can't be read, or is another model's.
        ConfigError: the model doesn't read so many tokens.
    """
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int):
        most = positions - OTHER_LENGTHS.get(config["model_type"], 0)
        if max_length > most:
            raise ConfigError(
                f"spec.trainer.hyperparameters.maxLength = {max_length}: the model in {folder} reads at most {most} "
                f"tokens; use {most} or fewer"
            )
    tokenizer = read_tokenizer(folder, config)
    if tokenizer.pad_token_id is None or not tokenizer.is_fast:
        raise DataError(f"input model: {folder / TOKENIZER_FILE} has no token to pad with; take the model's own")
    return Tokens(tokenizer, max_length)


def read_tokenizer(folder: Path, config: Mapping[str, Any]) -> Any:
    """The same as transformers' own.

    Raises:
        DataError: it can't be read, or is another model's.
    """
    tokenizer, words = load_tokenizer(folder), config.get("vocab_size")
    if isinstance(words, int) and len(tokenizer) > words:
        raise DataError(
            f"input model: {folder / TOKENIZER_FILE} has {len(tokenizer):,} tokens, and the model knows {words:,}; it "
            "is another model's: put the model's own beside it"
        )
    return tokenizer


def read_network(folder: Path, classes: Sequence[str], trains: Trains = TEXTS) -> tuple[nn.Module, list[str]]:
    """A classifier with these weights, in float32, and what there is to say of them. What the weights lack of its head,
    or have for other classes, is drawn at random.

    Raises:
        DataError: the weights are damaged, or aren't those of the architecture.
    """
    names = dict(enumerate(classes))
    network, loaded = load_weights(
        folder,
        trains,
        ignore_mismatched_sizes=True,
        num_labels=len(classes),
        id2label=names,
        label2id={name: place for place, name in names.items()},
        problem_type="single_label_classification",
    )
    encoder = f"{network.base_model_prefix}."
    other = [name for name, *_ in loaded["mismatched_keys"]]
    lacking = [
        name for name in (*loaded["missing_keys"], *other) if name.startswith(encoder) and ".pooler." not in name
    ]
    check_whole(folder, network, lacking)
    if not other and not loaded["missing_keys"] and _names_of(folder) != [*classes]:
        other = _draw_head(network)
    notes = [f"input model: its head for other classes is left out ({', '.join(sorted(other))})"] if other else []
    return network, notes


def check_whole(folder: Path, network: Any, lacking: Sequence[str]) -> None:
    """Raises DataError where weights are lacking that a network needs."""
    if lacking:
        raise DataError(
            f"input model: the weights in {folder} aren't those of the {network.config.model_type} that {CONFIG_FILE} "
            f"describes: {len(lacking):,} are missing or of another shape, such as {min(lacking)}; take both "
            "from one save_pretrained"
        )


def _names_of(folder: Path) -> list[str]:
    """The classes that the folder's model knows, in the order of its outputs."""
    names = read_settings(folder / CONFIG_FILE).get("id2label") or {}
    with told(folder / CONFIG_FILE):
        return [str(name) for _, name in sorted(names.items(), key=lambda item: int(item[0]))]


def _draw_head(network: Any) -> list[str]:
    """Draws the weights before the logits at random, and gives their names."""
    encoder = f"{network.base_model_prefix}."
    *_, (name, last) = (
        (name, part)
        for name, part in network.named_modules()
        if isinstance(part, nn.Linear) and not name.startswith(encoder)
    )
    nn.init.normal_(last.weight, std=INITIAL_STD)
    nn.init.zeros_(last.bias)
    return [f"{name}.weight", f"{name}.bias"]


def load_network(folder: Path, trains: Trains = TEXTS) -> Any:
    """A network that a recipe has left.

    Raises:
        DataError: the folder holds none, or a damaged one.
    """
    _check_harmless(folder, read_settings(folder / CONFIG_FILE))
    network, loaded = load_weights(folder, trains)
    if lacking := loaded["missing_keys"]:
        raise DataError(
            f"{weights_files(folder)[0]} lacks {len(lacking):,} of the model's weights, such as {min(lacking)}; "
            "download all of the artifact's files"
        )
    return network


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder.

    Raises:
        DataError: the folder holds none, or a damaged one.
    """
    from transformers import AutoTokenizer

    if not (folder / TOKENIZER_FILE).is_file():
        raise DataError(f"{folder} holds no {TOKENIZER_FILE}; download all of the artifact's files")
    with told(folder / TOKENIZER_FILE), quiet():
        return AutoTokenizer.from_pretrained(str(folder), **FROM_FOLDER)


def load_weights(folder: Path, trains: Trains, **settings: Any) -> tuple[Any, dict[str, Any]]:
    """A network in float32, and what of its weights wasn't there, or wasn't as it should be.

    Raises:
        DataError: they can't be read.
    """
    import transformers

    with told(weights_files(folder)[0]), quiet():
        auto = getattr(transformers, trains.auto)
        return auto.from_pretrained(  # type: ignore[no-any-return]
            str(folder), use_safetensors=True, dtype=torch.float32, output_loading_info=True, **settings, **FROM_FOLDER
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps transformers from speaking of its own affairs, and from drawing bars."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
