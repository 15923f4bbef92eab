"""What `spec.storage` gives a pod besides variables: its authorities, and its Secret as it is now. Pure.

Where our supervisor runs, nothing of it holds a pod up: the supervisor names what is missing better than a pod that
waits. The Secret is mounted beside its variables because those stay as they were when the container began, while the
keys of a session run out in days of training.
"""

from collections.abc import Iterator

from footplate.api.blocks import Storage
from footplate.contract import CA_FILE, MountPath, StorageEnv
from footplate.objects import Object

_CA = "footplate-ca"
_SECRET = "footplate-storage-secret"  # noqa: S105 (a volume's name)


def storage_volumes(storage: Storage, *, supervised: bool) -> Iterator[Object]:
    """The volumes."""
    if (bundle := storage.ca_bundle) is not None:
        items = {"items": [{"key": bundle.reference.key, "path": CA_FILE}], "optional": supervised}
        if bundle.kind == "ConfigMap":
            yield {"name": _CA, "configMap": {"name": bundle.reference.name, **items}}
        else:
            yield {"name": _CA, "secret": {"secretName": bundle.reference.name, **items}}
    if storage.secret_ref is not None and supervised:
        yield {"name": _SECRET, "secret": {"secretName": storage.secret_ref.name, "optional": True}}


def storage_mounts(storage: Storage, *, supervised: bool) -> Iterator[Object]:
    """Where the trainer's container has them."""
    if storage.ca_bundle is not None:
        yield {"name": _CA, "mountPath": str(MountPath.CA), "readOnly": True}
    if storage.secret_ref is not None and supervised:
        yield {"name": _SECRET, "mountPath": str(MountPath.STORAGE_SECRET), "readOnly": True}


def storage_variables(storage: Storage, *, supervised: bool) -> dict[str, str]:
    """The variables that say where."""
    variables: dict[str, str] = {}
    if storage.ca_bundle is not None:
        variables[StorageEnv.CA_BUNDLE] = f"{MountPath.CA}/{CA_FILE}"
    if storage.secret_ref is not None and supervised:
        variables[StorageEnv.SECRET_DIR] = MountPath.STORAGE_SECRET
    return variables
