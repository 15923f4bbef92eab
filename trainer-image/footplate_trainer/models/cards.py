"""model.json: what a model needs besides its weights, so that three lines of Python can use it."""

from typing import Annotated, Any, Literal

from pydantic import Field

from footplate_trainer.data.inputs import ImageInput, Part, TableInput

CARD_FILE = "model.json"
WEIGHTS_FILE = "model.safetensors"


class ModelCard(Part):
    """The content of model.json."""

    version: Literal[1] = 1
    recipe: str
    network: str
    """Name in `footplate_trainer.models.networks.NETWORKS`."""
    arguments: dict[str, Any]
    """What the network is built with."""
    classes: tuple[str, ...]
    """Names of the classes, in the order of the logits."""
    input: Annotated[ImageInput | TableInput, Field(discriminator="kind")]
