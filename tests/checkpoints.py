"""Builders of checkpoints as they lie in storage."""

import hashlib
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from footplate_trainer.checkpoint import codec
from footplate_trainer.checkpoint.manifest import File, Manifest


def make_manifest(step: int, *, attempt: int = 0, files: tuple[File, ...] = ()) -> Manifest:
    """The manifest of one of a job's checkpoints, of one rank."""
    return Manifest(
        job="job",
        uid="uid",
        run=1,
        attempt=attempt,
        world_size=1,
        step=step,
        epoch=0,
        time=datetime(2025, 1, 1, tzinfo=UTC),
        config_sha256="0" * 64,
        files=files,
    )


def make_file(part: str, content: bytes) -> File:
    """What a manifest says of a file of rank 0."""
    sha256 = hashlib.sha256(content).hexdigest()
    return File(name=f"{part}-00000-{sha256[:12]}.safetensors", size=len(content), sha256=sha256, part=part, rank=0)


def make_checkpoint(step: int, parts: Mapping[str, Any]) -> dict[str, bytes]:
    """A complete checkpoint of these states: its objects by name."""
    objects: dict[str, bytes] = {}
    files = []
    for part, tree in parts.items():
        with tempfile.NamedTemporaryFile() as scratch:
            codec.write(Path(scratch.name), codec.flatten(tree))
            content = Path(scratch.name).read_bytes()
        files.append(make_file(part, content))
        objects[files[-1].name] = content
    return {**objects, "manifest.json": make_manifest(step, files=tuple(files)).to_bytes()}
