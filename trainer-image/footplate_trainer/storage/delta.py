"""Delta Lake tables in storage: which version of one is the newest, and what one version is made of.

A table's folder holds the files of all its versions, and a log that says which of them are whose. Where the log ends
at a version, that one is the newest for every reader.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from footplate_trainer.errors import ConfigError, DataError

if TYPE_CHECKING:
    from deltalake import DeltaTable

LOG = "_delta_log"
_SIDECARS = f"{LOG}/_sidecars/"
_ENTRY = re.compile(rf"{LOG}/(?:\d{{20}}\.)?(\d{{20}})\.[^/]+")
"""A commit, its checksum, a checkpoint, or some commits in one: what ends with the version that is named last."""
_STATE = re.compile(rf"{LOG}/(\d{{20}})\.(?:json|checkpoint\.[^/]+)")
"""What makes a version one that can be read."""


def open_table(folder: Path) -> "DeltaTable":
    """The newest version that the folder's log tells of.

    Raises:
        ConfigError: the image has no deltalake.
        DataError: it can't be read.
    """
    try:
        import deltalake
    except ImportError:
        raise ConfigError(
            f"{folder.name} is a Delta table, and the image has no deltalake to read it with; use an image with "
            "footplate[delta]"
        ) from None
    try:
        return deltalake.DeltaTable(folder)
    except Exception as error:  # the library's own errors, and those of the runtime that it is made with
        raise DataError(f"input {folder.name}: its Delta table can't be read: {error}") from None


def files_of(table: "DeltaTable") -> list[Path]:
    """The files of a table on this machine's disk that hold its rows, in a fixed order, by the names in its log.

    Raises:
        DataError: its log can't be read.
    """
    try:
        return sorted(Path(uri.removeprefix("file://")) for uri in table.file_uris())
    except Exception as error:  # as in `open_table`
        raise DataError(f"its Delta table's log can't be read: {error}") from None


def names_of(name: str) -> tuple[str, str]:
    """How a file may really be called that the log calls so: writers don't agree on what is escaped."""
    return name, unquote(name)


def versions_of(keys: Iterable[str]) -> list[int]:
    """The versions that a table's log tells of, from the keys below its folder; none where that is no table."""
    return sorted({int(found[1]) for found in map(_STATE.fullmatch, keys) if found})


def check_version(version: int, known: list[int]) -> None:
    """Raises DataError where a table hasn't a version that is asked for."""
    if not known:
        raise DataError(
            f"version: {version} is for a Delta Lake table, and the uri holds none, which has a folder {LOG}/; correct "
            "uri, or leave version out"
        )
    if version not in known:
        raise DataError(
            f"version: {version} isn't in the Delta Lake table, whose log has {known[0]:,} to {known[-1]:,}; name one "
            "of these, or leave version out for the newest"
        )


def log_until(keys: Iterable[str], version: int) -> list[str]:
    """What of a table's log tells of the versions up to one."""
    entries = ((key, _ENTRY.fullmatch(key)) for key in keys)
    return [key for key, entry in entries if key.startswith(_SIDECARS) or (entry and int(entry[1]) <= version)]


def keys_of_rows(folder: Path, version: int, keys: Iterable[str]) -> list[str]:
    """Which keys below a table's folder in storage hold a version's rows.

    Args:
        folder: holds the log up to it.
        version: what the log ends with.
        keys: all that are there.

    Raises:
        DataError: the version can't be read, or lacks a file.
        ConfigError: the image has no deltalake.
    """
    there = set(keys)
    table = open_table(folder)
    if table.version() != version:
        raise DataError(f"version: {version} can't be put together from the table's log, only {table.version()}")
    found = []
    for path in files_of(table):
        named = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
        key = next((name for name in names_of(named) if name in there), None)
        if key is None:
            raise DataError(
                f"version: {version} of the Delta Lake table needs {named}, which isn't there any more, as after "
                "VACUUM; restore it, or name a newer version"
            )
        found.append(key)
    return found
