"""The hyperparameters that all recipes share: how training itself goes. camelCase names, as users write them."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from footplate.api.errors import alternatives, nearest

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
Mode = Literal["min", "max"]
HELD_OUT, TESTED = "val", "test"
"""What the names of values begin with that are measured of the validation data, and of the test data."""


class Settings(BaseModel):
    """Values that a user writes: unknown names are refused."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, allow_inf_nan=False)


class Monitored(Settings):
    """What watches a value over the epochs. Names and meanings are Keras'."""

    monitor: Annotated[
        str, Field(default="valLoss", max_length=63, description="Value to watch, by its name in the job's metrics.")
    ]
    mode: Annotated[
        Mode | None, Field(default=None, description="Which is better, less or more. Default: as is so of the value.")
    ]


class EarlyStopping(Monitored):
    """Of `Hyperparameters.early_stopping`."""

    patience: Annotated[
        int, Field(default=5, ge=0, le=10_000, description="Epochs without improvement after which training stops.")
    ]
    min_delta: Annotated[
        float, Field(default=0.0, ge=0, description="A change of no more than this is no improvement.")
    ]
    restore_best: Annotated[
        bool, Field(default=True, description="The model has the weights of the best epoch, not of the last one.")
    ]


class ReduceOnPlateau(Monitored):
    """Of `Hyperparameters.reduce_on_plateau`."""

    patience: Annotated[
        int, Field(default=2, ge=0, le=10_000, description="Epochs without improvement after which the rate falls.")
    ]
    min_delta: Annotated[
        float, Field(default=1e-4, ge=0, description="A change of no more than this is no improvement.")
    ]
    factor: Annotated[float, Field(default=0.1, gt=0, lt=1, description="Of the new learning rate to the old one.")]
    cooldown: Annotated[
        int, Field(default=0, ge=0, le=10_000, description="Epochs after a reduction that count for nothing.")
    ]
    min_lr: Annotated[float, Field(default=0.0, ge=0, le=10, description="No rate is reduced below this.")]


class Hyperparameters(Settings):
    """Training itself; each recipe adds what its data and network take."""

    measures: ClassVar[Mapping[str, Mode]] = {"loss": "min", "accuracy": "max"}
    """What the recipe measures of training and validation data in each epoch, and which is better."""
    inputs_are_numbers: ClassVar[bool] = True
    """True where the network's inputs are quantities, which sharded models round to the precision that they compute in;
    False of tokens, which stay as they are.
    """

    epochs: Annotated[int, Field(default=10, ge=1, le=10_000, description="Passes over the training data.")]
    batch_size: Annotated[
        int,
        Field(default=128, ge=1, le=1_000_000, description="Samples of all ranks together between optimizer steps."),
    ]
    learning_rate: Annotated[
        float, Field(default=1e-3, gt=0, le=10, description="Highest learning rate, reached after the warm-up.")
    ]
    weight_decay: Annotated[float, Field(default=0.01, ge=0, le=10, description="AdamW's weight decay.")]
    accumulation_steps: Annotated[
        int,
        Field(default=1, ge=1, le=1024, description="Parts in which each batch is computed, to save memory."),
    ]
    validation_fraction: Annotated[
        float,
        Field(default=0.1, ge=0, le=0.5, description="Share of the training data held out without a validation input."),
    ]
    test_fraction: Annotated[
        float, Field(default=0.1, ge=0, le=0.5, description="Share of the data held out without test data.")
    ]
    seed: Annotated[
        int, Field(default=0, ge=0, lt=2**32, description="Seed of weights, order, augmentation and held-out data.")
    ]
    compile: Annotated[bool, Field(default=False, description="Compile the network with torch.compile.")]
    precision: Annotated[
        Precision | None,
        Field(
            default=None,
            description="What the network computes in. Default: bf16 on accelerators that have it, else fp32.",
        ),
    ]
    strategy: Annotated[
        Literal["ddp", "fsdp"] | None,
        Field(
            default=None,
            description="Whether each rank has all of the network, or a shard of it (fsdp). Default: ddp.",
        ),
    ]
    clip_norm: Annotated[
        float | None,
        Field(default=None, gt=0, description="Greatest norm of the gradient. Default: it is left as it is."),
    ]
    ema_momentum: Annotated[
        float | None,
        Field(
            default=None,
            ge=0,
            lt=1,
            description="Evaluate, and end with, the weights' moving average of this momentum. Default: no average.",
        ),
    ]
    early_stopping: Annotated[
        EarlyStopping | None,
        Field(default=None, description="Stop once a value gets no better; `{}` for all its defaults."),
    ]
    reduce_on_plateau: Annotated[
        ReduceOnPlateau | None,
        Field(
            default=None,
            description="Reduce the learning rate, else constant, once a value gets no better; `{}` for all defaults.",
        ),
    ]

    @property
    def computes_in(self) -> Precision | None:
        """The precision; None where the device decides."""
        rounds = self.strategy == "fsdp" and self.inputs_are_numbers
        return self.precision or ("fp32" if rounds else None)

    def mode_of(self, monitored: Monitored) -> Mode:
        """Which is better, less or more, of what is watched."""
        return self._named("", HELD_OUT)[monitored.monitor]

    def measured(self) -> set[str]:
        """The names of all that is measured, of every split."""
        return {*self._named("", HELD_OUT, TESTED)}

    def monitors_held_out(self) -> list[str]:
        """The hyperparameters that watch a value of the validation data."""
        return [name for name, each in self._monitored() if each.monitor.startswith(HELD_OUT)]

    @model_validator(mode="after")
    def _fit_each_other(self) -> Self:
        for name, monitored in self._monitored():
            self._check_monitor(name, monitored)
        self._check_patience()
        if self.strategy == "fsdp" and self.inputs_are_numbers and self.precision in ("bf16", "fp16"):
            raise _broken(
                "precision",
                "can't go with strategy fsdp here, which would round the data to its few digits before they are "
                "standardised; use fp32 or tf32, or strategy ddp",
            )
        return self

    def _monitored(self) -> list[tuple[str, Monitored]]:
        there = {"earlyStopping": self.early_stopping, "reduceOnPlateau": self.reduce_on_plateau}
        return [(name, value) for name, value in there.items() if value is not None]

    def _named(self, *splits: str) -> dict[str, Mode]:
        return {
            f"{split}{name[0].upper()}{name[1:]}" if split else name: mode
            for split in splits
            for name, mode in self.measures.items()
        }

    def _check_monitor(self, name: str, monitored: Monitored) -> None:
        known = self._named("", HELD_OUT)
        if monitored.monitor not in known:
            rule = f"must be {alternatives([*known])}"
            raise _broken(f"{name}.monitor", "; ".join(filter(None, (rule, nearest(monitored.monitor, [*known])))))
        better = known[monitored.monitor]
        if monitored.mode not in (None, better):
            more = "less" if better == "min" else "more"
            raise _broken(f"{name}.mode", f"{more} is better of {monitored.monitor}; leave it out")

    def _check_patience(self) -> None:
        stops, falls = self.early_stopping, self.reduce_on_plateau
        if stops is None or falls is None or stops.monitor != falls.monitor or stops.min_delta < falls.min_delta:
            return
        if stops.patience <= falls.patience:
            raise _broken(
                "earlyStopping.patience",
                "would stop training before reduceOnPlateau ever reduces the rate, whose patience is "
                f"{falls.patience}; give it more",
            )


def _broken(field: str, message: str) -> PydanticCustomError:
    context: dict[str, Any] = {"message": message, "field": field}
    return PydanticCustomError("rule", "{message}", context)
