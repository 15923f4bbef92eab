"""Jobs whose mistake shows only when they run, and what their users must be told: one table.

Each has one node, and ends, or stalls, within a minute. All but the bare commands have an output, below
`s3://models/<name>/`: nothing there may look like a model afterwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from checkpoints import make_checkpoint

Json = dict[str, Any]

IMAGE = "registry.example.com/footplate/trainer:0.1.0"
CODE = "bad-code"
"""ConfigMap with `SCRIPTS`."""
FENCED = "fenced"
"""ClusterTrainingRuntime whose policy lets a namespace write to its own prefix alone."""
FORGED = "forged-key"
"""Secret like `s3`, but with another secret key."""
SOUND = make_checkpoint(8, {"model": {"weight": torch.zeros(2, 3), "scale": torch.ones(1)}})
"""A checkpoint of a model that none of the `SCRIPTS` has."""


def spoil(name: str, content: bytes) -> bytes:
    """The sound checkpoint's weights with a flipped bit."""
    return content if name == "manifest.json" else content[:-1] + bytes([content[-1] ^ 1])


DATA = {
    "digits/a.txt": b"hello",
    **{f"sound/step-00000008/{name}": content for name, content in SOUND.items()},
    **{f"half/step-00000008/{name}": content for name, content in SOUND.items() if name != "manifest.json"},
    **{f"corrupt/step-00000008/{name}": spoil(name, content) for name, content in SOUND.items()},
    "garbage/step-00000008/manifest.json": b"<html>not found</html>",
}
"""Objects in the bucket `datasets`."""

SCRIPTS = {
    "broken.py": "import os\n\nraise RuntimeError('no licence for the solver')\n",
    "idle.py": "print('nothing to do')\n",
    "diverges.py": """\
import torch
from torch.utils.data import TensorDataset
from footplate_trainer import Trainer, data

network = torch.nn.Linear(4, 1)
trainer = Trainer(network, torch.nn.functional.mse_loss, torch.optim.SGD(network.parameters(), lr=1e30))
trainer.fit(data.loader(TensorDataset(torch.randn(64, 4), torch.randn(64, 1)), batch_size=8))
""",
    "restores.py": """\
import torch
from footplate_trainer import checkpoint

checkpoint.restore(model=torch.nn.Linear(4, 2))
""",
    "fills_disk.py": """\
from footplate_trainer import context

folder = context().output_dir
(folder / "part-1.bin").write_bytes(b"half a model")
(folder / "part-2.bin").symlink_to("/dev/full")
(folder / "part-2.bin").write_bytes(b"the other half")
""",
}
NOISE = "head -c 1000000 /dev/zero | tr '\\0' '\\033' >$FOOTPLATE_TERMINATION_LOG; exit 3"
GLUTTON = "x = bytearray(b'x' * 200_000_000); import time; time.sleep(300)"
PATIENCE = 5
"""Seconds for which an image or a Secret is waited for."""

NO_RESTART = "(runPolicy.maxRestarts is 0: no restart)"


WAITED = f"(waited for {PATIENCE} s, runPolicy.schedulingTimeoutSeconds)"


@dataclass(frozen=True, slots=True)
class BadJob:
    """A job, and what its status says in the end."""

    name: str
    spec: Mapping[str, Any]
    reason: str
    says: tuple[str, ...]
    """Parts of the message: the field, its value, the rule, the way out."""
    class_: str | None = "Permanent"
    """Who is to blame; None where no pod failed."""
    phase: str = "Failed"

    @property
    def manifest(self) -> Json:
        """The TrainingJob."""
        output = {} if "command" in self.spec["trainer"] else {"output": {"uri": f"s3://models/{self.name}/"}}
        return training_job(self.name, {**output, **self.spec})


def training_job(name: str, spec: Mapping[str, Any]) -> Json:
    """A TrainingJob."""
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "footplate.dev/v1alpha1", "kind": "TrainingJob", "metadata": metadata, "spec": dict(spec)}


