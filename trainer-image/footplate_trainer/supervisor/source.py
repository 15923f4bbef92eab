"""Brings the user's code to the node: `spec.trainer.source` becomes a folder, the working directory of all ranks.

The folder is made aside and renamed, so that it is there whole or not at all. Archives are not trusted: nothing is
written outside the folder, and no link leads out of it.
"""

import gzip
import hashlib
import lzma
import os
import re
import shutil
import subprocess
import tarfile
import time
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import structlog

from footplate.api.trainer import GitSource, Source
from footplate.contract import CODE_FOLDER
from footplate_trainer.errors import ConfigError, DataError, StorageUnavailable, Unreachable
from footplate_trainer.storage.authorities import bundle_with_public
from footplate_trainer.storage.contact import Contact
from footplate_trainer.storage.errors import AUTHORITY
from footplate_trainer.storage.fetch import check_space, disk_errors, download, listing_digest, naming
from footplate_trainer.storage.store import Store, split_uri
from footplate_trainer.supervisor.packages import Installed
from footplate_trainer.supervisor.pod import Pod

ARCHIVES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar", ".zip")
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, ValueError)
"""What the standard library raises for archives with damaged bytes."""
_ENCRYPTED = 0x1 | 0x2000
"""Flags of a member of a zip: its bytes, or its headers."""
GIT_PATIENCE_SECONDS = 180
GIT_PAUSE_SECONDS = 5

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Code:
    """The user's code on this node."""

    folder: Path
    sha256: str | None
    """SHA-256 of the sorted lines '<sha256>  <relative path>\\n'; None where the job has no source."""
    commit: str | None = None
    """Commit hash, where the code comes from git."""
    installed: Installed | None = None
    """What was installed for it, if anything was."""


def fetch_code(pod: Pod) -> Code:
    """The code of a pod's job, as `fetch_source` brings it."""
    return fetch_source(
        pod.spec.trainer.source,
        config_map_dir=pod.source_dir,
        work_dir=pod.work_dir,
        endpoint=pod.spec.storage.endpoint,
    )


def fetch_source(source: Source | None, *, config_map_dir: Path | None, work_dir: Path, endpoint: str | None) -> Code:
    """Puts the user's code into `<work_dir>/source`; an empty folder where the job has no source.

    Raises:
        DataError, NotFound: nothing is there, or not what the checksum says.
        ConfigError, Denied: the job's URI, reference or archive won't do.
        StorageUnavailable: storage or the git server stayed away for minutes.
    """
    folder, unfinished = work_dir / CODE_FOLDER, work_dir / f".{CODE_FOLDER}"
    for old in (folder, unfinished):
        shutil.rmtree(old, ignore_errors=True)
    unfinished.mkdir(parents=True)
    commit = None
    with naming("spec.trainer.source"), disk_errors(folder):
        if source is not None and source.config_map is not None:
            _copy_config_map(source.config_map.name, config_map_dir, unfinished)
        elif source is not None and source.uri is not None:
            _fetch_uri(source.uri, unfinished, sha256=source.sha256, endpoint=endpoint)
        elif source is not None and source.git is not None:
            commit = _clone(source.git, unfinished)
    unfinished.rename(folder)
    digest = None if source is None else digest_folder(folder)
    if digest:
        log.info("source fetched", sha256=digest, commit=commit)
    return Code(folder, digest, commit)


