"""Jobs for a cluster with nodes, and what tests look at while they run."""

from collections.abc import Mapping
from typing import Any

import yaml

from e2e.cluster import CHOSEN, PROGRAMS, TRAINER_IMAGE
from e2e.steps import EXAMPLES
from realcluster.chart import NAMESPACE
from realcluster.user import Object, User

SMALL = {"requests": {"cpu": "100m", "memory": "128Mi"}}
HERE = {CHOSEN: "yes"}
GRACE_SECONDS = 30


def example(name: str) -> Object:
    """A job of examples/, with the image under test, for nodes of two cores."""
    job: Object = yaml.safe_load((EXAMPLES / name / "job.yaml").read_text())
    job["spec"]["trainer"]["image"] = TRAINER_IMAGE
    job["spec"]["resources"]["requests"] = dict(SMALL["requests"])
    return job


def code(user: User, name: str, text: str) -> None:
    """A ConfigMap with train.py."""
    user.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"train.py": text}})


def job(name: str, trainer: Mapping[str, Any], **spec: Any) -> Object:
    """A TrainingJob on one of the chosen nodes, or on more of them."""
    policy = {"terminationGracePeriodSeconds": GRACE_SECONDS, **spec.pop("runPolicy", {})}
    template = {"nodeSelector": HERE, **spec.pop("podTemplate", {})}
    return {
        "apiVersion": "footplate.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {
            "trainer": {"image": TRAINER_IMAGE, **trainer},
            "resources": SMALL,
            "runPolicy": policy,
            "podTemplate": template,
            **spec,
        },
    }


def script(
    user: User, name: str, text: str, *, hyperparameters: Mapping[str, Any] | None = None, **spec: Any
) -> Object:
    """A job that runs this text."""
    code(user, name, text)
    trainer = {"entrypoint": "train.py", "source": {"configMap": {"name": name}}}
    return job(name, {**trainer, "hyperparameters": dict(hyperparameters or {})}, **spec)


def paced(user: User, name: str, *, steps: int, every: int = 10, **spec: Any) -> Object:
    """A job of so many steps, five a second, with checkpoints."""
    pace = {"steps": steps, "stepSeconds": 0.2}
    checkpoint = {"uri": f"s3://checkpoints/{name}/", "every": {"steps": every}}
    storage = {"secretRef": {"name": "s3"}}
    text = (PROGRAMS / "paced.py").read_text()
    return script(user, name, text, hyperparameters=pace, checkpoint=checkpoint, storage=storage, **spec)


def apart(name: str) -> Object:
    """podTemplate: no two pods of this job on one node."""
    term = {"labelSelector": {"matchLabels": {"footplate.dev/job": name}}, "topologyKey": "kubernetes.io/hostname"}
    anti = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    return {"affinity": {"podAntiAffinity": anti}}


def pod(user: User, name: str) -> Object:
    return user.get("pod", name)


def status(user: User, name: str) -> Object:
    return dict(user.get("tj", name).get("status") or {})


def wait_for_checkpoint(user: User, name: str) -> Object:
    """The status once a checkpoint is known."""
    return user.until(lambda: status(user, name), lambda seen: seen.get("checkpoint"), seconds=120)


def events(user: User, name: str, *, chosen: str = "") -> str:
    """Reasons and messages of the job's events."""
    about = f"{chosen}involvedObject.kind=TrainingJob,involvedObject.name={name}"
    return user.kubectl("get", "events", "--field-selector", about, "-o", "custom-columns=R:.reason,M:.message").stdout


def warnings(user: User, name: str) -> str:
    """Of these, the Warnings."""
    return events(user, name, chosen="type=Warning,")


def uids_of_operators(user: User) -> list[str]:
    """UIDs of the operator's pods."""
    found = user.cluster.kubectl("get", "pods", "-n", NAMESPACE, "-o", "jsonpath={.items[*].metadata.uid}")
    return sorted(found.stdout.split())
