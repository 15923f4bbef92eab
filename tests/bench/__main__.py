"""Runs every benchmark of this folder, one after the other: `make bench`. Each prints JSON lines."""

import subprocess
import sys
from pathlib import Path


def main() -> None:
    """Runs them all; stops at the first that fails."""
    for script in sorted(Path(__file__).parent.glob("bench_*.py")):
        print(f"# {script.name}", flush=True)
        subprocess.run([sys.executable, script], check=True)


if __name__ == "__main__":
    main()
