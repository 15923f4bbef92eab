"""A pod's volumes as folders: made from the API's objects before its containers start."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from footplate.devcluster.environment import ContainerConfigError, LookUp, field_value

Object = Mapping[str, Any]


async def make_volumes(pod: Object, folder: Path, *, claims: Path, look_up: LookUp) -> dict[str, Path]:
    """The folder of each volume by its name; those of persistent claims lie in `claims` and outlive the pod.

    Raises ContainerConfigError where an object is missing or the kind of volume has no likeness on a host.
    """
    volumes = {}
    for volume in pod["spec"].get("volumes") or ():
        name = volume["name"]
        volumes[name] = folder / name
        if claim := volume.get("persistentVolumeClaim"):
            volumes[name] = claims / pod["metadata"]["namespace"] / claim["claimName"]
        volumes[name].mkdir(parents=True, exist_ok=True)
        for key, content in (await _files(volume, pod, look_up)).items():
            path = volumes[name] / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return volumes


def mount_paths(container: Object, volumes: Mapping[str, Path]) -> dict[str, Path]:
    """Folder or file by mount path."""
    paths = {}
    for mount in container.get("volumeMounts") or ():
        path = volumes[mount["name"]] / (mount.get("subPath") or "")
        if not path.exists():
            path.mkdir(parents=True)
        paths[mount["mountPath"].rstrip("/")] = path
    return paths


async def _files(volume: Object, pod: Object, look_up: LookUp) -> Mapping[str, bytes]:
    """Content by path for a volume that the API fills."""
    if source := volume.get("configMap"):
        return await _data(source, "configmaps", source.get("name"), look_up)
    if source := volume.get("secret"):
        return await _data(source, "secrets", source.get("secretName"), look_up)
    if source := volume.get("downwardAPI"):
        items = source.get("items") or ()
        return {item["path"]: field_value(pod, item["fieldRef"]["fieldPath"]).encode() for item in items}
    if not {"emptyDir", "persistentVolumeClaim"} & volume.keys():
        kinds = ", ".join(volume.keys() - {"name"})
        raise ContainerConfigError(f"volume {volume['name']!r}: the devcluster has no {kinds} volumes")
    return {}


async def _data(source: Object, resource: str, name: str, look_up: LookUp) -> Mapping[str, bytes]:
    data = await look_up(resource, name)
    if data is None:
        if source.get("optional"):
            return {}
        raise ContainerConfigError(f'{resource.removesuffix("s")} "{name}" not found')
    items: Sequence[Object] | None = source.get("items")
    if items is None:
        return data
    missing = [item["key"] for item in items if item["key"] not in data]
    if missing and not source.get("optional"):
        raise ContainerConfigError(f"{resource.removesuffix('s')} references non-existent config key: {missing[0]}")
    return {item["path"]: data[item["key"]] for item in items if item["key"] in data}
