"""Reads a pretrained model of transformers from a folder, and nothing else: no network, no code, no pickle."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from footplate.api.errors import alternatives
from footplate_trainer.data.tokens import Tokens
from footplate_trainer.errors import ConfigError, DataError

ARCHITECTURES = (
    *("albert", "bert", "camembert", "deberta-v2", "distilbert", "electra", "modernbert", "mpnet", "roberta"),
    "xlm-roberta",
)
"""Model types whose encoders classify texts; each is trained in a test."""
CONFIG_FILE, TOKENIZER_FILE, TOKENIZER_CONFIG_FILE = "config.json", "tokenizer.json", "tokenizer_config.json"
WEIGHTS_FILES = ("model.safetensors", "model.safetensors.index.json")
ADAPTER_FILE = "adapter_config.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".pkl")
OTHER_LENGTHS = {"roberta": 2, "xlm-roberta": 2, "camembert": 2, "mpnet": 2}
"""Positions that a model keeps for itself: with 514 it reads 512 tokens."""
FROM_FOLDER = {"local_files_only": True, "trust_remote_code": False}


def stay_offline() -> None:
    """Forbids transformers the network, in this process. Before its first import."""
    os.environ["HF_HUB_OFFLINE"] = "1"


def find_folder(folder: Path) -> Path:
    """The folder itself or, below it, the only one that holds a model: as in a download of the Hub, which keeps it in
    `snapshots/<revision>`.

    Raises:
        DataError: there is none, or there are several.
    """
    if (folder / CONFIG_FILE).is_file():
        return folder
    below = sorted({path.parent for path in folder.rglob(CONFIG_FILE) if "model_type" in _read(path)})
    if len(below) == 1:
        return below[0]
    found = (
        f"several models, in {', '.join(str(one.relative_to(folder)) for one in below[:3])}" if below else "no model"
    )
    there = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) if folder.is_dir() else ""
    raise DataError(
        f"input model: {folder} holds {found}: {CONFIG_FILE} must be in it, beside model.safetensors and "
        f"{TOKENIZER_FILE}, as save_pretrained writes them. It holds {there or 'nothing'}; check the input's uri, and "
        "that it ends in '/'"
    )


def check_folder(
    folder: Path, *, kinds: Sequence[str] = ARCHITECTURES, recipe: str = "text-classification"
) -> dict[str, Any]:
    """What config.json says of a model that may be trained.

    Args:
        folder: holds it.
        kinds: of models that the recipe of this name trains.

    Raises:
        DataError: a file is missing or damaged, or holds what isn't loaded: pickles, code, another architecture.
    """
    config = _read(folder / CONFIG_FILE)
    kind = config.get("model_type")
    for path in (folder / CONFIG_FILE, folder / TOKENIZER_CONFIG_FILE):
        if path.is_file() and "auto_map" in _read(path):
            raise DataError(
                f"input model: {path} asks for code that comes with the model (auto_map), which is never run; take a "
                "model that transformers knows itself, or train with a program of your own (spec.trainer.entrypoint)"
            )
    for key in ("attn_implementation", "_attn_implementation"):
        if "/" in str(config.get(key)):
            raise DataError(
                f"input model: {folder / CONFIG_FILE} asks for code of the Hub ({key}: {config[key]}), which is never "
                "run; remove that line"
            )
    if (folder / ADAPTER_FILE).is_file():
        raise DataError(
            f"input model: {folder / ADAPTER_FILE} is an adapter's; merge it into its model first, by peft's "
            "merge_and_unload() and save_pretrained()"
        )
    if kind not in kinds:
        raise DataError(
            f"input model: {folder / CONFIG_FILE} has model_type {kind!r}; {recipe} trains {alternatives(list(kinds))}"
        )
    if not any((folder / name).is_file() for name in WEIGHTS_FILES):
        pickles = [path.name for path in sorted(folder.iterdir()) if path.suffix in PICKLES]
        raise DataError(
            f"input model: {folder} has no model.safetensors"
            + (f", only {', '.join(pickles[:3])}, which may run code when it is loaded" if pickles else "")
            + "; where you trust the model, AutoModel.from_pretrained(folder).save_pretrained(other) writes it"
        )
    if not (folder / TOKENIZER_FILE).is_file():
        raise DataError(
            f"input model: {folder} has no {TOKENIZER_FILE}; "
            "AutoTokenizer.from_pretrained(model).save_pretrained(folder) writes it"
        )
    return config


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
    from transformers import AutoTokenizer

    with told(folder / TOKENIZER_FILE):
        tokenizer = AutoTokenizer.from_pretrained(str(folder), **FROM_FOLDER)
    words = config.get("vocab_size")
    if isinstance(words, int) and len(tokenizer) > words:
        raise DataError(
            f"input model: {folder / TOKENIZER_FILE} has {len(tokenizer):,} tokens, and the model knows {words:,}; it "
            "is another model's: put the model's own beside it"
        )
    return tokenizer


def read_network(folder: Path, classes: Sequence[str]) -> tuple[nn.Module, list[str]]:
    """A classifier of texts with these weights, in float32, and what there is to say of them. What the weights lack of
    its head, or have for other classes, is drawn at random.

    Raises:
        DataError: the weights are damaged, or aren't those of the architecture.
    """
    from transformers import AutoModelForSequenceClassification

    with told(folder / WEIGHTS_FILES[0]):
        network, loaded = AutoModelForSequenceClassification.from_pretrained(
            str(folder),
            use_safetensors=True,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            num_labels=len(classes),
            id2label=dict(enumerate(classes)),
            label2id={name: place for place, name in enumerate(classes)},
            problem_type="single_label_classification",
            **FROM_FOLDER,
        )
    encoder = f"{network.base_model_prefix}."
    other = [name for name, *_ in loaded["mismatched_keys"]]
    lacking = [
        name for name in (*loaded["missing_keys"], *other) if name.startswith(encoder) and ".pooler." not in name
    ]
    check_weights(folder, network, lacking)
    notes = [f"input model: its head for other classes is left out ({', '.join(sorted(other))})"] if other else []
    return network, notes


def check_weights(folder: Path, network: Any, lacking: Sequence[str]) -> None:
    """Raises DataError where weights are lacking that a network needs."""
    if lacking:
        raise DataError(
            f"input model: the weights in {folder} aren't those of the {network.config.model_type} that {CONFIG_FILE} "
            f"describes: {len(lacking):,} are missing or of another shape, such as {min(lacking)}; take both "
            "from one save_pretrained"
        )


def load_network(folder: Path) -> tuple[nn.Module, Any]:
    """A classifier of texts that a recipe has left, and its tokenizer.

    Raises:
        DataError: the folder holds none, or a damaged one.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    with told(folder):
        network = AutoModelForSequenceClassification.from_pretrained(
            str(folder), use_safetensors=True, dtype=torch.float32, **FROM_FOLDER
        )
        return network, AutoTokenizer.from_pretrained(str(folder), **FROM_FOLDER)


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


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Names what can't be read, of which transformers raises anything."""
    way_out = "write it anew by save_pretrained"
    try:
        with quiet():
            yield
    except (
        SafetensorError,
        ImportError,
        OSError,
        ValueError,
        RuntimeError,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:
        raise DataError(f"{path} can't be read ({type(error).__name__}: {error}); {way_out}") from error
    except Exception as error:
        if type(error) is not Exception:  # tokenizers raises that very class
            raise
        raise DataError(f"{path} can't be read ({error}); {way_out}") from error


def _read(path: Path) -> dict[str, Any]:
    """A file of settings.

    Raises:
        DataError: it is no JSON object.
    """
    try:
        settings = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} can't be read ({error}); write it anew by save_pretrained") from None
    if not isinstance(settings, dict):
        raise DataError(f"{path} holds no settings; write it anew by save_pretrained")
    return settings
