"""The user's code, wherever it comes from."""

import hashlib
import io
import os
import random
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from footplate.api.references import LocalRef
from footplate.api.trainer import GitSource, Source
from footplate_trainer.errors import ConfigError, DataError, NotFound, StorageUnavailable, TrainerError, Unreachable
from footplate_trainer.supervisor import source as source_module
from footplate_trainer.supervisor.source import Code, fetch_source

CODE = {"train.py": b"print(1)\n", "lib/net.py": b"x = 1\n"}
DIGEST = hashlib.sha256(
    "".join(sorted(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in CODE.items())).encode()
).hexdigest()


def get(source: Source | None, root: Path, config_map_dir: Path | None = None) -> Code:
    return fetch_source(source, config_map_dir=config_map_dir, work_dir=root / "work", endpoint=None)


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }


def write_tar(path: Path, members: dict[str, bytes] = CODE, mode: str = "w:gz") -> None:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def write_zip(path: Path, members: dict[str, bytes] = CODE) -> None:
    with zipfile.ZipFile(path, "w") as bundle:
        for name, data in members.items():
            bundle.writestr(name, data)


def test_no_source_is_an_empty_folder(tmp_path: Path) -> None:
    code = get(None, tmp_path)
    assert (files_in(code.folder), code.sha256, code.commit) == ({}, None, None)


def test_a_config_map_is_copied_without_its_hidden_links(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    (mount / "..2026").mkdir(parents=True)
    (mount / "..2026/train.py").write_bytes(b"1")
    (mount / "..data").symlink_to("..2026")
    (mount / "train.py").symlink_to("..data/train.py")
    code = get(Source(config_map=LocalRef(name="code")), tmp_path, mount)
    assert files_in(code.folder) == {"train.py": b"1"}
    assert not (code.folder / "train.py").is_symlink()


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("code.tar.gz", write_tar),
        ("code.tgz", write_tar),
        ("code.tar", lambda path: write_tar(path, mode="w")),
        ("code.zip", write_zip),
    ],
)
def test_an_archive_is_unpacked(tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    write(tmp_path / name)
    sha256 = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    code = get(Source(uri=f"file://{tmp_path}/{name}", sha256=sha256), tmp_path)
    assert files_in(code.folder) == CODE
    assert code.sha256 == DIGEST
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["source"]


def test_a_single_file_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_bytes(b"1")
    assert files_in(get(Source(uri=f"file://{tmp_path}/train.py"), tmp_path).folder) == {"train.py": b"1"}


def test_a_second_fetch_replaces_the_first(tmp_path: Path) -> None:
    for content in (b"1", b"2"):
        (tmp_path / "train.py").write_bytes(content)
        code = get(Source(uri=f"file://{tmp_path}/train.py"), tmp_path)
    assert files_in(code.folder) == {"train.py": b"2"}


def linked_tar(path: Path) -> None:
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = tarfile.SYMTYPE, "../../secret"
        tar.addfile(info)


@pytest.mark.parametrize(
    ("name", "write", "error", "words"),
    [
        ("evil.tar.gz", lambda path: write_tar(path, {"../evil": b""}), ConfigError, "isn't safe to unpack"),
        ("link.tar.gz", linked_tar, ConfigError, "isn't safe to unpack"),
        ("evil.zip", lambda path: write_zip(path, {"../evil": b""}), ConfigError, "isn't safe to unpack: '../evil'"),
        ("root.zip", lambda path: write_zip(path, {"/evil": b""}), ConfigError, "isn't safe to unpack: '/evil'"),
        ("no.tar.gz", lambda path: path.write_bytes(b"no archive"), DataError, "damaged or not the archive"),
        ("no.zip", lambda path: path.write_bytes(b"no archive"), DataError, "damaged or not the archive"),
        ("none.zip", lambda path: None, NotFound, "none.zip does not exist"),
    ],
)
def test_a_bad_archive_is_refused(
    tmp_path: Path, name: str, write: Callable[[Path], None], error: type[TrainerError], words: str
) -> None:
    write(tmp_path / name)
    with pytest.raises(error, match=f"^spec.trainer.source: .*{words}"):
        get(Source(uri=f"file://{tmp_path}/{name}"), tmp_path)
    assert not (tmp_path / "work/source").exists()
    assert not list(tmp_path.rglob("evil"))


def patch_zip(path: Path, *, flags: int = 0, method: int = 0) -> None:
    """Writes a zip whose headers, local and central, say that a member is packed in another way."""
    write_zip(path)
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.index(signature) + offset
        data[at : at + 4] = struct.pack("<HH", flags, method)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        pytest.param({"flags": 1}, "'train.py' is encrypted; pack the code without a password", id="encrypted"),
        pytest.param({"flags": 1, "method": 99}, "'train.py' is encrypted", id="AES"),
        pytest.param({"method": 9}, r"compressed by method 9 .*Deflate64.*or as \.tar\.gz", id="deflate64"),
        pytest.param({"method": 98}, r"compressed by method 98 ", id="PPMd"),
    ],
)
def test_a_zip_that_python_cant_read_says_how_to_pack_it(tmp_path: Path, how: dict[str, int], words: str) -> None:
    patch_zip(tmp_path / "code.zip", **how)
    with pytest.raises(ConfigError, match=rf"^spec.trainer.source: .*code.zip can't be unpacked: .*{words}"):
        get(Source(uri=f"file://{tmp_path}/code.zip"), tmp_path)
    assert not (tmp_path / "work/source").exists()


