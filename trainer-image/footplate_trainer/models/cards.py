"""model.json: what a model needs besides its weights, so that three lines of Python can use it."""

from typing import Annotated, Any, Literal

from pydantic import Field

from footplate_trainer.data.inputs import ImageInput, Part, PromptInput, TableInput, TextInput

CARD_FILE = "model.json"


class ModelCard(Part):
    """The content of model.json."""

    version: Literal[1] = 1
    recipe: str
    network: str
    """Name in `footplate_trainer.models.networks.NETWORKS`, or `NAME` of `texts` or `language`."""
    arguments: dict[str, Any]
    """What the network is built with."""
    classes: tuple[str, ...]
    """Names of the classes, in the order of the logits; none where the network gives a quantity or a text."""
    input: Annotated[ImageInput | TableInput | TextInput | PromptInput, Field(discriminator="kind")]
    metrics: dict[str, float] = Field(default={})
    """What was measured of this very model, by the names that a job's status has for it."""
    notes: tuple[str, ...] = ()
    """What of the training data was left out, derived or merged, and what else their owner should know of them."""
