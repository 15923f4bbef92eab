"""What the image recipe reads, and what it says of data that are wrong."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from footplate_trainer.data.images import Images, ImageSplits, read_splits
from footplate_trainer.data.pictures import read_picture
from footplate_trainer.data.splits import check_channels, hold_out
from footplate_trainer.errors import ConfigError, DataError
from footplate_trainer.recipes.image_classification import AugmentedImages, shift
from footplate_trainer.recipes.image_statistics import mean_and_std


def idx(values: np.ndarray, *, magic: bytes | None = None) -> bytes:
    magic = magic or bytes([0, 0, 8, values.ndim])
    return magic + struct.pack(f">{values.ndim}I", *values.shape) + values.astype(np.uint8).tobytes()


def write_pair(folder: Path, *, split: str = "train", count: int = 40, classes: int = 4, side: int = 8) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    labels = np.arange(count) % classes
    images = np.random.default_rng(count).integers(0, 256, (count, side, side))
    (folder / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
    (folder / f"{split}-labels-idx1-ubyte").write_bytes(idx(labels))


def write_pictures(
    folder: Path, *, classes: tuple[str, ...] = ("cat", "dog"), count: int = 4, mode: str = "RGB"
) -> None:
    for shade, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.new(mode, (12, 10), shade * 100).save(folder / name / f"{number}.{'png' if number % 2 else 'JPG'}")


def read(
    *,
    class_names: list[str] | None = None,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    note: Callable[[str], None] = lambda text: None,
    **inputs: Path,
) -> ImageSplits:
    return read_splits(
        inputs,
        image_size=16,
        class_names=class_names,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        seed=0,
        note=note,
    )


def sizes(splits: ImageSplits) -> tuple[int, int, int]:
    train, validation, test = (0 if part is None else len(part) for part in splits)
    return train, validation, test


def test_idx_splits_are_told_apart_by_their_names(tmp_path: Path) -> None:
    write_pair(tmp_path, split="train", count=40)
    write_pair(tmp_path, split="t10k", count=12)
    splits = read(train=tmp_path)
    assert sizes(splits) == (36, 4, 12)
    assert splits.train.pixels.shape == (36, 1, 8, 8)
    assert splits.train.pixels.dtype == torch.uint8
    assert splits.train.classes == ("0", "1", "2", "3")


def test_labels_that_occur_are_the_classes(tmp_path: Path) -> None:
    for name, labels in (("train", [5, 200] * 4), ("t10k", [200, 200])):
        (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(idx(np.zeros((len(labels), 8, 8))))
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(idx(np.array(labels)))
    splits = read(train=tmp_path, validation_fraction=0)
    assert splits.train.classes == ("5", "200")
    assert splits.train.labels.tolist() == [0, 1] * 4
    assert splits.test is not None
    assert splits.test.labels.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("count", "fraction", "missing"),
    [(40, 0.1, ["test", "validation"]), (40, 0.0, []), (200, 0.1, [])],
    ids=["too few", "not asked for", "enough"],
)
def test_what_could_not_be_held_out_is_said(count: int, fraction: float, missing: list[str], tmp_path: Path) -> None:
    write_pair(tmp_path, count=count, classes=10)
    notes: list[str] = []
    read(train=tmp_path, validation_fraction=fraction, test_fraction=fraction, note=notes.append)
    assert [text.split()[1] for text in notes] == missing
    assert all(f"raise {split}Fraction" in text for split, text in zip(missing, notes, strict=True))


def test_channels_bring_their_own_splits(tmp_path: Path) -> None:
    write_pair(tmp_path / "a", count=40)
    write_pair(tmp_path / "b", split="t10k", count=8)
    write_pair(tmp_path / "c", split="anything", count=20)
    assert sizes(read(train=tmp_path / "a", validation=tmp_path / "b", test=tmp_path / "c")) == (40, 8, 20)


def test_pictures_are_resized_and_coloured_only_where_one_is(tmp_path: Path) -> None:
    write_pictures(tmp_path / "grey", mode="L")
    grey = read(train=tmp_path / "grey", test_fraction=0, validation_fraction=0)
    assert grey.train.pixels.shape == (8, 1, 16, 16)
    assert grey.train.classes == ("cat", "dog")
    write_pictures(tmp_path / "mixed", mode="L")
    write_pictures(tmp_path / "mixed", classes=("emu",), mode="RGB")
    assert read(train=tmp_path / "mixed").train.pixels.shape[1] == 3


def test_picture_folders_may_hold_their_splits(tmp_path: Path) -> None:
    write_pictures(tmp_path / "train")
    write_pictures(tmp_path / "test", mode="L", count=2)
    splits = read(train=tmp_path, validation_fraction=0)
    assert sizes(splits) == (8, 0, 4)
    assert splits.test is not None
    assert splits.test.pixels.shape[1] == 3


def test_classes_are_matched_by_name_and_can_be_renamed(tmp_path: Path) -> None:
    write_pictures(tmp_path / "a", classes=("ant", "bee", "cow"))
    write_pictures(tmp_path / "b", classes=("bee", "cow"))
    splits = read(train=tmp_path / "a", test=tmp_path / "b", class_names=["x", "y", "z"])
    assert splits.test is not None
    assert splits.test.labels.tolist() == [1] * 4 + [2] * 4
    assert splits.test.classes == ("x", "y", "z")


def deep(path: Path) -> None:
    Image.fromarray(np.array([[0, 128 * 257], [255 * 257, 3 * 257]], np.uint16)).save(path)


def transparent(path: Path, *, mode: str = "RGBA") -> None:
    picture = Image.new(mode, (2, 2))
    picture.putpixel((0, 0), (0, 255) if mode == "LA" else (0, 0, 0, 255))
    picture.save(path)


def transparent_palette(path: Path) -> None:
    picture = Image.new("P", (2, 2), 1)
    picture.putpalette([0, 0, 0, 9, 9, 9])
    picture.putpixel((0, 0), 0)
    picture.save(path, transparency=1)


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.array([[1, 2], [3, 4]], np.uint8)).save(path, exif=exif)


def grey(path: Path) -> None:
    Image.fromarray(np.array([[1, 2], [3, 4]], np.uint8)).save(
        path, **({"lossless": True} if path.suffix == ".webp" else {})
    )


PICTURES: dict[str, tuple[str, Callable[[Path], None], list[list[int]]]] = {
    "16 bits, PNG": ("a.png", deep, [[0, 128], [255, 3]]),
    "16 bits, TIFF": ("a.tif", deep, [[0, 128], [255, 3]]),
    "transparent": ("a.png", transparent, [[0, 255], [255, 255]]),
    "transparent, grey": ("a.png", lambda path: transparent(path, mode="LA"), [[0, 255], [255, 255]]),
    "transparent, palette": ("a.png", transparent_palette, [[0, 255], [255, 255]]),
    "EXIF": ("a.png", turned, [[3, 1], [4, 2]]),
    "WebP": ("a.webp", grey, [[1, 2], [3, 4]]),
    "BMP": ("a.bmp", grey, [[1, 2], [3, 4]]),
    "TIFF": ("a.TIFF", grey, [[1, 2], [3, 4]]),
}


@pytest.mark.parametrize("case", PICTURES)
def test_pictures_are_read_as_viewers_show_them(case: str, tmp_path: Path) -> None:
    name, write, expected = PICTURES[case]
    write(tmp_path / name)
    assert read_picture(tmp_path / name, (2, 2))[0].tolist() == expected


@pytest.mark.parametrize("suffix", ["webp", "bmp", "tif", "TIFF"])
def test_no_kind_of_picture_is_dropped(suffix: str, tmp_path: Path) -> None:
    write_pictures(tmp_path)
    Image.new("RGB", (9, 9)).save(tmp_path / "cat" / f"9.{suffix}")
    assert sum(sizes(read(train=tmp_path))) == 9


def test_files_that_are_left_out_are_named(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    (tmp_path / "cat" / "x.gif").touch()
    (tmp_path / "loose.png").touch()
    notes: list[str] = []
    assert sum(sizes(read(train=tmp_path, note=notes.append))) == 8
    assert [text for text in notes if "2 files are left out" in text and text.endswith("cat/x.gif, loose.png")]


@pytest.mark.parametrize(
    "path", ["__MACOSX/cat/._0.png", "cat/._0.png", "cat/.ipynb_checkpoints/0.png", ".git/0.png", "cat/__MACOSX/0.png"]
)
def test_hidden_files_and_folders_are_no_data(path: str, tmp_path: Path) -> None:
    write_pictures(tmp_path)
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_bytes((tmp_path / "dog" / "1.png").read_bytes())
    notes: list[str] = []
    splits = read(train=tmp_path, validation_fraction=0, test_fraction=0, note=notes.append)
    assert (len(splits.train), splits.train.classes, notes) == (8, ("cat", "dog"), [])


def write_bytes(name: str, content: bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        write_pair(folder)
        (folder / name).write_bytes(content)

    return write


def remove(name: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        write_pair(folder)
        (folder / name).unlink()

    return write


def corrupt_picture(folder: Path) -> None:
    write_pictures(folder)
    path = folder / "dog" / "1.png"
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 8] ^= 0xFF
    path.write_bytes(content)


def empty_class(folder: Path) -> None:
    write_pictures(folder)
    (folder / "emu").mkdir()
    (folder / "emu" / "note.txt").write_text("later")


def no_picture(folder: Path) -> None:
    write_pictures(folder)
    (folder / "cat" / "1.png").write_text("hi")


def other_files(folder: Path) -> None:
    folder.mkdir()
    (folder / "a.txt").touch()


def two_wrong_pictures(folder: Path) -> None:
    corrupt_picture(folder)
    (folder / "cat" / "1.png").write_text("hi")


def several_pages(folder: Path) -> None:
    write_pictures(folder)
    page = Image.new("L", (9, 9))
    page.save(folder / "cat" / "5.tif", save_all=True, append_images=[page])


def unknown_range(folder: Path) -> None:
    write_pictures(folder)
    Image.new("F", (9, 9)).save(folder / "cat" / "5.tif")


def split_beside_others(folder: Path) -> None:
    for name in ("train", "test", "pred"):
        write_pictures(folder / name)


LABELS, IMAGES = "train-labels-idx1-ubyte", "train-images-idx3-ubyte.gz"
WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "no files": (lambda folder: folder.mkdir(), "holds no files; check the input's uri"),
    "no folder": (lambda folder: None, "holds no files"),
    "other files": (other_files, "holds neither IDX files .* it holds a.txt"),
    "fewer labels": (write_bytes(LABELS, idx(np.zeros(7))), "holds 40 images but train-labels-idx1-ubyte 7 labels"),
    "wrong magic": (write_bytes(LABELS, b"\x00\x00\x0b\x01" + b"\0" * 9), "begins with 00000b01, but .* 00000801"),
    "not gzipped": (write_bytes(IMAGES, idx(np.zeros((2, 8, 8)))), "can't be read .*upload it again"),
    "cut gzip": (write_bytes(IMAGES, gzip.compress(idx(np.ones((40, 8, 8))))[:-9]), "can't be read"),
    "short": (write_bytes(LABELS, idx(np.zeros(40))[:-3]), "should hold 40 values .* but holds 37"),
    "long": (write_bytes(LABELS, idx(np.zeros(40)) + b"x"), "but holds more"),
    "header cut": (write_bytes(LABELS, b"\x00\x00\x08\x01\x00"), "ends within its header"),
    "no images": (write_bytes(IMAGES, gzip.compress(idx(np.zeros((0, 8, 8)))) ), "holds 0 images but"),
    "monstrous": (write_bytes(LABELS, b"\x00\x00\x08\x03" + b"\xff" * 12), "begins with 00000803"),
    "labels missing": (remove(LABELS), "have no labels beside them"),
    "images missing": (remove(IMAGES), "have no images beside them"),
    "twice": (write_bytes("train-images-idx3-ubyte", b""), "both hold the images of one split"),
    "one class": (lambda folder: write_pair(folder, classes=1), "all 40 samples are of one class"),
    "too small": (lambda folder: write_pair(folder, side=3), "3 × 3 pixels are too small"),
    "corrupt picture": (corrupt_picture, r"dog/1\.png is a damaged image"),
    "no picture": (no_picture, "cat/1.png is no PNG"),
    "two wrong pictures": (two_wrong_pictures, r"2 of 8 files can't be used: .*cat/1\.png is no .*dog/1\.png is a dam"),
    "splits beside others": (split_beside_others, "test, train are named as splits .* pred.*; leave train/"),
    "several pages": (several_pages, r"cat/5\.tif holds several pages; save each"),
    "unknown range": (unknown_range, r"cat/5\.tif has 32 bits a pixel, of no known range; save it"),
    "empty class": (empty_class, "class 'emu' has no PNG, JPEG, WebP, BMP or TIFF files .*note.txt"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_data_name_the_file_and_the_way_out(case: str, tmp_path: Path) -> None:
    write, message = WRONG[case]
    write(tmp_path / "data")
    with pytest.raises(DataError, match=message):
        read(train=tmp_path / "data")


def test_test_data_must_fit_the_training_data(tmp_path: Path) -> None:
    write_pair(tmp_path / "a", classes=3)
    write_pair(tmp_path / "more", classes=4)
    write_pair(tmp_path / "large", side=9)
    with pytest.raises(DataError, match=r"classes that .* lacks: 3"):
        read(train=tmp_path / "a", test=tmp_path / "more")
    with pytest.raises(DataError, match=r"images of 9 × 9 pixels, but .* of 8 × 8"):
        read(train=tmp_path / "a", test=tmp_path / "large")


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", "c", "c"]])
def test_class_names_must_fit_the_labels(names: list[str], tmp_path: Path) -> None:
    write_pair(tmp_path)
    with pytest.raises(ConfigError, match="has 4; give each class a name of its own"):
        read(train=tmp_path, class_names=names)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [(["test"], "needs a channel named 'train'"), (["train", "training"], "not 'training'; rename it")],
)
def test_channels_are_checked(inputs: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_channels(dict.fromkeys(inputs, Path()), recipe="image-classification")


def test_held_out_part_is_stratified_and_a_function_of_the_seed() -> None:
    labels = torch.tensor([0] * 50 + [1] * 30 + [2])
    held = hold_out(labels, 0.2, seed=1)
    assert torch.bincount(labels[held]).tolist() == [10, 6]
    assert torch.equal(held, hold_out(labels, 0.2, seed=1))
    assert not torch.equal(held, hold_out(labels, 0.2, seed=2))


def test_mean_and_std_are_those_of_all_pixels() -> None:
    pixels = torch.randint(0, 256, (20, 3, 5, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pixels[:, 2] = 7
    mean, std = mean_and_std(pixels)
    torch.testing.assert_close(mean.flatten(), pixels.float().mean(dim=(0, 2, 3)))
    torch.testing.assert_close(std.flatten()[:2], pixels[:, :2].float().std(dim=(0, 2, 3), unbiased=False))
    assert std.flatten()[2] == 1


@pytest.mark.parametrize(("down", "right"), [(0, 0), (1, -2), (-1, 1)])
def test_shift_moves_pixels_and_fills_with_nothing(down: int, right: int) -> None:
    pixels = torch.arange(1, 26).reshape(1, 5, 5)
    moved = shift(pixels, down, right)
    for row in range(5):
        for column in range(5):
            inside = 0 <= row - down < 5 and 0 <= column - right < 5
            assert moved[0, row, column] == (pixels[0, row - down, column - right] if inside else 0)


def test_augmentation_follows_the_random_seed_alone() -> None:
    pixels = torch.randint(0, 256, (1, 1, 16, 16), dtype=torch.uint8)
    images = AugmentedImages(Images(pixels, torch.tensor([3]), ("a",), ""), flip=True)
    torch.manual_seed(1)
    first, label = images[0]
    torch.manual_seed(1)
    assert torch.equal(first, images[0][0])
    assert any(not torch.equal(first, images[0][0]) for _ in range(20))
    assert label == 3
