"""A script that asks for what `python script.py` gives it: its path, the root logger, itself in spawned processes."""

import logging
import multiprocessing
import os
import pickle
import sys
from pathlib import Path


class Settings:
    """What only this script knows."""


def work(settings: Settings) -> None:
    """Runs in a process that has imported this script anew."""
    print("spawned with", type(settings).__name__, flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG, stream=sys.stdout, format="mine: %(message)s")
    logging.getLogger("any").debug("a line of the program's")
    process = multiprocessing.get_context("spawn").Process(target=work, args=(Settings(),))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert isinstance(pickle.loads(pickle.dumps(Settings())), Settings)
    os.chdir("/")
    assert Path(__file__).is_file()
    logging.getLogger("footplate_trainer").warning("a line of ours")
