"""Models in folders, as storage has them: real `Artifact`s, for tests of who reads them."""

import hashlib
import json
from pathlib import Path
from typing import Any

from footplate.api.reports import ArtifactStatus
from footplate.client.artifacts import Artifact
from footplate_trainer.storage.store import Store

FILES = {"model.json": b"{}", "weights/model.bin": bytes(9 * 2**20), "empty": b""}


def stored(folder: Path, files: dict[str, bytes] = FILES, **changes: Any) -> Artifact:
    """A model in a folder as storage has it; `changes` to what its manifest says of a file."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    said = [
        {"name": name, "sizeBytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
    ]
    return with_manifest(folder, [*said, *changes.get("more", ())])


def with_manifest(folder: Path, files: list[dict[str, Any]]) -> Artifact:
    manifest = {
        "apiVersion": "footplate.dev/v1alpha1", "kind": "ModelManifest", "job": "digits", "namespace": "team",
        "uid": "1", "run": 1, "attempt": 0, "created": "2026-01-01T12:00:00Z", "files": files, "metrics": {},
        "hyperparameters": {}, "inputs": {}, "code": {"run": "train.py"}, "packages": {},
        "hardware": {"nodes": 1, "processesPerNode": 1, "machine": "x", "cpu": "", "cpus": 1, "memoryBytes": 1,
                     "accelerators": {}},
    }  # fmt: skip
    raw = json.dumps(manifest).encode()
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_bytes(raw)
    uri = f"file://{folder}"
    status = ArtifactStatus(
        uri=f"{uri}/", manifest=f"{uri}/manifest.json", sha256=hashlib.sha256(raw).hexdigest(), size_bytes=0
    )
    return Artifact(status, Store.open)
