"""Keras 3's usual example: a convolutional network reads handwritten digits. It computes with torch here.

`python train.py --data FOLDER` runs it on a laptop, with the FOLDER that make_data.py has made, or that holds Keras'
own mnist.npz.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np

from footplate_trainer.integrations.keras import FootplateCallback


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("FOOTPLATE_INPUT_DIR", "."), "train"))
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()

    keras.utils.set_random_seed(0)
    with np.load(options.data / "mnist.npz") as mnist:
        x_train, x_test = (mnist[part].astype("float32")[..., None] / 255 for part in ("x_train", "x_test"))
        y_train, y_test = mnist["y_train"].astype("int64"), mnist["y_test"].astype("int64")

    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(
        x_train,
        y_train,
        batch_size=64,
        epochs=options.epochs,
        validation_split=0.1,
        verbose=2,
        callbacks=[FootplateCallback()],
    )
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"test loss {loss:.4f}, test accuracy {accuracy:.4f}", flush=True)
    predicted = model.predict(x_test[:10], verbose=0).argmax(axis=1)
    print(f"the first ten are read as {predicted.tolist()}, and are {y_test[:10].tolist()}", flush=True)
    folder = Path(os.environ.get("FOOTPLATE_OUTPUT_DIR", "output"))
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "digits.keras")


if __name__ == "__main__":
    main()
