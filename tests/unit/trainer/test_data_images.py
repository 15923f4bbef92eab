"""Images as people have them: each is read right, or refused with the file or folder and the way out."""

import gzip
import re
import struct
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from footplate.api.recipes import ImageHyperparameters
from footplate_trainer.data import pictures
from footplate_trainer.data.images import ImageSplits, read_splits
from footplate_trainer.errors import DataError
from footplate_trainer.models.cards import ModelCard
from footplate_trainer.rank.report import Reporter
from footplate_trainer.recipes import image_classification

Make = Callable[[Path], None]
SIDE = 8


def picture(name: str, *, mode: str = "L", level: int = 7, **options: object) -> Make:
    """A picture of one level."""

    def make(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, (SIDE, SIDE), level).save(path, **options)  # type: ignore[arg-type]

    return make


def classes(*folders: str, mode: str = "L") -> Make:
    """Two pictures in each folder: black ones in the first, the next brighter by 10."""
    return every(
        *(
            picture(f"{folder}/{number}.png", mode=mode, level=10 * place + number)
            for place, folder in enumerate(folders)
            for number in range(2)
        )
    )


def put(name: str, content: bytes = b"") -> Make:
    def make(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return make


def link(name: str, target: str) -> Make:
    def make(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(folder / target)

    return make


def every(*makes: Make) -> Make:
    def make(folder: Path) -> None:
        for one in makes:
            one(folder)

    return make


def idx(values: np.ndarray) -> bytes:
    return (
        bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.astype("u1").tobytes()
    )


IMAGES = idx(np.arange(4 * SIDE * SIDE).reshape(4, SIDE, SIDE) % 7)
LABELS = idx(np.array([0, 1, 0, 1]))
IDX = every(put("train-images-idx3-ubyte", IMAGES), put("train-labels-idx1-ubyte", LABELS))


def fill(name: str, make: Callable[[Path], None]) -> Make:
    """Cat and dog, and one more cat that is made so."""

    def both(folder: Path) -> None:
        CATS(folder)
        make(folder / "cat" / name)

    return both


def cmyk(path: Path) -> None:
    Image.new("CMYK", (SIDE, SIDE), (0, 0, 0, 255)).save(path)


def palette(path: Path) -> None:
    image = Image.new("P", (SIDE, SIDE), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    image.save(path)


def film(path: Path) -> None:
    frames = [Image.new("RGB", (SIDE, SIDE), level) for level in (0, 99)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def phone(path: Path) -> None:
    """A JPEG with a preview behind it, as phones write them."""
    image = Image.new("RGB", (SIDE, SIDE), (60, 60, 60))
    image.save(path, format="MPO", save_all=True, append_images=[image.resize((4, 4))])


def one_bit(path: Path) -> None:
    Image.new("1", (SIDE, SIDE), 1).save(path)


CATS = classes("cat", "dog")


@dataclass(frozen=True)
class Good:
    """How many images there are of each class, what is said; and of the last cat its channels and level."""

    make: Make
    counts: dict[str, int]
    said: tuple[str, ...] = ()
    test: dict[str, int] | None = None
    last_cat: tuple[int, ...] | None = None


TWO = {"cat": 2, "dog": 2}
GOOD: dict[str, Good] = {
    # Folders
    "class folders": Good(CATS, TWO),
    "one folder around": Good(classes("animals/cat", "animals/dog"), TWO),
    "folders around": Good(classes("a/b/c/cat", "a/b/c/dog"), TWO),
    "a folder around, and a file": Good(every(classes("animals/cat", "animals/dog"), put("README.md")), TWO),
    "splits": Good(classes("train/cat", "train/dog", "test/cat", "test/dog"), TWO, test=TWO),
    "splits in a folder": Good(
        classes("animals/train/cat", "animals/train/dog", "animals/test/dog"), TWO, test={"cat": 0, "dog": 2}
    ),
    "splits in other words": Good(
        classes("Training Set/cat", "Training Set/dog", "test_set/cat"), TWO, test={"cat": 2, "dog": 0}
    ),
    "doubled folders": Good(
        classes("seg_train/seg_train/cat", "seg_train/seg_train/dog", "seg_test/seg_test/cat"),
        TWO,
        test={"cat": 2, "dog": 0},
    ),
    "doubled, and pictures without classes": Good(
        every(
            classes("seg_train/seg_train/cat", "seg_train/seg_train/dog", "seg_test/seg_test/cat"),
            picture("seg_pred/seg_pred/1.png"),
        ),
        TWO,
        ("left out, without folders of classes: seg_pred",),
        {"cat": 2, "dog": 0},
    ),
    "a train among classes": Good(classes("train", "plane", "cat"), {"cat": 2, "plane": 2, "train": 2}),
    "one split alone": Good(classes("train/cat", "train/dog"), TWO),
    "folders below a class": Good(every(CATS, picture("cat/more/9.png")), {"cat": 3, "dog": 2}),
    "a folder around each class's pictures": Good(classes("cat/images", "dog/images"), TWO),
    "hidden": Good(
        every(
            CATS,
            put("__MACOSX/cat/._1.png"),
            put("cat/._1.png"),
            put("cat/.DS_Store"),
            picture("cat/.ipynb_checkpoints/1.png"),
        ),
        TWO,
    ),
    "thumbnails": Good(
        every(CATS, put("cat/Thumbs.db"), put("classes.txt")),
        TWO,
        ("2 files are left out, .*cat/Thumbs.db, classes.txt",),
    ),
    # Names
    "upper case": Good(
        every(CATS, picture("cat/9.PNG"), picture("cat/8.JPG"), picture("cat/7.Jpeg")), {"cat": 5, "dog": 2}
    ),
    "blanks": Good(classes("big cat", "dog (1)"), {"big cat": 2, "dog (1)": 2}),
    "letters": Good(classes("猫", "ñandú"), {"ñandú": 2, "猫": 2}),
    "letters in two parts": Good(
        classes(
            *(
                f"{split}/{unicodedata.normalize(form, name)}"
                for split, form in (("train", "NFD"), ("test", "NFC"))
                for name in ("café", "thé")
            )
        ),
        {"café": 2, "thé": 2},
        test={"café": 2, "thé": 2},
    ),
    "a name in both spellings": Good(
        classes(unicodedata.normalize("NFD", "é"), "é", "x"),
        {"x": 2, "é": 4},
        ("two folders are named é, and count as one",),
    ),
    "a linked class": Good(every(classes("cat"), classes("../elsewhere/dogs"), link("dog", "../elsewhere/dogs")), TWO),
    "a linked picture": Good(every(CATS, link("cat/9.png", "dog/1.png")), {"cat": 3, "dog": 2}),
    "a circle of links": Good(every(CATS, link("cat/again", "cat")), TWO, ("1 files are left out, .*cat/again",)),
    # Kinds of pictures
    "WebP": Good(
        fill("9.webp", lambda path: picture(path.name, mode="RGB", lossless=True)(path.parent)),
        {"cat": 3, "dog": 2},
        last_cat=(3, 7),
    ),
    "TIFF": Good(fill("9.tiff", lambda path: picture(path.name)(path.parent)), {"cat": 3, "dog": 2}, last_cat=(1, 7)),
    "BMP": Good(fill("9.bmp", lambda path: picture(path.name)(path.parent)), {"cat": 3, "dog": 2}, last_cat=(1, 7)),
    "CMYK": Good(fill("9.tif", cmyk), {"cat": 3, "dog": 2}, last_cat=(3, 0)),
    "CMYK, JPEG": Good(fill("9.jpg", cmyk), {"cat": 3, "dog": 2}, last_cat=(3, 0)),
    "a palette": Good(fill("9.png", palette), {"cat": 3, "dog": 2}, last_cat=(3, 200)),
    "one bit": Good(fill("9.png", one_bit), {"cat": 3, "dog": 2}, last_cat=(1, 255)),
    "a phone's": Good(fill("9.jpg", phone), {"cat": 3, "dog": 2}, last_cat=(3, 60)),
    "another kind by its name": Good(
        fill("9.jpg", lambda path: Image.new("L", (SIDE, SIDE), 7).save(path, format="PNG")),
        {"cat": 3, "dog": 2},
        last_cat=(1, 7),
    ),
    "a GIF": Good(every(CATS, put("cat/9.gif", b"GIF89a")), TWO, ("left out, as they are no PNG, .*cat/9.gif",)),
    # The same pictures twice
    "copies in the test": Good(
        every(
            classes("train/cat", "train/dog"), picture("test/cat/1.png", level=1), picture("test/cat/2.png", level=99)
        ),
        TWO,
        ("1 of 2 test images are in the training data too",),
        {"cat": 2, "dog": 0},
    ),
    # IDX
    "IDX": Good(IDX, {"0": 2, "1": 2}),
    "IDX in a folder, as torchvision leaves them": Good(
        every(put("MNIST/raw/train-images-idx3-ubyte", IMAGES), put("MNIST/raw/train-labels-idx1-ubyte", LABELS)),
        {"0": 2, "1": 2},
    ),
    "IDX with a dot": Good(
        every(put("train-images.idx3-ubyte", IMAGES), put("train-labels.idx1-ubyte", LABELS)), {"0": 2, "1": 2}
    ),
    "IDX, packed": Good(
        every(
            put("train-images-idx3-ubyte.GZ", gzip.compress(IMAGES)),
            put("train-labels-idx1-ubyte.gz", gzip.compress(LABELS)),
        ),
        {"0": 2, "1": 2},
    ),
    "IDX, hidden copies": Good(
        every(IDX, put("._train-images-idx3-ubyte", b"\0\5"), put("__MACOSX/._train-labels-idx1-ubyte", b"\0\5")),
        {"0": 2, "1": 2},
    ),
    "IDX, packed and not": Good(
        every(put("train-images-idx3-ubyte", IMAGES), put("train-labels-idx1-ubyte.gz", gzip.compress(LABELS))),
        {"0": 2, "1": 2},
    ),
}


@pytest.mark.parametrize("case", GOOD)
def test_read_right(case: str, tmp_path: Path) -> None:
    good = GOOD[case]
    notes: list[str] = []
    (tmp_path / "data").mkdir()
    good.make(tmp_path / "data")
    splits = read(tmp_path / "data", notes)
    assert counts(splits, "train") == good.counts
    assert (None if splits.test is None else counts(splits, "test")) == good.test
    assert len(notes) == len(good.said), notes
    for text, note in zip(good.said, notes, strict=True):
        assert re.search(text, note)
    if good.last_cat is not None:
        pixels = splits.train.pixels[splits.train.labels == 0][-1]
        assert (len(pixels), int(pixels[0, 0, 0])) == good.last_cat


def read(folder: Path, notes: list[str] | None = None, *, max_corrupt: int = 0) -> ImageSplits:
    return read_splits(
        {"train": folder},
        image_size=SIDE,
        max_corrupt=max_corrupt,
        class_names=None,
        validation_fraction=0,
        test_fraction=0,
        seed=0,
        note=[].append if notes is None else notes.append,
    )


def counts(splits: ImageSplits, split: str) -> dict[str, int]:
    images = getattr(splits, split)
    return {name: int((images.labels == place).sum()) for place, name in enumerate(images.classes)}


def huge(path: Path) -> None:
    Image.new("1", (10_000, 9_000)).save(path)


def cut(name: str) -> Make:
    def make(folder: Path) -> None:
        CATS(folder)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return make


def not_utf8(folder: Path) -> None:
    CATS(folder)
    odd = folder / b"caf\xe9".decode(errors="surrogateescape")
    odd.mkdir()
    (odd / "1.png").write_bytes((folder / "cat" / "1.png").read_bytes())


BAD: dict[str, tuple[Make, str]] = {
    "mixed depth": (
        classes("cat", "dog", "birds/owl", "birds/tit"),
        r"cat holds pictures, but birds holds folders \(owl, tit\), .*put each",
    ),
    "mixed depth, one folder": (classes("cat", "birds/owl"), "cat holds pictures, but birds holds folders"),
    "all too deep": (classes("pets/cat", "pets/dog", "birds/owl"), r"told whether pets is a class, or cat is; put"),
    "folds": (classes("fold1/cat", "fold1/dog", "fold2/cat", "fold2/dog"), "told whether fold1 is a class, or cat is"),
    "splits beside classes": (
        classes("train/cat", "train/dog", "test/cat", "pred/cat", "pred/dog"),
        "test, train are named as splits",
    ),
    "splits without classes": (classes("train", "test"), "test, train are named as splits of the data, not as classes"),
    "a split twice": (
        classes("train/cat", "train/dog", "val/cat", "valid/cat"),
        "train, val, valid are named as splits",
    ),
    "no folders": (picture("1.png"), "holds neither IDX files .* it holds 1.png; put such files there"),
    "labels in a table": (every(picture("images/1.png"), put("labels.csv")), "holds neither IDX|one class|holds no"),
    "one class": (classes("cat"), "one class|holds neither"),
    "an empty class": (every(CATS, put("emu/later.txt")), r"class 'emu' has no PNG.*later\.txt.*add some, or remove"),
    "a class of other kinds": (every(CATS, put("emu/1.heic")), r"class 'emu' has no PNG.*1\.heic"),
    "a name that isn't UTF-8": (not_utf8, "the folder's name isn't UTF-8; rename it"),
    "a test of another class": (classes("train/cat", "train/dog", "test/emu"), "has classes that .* lacks: emu"),
    "a film": (fill("9.webp", film), r"cat/9\.webp holds several frames, of an animation; save each"),
    "a film, PNG": (fill("9.png", film), r"cat/9\.png holds several frames"),
    "pages": (fill("9.tif", film), r"cat/9\.tif holds several pages; save each"),
    "a film by another name": (
        fill("9.png", lambda path: Image.new("L", (9, 9)).save(path, format="GIF")),
        r"cat/9\.png is no PNG.*replace or remove",
    ),
    "a huge picture": (fill("9.png", huge), r"cat/9\.png has more than 89,478,485 pixels, .*scale it down"),
    "a bomb": (
        fill("9.png", lambda path: Image.new("1", (20_000, 20_000)).save(path)),
        r"cat/9\.png has more than 89,",
    ),
    "32 bits": (fill("9.tif", lambda path: Image.new("F", (9, 9)).save(path)), r"cat/9\.tif has 32 bits a pixel"),
    "an empty file": (fill("9.png", lambda path: path.touch()), r"cat/9\.png is no PNG"),
    "a web page": (fill("9.jpg", lambda path: path.write_text("<html>")), r"cat/9\.jpg is no PNG"),
    "cut": (cut("dog/1.png"), r"dog/1\.png is (a damaged|no PNG).*replace or remove it.*maxCorrupt be 1"),
    "a link to nothing": (
        every(CATS, link("cat/9.png", "gone.png")),
        r"cat/9\.png leads to no file",
    ),
    "IDX of floats": (
        every(put("train-images-idx3-ubyte", b"\0\0\x0d" + IMAGES[3:]), put("train-labels-idx1-ubyte", LABELS)),
        "begins with 00000d03, but",
    ),
    "IDX without labels": (put("train-images-idx3-ubyte", IMAGES), "have no labels beside them; add the labels file"),
    "IDX of other lengths": (
        every(put("train-images-idx3-ubyte", IMAGES), put("train-labels-idx1-ubyte", idx(np.zeros(3)))),
        "holds 4 images but .* 3 labels",
    ),
    "IDX, cut": (
        every(put("train-images-idx3-ubyte", IMAGES[:-1]), put("train-labels-idx1-ubyte", LABELS)),
        "should hold 256 values .* but holds 255",
    ),
    "IDX, packed and cut": (
        every(put("train-images-idx3-ubyte.gz", gzip.compress(IMAGES)[:-4]), put("train-labels-idx1-ubyte", LABELS)),
        r"can't be read .*upload it again",
    ),
    "IDX, not packed": (
        every(put("train-images-idx3-ubyte.gz", IMAGES), put("train-labels-idx1-ubyte", LABELS)),
        r"can't be read .*upload it again",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_refused_with_the_place_and_the_way_out(case: str, tmp_path: Path) -> None:
    make, message = BAD[case]
    (tmp_path / "data").mkdir()
    make(tmp_path / "data")
    with pytest.raises(DataError, match=message):
        read(tmp_path / "data")


def test_files_that_cannot_be_read_are_left_out_where_that_is_allowed(tmp_path: Path) -> None:
    every(CATS, put("cat/8.png", b"x"), put("dog/9.png", b"x"))(tmp_path)
    with pytest.raises(DataError, match=r"2 of 6 files can't be used: .*cat/8\.png.*dog/9\.png.*maxCorrupt be 2"):
        read(tmp_path, max_corrupt=1)
    notes: list[str] = []
    splits = read(tmp_path, notes, max_corrupt=2)
    assert counts(splits, "train") == TWO
    assert splits.train.labels.tolist() == [0, 0, 1, 1]
    assert [bool(re.search(r"2 of 6 files are left out: .*cat/8\.png.*dog/9\.png", note)) for note in notes] == [True]


def test_a_class_without_a_picture_that_can_be_read_is_refused(tmp_path: Path) -> None:
    every(CATS, put("emu/8.png", b"x"))(tmp_path)
    with pytest.raises(DataError, match="none of the files of class 'emu' can be read; replace them"):
        read(tmp_path, max_corrupt=9)


def test_many_files_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    every(CATS, *(put(f"cat/x{number}.png", b"x") for number in range(pictures.MAX_NAMED + 5)))(tmp_path)
    with pytest.raises(DataError, match=r"25 of 29 files can't be used: .*; and 5 more\. Or let"):
        read(tmp_path)


def test_the_job_and_the_model_are_told_what_was_said_of_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every(CATS, put("cat/1.gif"))(tmp_path)
    told: list[str] = []
    cards: list[ModelCard] = []
    monkeypatch.setattr(Reporter, "note", lambda _, text: told.append(text))
    monkeypatch.setattr(image_classification, "train_classifier", lambda *given, **_: cards.append(given[3]))
    place: Any = SimpleNamespace(splits={}, inputs={"train": tmp_path}, config=None)
    image_classification.train(place, ImageHyperparameters.model_validate({}))
    assert [text for text in told if "cat/1.gif" in text]
    assert cards[0].notes == tuple(told)
