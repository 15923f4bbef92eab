"""Pictures that aren't held in memory: what is read is right, whoever has looked at it and whether it was kept."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from footplate_trainer.data import pixels as module
from footplate_trainer.data.images import Images
from footplate_trainer.data.pictures import read_picture
from footplate_trainer.data.pixels import LazyPixels, PictureCache, survey_pictures
from footplate_trainer.recipes.image_statistics import mean_and_std, measure

SIDE = 8
RECORD = 1 + 3 * SIDE * SIDE


class Line:
    """What `gang.Gang.gather` gives on one of two ranks, when the other has said this."""

    world_size = 2

    def __init__(self, rank: int, other: object = None) -> None:
        self.rank = rank
        self.said: object = None
        self._other = other

    def gather(self, value: object) -> list[object]:
        self.said = value
        both = [value, self._other if self._other is not None else value]
        return both if self.rank == 0 else both[::-1]


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    chance = np.random.default_rng(0)
    for number in range(11):
        shape = (9, 9, 3) if number % 2 else (9, 9)
        Image.fromarray(chance.integers(0, 256, shape, np.uint8)).save(tmp_path / f"{number:02}.png")
    return sorted(map(str, tmp_path.iterdir()))


def cache_at(folder: Path, *, pictures: int = 99) -> PictureCache:
    folder.mkdir(exist_ok=True)
    return PictureCache(folder / "cache", side=SIDE, size_bytes=pictures * RECORD)


@pytest.mark.parametrize("room", [0, 3, 99])
def test_pixels_are_those_of_the_files_however_much_is_kept(room: int, paths: list[str], tmp_path: Path) -> None:
    cache = cache_at(tmp_path / "shared", pictures=room)
    expected = [torch.from_numpy(read_picture(Path(path), (SIDE, SIDE)).copy()) for path in paths]
    lazy = LazyPixels(paths, torch.arange(len(paths)), channels=3, side=SIDE, cache=cache)
    for _ in range(2):
        for number, picture in enumerate(expected):
            assert torch.equal(lazy[number], picture.expand(3, -1, -1))
    assert (tmp_path / "shared" / "cache").stat().st_size <= room * RECORD
    assert torch.equal(lazy[2:4], torch.stack([lazy[2], lazy[3]]))
    picked = lazy.pick(torch.tensor([4, 1]), channels=1)
    assert picked.shape == (2, 1, SIDE, SIDE)
    assert torch.equal(picked[0], expected[4])
    assert torch.equal(picked[1], expected[1].float().mean(dim=0, keepdim=True).round().to(torch.uint8))


def test_what_is_kept_is_not_decoded_again(paths: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = cache_at(tmp_path / "shared", pictures=5)
    survey_pictures(paths, side=SIDE, cache=cache)
    read: list[str] = []

    def read_and_count(path: Path, size: tuple[int, int]) -> np.ndarray:
        read.append(path.name)
        return read_picture(path, size)

    monkeypatch.setattr(module, "read_picture", read_and_count)
    assert len(LazyPixels(paths, torch.arange(11), channels=3, side=SIDE, cache=cache)[:]) == 11
    assert read == [Path(path).name for path in paths[5:]]


def test_a_full_disk_costs_only_time(paths: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "pwrite", full)
    cache = cache_at(tmp_path / "shared")
    survey = survey_pictures(paths, side=SIDE, cache=cache)
    assert survey.channels.tolist() == [1, 3] * 5 + [1]
    assert cache.load(0) is None


def test_ranks_share_the_first_look_and_know_the_same(
    paths: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(paths[4]).write_bytes(b"x")
    Path(paths[7]).write_bytes(b"x")
    alone = survey_pictures(paths, side=SIDE, cache=cache_at(tmp_path / "a"))
    looked_at: list[str] = []

    def read_and_count(path: Path, size: tuple[int, int]) -> np.ndarray:
        looked_at.append(str(path))
        return read_picture(path, size)

    monkeypatch.setattr(module, "read_picture", read_and_count)
    second = Line(1, other=(np.zeros((6, 8), np.int64), {}))
    monkeypatch.setattr(module, "ranks", lambda: second)
    survey_pictures(paths, side=SIDE, cache=cache_at(tmp_path / "b"))
    assert sorted(looked_at) == paths[1::2]
    first = Line(0, other=second.said)
    monkeypatch.setattr(module, "ranks", lambda: first)
    together = survey_pictures(paths, side=SIDE, cache=cache_at(tmp_path / "b"))
    assert torch.equal(together.channels, alone.channels)
    assert torch.equal(together.moments, alone.moments)
    assert torch.equal(together.digests, alone.digests)
    assert together.errors == alone.errors
    assert [Path(text.partition(" is no")[0]).name for text in alone.errors] == ["04.png", "07.png"]
    assert alone.channels[[4, 7]].tolist() == [0, 0]


@pytest.mark.parametrize("channels", [1, 3])
def test_mean_and_std_follow_from_the_first_look(channels: int, paths: list[str], tmp_path: Path) -> None:
    chosen = paths[::2] if channels == 1 else paths
    cache = cache_at(tmp_path / "shared")
    survey = survey_pictures(chosen, side=SIDE, cache=cache)
    lazy = LazyPixels(chosen, torch.arange(len(chosen)), channels=channels, side=SIDE, cache=cache)
    images = Images(lazy, torch.zeros(len(chosen)), ("a",), "", survey.digests, survey.moments)
    for found, expected in zip(measure(images), mean_and_std(lazy[:]), strict=True):
        torch.testing.assert_close(found, expected)
