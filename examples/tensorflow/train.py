"""Reads handwritten digits with TensorFlow on any number of nodes: MultiWorkerMirroredStrategy and Keras' fit.

No import of Footplate's: TensorFlow finds the workers in TF_CONFIG, and this script its folders in the environment.
Keras is Keras 2 (the package tf_keras), since the fit of Keras 3 doesn't know MultiWorkerMirroredStrategy.
"""

import gzip
import hashlib
import json
import os
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # read when TensorFlow is imported

import numpy as np
import tensorflow as tf

BATCH_SIZE = 64  # of all workers together
EPOCHS = int(os.environ.get("EPOCHS", "10"))


def read_idx(path: Path) -> np.ndarray:
    content = gzip.decompress(path.read_bytes())
    dimensions = content[3]
    shape = np.frombuffer(content, ">u4", dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def read(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    images = read_idx(folder / f"{split}-images-idx3-ubyte.gz")[..., None] / np.float32(255)
    return images, read_idx(folder / f"{split}-labels-idx1-ubyte.gz").astype("int64")


def batches(images: np.ndarray, labels: np.ndarray) -> tf.data.Dataset:
    """The same batches on each worker, of which the strategy gives each its share."""
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    samples = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(labels), seed=0)
    return samples.batch(BATCH_SIZE, drop_remainder=True).with_options(options)


def main() -> None:
    strategy = tf.distribute.MultiWorkerMirroredStrategy()  # first of all: it starts this worker's server
    print("workers", strategy.num_replicas_in_sync, flush=True)
    data = Path(os.environ["FOOTPLATE_INPUT_DIR"], "train")
    tf.keras.utils.set_random_seed(0)
    with strategy.scope():
        model = tf.keras.Sequential(
            [
                tf.keras.Input((8, 8, 1)),
                tf.keras.layers.Conv2D(16, 3, activation="relu"),
                tf.keras.layers.Flatten(),
                tf.keras.layers.Dense(10),
            ]
        )
        model.compile(
            tf.keras.optimizers.Adam(0.003),
            tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
    # Without delete_checkpoint=False a job that is started once more when it was done would begin anew.
    backup = tf.keras.callbacks.BackupAndRestore(os.environ["FOOTPLATE_CHECKPOINT_DIR"], delete_checkpoint=False)
    history = model.fit(batches(*read(data, "train")), epochs=EPOCHS, callbacks=[backup], verbose=2)
    weights = model.get_weights()
    print("weights", hashlib.sha256(b"".join(each.tobytes() for each in weights)).hexdigest(), flush=True)

    if os.environ.get("FOOTPLATE_NODE_RANK", "0") == "0":  # the other workers' folders aren't uploaded
        images, labels = read(data, "test")
        local = tf.keras.Sequential.from_config(model.get_config())  # alone, without the strategy
        local.set_weights(weights)
        accuracy = float((local(images).numpy().argmax(axis=1) == labels).mean())
        print(f"test accuracy {accuracy:.3f}", flush=True)
        folder = Path(os.environ["FOOTPLATE_OUTPUT_DIR"])
        local.save(folder / "digits.keras")
        (folder / "history.json").write_text(json.dumps({**history.history, "testAccuracy": accuracy}))


if __name__ == "__main__":
    main()
