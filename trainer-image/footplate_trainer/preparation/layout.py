"""How the outcome of preparing data lies in a folder, on a node and beside the run's records.

    prepared.json      what `report.Prepared` says, written last
    profile.json       what the data are, and profile.html, where that is asked for or a check is broken
    problems.json      the checks that are broken; there is nothing else then but the profile
    files.jsonl        of a folder of pictures or texts, which file is in which part
    splits/train/…     the parts, as training finds them: of a table data.parquet, of JSON lines for
                       a recipe of texts data.jsonl, else links to the input's files

Needs no pyarrow.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from footplate.api.data import SPLITS
from footplate_trainer.errors import DataError
from footplate_trainer.preparation.report import Prepared, SplitFile

FOLDER = "data"
"""Of a run's records."""
PREPARED, PROFILE, PAGE, PROBLEMS = "prepared.json", "profile.json", "profile.html", "problems.json"
FILES, PARTS = "files.jsonl", "splits"
DIGESTS = "inputs.json"
"""SHA-256 of each channel, from who has fetched them."""
TOLD = (PROFILE, PAGE, PROBLEMS)
"""What is for people."""


def begin(folder: Path, digests: Mapping[str, str]) -> None:
    """Makes the folder, with the SHA-256 of each channel."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DIGESTS).write_text(json.dumps(dict(digests)))


def encode(prepared: Prepared) -> bytes:
    """What `prepared.json` holds."""
    return prepared.model_dump_json(by_alias=True, exclude_none=True, indent=1).encode()


def read(folder: Path) -> Prepared:
    """What was prepared."""
    return Prepared.model_validate_json((folder / PREPARED).read_bytes())


def record(folder: Path) -> list[SplitFile]:
    """The files that make up the parts, so that another node can have them."""
    listed = folder / FILES
    files = [listed] if listed.is_file() else sorted(each for each in (folder / PARTS).rglob("*") if each.is_file())
    return [_record(path, folder) for path in files]


def _record(path: Path, folder: Path) -> SplitFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return SplitFile(path=str(path.relative_to(folder)), size_bytes=path.stat().st_size, sha256=digest)


def link_files(folder: Path, inputs: Path) -> None:
    """Makes the parts of a folder of pictures or texts: links to the files of the input channels, which take no room.

    Raises:
        DataError: a file isn't there any more, or what lists them names others than theirs.
    """
    if not (folder / FILES).is_file():
        return
    with (folder / FILES).open(encoding="utf-8") as lines:
        for line in lines:
            _link(json.loads(line), inputs, folder / PARTS)


def _link(row: Mapping[str, str], inputs: Path, target: Path) -> None:
    named = [Path(row["file"]), Path(row["class"])]
    if row["split"] not in SPLITS or any(path.is_absolute() or ".." in path.parts for path in named):
        raise DataError(
            f"{FILES} beside the run's records leads out of the data's folders, so this run hasn't written it; delete "
            "that folder, and the data are prepared anew"
        )
    channel, *parts = Path(row["file"]).parts
    source = inputs.joinpath(channel, *parts)
    if not source.is_file():
        raise DataError(f"{row['file']} was there when the data were divided, and isn't any more; restore it")
    folders = [part for part in parts[:-1] if part != row["class"]]
    link = target / row["split"] / row["class"] / "-".join((*folders, source.name))
    link.parent.mkdir(parents=True, exist_ok=True)
    if not os.path.lexists(link):
        link.symlink_to(source)


def check_same(prepared: Prepared, found: Mapping[str, str]) -> None:
    """Holds the inputs, by their SHA-256, against those that were prepared.

    Raises:
        DataError: they have changed since.
    """
    changed = [name for name in found if prepared.inputs.get(name) != found[name]]
    if changed:
        raise DataError(
            f"spec.inputs[{changed[0]}]: the data have changed since this run has checked and divided them; restore "
            "them, or set runPolicy.restartNonce to begin a run with the new ones"
        )
