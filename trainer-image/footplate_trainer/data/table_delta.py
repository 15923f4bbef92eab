"""Delta Lake tables: a folder of Parquet files whose log says which of them hold the table's rows now. Whoever read all
of them would see rows that were deleted or replaced.
"""

from os.path import normpath
from pathlib import Path

from footplate_trainer.errors import DataError
from footplate_trainer.storage.delta import LOG, files_of, names_of, open_table

HARMLESS = {"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"}
"""Features for readers that don't change what a Parquet file says of its rows."""


def is_delta(folder: Path) -> bool:
    """Whether the folder is a Delta table, or holds one.

    Raises:
        DataError: it holds one deeper down, where it can't be told from what lies beside it.
    """
    if (folder / LOG).is_dir():
        return True
    if inside := sorted(folder.glob(f"*/{LOG}")):
        raise DataError(
            f"{inside[0].parent} is a Delta table in a folder of something else; let the input's uri end in "
            f"/{inside[0].parent.name}/"
        )
    return False


def find_delta_files(folder: Path, *, said: list[str]) -> list[Path]:
    """The files that hold the newest version's rows, in a fixed order; which version that is, is said.

    Raises:
        DataError: the table can't be read, has features by which a file isn't what it says, or lacks a file.
        ConfigError: the image has no deltalake.
    """
    table = open_table(folder)
    try:
        features = set(table.protocol().reader_features or ()) - HARMLESS
        mapping = table.metadata().configuration.get("delta.columnMapping.mode", "none")
    except Exception as error:  # as in `open_table`
        raise DataError(f"input {folder.name}: its Delta table can't be read: {error}") from None
    if mapping != "none":
        features.add("columnMapping")
    if features:
        raise DataError(
            f"input {folder.name}: its Delta table uses {', '.join(sorted(features))}, which isn't read here; write it "
            "anew without, or take its rows as Parquet"
        )
    files = sorted(map(_found, files_of(table)))
    if outside := [path for path in files if not Path(normpath(path)).is_relative_to(normpath(folder))]:
        raise DataError(
            f"input {folder.name}: its Delta table's log leads out of its folder, to {outside[0]}; let the table hold "
            "its own files"
        )
    if missing := [path for path in files if not path.is_file()]:
        raise DataError(
            f"input {folder.name}: {missing[0].name} is in its Delta table's log, but isn't there; restore it"
        )
    if not files:
        raise DataError(f"input {folder.name}: version {table.version()} of its Delta table has no rows")
    said.append(f"input {folder.name}: version {table.version()} of a Delta table, {len(files):,} files")
    return files


def _found(path: Path) -> Path:
    names = map(Path, names_of(str(path)))
    return next((name for name in names if name.exists()), path)
