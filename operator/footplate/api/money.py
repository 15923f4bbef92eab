"""What accelerators cost, how much a run may cost, and for how long it may let them rest."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from footplate.api.types import LabelKey, Model, Rule, count

PRICE_PATTERN = r"^[0-9]{1,9}([.][0-9]{1,6})?$"
MOST = 1_000_000_000

Price = Annotated[str, Field(max_length=16, pattern=PRICE_PATTERN)]


class Prices(Model):
    """What an hour of each accelerator costs."""

    currency: Annotated[str, Field(max_length=3, pattern=r"^[A-Z]{3}$")] = Field(
        description="Code of the currency, as in ISO 4217.", examples=["EUR"]
    )
    per_hour: Annotated[dict[LabelKey, Price], Field(min_length=1, max_length=32)] = Field(
        description="Price of one accelerator for an hour, by resource name, as a decimal number in quotes.",
        examples=[{"nvidia.com/gpu": "2.50"}],
    )

    def of(self, resource: str) -> Decimal | None:
        """Price of one for an hour; None where none is named."""
        price = self.per_hour.get(resource)
        return None if price is None else Decimal(price)


class Budget(Model):
    """The most that a run may hold: exactly one of acceleratorHours and cost."""

    accelerator_hours: Annotated[int, Field(ge=1, le=MOST)] | None = Field(
        None, description="Accelerators times hours, of all kinds together.", examples=[500]
    )
    cost: Annotated[int, Field(ge=1, le=MOST)] | None = Field(
        None, description="Money, in the currency of the runtime's prices.", examples=[1200]
    )

    rules = (
        Rule(
            "has(self.acceleratorHours) != has(self.cost)",
            "set exactly one of acceleratorHours and cost",
            lambda it: count(it, "acceleratorHours", "cost") == 1,
        ),
    )


class IdleRule(Model):
    """What becomes of jobs that hold accelerators and let them rest."""

    after_seconds: Annotated[int, Field(ge=300, le=31_536_000)] = Field(
        default=3600, description="For so long a gang has made no step and its accelerators have done nothing."
    )
    action: Literal["Warn", "Stop"] = Field(
        default="Warn",
        description="Warn says so; Stop also ends the run, after a checkpoint: a new runPolicy.restartNonce goes on "
        "from it.",
    )
