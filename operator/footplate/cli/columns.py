"""Tables as kubectl writes them: aligned columns of plain text, in colour on a terminal.

Thousands of rows are ordinary, for which rich's own tables take seconds.
"""

from collections.abc import Iterator, Mapping, Sequence

from rich.text import Text

PHASE_STYLES = {
    "Pending": "cyan",
    "Queued": "cyan",
    "Starting": "blue",
    "Running": "green",
    "Restarting": "yellow",
    "Suspending": "magenta",
    "Suspended": "magenta",
    "Succeeded": "bold green",
    "Failed": "bold red",
}
GAP = 3
Row = Sequence[str]


def columns(head: Row, rows: Sequence[Row]) -> Iterator[str]:
    """The lines of a table; cells are plain text of one line, and only the last column is as wide as it likes."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    form = "".join(f"{{:<{width + GAP}}}" for width in widths[:-1]) + "{}"
    for row in (head, *rows):
        yield form.format(*row).rstrip()


def table(head: Row, rows: Sequence[Row], *, styles: Mapping[str, str] = PHASE_STYLES) -> Text:
    """The same for a terminal: its head bold, and the words of `styles` in their colours."""
    lines = list(columns(head, rows))
    text = Text("\n".join(lines))
    text.stylize("bold", 0, len(lines[0]))
    for word, style in styles.items():
        text.highlight_regex(rf"(?<= ){word}(?=\s|$)", style)
    return text
