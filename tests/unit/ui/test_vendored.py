"""What other people wrote is here unchanged, with its licence."""

import hashlib
from pathlib import Path

import footplate.ui

VENDOR = Path(footplate.ui.__file__).parent / "static" / "vendor"


def test_every_file_is_the_one_that_was_taken() -> None:
    lines = [line.split() for line in (VENDOR / "VENDORED").read_text().splitlines() if line.count("  ") == 3]
    assert {name: digest for digest, name, _, _ in lines} == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.iterdir() if path.name != "VENDORED"
    }


def test_every_package_has_its_licence() -> None:
    lines = [line.split() for line in (VENDOR / "VENDORED").read_text().splitlines() if line.count("  ") == 3]
    packages = {package for _, _, package, _ in lines}
    licensed = {package for _, _, package, origin in lines if origin == "LICENSE"}
    assert packages == licensed
    assert len(packages) == 2
