"""What a run has cost, in time, accelerators and money: the part of the status that bills are made of."""

from typing import Annotated

from pydantic import Field

from footplate.api.scalars import Count
from footplate.api.types import Model


class Cost(Model):
    """Money."""

    amount: float = Field(description="How much, rounded to hundredths.")
    currency: Annotated[str, Field(max_length=3)] = Field(description="Code of the currency.")


class Usage(Model):
    """What the run has cost, and how much of it went into the model.

    Productive and lost seconds are accelerator seconds (node seconds where the job has no accelerators) and add up to
    what the run's pods have held.
    """

    node_seconds: Count = Field(
        default=0, description="Seconds for which pods have held their nodes, summed over pods."
    )
    ended_node_seconds: Count = Field(default=0, description="Of these, the seconds of attempts that have ended.")
    accelerator_seconds: Annotated[dict[str, Count], Field(max_length=32)] = Field(
        default={}, description="Accelerators times seconds, by resource name."
    )
    productive_seconds: Count | None = Field(
        None, description="Accelerator seconds of the steps that the model stands on; null where the code reports none."
    )
    lost_seconds: Count | None = Field(
        None, description="The rest: starting, waiting for each other, repeated steps, saving, stopping."
    )
    goodput_percent: float | None = Field(None, description="productiveSeconds of all seconds held, in percent.")
    cost: Cost | None = Field(
        None, description="What the accelerators have cost by the prices of the runtime; null where it names none."
    )
