"""How long `spec.data` takes for a table, beside the time that pyarrow alone needs to read it. Prints a JSON line for
CSV, and one for Parquet.

    python tests/bench/bench_data.py [ROWS]

20 columns: 8 of fractions, 6 of whole numbers, 6 of texts; 4 of them are checked. Wall and CPU seconds, the best of
some rounds. Goal: to check, divide and describe 1,000,000 rows takes at most 3 times as long as to read them.
"""

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from footplate.api.data import Data
from footplate_trainer.preparation.cells import few_values
from footplate_trainer.preparation.checking import check
from footplate_trainer.preparation.hashing import count_doubles, row_hashes
from footplate_trainer.preparation.preparing import prepare
from footplate_trainer.preparation.profiling import make_profile
from footplate_trainer.preparation.splitting import divide

ROUNDS = 3
LABELS = ("negative", "neutral", "positive")
ASKED = Data.model_validate(
    {
        "split": {"train": 0.7, "validation": 0.2, "test": 0.1, "by": "stratified", "column": "label"},
        "checks": {
            "minRows": 1000,
            "maxDuplicates": 0.01,
            "columns": [
                {"name": "f0", "type": "number", "constraints": {"minimum": -100, "required": True}},
                {"name": "i3", "type": "integer", "constraints": {"minimum": 0, "maximum": 1_000_000}},
                {"name": "s3", "type": "string", "constraints": {"pattern": "value [0-9]+", "maxLength": 20}},
                {"name": "label", "constraints": {"enum": list(LABELS)}},
            ],
        },
        "profile": True,
    }
)


def make_table(rows: int) -> pa.Table:
    random = np.random.default_rng(0)
    columns: dict[str, Any] = {f"f{place}": np.round(random.normal(size=rows), 4) for place in range(8)}
    columns |= {f"i{place}": random.integers(0, 10 ** (place + 1), rows) for place in range(6)}
    for place in range(5):
        words = pa.array([f"value {word}" for word in range(5 * (place + 1))])
        columns[f"s{place}"] = words.take(pa.array(random.integers(0, len(words), rows)))
    return pa.table(columns | {"label": pa.array(LABELS).take(pa.array(random.integers(0, 3, rows)))})


def best(work: Callable[[], object]) -> dict[str, float]:
    found = []
    for _ in range(ROUNDS):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        found.append((time.perf_counter() - wall, time.process_time() - cpu))
    wall, cpu = (min(each) for each in zip(*found, strict=True))
    return {"seconds": round(wall, 3), "cpuSeconds": round(cpu, 3)}


def look(table: pa.Table) -> None:
    """What is done with the rows once they are read."""
    assert ASKED.checks is not None
    assert ASKED.split is not None

    few = cache(lambda name: few_values(table.column(name)))
    hashes = cache(lambda: row_hashes(table, few))

    def duplicates() -> int:
        return count_doubles(hashes(), np.zeros(table.num_rows, np.uint8))[0]

    assert check(table, ASKED.checks, lambda row: ("", row), duplicates) == []
    codes = divide(ASKED.split, table.num_rows, table["label"], str)
    make_profile(table, codes, few=few, hashes=hashes(), label="label")


def measure(kind: str, path: Path, read: Callable[[], pa.Table], work: Path) -> None:
    def whole() -> None:
        shutil.rmtree(work, ignore_errors=True)
        prepare(ASKED, {"train": path.parent}, work, digests={}, label="label", title="bench")

    by_pyarrow, looked, all_of_it = best(read), best(partial(look, read())), best(whole)
    ratio = {name: round(looked[name] / by_pyarrow[name], 2) for name in by_pyarrow}
    print(
        json.dumps(
            {
                "bench": "data", "kind": kind, "pyarrowReads": by_pyarrow, "checkedDividedDescribed": looked,
                "timesPyarrow": ratio, "withReadingAndWriting": all_of_it,
            }
        ),
        flush=True,
    )  # fmt: skip


def main() -> None:
    table = make_table(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
    with tempfile.TemporaryDirectory() as root:
        for kind in ("csv", "parquet"):
            path = Path(root, kind, f"data.{kind}")
            path.parent.mkdir()
            if kind == "csv":
                pa.csv.write_csv(table, path)
                measure(kind, path, partial(pa.csv.read_csv, path), Path(root, "out"))
            else:
                pa.parquet.write_table(table, path)
                measure(kind, path, partial(pa.parquet.read_table, path), Path(root, "out"))


if __name__ == "__main__":
    main()
