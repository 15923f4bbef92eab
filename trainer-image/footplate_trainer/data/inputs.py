"""What a network sees of the data, and so what a trained model takes: part of its model.json."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SMALLEST_IMAGE = 4
"""Pixels of the shorter side."""


class Part(BaseModel):
    """A piece of the card: unknown fields are refused, values can't be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ImageInput(Part):
    """Pixels as they are, 0–255, [N, channels, height, width]; the network normalises them itself."""

    kind: Literal["image"] = "image"
    shape: tuple[int, int, int]
    """(channels, height, width); 1 channel is grey, 3 are RGB."""
    labelled: Annotated[tuple[str, ...] | None, Field(exclude_if=lambda labels: labels is None)] = None
    """What the training data call the classes, in their order, where the model has other names for them."""


class Column(Part):
    """What the network sees of a column of a table: numeric, or categorical with the texts that training has seen."""

    name: str
    part: Literal["time", "month", "weekday", "hour"] | None = None
    """Of a column of dates: `time` are seconds since 1970 in UTC, months count from 1, weekdays from 0, Monday."""
    categories: tuple[str, ...] | None = None
    """None for a numeric column. Texts count from 1; 0 stands for any other."""
    origin: float = 0.0
    """Subtracted from numbers, in float64, before they become float32, which can't tell large neighbours apart."""
    decimal: Literal[".", ","] = "."
    """The decimal mark of numbers that are written as texts; the other one groups digits."""
    unit: str = ""
    """The currency or percent sign of such numbers."""


class TableInput(Part):
    """Columns, float32 [N, columns], in this order, less their origins; the network standardises them itself."""

    kind: Literal["table"] = "table"
    columns: tuple[Column, ...]


class TextInput(Part):
    """Texts, of which a tokenizer that lies beside the model makes so many tokens at most."""

    kind: Literal["text"] = "text"
    max_length: int


class PromptInput(Part):
    """Texts to go on with, or chats to answer, of which a tokenizer that lies beside the model makes the tokens."""

    kind: Literal["prompt"] = "prompt"
    max_length: int
    """Tokens of a text that it was trained on."""
