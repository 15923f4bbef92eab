"""Classifiers of texts: encoders of transformers, pretrained or fresh; and low-rank adapters.

They are saved as transformers' `save_pretrained` does, and so are read by whatever reads its folders.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from footplate_trainer.data.tokens import Tokens
from footplate_trainer.models.folders import FolderModel
from footplate_trainer.models.pretrained import load_network, load_tokenizer, quiet

NAME = "text-classifier"
"""The network's name in model.json."""


class TextModel(FolderModel):
    """A network of transformers and its tokenizer, which is saved with it."""

    def __init__(self, network: nn.Module, tokenizer: Any) -> None:
        super().__init__(network)
        self.tokenizer = tokenizer

    def save(self, folder: Path) -> None:
        """Writes the tokenizer too."""
        super().save(folder)
        with quiet():
            self.tokenizer.save_pretrained(folder)


class TextClassifier(TextModel):
    """A classifier of transformers, called with a batch's inputs as one mapping.

    Args:
        network: gives `logits`.
        tokens: its own, which is saved with it.
    """

    def __init__(self, network: nn.Module, tokens: Tokens) -> None:
        super().__init__(network, tokens.tokenizer)
        self.tokens = tokens

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Logits [N, classes] of `input_ids` and `attention_mask` [N, T]."""
        logits: Tensor = self.network(**inputs).logits
        return logits

    def read_back(self, folder: Path) -> "TextClassifier":
        """See `FolderModel`."""
        return load_classifier(folder, self.tokens.max_length)


def load_classifier(folder: Path, max_length: int) -> TextClassifier:
    """What `TextClassifier.save` has written.

    Raises:
        DataError: the folder holds none, or a damaged one.
    """
    return TextClassifier(load_network(folder), Tokens(load_tokenizer(folder), max_length))


def make_network(tokens: Tokens, classes: Sequence[str], *, hidden: int, layers: int, dropout: float) -> nn.Module:
    """A BERT with fresh weights for these tokens; heads of some 32 units."""
    from transformers import BertConfig, BertForSequenceClassification

    heads = next(number for number in range(max(1, hidden // 32), 0, -1) if hidden % number == 0)
    config = BertConfig(
        vocab_size=len(tokens.tokenizer),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        max_position_embeddings=tokens.max_length,
        pad_token_id=tokens.tokenizer.pad_token_id,
        num_labels=len(classes),
        id2label=dict(enumerate(classes)),
        label2id={name: place for place, name in enumerate(classes)},
        problem_type="single_label_classification",
    )
    network: nn.Module = BertForSequenceClassification(config)
    return network
