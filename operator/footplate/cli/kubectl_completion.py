"""`kubectl_complete-footplate`: kubectl runs it to complete what follows `kubectl footplate`.

It gets the words and prints what may come last, then `:4`, by which cobra offers no files in their place.
"""

import contextlib
import io
import os
import shlex
import sys

import typer

from footplate.cli.main import app

NO_FILES = ":4"


def complete() -> None:
    """Answers as the shell's own completion of `footplate` does."""
    words = sys.argv[1:] or [""]
    os.environ |= {
        "_FOOTPLATE_COMPLETE": "complete_bash",
        "COMP_WORDS": shlex.join(["footplate", *words]),
        "COMP_CWORD": str(len(words)),
    }
    said = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(said):
        app(prog_name="footplate")
    typer.echo("\n".join([*said.getvalue().split(), NO_FILES]))


if __name__ == "__main__":
    complete()