def digest_folder(folder: Path) -> str:
    """One checksum for all files of a folder, git's own left out."""
    files = (path for path in folder.rglob("*") if path.is_file() and ".git" not in path.relative_to(folder).parts)
    return listing_digest(
        {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    )


def _copy_config_map(name: str, mount: Path | None, folder: Path) -> None:
    # A ConfigMap's volume holds links into a hidden folder, ..data, by which Kubernetes swaps it.
    files = [path for path in mount.iterdir() if not path.name.startswith("..") and path.is_file()] if mount else []
    if not files:
        raise ConfigError(
            f"configMap {name!r} isn't in the job's namespace, or holds no files; "
            "create it with a key for each file of the code, as `kubectl create configmap --from-file` does"
        )
    for path in files:
        shutil.copyfile(path, folder / path.name)


def _fetch_uri(uri: str, folder: Path, *, sha256: str | None, endpoint: str | None) -> None:
    parent, name = split_uri(uri)
    store = Store.open(parent, endpoint=endpoint)
    item = store.head(name)
    check_space(folder, item.size)
    download(store, item, folder, sha256=sha256)
    if name.endswith(ARCHIVES):
        archive = folder.with_name(f".{name}")
        (folder / name).rename(archive)
        _unpack(archive, folder, uri)
        archive.unlink()


def _unpack(archive: Path, folder: Path, uri: str) -> None:
    try:
        if archive.suffix == ".zip":
            _unpack_zip(archive, folder, uri)
        else:
            _unpack_tar(archive, folder, uri)
    except (*DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's; bz2 has only this class for its own
            raise
        raise DataError(f"{uri} is damaged or not the archive that its name says: {error}") from error


def _unpack_tar(archive: Path, folder: Path, uri: str) -> None:
    """By hand: the standard library's own filter for what is unsafe is younger than Debian 12's Python."""
    with tarfile.open(archive) as bundle:
        for member in bundle:
            _check_inside(member.name, uri)
            path = folder / member.name
            if member.isdir():
                path.mkdir(parents=True, exist_ok=True)
                continue
            content = bundle.extractfile(member) if member.isfile() else None
            if content is None:
                raise ConfigError(
                    f"{uri} isn't safe to unpack: {member.name!r} is a link or a device; pack plain files"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                shutil.copyfileobj(content, file)
            path.chmod(member.mode & 0o755 | 0o600)
        while bundle.fileobj is not None and bundle.fileobj.read(1 << 20):
            pass  # up to the checksum, which lies behind the last member


def _unpack_zip(archive: Path, folder: Path, uri: str) -> None:
    with zipfile.ZipFile(archive) as bundle:
        for member in bundle.infolist():
            _check_inside(member.filename, uri)
            if member.flag_bits & _ENCRYPTED:
                raise ConfigError(
                    f"{uri} can't be unpacked: {member.filename!r} is encrypted; pack the code without a password, and "
                    "keep what is secret in a Secret"
                )
            try:
                bundle.extract(member, folder)
            except NotImplementedError as error:
                raise ConfigError(
                    f"{uri} can't be unpacked: {member.filename!r} is compressed by method {member.compress_type} "
                    f"({error}), which Windows takes for files over 2 GB (Deflate64) and some packers for all; pack "
                    "it by the usual method, deflate, or as .tar.gz"
                ) from error


def _check_inside(name: str, uri: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ConfigError(f"{uri} isn't safe to unpack: {name!r} is outside; pack it from inside the code's folder")


def _clone(git: GitSource, folder: Path) -> str:
    """Checks a reference out and returns its commit hash."""
    _git(git, folder, "init", "--quiet")
    try:
        _git_patiently(git, folder, "fetch", "--quiet", "--depth=1", "--", git.url, git.ref)
        _git(git, folder, "checkout", "--quiet", "FETCH_HEAD")
    except _NoSuchRef:
        if not re.fullmatch(r"[0-9a-f]{4,39}", git.ref):
            raise
        # Servers don't look abbreviated hashes up: take the whole history and look here.
        _git_patiently(git, folder, "fetch", "--quiet", "--", git.url, "+refs/*:refs/remotes/origin/*")
        _git(git, folder, "checkout", "--quiet", git.ref)
    return _git(git, folder, "rev-parse", "HEAD").strip()


class _NoSuchRef(ConfigError):
    """The repository has no such branch, tag or commit."""


def _git_patiently(git: GitSource, folder: Path, *arguments: str) -> None:
    patience, url = GIT_PATIENCE_SECONDS, f"git.url {git.url}"
    contact = Contact(git.url, who="the git server", way_out="correct git.url")
    began = time.monotonic()
    while True:
        try:
            with contact.call(url, patience=patience):
                _git(git, folder, *arguments)
            return
        except StorageUnavailable as error:
            worth = contact.patience(error, patience)
            if time.monotonic() > began + worth:
                contact.give_up(error, url, patience=worth)
            log.warning("git server is not available; trying again", error=str(error))
            time.sleep(GIT_PAUSE_SECONDS)


def _git(git: GitSource, folder: Path, *arguments: str) -> str:
    environment = {"GIT_ALLOW_PROTOCOL": "https", **os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    if (bundle := bundle_with_public(folder.parent)) is not None:
        environment["GIT_SSL_CAINFO"] = str(bundle)
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    except FileNotFoundError:
        raise ConfigError("source.git needs git in trainer.image, which has none; install it there") from None
    if done.returncode == 0:
        return done.stdout
    raise _git_error(git, done.stderr)


def _git_error(git: GitSource, stderr: str) -> ConfigError | StorageUnavailable:
    said = " ".join(stderr.split())[:300]
    if re.search(r"couldn't find remote ref|not our ref|did not match any|upload-pack: not our", stderr):
        return _NoSuchRef(f"git.ref {git.ref!r} is not in {git.url}; name a branch, a tag or a commit that is pushed")
    if re.search(r"[Aa]uthentication failed|could not read Username|not found|error: 40[134]", stderr):
        return ConfigError(f"git.url {git.url} can't be read ({said}); correct it, or make the repository readable")
    if re.search(r"SSL certificate problem|server certificate verification failed|certificate verify failed", stderr):
        return Unreachable(
            f"git.url {git.url}: its certificate isn't trusted ({said}); {AUTHORITY}",
            why=f"its certificate isn't trusted: {said}",
            at=git.url,
            way_out=AUTHORITY,
            untrusted=True,
        )
    if re.search(r"Could not resolve|Failed to connect", stderr):
        return Unreachable(f"git.url {git.url} is not available ({said})", why=said, at=git.url)
    if re.search(r"timed out|error: 5\d\d|early EOF|hung up|reset", stderr):
        return StorageUnavailable(f"git.url {git.url} is not available ({said})")
    return ConfigError(f"git.url {git.url} at {git.ref!r} can't be fetched ({said})")
