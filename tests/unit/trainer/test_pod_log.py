"""What of a log is kept."""

import gzip
from pathlib import Path

from footplate_trainer.supervisor.pod_log import PodLog


def packed(log: PodLog, folder: Path, secrets: tuple[bytes, ...] = ()) -> bytes:
    log.pack(folder / "packed.gz", secrets)
    return gzip.decompress((folder / "packed.gz").read_bytes())


def test_a_short_log_is_kept_as_it_is_but_for_secrets(tmp_path: Path) -> None:
    log = PodLog(tmp_path / "log")
    log.write(b"epoch 1\n")
    log.write(b"token abcdef\n")
    assert packed(log, tmp_path, (b"abcdef",)) == b"epoch 1\ntoken ***\n"


def test_of_a_long_log_the_first_and_the_last_lines_are_kept_and_the_rest_counted(tmp_path: Path) -> None:
    log = PodLog(tmp_path / "log", head_bytes=50, tail_bytes=50)
    lines = [b"line %04d\n" % number for number in range(100)]
    for line in lines:
        log.write(line)
    first, gap, *last = packed(log, tmp_path).partition(b"... 850 bytes of the log were left out here ...\n")
    assert first == b"".join(lines[:5])
    assert gap
    assert last == [b"".join(lines[90:])]
    assert sum(path.stat().st_size for path in (tmp_path / "log").iterdir()) <= 150


def test_a_disk_that_is_full_ends_the_keeping_alone(tmp_path: Path) -> None:
    log = PodLog(tmp_path / "log", head_bytes=10)
    log.write(b"epoch 1\n")
    (tmp_path / "log/last").mkdir()  # where the next part can't be written
    log.write(b"epoch 2\n")
    log.write(b"epoch 3\n")
    (tmp_path / "log/last").rmdir()
    assert packed(log, tmp_path) == b"epoch 1\n"
