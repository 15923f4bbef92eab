"""Which files of the output folder are a model's."""

from pathlib import Path

import pytest

from footplate_trainer.supervisor.model_files import is_excluded, model_files


@pytest.mark.parametrize(
    ("pattern", "excluded"),
    [
        ("optimizer.pt", ["a/optimizer.pt", "optimizer.pt"]),
        ("*.pt", ["a/optimizer.pt", "optimizer.pt"]),
        ("a", ["a/b/x.bin", "a/optimizer.pt"]),
        ("a/", ["a/b/x.bin", "a/optimizer.pt"]),
        ("a/b", ["a/b/x.bin"]),
        ("*/x.bin", ["a/b/x.bin"]),
        ("b/x.bin", []),
        ("MODEL.bin", []),
        ("", []),
        ("*a*a*a*a*a*a*a*a*a*a*a*a*a*b", []),
    ],
)
def test_patterns_name_files_and_folders(pattern: str, excluded: list[str]) -> None:
    names = ["a/b/x.bin", "a/optimizer.pt", "model.bin", "optimizer.pt", "a" * 200]
    assert [name for name in names if is_excluded(name, [pattern])] == excluded


def test_what_is_excluded_is_no_part_of_the_model_and_no_fault_of_it(tmp_path: Path) -> None:
    for name in ("model.bin", "optimizer.pt"):
        (tmp_path / name).write_text(name)
    (tmp_path / "latest").symlink_to("nowhere")
    notes: list[str] = []
    assert list(model_files(tmp_path, notes.append, exclude=["optimizer.pt", "latest"])) == ["model.bin"]
    assert notes == []


def test_patterns_that_would_leave_no_model_leave_nothing_out(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_text("weights")
    notes: list[str] = []
    assert list(model_files(tmp_path, notes.append, exclude=["model.*"])) == ["model.bin"]
    assert notes == ["output.exclude names all that the code has left, and would leave no model: nothing is left out"]
