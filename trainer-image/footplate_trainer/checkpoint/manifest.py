"""The document that makes a folder of files a complete checkpoint."""

import hashlib
import json
from contextlib import suppress
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from footplate.api.reports import CheckpointStatus
from footplate.api.scalars import Time
from footplate.api.types import Model, Sha256
from footplate_trainer.checkpoint.names import MAIN
from footplate_trainer.errors import ConfigError

NAME = "manifest.json"
_FAMILY, _VERSION = "footplate-checkpoint", 1
FileName = Annotated[str, Field(pattern=r"^[^/\x00-\x1f\x7f.][^/\x00-\x1f\x7f]{0,254}$")]
"""No path: a manifest names files of its own folder, whoever wrote it. A model's have names that their users chose."""


class File(Model):
    """One file of a checkpoint, and whose state it holds."""

    name: FileName
    size: Annotated[int, Field(ge=0)]
    sha256: Sha256
    part: Annotated[str, Field(max_length=253)]
    """`model`, `optimizer`, … or `rank` for what each rank has of its own."""
    rank: Annotated[int, Field(ge=0)]
    """The rank that wrote it."""


class Manifest(Model):
    """What a checkpoint holds and where it comes from."""

    format: Literal["footplate-checkpoint/1"] = "footplate-checkpoint/1"
    job: str
    uid: str
    run: int
    attempt: int
    world_size: int
    step: int
    epoch: int
    time: Time
    config_sha256: str
    """Of the resolved job."""
    parent: str | None = None
    """URI of the checkpoint that the attempt started from."""
    productive_node_seconds: float | None = None
    """What the steps up to this one have cost: see `speed.ProductiveTime`."""
    training: str = MAIN
    together: dict[str, int] = Field(default={})
    """Steps, by name, of all trainings that were saved at this moment; empty where it was this one alone."""
    files: Annotated[tuple[File, ...], Field(strict=False)]
    checksum: str = ""
    """SHA-256 of the rest: a flipped bit in a step's number would load silently."""

    def to_bytes(self) -> bytes:
        """The document, with its checksum."""
        whole = self.model_copy(update={"checksum": self._digest()})
        return whole.model_dump_json(by_alias=True, indent=1, exclude=self._unsaid()).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Manifest":
        """Reads a document.

        Raises:
            ValueError: with the first thing that is wrong with it.
            ConfigError: a newer version of footplate has written it: it isn't damaged, and must not count as that.
        """
        _refuse_newer(data)
        try:
            manifest = cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        if manifest.checksum != manifest._digest():
            raise ValueError("its checksum is wrong")
        return manifest

    def _digest(self) -> str:
        text = self.model_dump_json(by_alias=True, exclude={"checksum", *self._unsaid()})
        return hashlib.sha256(text.encode()).hexdigest()

    def _unsaid(self) -> set[str]:
        """Fields that manifests didn't have before trainings had names, where they say nothing more than that."""
        fields = {"training": self.training == MAIN, "together": not self.together}
        return {name for name, says_nothing in fields.items() if says_nothing}

    def is_of_one_moment_with(self, other: "Manifest") -> bool:
        """True where both were saved together."""
        return (self.attempt, self.time, self.together) == (other.attempt, other.time, other.together)

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def status(self, uri: str) -> CheckpointStatus:
        """The checkpoint as the job's status shows it."""
        return CheckpointStatus(uri=uri, step=self.step, time=self.time, size_bytes=self.size_bytes)


def _refuse_newer(data: bytes) -> None:
    form: object = None
    with suppress(ValueError, AttributeError):
        form = json.loads(data).get("format")
    family, _, version = form.partition("/") if isinstance(form, str) else ("", "", "")
    if family == _FAMILY and version.isdecimal() and int(version) > _VERSION:
        raise ConfigError(
            f"a checkpoint of {form} is of a newer version of footplate than this image's, which reads {_FAMILY}/"
            f"{_VERSION}; go back to an image of that version (spec.trainer.image), or begin anew, with a new "
            "runPolicy.restartNonce and checkpoint.resume: run"
        )
