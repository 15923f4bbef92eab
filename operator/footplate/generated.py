"""Files that are made from Python, and the check in `make check` that none of them is out of date."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def write_files(texts: Mapping[str, str], arguments: Sequence[str] | None, *, module: str, target: str) -> int:
    """Writes each text, by its path below each folder that the arguments name. Returns 1 where --check finds one that
    isn't up to date. `module` and `target`: what makes the files, for Python and for make.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description="Writes files that are made from Python.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file isn't up to date")
    parser.add_argument("folders", nargs="+", type=Path, metavar="folder", help="each gets all the files")
    options = parser.parse_args(arguments)
    files = {folder / name: text for folder in options.folders for name, text in texts.items()}
    stale = [path for path, text in files.items() if not path.is_file() or path.read_text() != text]
    if options.check:
        sys.stderr.writelines(f"{path} isn't what {module} says: run make {target}\n" for path in stale)
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path])
    return 0