def job(trainer: Mapping[str, Any] | None = None, **changes: Any) -> Json:
    """A spec of this trainer, else of a recipe, with these fields."""
    spec = {
        "trainer": {"image": IMAGE, **(trainer or {"recipe": "image-classification"})},
        "storage": {"secretRef": {"name": "s3"}},
        "runPolicy": {"maxRestarts": 0, "schedulingTimeoutSeconds": PATIENCE},
    }
    return spec | changes


def recipe(name: str = "image-classification", **hyperparameters: Any) -> Json:
    """A spec of a recipe with these hyperparameters."""
    return job({"recipe": name, "hyperparameters": hyperparameters})


def script(name: str, **changes: Any) -> Json:
    """A spec that runs one of `SCRIPTS`."""
    return job({"entrypoint": name, "source": {"configMap": {"name": CODE}}}, **changes)


def reads(uri: str, *, secret: str = "s3", **channel: Any) -> Json:
    """A spec with one input."""
    return job(inputs=[{"name": "train", "uri": uri, **channel}], storage={"secretRef": {"name": secret}})


def begins(folder: str) -> Json:
    """A spec that begins with the weights of a checkpoint."""
    init_from = f"s3://datasets/{folder}/step-00000008/"
    return script("restores.py", checkpoint={"uri": "s3://checkpoints/", "initFrom": init_from})


def on_runtime(name: str, *command: str, output: str) -> Json:
    """A spec that leaves image, storage and all else to a ClusterTrainingRuntime."""
    return {"runtimeRef": {"name": name}, "trainer": {"command": command}, "output": {"uri": output}}


