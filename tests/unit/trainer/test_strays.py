"""Which files count as left beside the output folder."""

import os
from pathlib import Path

import pytest

from footplate_trainer.supervisor import strays


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def scratch(root: Path) -> Path:
    (root / "scratch").mkdir()
    return root / "scratch"


def test_what_is_new_or_changed_in_the_working_directory_is_found(tmp_path: Path) -> None:
    write(tmp_path, "train.py", "config.yaml")
    place = strays.working_directory(tmp_path, scratch(tmp_path))
    assert place is not None
    write(tmp_path, "best.pt", "sub/last.pt", "__pycache__/train.pyc", ".cache/x", "core.17", "runs/events", "output/m")
    (tmp_path / "config.yaml").write_text("changed by the program")
    (tmp_path / "passwd").symlink_to("/etc/passwd")
    (tmp_path / "all").symlink_to("/etc")
    os.mkfifo(tmp_path / "pipe")
    found = place.new_files(apart_from=[tmp_path / "output", tmp_path / "scratch"])
    assert sorted(found) == ["work/best.pt", "work/config.yaml", "work/sub/last.pt"]


def test_logs_are_found_where_libraries_write_them(tmp_path: Path) -> None:
    write(tmp_path / "code", "runs/old")
    place = strays.working_directory(tmp_path / "code", scratch(tmp_path))
    write(
        tmp_path / "code", "runs/a/events", "wandb/run-1/files/x", "mlruns/0/meta.yaml", ".cometml-runs/a.zip", "b.pt"
    )
    write(tmp_path / "code", "sub/runs/events")
    write(tmp_path / "logs", "events", ".hidden")
    found = strays.log_files(tmp_path / "logs", place)
    assert sorted(found) == [
        ".cometml-runs/a.zip", ".hidden", "events", "mlruns/0/meta.yaml", "runs/a/events", "wandb/run-1/files/x"
    ]  # fmt: skip


def test_what_lies_on_a_volume_outlives_the_pod(tmp_path: Path) -> None:
    assert strays.working_directory(Path("/dev/shm"), scratch(tmp_path)) is None


def test_an_images_root_is_looked_through_without_what_the_kernel_shows_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strays, "MAX_LOOKED_AT", 1000)
    place = strays.working_directory(Path("/"), scratch(tmp_path))
    assert place is not None
    assert not [name for name in place.new_files() if name.startswith(("work/proc/", "work/sys/"))]


@pytest.mark.parametrize("before", [[], [".config/x", "tmp1/x"]], ids=["empty", "debris"])
def test_the_pods_own_home_is_looked_at(tmp_path: Path, before: list[str]) -> None:
    write(tmp_path, *before)
    place = strays.home(tmp_path)
    assert place is not None
    write(tmp_path, "best.pt", "tmpabc/x", "torchinductor_me/y", ".cache/z")
    assert sorted(place.new_files()) == ["home/best.pt"]


def test_only_folders_of_a_home_are_known_by_their_first_letters(tmp_path: Path) -> None:
    place = strays.home(tmp_path)
    assert place is not None
    for name in ("torch_model.pt", "cc_net.pt", "cuda.bin", "ccAbCdEf.s", "tmpabc"):
        (tmp_path / name).touch()
    (tmp_path / "torchinductor_root").mkdir()
    (tmp_path / "torchinductor_root/a").touch()
    assert sorted(place.new_files()) == ["home/cc_net.pt", "home/cuda.bin", "home/torch_model.pt"]


def test_a_home_that_others_use_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path, "somebody's")
    assert strays.home(tmp_path) is None
    assert strays.home(tmp_path / "missing") is None
