"""Reads handwritten digits with JAX on any number of nodes, each with its share of every batch.

No import of Footplate's: this script finds the other processes and its folders in the environment.
"""

import gzip
import hashlib
import json
import os
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

BATCH_SIZE = 64  # of all processes together
EPOCHS = int(os.environ.get("EPOCHS", "10"))

Arrays = dict[str, jax.Array]


def read_idx(path: Path) -> np.ndarray:
    content = gzip.decompress(path.read_bytes())
    dimensions = content[3]
    shape = np.frombuffer(content, ">u4", dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def read(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    images = read_idx(folder / f"{split}-images-idx3-ubyte.gz").reshape(-1, 64) / np.float32(255)
    return images, read_idx(folder / f"{split}-labels-idx1-ubyte.gz").astype("int32")


def first_weights() -> Arrays:
    one, two = jax.random.split(jax.random.key(0))
    return {
        "w1": jax.random.normal(one, (64, 128)) / 8,
        "b1": jnp.zeros(128),
        "w2": jax.random.normal(two, (128, 10)) / 11,
        "b2": jnp.zeros(10),
    }


def logits(weights: Arrays, images: jax.Array) -> jax.Array:
    return jax.nn.relu(images @ weights["w1"] + weights["b1"]) @ weights["w2"] + weights["b2"]


def mean_loss(weights: Arrays, images: jax.Array, labels: jax.Array) -> jax.Array:
    """Of this process's samples, then of all processes': the gradient of a mean over all is one of all."""
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits(weights, images)), labels[:, None], axis=1)
    return jax.lax.psum(-chosen.sum(), "batch") / BATCH_SIZE


def main() -> None:
    jax.distributed.initialize(
        num_processes=int(os.environ["JAX_NUM_PROCESSES"]),
        process_id=int(os.environ["JAX_PROCESS_ID"]),
        cluster_detection_method="deactivate",
    )
    print(f"process {jax.process_index()} of {jax.process_count()}", flush=True)
    mesh = jax.make_mesh((jax.device_count(),), ("batch",))
    shared = NamedSharding(mesh, P("batch"))

    @jax.jit
    @partial(jax.shard_map, mesh=mesh, in_specs=(P(), P("batch"), P("batch")), out_specs=(P(), P()))
    def train(weights: Arrays, images: jax.Array, labels: jax.Array) -> tuple[Arrays, jax.Array]:
        loss, gradients = jax.value_and_grad(mean_loss)(weights, images, labels)
        return jax.tree.map(lambda weight, gradient: weight - 0.1 * gradient, weights, gradients), loss

    data = Path(os.environ["FOOTPLATE_INPUT_DIR"], "train")
    images, labels = read(data, "train")
    saved = Path(os.environ["FOOTPLATE_CHECKPOINT_DIR"], "weights.npz")
    weights, losses = first_weights(), []
    if saved.exists():  # process 0 has written it, and each node finds it again
        with np.load(saved) as file:
            losses = list(file["losses"])
            weights = {name: jnp.asarray(file[name]) for name in weights}
        print(f"goes on after epoch {len(losses)}", flush=True)

    share = BATCH_SIZE // jax.process_count()
    mine = slice(jax.process_index() * share, (jax.process_index() + 1) * share)
    for epoch in range(len(losses) + 1, EPOCHS + 1):
        order = np.random.default_rng(epoch).permutation(len(labels))  # the same in all processes
        of_epoch = []
        for start in range(0, len(order) - BATCH_SIZE + 1, BATCH_SIZE):
            chosen = order[start : start + BATCH_SIZE][mine]
            batch = [jax.make_array_from_process_local_data(shared, part[chosen]) for part in (images, labels)]
            weights, loss = train(weights, *batch)
            of_epoch.append(loss)
        losses.append(float(np.mean(of_epoch)))
        print(f"epoch {epoch}/{EPOCHS} loss={losses[-1]:.4f}", flush=True)
        if jax.process_index() == 0:
            saved.parent.mkdir(parents=True, exist_ok=True)
            part = saved.with_name("part.npz")
            np.savez(part, losses=losses, **{name: np.asarray(weight) for name, weight in weights.items()})
            part.rename(saved)

    host = {name: np.asarray(weight) for name, weight in weights.items()}
    print("weights", hashlib.sha256(b"".join(each.tobytes() for each in host.values())).hexdigest(), flush=True)
    if jax.process_index() == 0:
        images, labels = read(data, "test")
        accuracy = float((np.asarray(logits(host, images)).argmax(axis=1) == labels).mean())
        print(f"test accuracy {accuracy:.3f}", flush=True)
        folder = Path(os.environ["FOOTPLATE_OUTPUT_DIR"])
        np.savez(folder / "digits.npz", **host)
        (folder / "history.json").write_text(json.dumps({"loss": losses, "testAccuracy": accuracy}))


if __name__ == "__main__":
    main()
