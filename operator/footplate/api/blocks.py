"""The blocks of a TrainingJob's spec that a runtime may default, but for what runs (`footplate.api.trainer`): where its
state is kept, and under which policy it runs.

A default written here is applied when the job is resolved (after the runtime's defaults), so the generated CRD only
names it in the description: were the API server to fill it in, a runtime's default could never apply.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from footplate.api.money import Budget
from footplate.api.patterns import HTTP_PATTERN, QUEUE_PATTERN
from footplate.api.references import LocalRef, NeededKeyRef
from footplate.api.types import MUTABLE, Limit, Model, Resume, Rule, Seconds, Uri, at, count


class Every(Model):
    """How often to save a checkpoint: by steps or by time."""

    steps: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = Field(
        None, description="Optimizer steps between checkpoints.", examples=[500]
    )
    seconds: Annotated[int, Field(ge=1, le=604_800)] | None = Field(
        None, description="Seconds between checkpoints.", examples=[600]
    )

    rules = (
        Rule(
            "has(self.steps) != has(self.seconds)",
            "set exactly one of steps and seconds",
            lambda it: count(it, "steps", "seconds") == 1,
        ),
    )


class Checkpoint(Model):
    """Where and how often training state is saved, and what a new run starts from."""

    uri: Uri | None = Field(
        None,
        description="Folder for this job's checkpoints. Required where the block is used.",
        examples=["s3://checkpoints/team-vision/fashion/"],
    )
    every: Every = Field(
        default=Every(seconds=600),
        description="Interval; a checkpoint is also saved at each epoch's end and on SIGTERM. Default: 600 seconds.",
    )
    keep: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=3, description="Complete checkpoints kept.", examples=[3]
    )
    resume: Resume = Field(
        default="latest",
        description="Which of the job's own checkpoints a run goes on from, with all that they hold: latest (the "
        "newest complete one, this run's or that of an earlier run which didn't succeed), run (this run's newest) or "
        "never.",
        examples=["latest"],
    )
    init_from: Uri | None = Field(
        None,
        description="What the model begins with where there is no checkpoint to go on from: the URI of another job's "
        "checkpoint (its status.checkpoint.uri) or model (its status.artifact.uri). Of it the weights are taken alone: "
        "optimizer, learning rate, epochs and random numbers begin anew.",
        examples=["s3://models/team-vision/fashion/fashion/1/"],
    )
    init_strict: bool | None = Field(
        None,
        description="False takes of initFrom the weights whose names and shapes are the model's, and names the others "
        "in status.notes, as for a new head; true, the default, refuses what doesn't fit.",
    )

    rules = (
        Rule(
            "!has(self.initStrict) || has(self.initFrom)",
            "initStrict goes with initFrom; set both, or neither",
            lambda it: at(it, "initStrict") is None or at(it, "initFrom") is not None,
        ),
    )


class CaBundle(Model):
    """Certificates of authorities, in PEM: exactly one of a ConfigMap's key and a Secret's."""

    config_map_key_ref: NeededKeyRef | None = Field(None, description="A key of a ConfigMap.")
    secret_key_ref: NeededKeyRef | None = Field(None, description="A key of a Secret.")

    rules = (
        Rule(
            "has(self.configMapKeyRef) != has(self.secretKeyRef)",
            "set exactly one of configMapKeyRef and secretKeyRef",
            lambda it: count(it, "configMapKeyRef", "secretKeyRef") == 1,
        ),
    )

    @property
    def kind(self) -> Literal["ConfigMap", "Secret"]:
        """What holds them."""
        return "Secret" if self.config_map_key_ref is None else "ConfigMap"

    @property
    def reference(self) -> NeededKeyRef:
        """Which key of it."""
        if (reference := self.config_map_key_ref or self.secret_key_ref) is None:
            raise ValueError("neither is set")
        return reference


class Storage(Model):
    """Default credentials, endpoint and authorities for the URIs of a job."""

    secret_ref: LocalRef | None = Field(
        None,
        description="Secret whose keys (AWS_*, GOOGLE_*, AZURE_*) reach the pods as environment variables. "
        "Leave it out where pods have a workload identity.",
    )
    endpoint: Annotated[str, Field(max_length=1024, pattern=HTTP_PATTERN)] | None = Field(
        None,
        description="Address of an S3-compatible service; AWS_ENDPOINT_URL in the Secret does the same.",
        examples=["https://minio.example.com"],
    )
    ca_bundle: CaBundle | None = Field(
        None,
        description="Authorities whose certificates are trusted besides the public ones, for storage and for "
        "source.git: one or more certificates in PEM.",
        examples=[{"configMapKeyRef": {"name": "company-ca", "key": "ca.crt"}}],
    )


class RunPolicy(Model):
    """How a run is kept alive, limited and cleaned up."""

    suspend: Annotated[bool, MUTABLE] = Field(
        default=False,
        description="True stops the gang after a checkpoint; false resumes from it.",
    )
    restart_nonce: Annotated[str, Field(max_length=253), MUTABLE] = Field(
        default="", description="A new value starts a new run of a finished job. Default: empty."
    )
    max_restarts: Annotated[int, Field(ge=0, le=10_000), MUTABLE] = Field(
        default=3,
        description="Gang restarts charged to the user's code (errors and hangs). Full again after an attempt that "
        "ran for an hour and got further than any before.",
    )
    max_disruptions: Annotated[int, Field(ge=0, le=100_000), MUTABLE] = Field(
        default=50,
        description="Gang restarts charged to the infrastructure (preemption, lost node). Full again after an "
        "attempt that ran for an hour and got further than any before, or doesn't say how far it got.",
    )
    restart_backoff_seconds: Annotated[int, Field(ge=0, le=600)] = Field(
        default=10,
        description="The first failure in a row restarts at once; the second waits so many seconds, which double with "
        "each, up to 600, and fall back after an attempt that ran for 600 s. A disruption after which training has got "
        "further restarts at once.",
    )
    active_deadline_seconds: Annotated[Limit | None, MUTABLE] = Field(
        None,
        description="Most seconds of running time, summed over attempts; queued time doesn't count. Default: no limit.",
    )
    budget: Annotated[Budget | None, MUTABLE] = Field(
        None,
        description="The most that the run may hold of accelerators, in hours or in money. At 80 % an event warns; at "
        "100 % the gang is stopped after a checkpoint, and goes on from it once the budget is raised. Default: no "
        "limit.",
        examples=[{"acceleratorHours": 500}],
    )
    queue_deadline_seconds: Limit | None = Field(
        None, description="Longest wait in seconds for all pods to be scheduled. Default: no limit."
    )
    scheduling_timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] = Field(
        default=300,
        description="Seconds after which a half-scheduled gang is released and tried again later. A run whose pods "
        "have never run fails when an image, a Secret or whatever else they need to start has been missing for so "
        "long; the nodes are given back meanwhile.",
    )
    hang_timeout_seconds: Annotated[int, Field(ge=1, le=604_800)] = Field(
        default=1800,
        description="A running gang that finishes no step for so many seconds is hung.",
    )
    termination_grace_period_seconds: Annotated[int, Field(ge=1, le=86_400)] = Field(
        default=120, description="Seconds a pod gets to save a checkpoint when it is stopped."
    )
    ttl_seconds_after_finished: Annotated[Seconds | None, MUTABLE] = Field(
        None,
        description="Seconds after which a finished job is deleted, with its pods, Service and ConfigMap; what is in "
        "object storage stays. Default: never.",
    )
    ttl_keeps_job: Annotated[bool, MUTABLE] = Field(
        default=False,
        description="True keeps the TrainingJob itself as the record when ttlSecondsAfterFinished is over; false "
        "deletes it too.",
    )
    clean_pods: Literal["onSuccess", "always", "never"] = Field(
        default="never",
        description="Which finished runs lose their pods, and so their logs, at once; others when the job goes.",
    )


def _queue_fits(it: Mapping[str, Any]) -> bool:
    return not at(it, "queueName") or at(it, "gang") in (None, "auto", "kueue", "volcano")


class Scheduling(Model):
    """How the gang is placed."""

    # Null, and not its default, where it isn't set: a trainer's image of 0.1.0 refuses a job.json with a field that it
    # doesn't know.
    gang: Literal["auto", "none", "kueue", "coscheduling", "volcano", "native"] | None = Field(
        None,
        description="Who starts the gang whole or not at all; the job waits where the cluster hasn't got it. native: "
        "Kubernetes' own PodGroups. none: each pod by itself; a half scheduled gang gives its nodes back. auto, the "
        "default: kueue where queueName is set, else what podTemplate.schedulerName reads, if it is served.",
        examples=["kueue"],
    )
    queue_name: Annotated[str, Field(max_length=63, pattern=QUEUE_PATTERN)] | None = Field(
        None,
        description="LocalQueue of Kueue or, with gang: volcano, Queue of Volcano. Default: none.",
        examples=["team-vision"],
    )
    priority_class_name: Annotated[str, Field(max_length=253), MUTABLE] = Field(
        default="", description="PriorityClass of the pods; applies from the next attempt on. Default: none."
    )
    topology_key: Annotated[str, Field(max_length=317)] = Field(
        default="",
        description="Node label; all nodes of the gang are preferred in one of its values.",
        examples=["topology.kubernetes.io/zone"],
    )

    rules = (
        Rule(
            "!has(self.queueName) || self.queueName == '' || !has(self.gang) || "
            "self.gang in ['auto', 'kueue', 'volcano']",
            "queueName goes with gang: auto, kueue or volcano, since the others have no queues; leave one of the two "
            "out",
            _queue_fits,
            "queueName",
        ),
    )
