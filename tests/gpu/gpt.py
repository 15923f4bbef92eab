"""A GPT as GPT-2's smallest, and what it computes at best."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from gpu.setting import Setting

PEAK_FLOPS = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
    "A10": 125e12,
}
"""Dense bf16 operations a second, by a part of the device's name."""


class Block(nn.Module):
    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.heads = setting.heads
        self.before_attention, self.before_mlp = nn.LayerNorm(setting.width), nn.LayerNorm(setting.width)
        self.attention = nn.Linear(setting.width, 3 * setting.width)
        self.projection = nn.Linear(setting.width, setting.width)
        self.mlp = nn.Sequential(
            nn.Linear(setting.width, 4 * setting.width), nn.GELU(), nn.Linear(4 * setting.width, setting.width)
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """[batch, positions, width], as it comes in."""
        batch, positions, width = hidden.shape
        parts = self.attention(self.before_attention(hidden)).split(width, dim=2)
        query, key, value = (part.view(batch, positions, self.heads, -1).transpose(1, 2) for part in parts)
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden = hidden + self.projection(attended.transpose(1, 2).reshape(batch, positions, width))
        return hidden + self.mlp(self.before_mlp(hidden))


class Gpt(nn.Module):
    """Takes tokens [batch, positions + 1], and gives each row's mean loss [batch]."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.tokens = nn.Embedding(setting.vocabulary, setting.width)
        self.positions = nn.Embedding(setting.context, setting.width)
        self.blocks = nn.ModuleList(Block(setting) for _ in range(setting.layers))
        self.norm = nn.LayerNorm(setting.width)
        for weight in self.parameters():
            if weight.ndim == 2:
                nn.init.normal_(weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """See the class."""
        inputs, following = tokens[:, :-1], tokens[:, 1:]
        hidden = self.tokens(inputs) + self.positions.weight[: inputs.shape[1]]
        for block in self.blocks:
            hidden = block(hidden)
        logits = functional.linear(self.norm(hidden), self.tokens.weight)
        losses = functional.cross_entropy(logits.flatten(0, 1), following.flatten(), reduction="none")
        return losses.view_as(inputs).mean(dim=1)


def make_tokens(setting: Setting, rows: int) -> Tensor:
    """[rows, positions + 1]."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(setting.vocabulary, (rows, setting.context + 1), generator=generator)


def operations_a_token(setting: Setting, model: nn.Module) -> float:
    """Of a forward and a backward pass: six a parameter, and those of the attention."""
    parameters = sum(weight.numel() for weight in model.parameters()) - setting.context * setting.width
    return 6 * parameters + 12 * setting.layers * setting.width * setting.context


def peak_of(name: str) -> float | None:
    """Of a device of this name; None where it isn't known."""
    return next((flops for part, flops in PEAK_FLOPS.items() if part in name), None)
