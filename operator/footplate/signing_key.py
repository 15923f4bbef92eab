"""The key of `output.sign` in the pod that signs, node 0's, and in no other. Pure.

It holds the pod up no more than the storage's Secret does: the supervisor names what is missing better.
"""

from footplate.api.trainingjob import TrainingJobSpec
from footplate.contract import SIGNING_KEY, MountPath
from footplate.objects import Object

_NAME = "footplate-signing-key"
_FILE = "key.pem"


def with_signing_key(pod_spec: Object, container: Object, signs: TrainingJobSpec | None) -> tuple[Object, Object]:
    """Pod and container with the key of this spec, if it has one; None is for pods that sign nothing."""
    if signs is None or signs.output is None or signs.output.sign is None:
        return pod_spec, container
    wanted = signs.output.sign.secret_key_ref
    items = [{"key": wanted.key, "path": _FILE}]
    volume = {"name": _NAME, "secret": {"secretName": wanted.name, "items": items, "optional": True}}
    mount = {"name": _NAME, "mountPath": str(MountPath.SIGNING_KEY), "readOnly": True}
    variable = {"name": SIGNING_KEY, "value": f"{MountPath.SIGNING_KEY}/{_FILE}"}
    return (
        {**pod_spec, "volumes": [*pod_spec["volumes"], volume]},
        {
            **container,
            "volumeMounts": [*container["volumeMounts"], mount],
            "env": [*container["env"], variable],
        },
    )
