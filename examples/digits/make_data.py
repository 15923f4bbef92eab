"""Writes scikit-learn's digits (1,797 grey images of 8 × 8) as IDX files, as MNIST has them: 80 % train, 20 % test.

python make_data.py FOLDER
"""

import gzip
import struct
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def write_idx(path: Path, values: np.ndarray) -> None:
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 0x08, values.ndim, *values.shape)
    path.write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes(), mtime=0))


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    images = np.round(digits.images * (255 / 16))
    parts = train_test_split(images, digits.target, test_size=0.2, stratify=digits.target, random_state=0)
    train_images, test_images, train_labels, test_labels = parts
    for split, split_images, split_labels in (
        ("train", train_images, train_labels),
        ("test", test_images, test_labels),
    ):
        write_idx(folder / f"{split}-images-idx3-ubyte.gz", split_images)
        write_idx(folder / f"{split}-labels-idx1-ubyte.gz", split_labels)
        print(f"{split}: {len(split_labels)} images")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
