"""model.json: what a model needs besides its weights, so that three lines of Python can use it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

CARD_FILE = "model.json"
WEIGHTS_FILE = "model.safetensors"


class Part(BaseModel):
    """A piece of the card: unknown fields are refused, values can't be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ImageInput(Part):
    """Pixels as they are, 0–255, [N, channels, height, width]; the network normalises them itself."""

    kind: Literal["image"] = "image"
    shape: tuple[int, int, int]
    """(channels, height, width); 1 channel is grey, 3 are RGB."""


class Column(Part):
    """A column of a table: numeric, or categorical with the texts that training has seen."""

    name: str
    categories: tuple[str, ...] | None = None
    """None for a numeric column. Texts count from 1; 0 stands for any other."""


class TableInput(Part):
    """Columns, float32 [N, columns], in this order; the network standardises them itself."""

    kind: Literal["table"] = "table"
    columns: tuple[Column, ...]


class ModelCard(Part):
    """The content of model.json."""

    version: Literal[1] = 1
    recipe: str
    network: str
    """Name in `footplate_trainer.networks.NETWORKS`."""
    arguments: dict[str, Any]
    """What the network is built with."""
    classes: tuple[str, ...]
    """Names of the classes, in the order of the logits."""
    input: Annotated[ImageInput | TableInput, Field(discriminator="kind")]