@pytest.mark.parametrize("name", ["code.tar.gz", "code.tar.bz2", "code.tar.xz", "code.zip"])
@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_an_archive_with_damaged_bytes_is_refused(tmp_path: Path, name: str, damage: str) -> None:
    path, content = tmp_path / name, {"train.py": random.Random(1).randbytes(20_000)}
    if name.endswith(".zip"):
        write_zip(path, content)
    else:
        write_tar(path, content, mode=f"w:{path.suffix[1:]}")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle] ^= 0xFF
    path.write_bytes(data if damage == "flip" else data[:middle])
    with pytest.raises(DataError, match="damaged or not the archive"):
        get(Source(uri=f"file://{path}"), tmp_path)
    assert not (tmp_path / "work/source").exists()


def test_a_name_that_is_no_utf8_keeps_its_bytes(tmp_path: Path) -> None:
    write_tar(tmp_path / "code.tar.gz", {"données.py".encode("latin-1").decode(errors="surrogateescape"): b"x"})
    code = get(Source(uri=f"file://{tmp_path}/code.tar.gz"), tmp_path)
    assert [os.fsencode(path.name) for path in code.folder.iterdir()] == ["données.py".encode("latin-1")]
    line = f"{hashlib.sha256(b'x').hexdigest()}  ".encode() + "données.py\n".encode("latin-1")
    assert code.sha256 == hashlib.sha256(line).hexdigest()


def test_a_tar_that_lies_of_itself_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "code.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("train.py")
        info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "many"}
        tar.addfile(info)
    with pytest.raises(DataError, match="damaged or not the archive"):
        get(Source(uri=f"file://{tmp_path}/code.tar"), tmp_path)


def test_damage_far_inside_a_bz2_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "code.tar.bz2"
    write_tar(path, {f"{n}.py": random.Random(n).randbytes(900_000) for n in range(3)}, mode="w:bz2")
    data = bytearray(path.read_bytes())
    data[len(data) * 2 // 3] ^= 0xFF  # behind the first block, which is read when the archive is opened
    path.write_bytes(data)
    with pytest.raises(DataError, match="damaged or not the archive"):
        get(Source(uri=f"file://{path}"), tmp_path)


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        (
            Source(config_map=LocalRef(name="code")),
            ConfigError,
            "configMap 'code' isn't in the job's namespace, or holds no files",
        ),
        (Source(uri="file:///no/such.py", sha256=None), NotFound, "such.py does not exist"),
    ],
)
def test_a_source_that_is_not_there_is_named(
    tmp_path: Path, source: Source, error: type[TrainerError], words: str
) -> None:
    (tmp_path / "mount").mkdir()
    with pytest.raises(error, match=f"^spec.trainer.source: .*{words}"):
        get(source, tmp_path, tmp_path / "mount")


def test_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "code.tar.gz")
    with pytest.raises(DataError, match="but sha256 says 0000"):
        get(Source(uri=f"file://{tmp_path}/code.tar.gz", sha256="0" * 64), tmp_path)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two commits, v1 and main; read through git's file transport, which the trainer never allows."""
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "file")
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "t")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "t@example.com")
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    for content in ("1", "2"):
        (folder / "train.py").write_text(content)
        git(folder, "add", "train.py")
        git(folder, "commit", "--quiet", "-m", content)
        if content == "1":
            git(folder, "tag", "v1")
    return folder


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def git_source(repository: Path, ref: str) -> Source:
    unchecked = GitSource.model_construct(url=f"file://{repository}", ref=ref)  # the API takes https:// only
    return Source.model_construct(git=unchecked)


@pytest.mark.parametrize("length", [None, 40, 8])
@pytest.mark.parametrize(("ref", "content"), [("v1", b"1"), ("main", b"2")])
def test_a_git_reference_is_checked_out(
    tmp_path: Path, repository: Path, ref: str, content: bytes, length: int | None
) -> None:
    commit = git(repository, "rev-parse", ref)
    code = get(git_source(repository, commit[:length] if length else ref), tmp_path)
    assert files_in(code.folder) == {"train.py": content}
    assert code.commit == commit


@pytest.mark.parametrize("ref", ["nope", "abcdef12", "0" * 40])
def test_a_reference_that_is_not_there_is_named(tmp_path: Path, repository: Path, ref: str) -> None:
    with pytest.raises(ConfigError, match=rf"git.ref '{ref}' is not in .* name a branch, a tag or a commit"):
        get(git_source(repository, ref), tmp_path)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("fatal: could not read Username for 'https://x': terminal prompts disabled", ConfigError),
        ("fatal: repository 'https://x/' not found", ConfigError),
        ("fatal: unable to access: The requested URL returned error: 403", ConfigError),
        ("fatal: unable to access: The requested URL returned error: 503", StorageUnavailable),
        ("fatal: unable to access: Could not resolve host: x", Unreachable),
        ("fatal: unable to access: Failed to connect to x port 443", Unreachable),
        ("fatal: something else", ConfigError),
    ],
)
def test_what_git_says_is_understood(said: str, error: type[TrainerError]) -> None:
    result = source_module._git_error(GitSource(url="https://x/y", ref="main"), said)
    assert type(result) is error
    assert "https://x/y" in str(result)


def test_another_protocol_than_https_is_never_spoken(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GIT_ALLOW_PROTOCOL")
    with pytest.raises(ConfigError, match="transport 'file' not allowed"):
        get(git_source(repository, "main"), tmp_path)
