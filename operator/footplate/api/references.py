"""References to other objects of the job's namespace, and the environment variables made of them."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from footplate.api.types import DnsSubdomain, EnvName, Model, Rule


class LocalRef(Model):
    """Names an object in the job's own namespace."""

    name: DnsSubdomain = Field(description="Name of the object, in the job's own namespace.", examples=["s3"])


class KeyRef(Model):
    """Selects one key of a Secret or ConfigMap in the job's own namespace."""

    name: DnsSubdomain = Field(description="Name of the Secret or ConfigMap.", examples=["s3"])
    key: Annotated[str, Field(min_length=1, max_length=253)] = Field(description="Key inside it.", examples=["token"])
    optional: bool | None = Field(None, description="True lets the pod start without it. Default: false.")


class FieldRef(Model):
    """Selects a field of the pod, as Kubernetes' downward API does."""

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
        ),
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(ref is not None for ref in (self.secret_key_ref, self.config_map_key_ref, self.field_ref)) != 1:
            raise self.rules[0].broken()
        return self


class EnvVar(Model):
    """One environment variable of the trainer's container."""

    name: EnvName = Field(description="Name of the variable.", examples=["NCCL_DEBUG"])
    value: Annotated[str, Field(max_length=32_768)] | None = Field(None, description="Literal value.")
    value_from: EnvVarSource | None = Field(None, description="Source of the value; not together with value.")

    rules = (
        Rule("!(has(self.value) && has(self.valueFrom))", "set value or valueFrom, not both"),
        Rule(
            "!self.name.startsWith('FOOTPLATE_')",
            "names that begin with FOOTPLATE_ are set by the operator; choose another name",
        ),
    )

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        if self.value is not None and self.value_from is not None:
            raise self.rules[0].broken()
        if self.name.startswith("FOOTPLATE_"):
            raise self.rules[1].broken()
        return self


class EnvFromSource(Model):
    """All keys of a Secret or ConfigMap as environment variables."""

    prefix: Annotated[str, Field(max_length=256)] | None = Field(None, description="Put before every name.")
    secret_ref: LocalRef | None = Field(None, description="The Secret.")
    config_map_ref: LocalRef | None = Field(None, description="The ConfigMap.")

    rules = (Rule("has(self.secretRef) != has(self.configMapRef)", "set exactly one of secretRef and configMapRef"),)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.secret_ref is None) == (self.config_map_ref is None):
            raise self.rules[0].broken()
        return self
