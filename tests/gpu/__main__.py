"""Checks the trainer on this machine's GPU, in less than eight minutes:

    PYTHONPATH=tests python -m gpu [--tiny]

`--tiny` runs the same checks at small sizes on the CPU: what it shows is that the checks themselves work.
"""

import sys
import tempfile
from pathlib import Path

import torch

from gpu.checks import run_all
from gpu.setting import full, tiny


def main() -> int:
    """Prints a line a check."""
    small = "--tiny" in sys.argv[1:]
    if not small and not torch.cuda.is_available():
        print("no CUDA device here: nothing was checked")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        setting = (tiny if small else full)(Path(folder))
        failed = run_all(setting, lambda line: print(line, flush=True))
    print(f"FAILED: {', '.join(failed)}" if failed else "all hold")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
