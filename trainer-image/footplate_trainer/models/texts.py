"""Classifiers of texts: encoders of transformers, pretrained or fresh; and low-rank adapters.

They are saved as transformers' `save_pretrained` does, and so are read by whatever reads its folders.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from footplate_trainer.data.tokens import Tokens
from footplate_trainer.models.pretrained import load_network, quiet

NAME = "text-classifier"
"""The network's name in model.json."""
ALPHA = 2
"""Adapters are scaled by this: LoRA's alpha is so many times its rank."""


class TextModel(nn.Module, ABC):
    """A network of transformers and its tokenizer, which is saved with it."""

    def __init__(self, network: nn.Module, tokenizer: Any) -> None:
        super().__init__()
        self.network: Any = network
        self.tokenizer = tokenizer

    def save(self, folder: Path) -> None:
        """Writes config.json, model.safetensors and the tokenizer. Adapters become part of the weights, here too."""
        if hasattr(self.network, "merge_and_unload"):
            self.network = self.network.merge_and_unload()
        with quiet():
            self.network.save_pretrained(folder, max_shard_size="1TB")
            self.tokenizer.save_pretrained(folder)

    @abstractmethod
    def reload(self, folder: Path) -> "TextModel":
        """What `save` has written there, as a model of the same kind.

        Raises:
            DataError: the folder holds none, or a damaged one.
        """


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

    def reload(self, folder: Path) -> "TextClassifier":
        """See `TextModel`."""
        return load_classifier(folder, self.tokens.max_length)


def load_classifier(folder: Path, max_length: int) -> TextClassifier:
    """What `TextClassifier.save` has written.

    Raises:
        DataError: the folder holds none, or a damaged one.
    """
    network, tokenizer = load_network(folder)
    return TextClassifier(network, Tokens(tokenizer, max_length))


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


def add_adapters(network: Any, rank: int, *, classifies: bool = True) -> nn.Module:
    """The same with low-rank adapters beside each linear layer of its encoder or decoder. Only they are trained and, of
    one that classifies, the head.
    """
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers.pytorch_utils import Conv1D

    prefix = network.base_model_prefix
    body = getattr(network, prefix)
    linear = [f"{prefix}.{name}" for name, part in body.named_modules() if isinstance(part, nn.Linear | Conv1D)]
    head = [name for name, part in network.named_children() if name != prefix and [*part.parameters()]]
    settings = LoraConfig(
        task_type=TaskType.SEQ_CLS if classifies else TaskType.CAUSAL_LM,
        r=rank,
        lora_alpha=ALPHA * rank,
        target_modules=linear,
        modules_to_save=head if classifies else None,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name that is going away
        warnings.filterwarnings("ignore", message="fan_in_fan_out")  # of GPT-2's layers it finds out itself
        adapted: nn.Module = get_peft_model(network, settings)
    return adapted
