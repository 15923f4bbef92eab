"""References to other objects of the job's namespace, and the environment variables made of them."""

from typing import Annotated

from pydantic import Field

from footplate.api.types import DnsSubdomain, EnvName, Model, Rule, count

RESERVED_ENV = (
    "POD_IP", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK", "GROUP_RANK", "MASTER_ADDR",
    "MASTER_PORT", "PET_NNODES", "PET_NPROC_PER_NODE", "PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT",
    "PET_MAX_RESTARTS",
)  # fmt: skip
"""What the operator or the supervisor sets beside FOOTPLATE_*, where it does: a user's own can't override it."""


class LocalRef(Model):
    """Names an object in the job's own namespace."""

    atomic = True

    name: DnsSubdomain = Field(description="Name of the object, in the job's own namespace.", examples=["s3"])


class NeededKeyRef(Model):
    """Selects one key of a Secret or ConfigMap in the job's own namespace, which must be there."""

    atomic = True

    name: DnsSubdomain = Field(description="Name of the Secret or ConfigMap.", examples=["s3"])
    key: Annotated[str, Field(min_length=1, max_length=253)] = Field(description="Key inside it.", examples=["token"])


class KeyRef(NeededKeyRef):
    """Selects one key of a Secret or ConfigMap in the job's own namespace."""

    optional: bool | None = Field(None, description="True lets the pod start without it. Default: false.")


class FieldRef(Model):
    """Selects a field of the pod, as Kubernetes' downward API does."""

    atomic = True

    field_path: Annotated[str, Field(min_length=1, max_length=253)] = Field(
        description="Path of the field.", examples=["metadata.name"]
    )


class EnvVarSource(Model):
    """Where an environment variable's value comes from: exactly one of the three."""

    secret_key_ref: KeyRef | None = Field(None, description="A key of a Secret.")
    config_map_key_ref: KeyRef | None = Field(None, description="A key of a ConfigMap.")
    field_ref: FieldRef | None = Field(None, description="A field of the pod.")

    rules = (
        Rule(
            "[has(self.secretKeyRef), has(self.configMapKeyRef), has(self.fieldRef)].exists_one(x, x)",
            "set exactly one of secretKeyRef, configMapKeyRef and fieldRef",
            lambda it: count(it, "secretKeyRef", "configMapKeyRef", "fieldRef") == 1,
        ),
    )


class EnvVar(Model):
    """One environment variable of the trainer's container."""

    name: EnvName = Field(description="Name of the variable.", examples=["NCCL_DEBUG"])
    value: Annotated[str, Field(max_length=32_768)] | None = Field(None, description="Literal value.")
    value_from: EnvVarSource | None = Field(None, description="Source of the value; not together with value.")

    rules = (
        Rule(
            "!(has(self.value) && has(self.valueFrom))",
            "set value or valueFrom, not both",
            lambda it: count(it, "value", "valueFrom") <= 1,
        ),
        Rule(
            f"!self.name.startsWith('FOOTPLATE_') && !(self.name in {list(RESERVED_ENV)})",
            f"FOOTPLATE_*, {', '.join(RESERVED_ENV)} are set by the operator; choose another name",
            lambda it: not it["name"].startswith("FOOTPLATE_") and it["name"] not in RESERVED_ENV,
            "name",
        ),
    )


class EnvFromSource(Model):
    """All keys of a Secret or ConfigMap as environment variables."""

    prefix: EnvName | None = Field(None, description="Put before every name.")
    secret_ref: LocalRef | None = Field(None, description="The Secret.")
    config_map_ref: LocalRef | None = Field(None, description="The ConfigMap.")

    rules = (
        Rule(
            "has(self.secretRef) != has(self.configMapRef)",
            "set exactly one of secretRef and configMapRef",
            lambda it: count(it, "secretRef", "configMapRef") == 1,
        ),
    )
