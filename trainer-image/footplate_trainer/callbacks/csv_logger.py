"""A callback that writes each epoch's values to a file."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from footplate_trainer.callbacks.callback import Callback, Logs
from footplate_trainer.callbacks.files import in_output
from footplate_trainer.rank.context import context

MISSING = "NA"


class CSVLogger(Callback):
    """Writes a line an epoch, on rank 0. After a restart the file is as if there had been none, wherever it was.

    Args:
        filename: the file; a relative one lies in `context().output_dir`, and so belongs to the output.
        separator: between two values.
        append: adds to a file that is there, instead of writing it anew.
    """

    def __init__(self, filename: str | Path, separator: str = ",", append: bool = False) -> None:
        self.filename = filename
        self.separator = separator
        self.append = append
        self._text = ""
        self._keys: list[str] = []

    def state_dict(self) -> dict[str, Any]:
        """All that was written."""
        return {"text": self._text, "keys": self._keys}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Writes again what was written then."""
        self._text, self._keys = state["text"], list(state["keys"])
        self._write("w", self._text)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begins the file."""
        self._text, self._keys = "", []
        path = in_output(self.filename)
        if self.append and context().is_main and path.exists():
            with path.open(newline="") as file:
                self._text = file.read()
        else:
            self._write("w", "")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Writes a line, and before the first the names: those of this epoch's values, and of its validation's, though
        it may have had none.
        """
        logs = logs or {}
        if not self._keys:
            names = sorted(logs)
            validated = any(name.startswith("val_") for name in names)
            self._keys = names if validated else [*names, *(f"val_{name}" for name in names)]
        lines = io.StringIO(newline="")
        writer = csv.writer(lines, delimiter=self.separator)
        if not self._text:
            writer.writerow(["epoch", *self._keys])
        writer.writerow([epoch, *(logs.get(name, MISSING) for name in self._keys)])
        self._text += lines.getvalue()
        self._write("a", lines.getvalue())

    def _write(self, mode: str, text: str) -> None:
        if context().is_main:
            path = in_output(self.filename)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open(mode, newline="") as file:
                file.write(text)
