"""How a text file of a table is written: compressed or not, in which encoding, and what parts its cells."""

import codecs
import csv
import io
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa

COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2"}
"""By how such a file begins: names don't always say it, or say it of what was unpacked on the way."""
BYTE_ORDER_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
UTF8, NOT_UTF8 = "utf8", "cp1252"
DELIMITERS = ",;\t|"
NOT_TEXT = {
    b"PK\3\4": "a zip archive or a spreadsheet; unpack it, or save it as CSV",
    b"PAR1": "a Parquet file; let its name end in .parquet",
    b"ARRO": "a Feather file; let its name end in .feather",
    b"\xfd7zX": "packed by xz; pack it by gzip or Zstandard, or not at all",
    b"\xff\xfe\0\0": "UTF-32; save it as UTF-8",
    b"\0\0\xfe\xff": "UTF-32; save it as UTF-8",
}
"""What else files hold that are named as texts, by how they begin."""
SAMPLE_BYTES = 2**16
SAMPLE_ROWS = 50
SHOWN = 100
"""Letters of a row that is wrong."""
CHUNK_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a reader must know of a text file before it reads."""

    encoding: str = UTF8
    delimiter: str = ","
    lines_before: int = 0
    """Lines above the header."""
    ends_in_quote: bool = False
    """Whether a quote is the file's last sign, line ends aside."""


def open_text(path: Path) -> pa.NativeFile:
    """The file's bytes, unpacked."""
    with path.open("rb") as file:
        beginning = file.read(4)
    compression = next((name for sign, name in COMPRESSIONS.items() if beginning.startswith(sign)), None)
    return pa.input_stream(str(path), compression=compression)


def find_dialect(path: Path) -> Dialect:
    """How the file is written, by its beginning; that it is UTF-8, by all of it.

    Raises:
        OSError: it can't be read or unpacked.
        ValueError: its beginning is no text, or isn't in the encoding that it seems to have.
    """
    with open_text(path) as file:
        sample = file.read(SAMPLE_BYTES)
        encoding, end = _find_encoding(sample, file)
    if kind := NOT_TEXT.get(sample[:4]):
        raise ValueError(f"it is {kind}")
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(sample)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is neither UTF-8, UTF-16 nor Windows-1252 ({error}); save it as UTF-8") from None
    first, _, rest = text.removeprefix("\ufeff").partition("\n")
    asked = first.strip().lower().removeprefix("sep=")
    if len(asked) == 1 and len(first.strip()) == len("sep=") + 1:  # Excel's word for the delimiter
        return Dialect(encoding, asked, 1, ends_in_quote=end)
    delimiter = _find_delimiter(f"{first}\n{rest}", whole=len(sample) < SAMPLE_BYTES)
    return Dialect(encoding, delimiter, ends_in_quote=end)


def _find_encoding(sample: bytes, rest: pa.NativeFile) -> tuple[str, bool]:
    """The encoding, and whether the file ends in a quote."""
    encoding = BYTE_ORDER_MARKS.get(sample[:2], UTF8)
    for other, zeros in (("utf-16-le", sample[1::2]), ("utf-16-be", sample[::2])):
        if encoding == UTF8 and 2 * zeros.count(0) > len(zeros):
            encoding = other
    decoder = codecs.getincrementaldecoder("utf-8")()
    end = b""
    while sample:
        end = end[-8:] + sample
        if encoding == UTF8:
            try:
                decoder.decode(sample)
            except UnicodeDecodeError:
                encoding = NOT_UTF8
        sample = rest.read(CHUNK_BYTES)
    return encoding, end.rstrip(b"\r\n\0").endswith(b'"')


def _find_delimiter(sample: str, *, whole: bool) -> str:
    """The one that cuts header and rows into equally many cells, and into the most of them."""
    widths = {delimiter: _widths(sample, delimiter, whole=whole) for delimiter in DELIMITERS}
    fitting = [delimiter for delimiter in DELIMITERS if len(set(widths[delimiter])) == 1 < widths[delimiter][0]]
    return max(fitting or DELIMITERS, key=lambda delimiter: next(iter(widths[delimiter]), 0))


def _widths(sample: str, delimiter: str, *, whole: bool) -> list[int]:
    """The number of cells in each of the first rows, the header first. A row that the sample cuts doesn't count."""
    rows = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)
    try:
        widths = [len(row) for row in islice(rows, SAMPLE_ROWS) if row]
    except csv.Error:
        return []
    return widths if whole or len(widths) == SAMPLE_ROWS or len(widths) < 2 else widths[:-1]


def find_ragged(path: Path, dialect: Dialect) -> str | None:
    """The first row that has more or fewer cells than the header, in words; None where there is none to be found."""
    with io.TextIOWrapper(open_text(path), encoding=dialect.encoding, errors="replace", newline="") as text:
        rows = csv.reader(islice(text, dialect.lines_before, None), delimiter=dialect.delimiter)
        try:
            wide = len(next(filter(None, rows)))
            for number, row in enumerate(filter(None, rows), 1):
                if len(row) != wide:
                    cells, shown = f"{len(row)} cell{'s' * (len(row) != 1)}", dialect.delimiter.join(row)[:SHOWN]
                    return (
                        f"row {number:,} has {cells}, where the header has {wide}: {shown!r}. A text with "
                        f"{dialect.delimiter!r} in it stands in quotes, and a quote that is opened must be closed"
                    )
        except (csv.Error, StopIteration):
            return None
    return None
