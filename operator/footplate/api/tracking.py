"""Which experiment trackers hear of a run: `spec.tracking`."""

import re
from typing import Annotated

from pydantic import Field

from footplate.api.patterns import MODEL_NAME_PATTERN, TITLE_PATTERN, TRACKER_PATTERN
from footplate.api.references import LocalRef
from footplate.api.types import Model, Rule, Schema, at, count, keep

RESERVED_ALIAS = r"@([Ll][Aa][Tt][Ee][Ss][Tt]|[Vv][0-9]+)$"
NO_RESERVED_ALIAS = Rule(
    f"!self.matches('{RESERVED_ALIAS}')",
    "MLflow keeps the aliases latest and v1, v2, … to itself; choose another, such as champion",
    lambda name: re.search(RESERVED_ALIAS.replace("$", r"\Z"), name) is None,
)

TrackerUri = Annotated[str, Field(min_length=1, max_length=1024, pattern=TRACKER_PATTERN)]
ModelName = Annotated[
    str,
    Field(min_length=1, max_length=190, pattern=MODEL_NAME_PATTERN),
    keep(NO_RESERVED_ALIAS),
    Schema(rules=(NO_RESERVED_ALIAS,)),
]


class MlflowTracking(Model):
    """An MLflow server, or a Databricks workspace."""

    uri: TrackerUri | None = Field(
        None,
        description="Address of the tracking server. Required where the block is used.",
        examples=["http://mlflow.ml.svc:5000"],
    )
    experiment: Annotated[str, Field(min_length=1, max_length=256, pattern=TITLE_PATTERN)] | None = Field(
        None,
        description="Experiment of the run, made where it isn't there. Default: the job's namespace.",
        examples=["sentiment"],
    )
    secret_ref: LocalRef | None = Field(
        None,
        description="Secret whose keys reach the pods as environment variables: MLFLOW_TRACKING_TOKEN, or "
        "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD. Default: none, or what trainer.env brings.",
    )
    register_as: ModelName | None = Field(
        None,
        description="Registers the verified model as a new version of this registered model; name@alias gives it an "
        "alias, name alone the alias accepted. A run that fails registers nothing. Default: nothing is registered.",
        examples=["sentiment@champion"],
    )


class WandbTracking(Model):
    """Weights & Biases, by its package in the image."""

    project: Annotated[str, Field(min_length=1, max_length=128, pattern=TITLE_PATTERN)] | None = Field(
        None, description="Project of the run. Default: the job's namespace.", examples=["sentiment"]
    )
    entity: Annotated[str, Field(min_length=1, max_length=128, pattern=TITLE_PATTERN)] | None = Field(
        None, description="Team or user whose project it is. Default: that of the key.", examples=["team-vision"]
    )
    secret_ref: LocalRef | None = Field(
        None,
        description="Secret whose keys reach the pods as environment variables: WANDB_API_KEY, and WANDB_BASE_URL for "
        "a server of your own. For the code's own calls, which go online by it; without a key they are offline.",
    )


class CometTracking(Model):
    """Comet, by its package in the image."""

    workspace: Annotated[str, Field(min_length=1, max_length=128, pattern=TITLE_PATTERN)] | None = Field(
        None, description="Workspace whose project it is. Default: that of the key.", examples=["team-vision"]
    )
    project: Annotated[str, Field(min_length=1, max_length=128, pattern=TITLE_PATTERN)] | None = Field(
        None, description="Project of the experiment. Default: the job's namespace.", examples=["sentiment"]
    )
    secret_ref: LocalRef | None = Field(
        None,
        description="Secret whose keys reach the pods as environment variables: COMET_API_KEY, and COMET_URL_OVERRIDE "
        "for a server of your own. For the code's own calls, which go online by it; without a key they are offline.",
    )


class TensorBoardTracking(Model):
    """Event files of what is reported, in the run's folder in storage."""


class Tracking(Model):
    """Where a run is told of: parameters, metrics, the model and how it ended, by node 0's supervisor."""

    mlflow: MlflowTracking | None = Field(None, description="An MLflow server. Default: none.")
    wandb: WandbTracking | None = Field(
        None,
        description="Keeps an offline run of Weights & Biases in <uri>/<job>/records-<run>-<uid>/wandb/, for `wandb "
        "sync`; the code's own calls join it. Needs the package wandb in the image. Default: none is written.",
    )
    comet: CometTracking | None = Field(
        None,
        description="Keeps an offline experiment of Comet in <uri>/<job>/records-<run>-<uid>/comet/, for `comet "
        "upload`; the code's own calls join it. Needs the package comet_ml in the image. Default: none is written.",
    )
    tensorboard: TensorBoardTracking | None = Field(
        None,
        description="{} keeps TensorBoard's event files in <uri>/<job>/records-<run>-<uid>/tensorboard/, the URI being "
        "that of output, else of checkpoint. Default: none are written.",
        examples=[{}],
    )


def tracker_secrets(tracking: Tracking | None) -> list[LocalRef]:
    """The Secrets that are variables of the pods."""
    blocks = (tracking.mlflow, tracking.wandb, tracking.comet) if tracking is not None else ()
    return [block.secret_ref for block in blocks if block is not None and block.secret_ref is not None]


SPEC_RULES = (
    Rule(
        "has(self.runtimeRef) || !has(self.tracking) || !has(self.tracking.mlflow) || has(self.tracking.mlflow.uri)",
        "tracking.mlflow.uri is required: name the tracking server here, or a runtime that does in runtimeRef",
        lambda spec: (
            at(spec, "runtimeRef") is not None
            or at(spec, "tracking", "mlflow") is None
            or count(at(spec, "tracking", "mlflow"), "uri") > 0
        ),
    ),
    Rule(
        "has(self.runtimeRef) || !has(self.tracking) || has(self.output) || has(self.checkpoint) || "
        "!(has(self.tracking.tensorboard) || has(self.tracking.wandb) || has(self.tracking.comet))",
        "tracking.tensorboard, tracking.wandb and tracking.comet need output or checkpoint, beside which their files "
        "lie; set one of the two, or leave them out",
        lambda spec: (
            at(spec, "runtimeRef") is not None
            or count(spec, "output", "checkpoint") > 0
            or count(at(spec, "tracking") or {}, "tensorboard", "wandb", "comet") == 0
        ),
        "tracking",
    ),
)
"""Of a job's whole spec."""
