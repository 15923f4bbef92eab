"""Writes scikit-learn's digits (1,797 grey images) as the file that Keras has MNIST in: 28 × 28, 80 % train, 20 % test.

python make_data.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    large = np.pad(np.kron(digits.images * (255 / 16), np.ones((3, 3))), [(0, 0), (2, 2), (2, 2)]).astype(np.uint8)
    parts = train_test_split(large, digits.target.astype(np.uint8), test_size=0.2, random_state=0)
    x_train, x_test, y_train, y_test = parts
    np.savez_compressed(folder / "mnist.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
