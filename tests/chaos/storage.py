"""What a job has in object storage, looked at past the proxy: checkpoints and the model, each verified file by file."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import obstore

from footplate.devcluster.s3 import S3Server
from footplate_trainer.checkpoint.manifest import NAME, Manifest
from footplate_trainer.model_manifest import ModelManifest


class Storage:
    """All keys are below the job's name, in the buckets `checkpoints` and `models`."""

    def __init__(self, s3: S3Server) -> None:
        self._checkpoints = s3.store("checkpoints")
        self._models = s3.store("models")
        self._damaged: dict[str, bytes] = {}

    async def result(self, job: str) -> Any:
        """What rank 0 left behind. Raises ValueError where a file of the model isn't what its manifest says."""
        folder = f"{job}/{job}/1"
        manifest = ModelManifest.model_validate_json(await _read(self._models, f"{folder}/manifest.json"))
        for file in manifest.files:
            await _check(self._models, f"{folder}/{file.name}", file.sha256)
        return json.loads(await _read(self._models, f"{folder}/result-0.json"))

    async def checkpoints(self, job: str) -> dict[int, list[str]]:
        """Keys of each complete checkpoint that isn't condemned, by step; with those whose damage nobody saw."""
        steps: dict[int, list[str]] = {}
        async for batch in obstore.list(self._checkpoints, f"{job}/"):
            for item in batch:
                folder = item["path"].split("/")[-2]
                if folder.startswith("step-"):
                    steps.setdefault(int(folder.removeprefix("step-")), []).append(item["path"])
        return {step: keys for step, keys in sorted(steps.items()) if _manifest_of(keys) and not _condemned(keys)}

    async def verify(self, keys: list[str]) -> Manifest:
        """A checkpoint's manifest. Raises ValueError where a file isn't what it says."""
        manifest_key = _manifest_of(keys)
        manifest = Manifest.from_bytes(await _read(self._checkpoints, manifest_key))
        for file in manifest.files:
            await _check(self._checkpoints, manifest_key.removesuffix(NAME) + file.name, file.sha256)
        return manifest

    async def damage(self, job: str, *, target: int, extent: float) -> bool:
        """Flips a bit of one of the files of the newest complete checkpoint; not where it is the last good one, since
        a run whose checkpoints are all damaged is never begun again unasked.
        """
        found = await self.checkpoints(job)
        if len(await self._good(found)) < 2:
            return False
        keys = found[max(found)]
        key = keys[target % len(keys)]
        content = bytearray(await _read(self._checkpoints, key))
        content[int(extent * len(content))] ^= 1
        self._damaged[key] = bytes(content)
        await obstore.put_async(self._checkpoints, key, bytes(content))
        return True

    async def as_damaged(self, keys: list[str]) -> bool:
        """True for a checkpoint that is as `damage` has left it: newer ones came, and nobody had to read it."""
        return any([await _read(self._checkpoints, key) == self._damaged[key] for key in keys if key in self._damaged])

    async def _good(self, found: Mapping[int, list[str]]) -> list[int]:
        good = []
        for step, keys in found.items():
            with suppress(ValueError, FileNotFoundError):
                await self.verify(keys)
                good.append(step)
        return good


def _manifest_of(keys: list[str]) -> str:
    return next((key for key in keys if key.endswith(f"/{NAME}")), "")


def _condemned(keys: list[str]) -> bool:
    return any("/bad-" in key for key in keys)


async def _check(store: Any, key: str, sha256: str) -> None:
    try:
        found = hashlib.sha256(await _read(store, key)).hexdigest()
    except FileNotFoundError:
        found = "gone"
    if found != sha256:
        raise ValueError(f"{key} isn't what its manifest says: {found}")


async def _read(store: Any, key: str) -> bytes:
    return bytes(await (await obstore.get_async(store, key)).bytes_async())
