"""The document that makes a folder's files a node's part of a snapshot."""

import hashlib
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from footplate.api.scalars import Time
from footplate.api.types import Model, Sha256
from footplate_trainer.errors import DataError

MAX_PATH = 4096


class Damaged(DataError):
    """A snapshot isn't what its manifest says."""


class File(Model):
    """A file, or a link to another file or folder of the same folder."""

    path: Annotated[str, Field(min_length=1, max_length=MAX_PATH)]
    """Relative to the folder."""
    size: Annotated[int, Field(ge=0)]
    mode: Annotated[int, Field(ge=0, le=0o7777)]
    modified_ns: int
    """When it was last written to, in nanoseconds since the epoch: libraries find their newest checkpoint by it."""
    sha256: Sha256 | None = None
    """Of its bytes; None for a link."""
    link: Annotated[str, Field(min_length=1, max_length=MAX_PATH)] | None = None
    """Where a link leads, relative to the folder that it lies in."""

    @model_validator(mode="after")
    def _lies_inside(self) -> Self:
        if (self.sha256 is None) == (self.link is None):
            raise ValueError(f"{self.path!r} must be either a file or a link")
        if not is_inside(self.path) or (self.link is not None and not is_inside(self.link, of=self.path)):
            raise ValueError(f"{self.path!r} leads out of the folder")
        return self


class Manifest(Model):
    """What one node's folder held, and when it was looked at."""

    format: Literal["footplate-snapshot/1"] = "footplate-snapshot/1"
    job: str
    uid: str
    run: int
    attempt: int
    node: int
    nodes: int
    time: Time
    files: Annotated[tuple[File, ...], Field(strict=False)]
    checksum: str = ""
    """SHA-256 of the rest."""

    def to_bytes(self) -> bytes:
        """The document, with its checksum."""
        return self.model_copy(update={"checksum": self._digest()}).model_dump_json(by_alias=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes, uri: str) -> "Manifest":
        """Reads a document. Raises Damaged where it isn't one, or was changed."""
        try:
            manifest = cls.model_validate_json(data)
        except ValidationError as error:
            raise Damaged(f"{uri} is no manifest of a snapshot: {error.errors()[0]['msg']}") from error
        if manifest.checksum != manifest._digest():
            raise Damaged(f"{uri}: its checksum is wrong")
        return manifest

    def _digest(self) -> str:
        return hashlib.sha256(self.model_dump_json(by_alias=True, exclude={"checksum"}).encode()).hexdigest()

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def contents(self) -> set[str]:
        """SHA-256 of all files."""
        return {file.sha256 for file in self.files if file.sha256 is not None}


def is_inside(path: str, *, of: str = "") -> bool:
    """True where a path stays within the folder; with `of`, one that begins beside that file."""
    if path.startswith("/") or "\0" in path:
        return False
    depth = of.count("/")
    for part in path.split("/"):
        depth += -1 if part == ".." else 0 if part in ("", ".") else 1
        if depth < 0 or (not of and part in ("", ".", "..")):
            return False
    return True
