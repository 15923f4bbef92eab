"""What a job requires: its lines, which the runtime refuses, what pip may not change, and what pip says."""

import time
from pathlib import Path

import pytest

from footplate.api.packages import PipPolicy
from footplate_trainer.errors import ConfigError
from footplate_trainer.supervisor import pip_words
from footplate_trainer.supervisor.packages import constraints
from footplate_trainer.supervisor.requirements import Line, check_policy, read_requirements

CLOSED = PipPolicy(indexes=["https://pypi.example.com/simple"])


def texts(lines: list[Line]) -> list[str]:
    return [f"-c {line.text}" if line.constrains else line.text for line in lines]


def test_comments_and_broken_lines_are_read_as_pip_does(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text(
        "# ours\n\na==1 # why\nb \\\n  --hash=sha256:0\nc@git+https://x/y#egg=c\n"
    )
    assert texts(read_requirements(None, tmp_path)) == ["a==1", "b    --hash=sha256:0", "c@git+https://x/y#egg=c"]


def test_a_file_hides_behind_no_other_option(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("--index-url https://elsewhere.example.com/simple\n")
    for line in ("--requirem more.txt", "--cons=more.txt"):  # as far as pip takes a name for whole
        with pytest.raises(ConfigError, match=r"leads to https://elsewhere"):
            check_policy(read_requirements([line], tmp_path), CLOSED)
    for line in ("--pre -r more.txt", "--pre -rmore.txt", "--no-binary :all: --requirement=more.txt", "--pre -c ./x"):
        with pytest.raises(ConfigError, match=r"requirements\[0\].*a line of its own"):
            read_requirements([line], tmp_path)
    assert texts(read_requirements(["--pre --require-hashes", "a --hash=sha256:0"], tmp_path))


def test_a_line_that_is_made_to_take_long_does_not(tmp_path: Path) -> None:
    """A pattern that matches for hours holds up everything, a request to stop included."""
    (tmp_path / "requirements.txt").write_text(f"a{' ' * 500_000}b\n{'x' * 500_000}\n")
    began = time.monotonic()
    check_policy(read_requirements(None, tmp_path), CLOSED)
    broken = "! a did not run successfully.\nlines of output]\n" * 1400
    for said in (broken, "ERROR: " + "\n" * 60_000 + "x", "ERROR: line " + "9" * 5000 + " of /work/requirements.txt"):
        pip_words.sentence(said, file=Path("/work/requirements.txt"), lines=[])
    assert time.monotonic() - began < 10


def test_the_field_takes_the_files_place(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("a\n")
    assert texts(read_requirements(["b", "-r requirements.txt"], tmp_path)) == ["b", "a"]
    assert read_requirements([], tmp_path) == []
    (tmp_path / "requirements.txt").unlink()
    assert read_requirements(None, tmp_path) == []


def test_named_files_are_found_beside_the_one_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "requirements.txt").write_text("-r more/gpu.txt\n--constraint=more/bounds.txt\nz\n")
    (tmp_path / "more/gpu.txt").write_text("a\n-rbase.txt\n-r ../requirements.txt\n")
    (tmp_path / "more/base.txt").write_text("b\n")
    (tmp_path / "more/bounds.txt").write_text("b<2\n-r below.txt\n")
    (tmp_path / "more/below.txt").write_text("c<3\n")
    lines = read_requirements(None, tmp_path)
    assert texts(lines) == ["a", "b", "-c b<2", "-c c<3", "z"]
    assert lines[1].place == "base.txt, line 1"


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"\xef\xbb\xbfa\r\nb\r\n", ["a", "b"]), ("\ufeffa\r\nb".encode("utf-16-le"), ["a", "b"])],
    ids=["UTF-8 with a mark", "PowerShell"],
)
def test_encodings(data: bytes, expected: list[str], tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_bytes(data)
    assert texts(read_requirements(None, tmp_path)) == expected


@pytest.mark.parametrize("data", [b"\x89PNG\xff\0", b"a\0b", b"a\n" * 600_000], ids=["picture", "binary", "huge"])
def test_what_is_no_text_is_told(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_bytes(data)
    with pytest.raises(ConfigError, match=r"^requirements\.txt is no requirements file: it must be text in UTF-8"):
        read_requirements(None, tmp_path)


def test_a_missing_file_is_told_with_the_line_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("a\n-r nowhere.txt\n")
    with pytest.raises(ConfigError, match=r"^requirements\.txt, line 2: -r nowhere\.txt: there is no such file"):
        read_requirements(None, tmp_path)


@pytest.mark.parametrize(
    ("line", "policy", "refused"),
    [
        ("a==1", CLOSED, ""),
        ("a @ https://pypi.example.com/simple/a/a.whl", CLOSED, ""),
        ("--index-url=https://me:secret@pypi.example.com/simple/", CLOSED, ""),
        ("a @ file:///footplate/a.whl", CLOSED, ""),
        ("a @ https://me:secret@elsewhere.com/a.whl", CLOSED, "https://elsewhere.com/a.whl"),
        ("--extra-index-url https://pypi.example.com/simple-too/", CLOSED, "https://pypi.example.com/simple-too/"),
        ("-f https://pypi.example.com/simple/../all", CLOSED, "https://pypi.example.com/simple/../all"),
        ("-i ${INDEX}", CLOSED, "https://hidden.com/"),
        ("git+ssh://git@example.com/a.git", CLOSED, "git+ssh://example.com/a.git"),
        ("a @ https://pypi.example.com/a.whl", PipPolicy(install="fromFiles"), "https://pypi.example.com/a.whl"),
        ("git+https://example.com/a.git", PipPolicy(), ""),
    ],
)
def test_a_runtime_may_say_where_packages_come_from(line: str, policy: PipPolicy, refused: str) -> None:
    lines, environ = [Line("requirements.txt, line 7", line)], {"INDEX": "https://hidden.com/"}
    if not refused:
        check_policy(lines, policy, environ)
        return
    with pytest.raises(ConfigError) as error:
        check_policy(lines, policy, environ)
    assert f"requirements.txt, line 7: leads to {refused}, from where the policy of the job's runtime" in str(
        error.value
    )


def test_the_images_own_builds_and_the_librarys_needs_are_kept() -> None:
    versions = {
        "torch": "2.13.0+cpu",
        "numpy": "2.4.6",
        "nvidia_cublas_cu12": "12.8",
        "torchdata": "0.11",
        "pydantic": "2",
    }
    own = ["pydantic>=2.12", "torch>=2.6; extra == 'trainer'", "pip>=23.2; extra == 'supervisor'"]
    assert constraints(versions, own) == [
        "torch==2.13.0+cpu", "numpy==2.4.6", "nvidia_cublas_cu12==12.8", "pydantic>=2.12", "pip>=23.2",
    ]  # fmt: skip


CONFLICT = """Collecting a
ERROR: Cannot install -r /work/requirements.txt (line 2) because these package versions have conflicting dependencies.

The conflict is caused by:
    a 1.0 depends on torch<2
    The user requested (constraint) torch==2.13.0

To fix this you could try to:
1. loosen the range of package versions you've specified

ERROR: ResolutionImpossible: for help visit https://pip.pypa.io/
"""
BROKEN = """  Preparing metadata (pyproject.toml): finished with status 'error'
  error: subprocess-exited-with-error

  × Preparing metadata (pyproject.toml) did not run successfully.
  │ exit code: 1
  ╰─> [2 lines of output]
      Traceback (most recent call last):
      RuntimeError: no compiler here
      [end of output]

  note: This error originates from a subprocess, and is likely not a problem with pip.
error: metadata-generation-failed
"""
UNAUTHORIZED = """Looking in indexes: https://pypi.example.com/simple/
WARNING: 401 Error, Credentials not correct for https://pypi.example.com/simple/a/
ERROR: Could not find a version that satisfies the requirement a (from versions: none)
ERROR: No matching distribution found for a
"""
AWAY = """WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(...)': /simple/a/
ERROR: Could not find a version that satisfies the requirement a (from versions: none)
"""


@pytest.mark.parametrize(
    ("said", "words", "way_out"),
    [
        (
            CONFLICT,
            "ERROR: Cannot install requirements.txt, line 9 because these package versions have conflicting "
            "dependencies. The conflict is caused by: a 1.0 depends on torch<2 The user requested (constraint) "
            "torch==2.13.0",
            "leave out what contradicts trainer.image",
        ),
        (
            BROKEN,
            "Preparing metadata (pyproject.toml) did not run successfully: RuntimeError: no compiler here",
            "its whole output is in the log",
        ),
        (
            UNAUTHORIZED,
            "ERROR: Could not find a version that satisfies the requirement a (from versions: none) ERROR: No matching "
            "distribution found for a",
            "its index wants credentials",
        ),
        (
            AWAY,
            "ERROR: Could not find a version that satisfies the requirement a (from versions: none)",
            "its index can't be reached",
        ),
        (
            "ERROR: Invalid requirement: 'b=2' (from line 2 of /work/requirements.txt)\nHint: = is not an operator",
            "ERROR: Invalid requirement: 'b=2' (from requirements.txt, line 9) Hint: = is not an operator",
            "correct the line",
        ),
        ("Killed\n", "Killed", "its whole output is in the log"),
        ("", "", "its whole output is in the log"),
    ],
    ids=["conflict", "broken build", "credentials", "away", "no requirement", "no sentence", "nothing"],
)
def test_pips_own_words(said: str, words: str, way_out: str) -> None:
    lines = [Line("requirements.txt, line 1", "x"), Line("requirements.txt, line 9", "a")]
    assert pip_words.sentence(said, file=Path("/work/requirements.txt"), lines=lines) == words
    assert pip_words.way_out(said).startswith(way_out)
    assert pip_words.is_away(said) == (said == AWAY)