BAD_JOBS = (
    BadJob("another-namespace", on_runtime(FENCED, "true", output="s3://models/another-team/"), "RuntimeRefuses",
           (f"ClusterTrainingRuntime {FENCED}: ",
            'spec.output.uri = "s3://models/another-team/": lies outside the prefixes',
            "use an address below s3://models/default/"), class_=None, phase="Pending"),
    BadJob("no-secret", job(storage={"secretRef": {"name": "nowhere"}}), "ContainerConfigError",
           ("pod no-secret-1-0-0 can't start", 'secret "nowhere" not found', "create what is missing in the job's",
            "then set runPolicy.restartNonce", WAITED)),
    BadJob("no-config-map", job({"entrypoint": "train.py", "source": {"configMap": {"name": "nowhere"}}}),
           "ConfigError", ("spec.trainer.source: configMap 'nowhere' isn't in the job's namespace", "create it")),
    BadJob("no-bucket", reads("s3://no-such-bucket/digits/"), "DataError",
           ("spec.inputs[train]: s3://no-such-bucket/digits: no such bucket; create it, or correct the URI",)),
    BadJob("no-output-bucket", job(output={"uri": "s3://no-such-bucket/"}), "DataError",
           ("spec.output.uri: s3://no-such-bucket/no-output-bucket: no such bucket; create it",)),
    BadJob("no-checkpoint-bucket", script("diverges.py", checkpoint={"uri": "s3://no-such-bucket/"}), "DataError",
           ("spec.checkpoint.uri: s3://no-such-bucket/no-checkpoint-bucket/", "no such bucket; create it")),
    BadJob("init-missing", begins("nowhere"), "DataError",
           ("spec.checkpoint.initFrom=s3://datasets/nowhere/step-00000008/: there is no manifest.json",
            "take the URI from status.checkpoint.uri or status.artifact.uri of its job")),
    BadJob("init-half", begins("half"), "DataError",
           ("initFrom=s3://datasets/half/step-00000008/: there is no manifest.json, so this is neither a complete",)),
    BadJob("init-corrupt", begins("corrupt"), "DataError",
           ("spec.checkpoint.initFrom=s3://datasets/corrupt/step-00000008/: it is damaged: model-00000-",
            "name another one")),
    BadJob("init-garbage", begins("garbage"), "DataError",
           ("spec.checkpoint.initFrom=s3://datasets/garbage/step-00000008/: it is damaged",
            "is no checkpoint manifest")),
    BadJob("init-other-model", begins("sound"), "ConfigError",
           ("initFrom=s3://datasets/sound/step-00000008/: the model doesn't fit: missing from the checkpoint: bias",
            "unknown to the model: scale", "of another shape: weight (checkpoint (2, 3), model (2, 4))",
            "Use a model with these names and shapes; none of it fits")),
    BadJob("wrong-credentials", reads("s3://datasets/digits/", secret=FORGED), "ConfigError",
           ("spec.output.uri: s3://models/wrong-credentials/wrong-credentials: access denied",
            "check the keys in storage.secretRef's Secret")),
    BadJob("wrong-checksum", reads("s3://datasets/digits/", sha256="0" * 64), "DataError",
           ("spec.inputs[train]: s3://datasets/digits/ has SHA-256 ", f"sha256 says {'0' * 64}", "or correct sha256")),
    BadJob("no-data", reads("s3://datasets/digts/"), "DataError",
           ("spec.inputs[train]: uri s3://datasets/digts/ holds no data; put the files there, or correct the URI",)),
    BadJob("no-script", script("trian.py"), "ConfigError",
           ("spec.trainer.entrypoint=trian.py: there is no such file in the code (broken.py, ", "correct the name")),
    BadJob("no-program", job({"command": ["torchrunn", "train.py"]}), "ContainerConfigError",
           ("pod no-program-1-0-0 can't start", "torchrunn", "name a program of trainer.image in trainer.command")),
    BadJob("raises-at-import", script("broken.py"), "UserError",
           ("RuntimeError: no licence for the solver", NO_RESTART), class_="User"),
    BadJob("no-model", script("idle.py"), "ConfigError",
           ("spec.output is set, but the code ended without leaving a file in $FOOTPLATE_OUTPUT_DIR",
            "save the model there, or remove spec.output")),
    BadJob("unknown-hyperparameters", recipe(epocs=3, learning_rate=0.1), "InvalidSpec",
           ("spec.trainer.hyperparameters.epocs = 3: recipe image-classification has no such hyperparameter; did you ",
            "mean epochs?", "spec.trainer.hyperparameters.learning_rate = 0.1: ", "mean learningRate?"), class_=None),
    BadJob("wrong-hyperparameters", recipe(epochs=0, batchSize="many", learningRate=1e30), "InvalidSpec",
           ("spec.trainer.hyperparameters.epochs = 0: must be at least 1", 'batchSize = "many"',
            "learningRate = 1e+30: must be at most 10", "Leave it out for the default, 10"), class_=None),
    BadJob("nan-loss", script("diverges.py"), "UserError",
           ("the loss is ", " at step ", "The learning rate is 1e+30: try a tenth of it", NO_RESTART), class_="User"),
    BadJob("missing-image", job({"image": "registry.example.com/missing:1", "recipe": "image-classification"}),
           "ImagePullFailed", ('failed to pull image "registry.example.com/missing:1"', "push the image", WAITED)),
    BadJob("pod-name", job(), "NameConflict",
           ("Pod pod-name-1-0-0 exists already and isn't this job's; nothing of it was touched",
            "Set runPolicy.restartNonce"), class_=None),
    BadJob("noise", job({"command": ["sh", "-c", NOISE]}), "UserError",
           ("pod noise-1-0-0 ended with exit code 3; its log says more", NO_RESTART), class_="User"),
    BadJob("out-of-memory", job({"command": ["python", "-c", GLUTTON]}, resources={"limits": {"memory": "100Mi"}}),
           "OutOfMemory", ("more memory than resources.limits.memory; raise the limit, or lower", NO_RESTART),
           class_="User"),
    BadJob("full-disk", script("fills_disk.py"), "UserError",
           ("OSError: [Errno 28] No space left on device", "request more ephemeral-storage in spec.resources"),
           class_="User"),
)  # fmt: skip
