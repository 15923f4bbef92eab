"""The recipes' networks. Raw inputs go in: what normalises them is part of the network itself, so every exported
format takes raw pixels or columns, and no model can meet another model's preprocessing.

No network has running statistics (no batch norm): weights alone decide the output, on every rank and world size alike.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

SMALLEST_MAP = 8
"""Feature maps are halved until their shorter side is at most this."""

WIDEST_STAGE = 256


def constant(values: Tensor) -> nn.Parameter:
    """Saved with the weights, never trained. Not a buffer: DDP would send those around at every step."""
    return nn.Parameter(values, requires_grad=False)


class ImageClassifier(nn.Module):
    """A small convolutional network: pixels 0–255 [N, C, H, W], of any dtype, to logits [N, classes].

    Args:
        image_shape: (C, H, W); H and W at least `SMALLEST_IMAGE`.
        classes: number of classes.
        width: channels of the first stage; doubled at each further one, up to `WIDEST_STAGE`.
        hidden: units of the layer before the logits.
        dropout: share of the features dropped before each linear layer.
    """

    def __init__(
        self, *, image_shape: Sequence[int], classes: int, width: int = 32, hidden: int = 128, dropout: float = 0.25
    ) -> None:
        super().__init__()
        channels, tall, wide = image_shape
        self.mean = constant(torch.zeros(channels, 1, 1))
        self.std = constant(torch.ones(channels, 1, 1))
        stages: list[nn.Module] = []
        for stage in range(_stages(min(tall, wide))):
            stage_width = min(width * 2**stage, max(width, WIDEST_STAGE))
            stages += [nn.Conv2d(channels, stage_width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            channels, tall, wide = stage_width, tall // 2, wide // 2
        self.features = nn.Sequential(*stages)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(channels * tall * wide, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, classes),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits [N, classes] of pixels [N, C, H, W]."""
        logits: Tensor = self.head(self.features((pixels.float() - self.mean) / self.std))
        return logits


def _stages(side: int) -> int:
    stages = 2
    while side >> stages > SMALLEST_MAP:
        stages += 1
    return stages


class _TableNetwork(nn.Module):
    """A multi-layer perceptron of columns [N, numeric + categorical], float32.

    Numeric columns come first, as they are, missing ones NaN; then the categorical ones as codes, 0 for a text that
    training has not seen.

    Args:
        numeric: number of numeric columns.
        categories: number of codes of each categorical column, the 0 included.
        outputs: values for each row.
        hidden: units of each hidden layer.
        layers: number of hidden layers.
        dropout: share of the units dropped after each hidden layer.
    """

    def __init__(
        self, *, numeric: int, categories: Sequence[int], outputs: int, hidden: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.numeric = numeric
        self.mean = constant(torch.zeros(numeric))
        self.std = constant(torch.ones(numeric))
        sizes = [min(16, 1 + codes // 2) for codes in categories]
        self.embeddings = nn.ModuleList(map(nn.Embedding, categories, sizes))
        units = numeric + sum(sizes)
        steps: list[nn.Module] = []
        for _ in range(layers):
            steps += [nn.Linear(units, hidden), nn.ReLU(), nn.Dropout(dropout)]
            units = hidden
        self.body = nn.Sequential(*steps, nn.Linear(units, outputs))

    def standardise(self, mean: Tensor, std: Tensor) -> None:
        """Takes the numeric columns' means and standard deviations, [numeric] each, in place of 0 and 1."""
        self.mean.data, self.std.data = mean.float(), std.float()

    def compute(self, columns: Tensor) -> Tensor:
        """The body's outputs [N, outputs]."""
        scaled = (columns[:, : self.numeric] - self.mean) / self.std
        parts = [torch.where(torch.isnan(scaled), torch.zeros_like(scaled), scaled)]
        for place, embedding in enumerate(self.embeddings, start=self.numeric):
            parts.append(embedding(columns[:, place].long()))
        outputs: Tensor = self.body(torch.cat(parts, dim=1))
        return outputs


class TableClassifier(_TableNetwork):
    """Columns as of `_TableNetwork` to logits [N, classes].

    Args:
        classes: number of classes.
        numeric, categories, hidden, layers, dropout: see there.
    """

    def __init__(
        self,
        *,
        numeric: int,
        categories: Sequence[int],
        classes: int,
        hidden: int = 128,
        layers: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(
            numeric=numeric, categories=categories, outputs=classes, hidden=hidden, layers=layers, dropout=dropout
        )

    def forward(self, columns: Tensor) -> Tensor:
        """Logits [N, classes] of columns [N, numeric + categorical]."""
        return self.compute(columns)


class TableRegressor(_TableNetwork):
    """Columns as of `_TableNetwork` to quantities [N], float64, in the target's own unit.

    Args:
        target_mean, target_std: of the training data's target. Numbers, not weights: those may become bfloat16.
        numeric, categories, hidden, layers, dropout: see there.
    """

    def __init__(
        self,
        *,
        numeric: int,
        categories: Sequence[int],
        target_mean: float,
        target_std: float,
        hidden: int = 128,
        layers: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(
            numeric=numeric, categories=categories, outputs=1, hidden=hidden, layers=layers, dropout=dropout
        )
        self.target_mean = target_mean
        self.target_std = target_std

    def forward(self, columns: Tensor) -> Tensor:
        """Quantities [N], float64, of columns [N, numeric + categorical]."""
        return self.compute(columns)[:, 0].double() * self.target_std + self.target_mean


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "image-classifier": ImageClassifier,
    "table-classifier": TableClassifier,
    "table-regressor": TableRegressor,
}


def build_network(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """A network by the name and the arguments that model.json holds, with fresh weights."""
    return NETWORKS[name](**arguments)
