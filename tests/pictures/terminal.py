"""What `footplate` prints of the jobs: `terminal.svg` of one job's status, and the blocks in docs/cli.md."""

import re
from pathlib import Path

from rich.console import Console

from footplate.cli.screen import job_screen
from footplate.cli.status import look
from footplate.client import Client
from laptop import Laptop

_WIDTH = 112
_FONTS = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)
"""Rich names those of another host."""
_BLOCK = re.compile(
    r"(<!-- made by `make pictures` -->\n```console\n\$ footplate (?P<command>[^\n]+)\n).*?```", re.DOTALL
)


def take(laptop: Laptop, folder: Path) -> None:
    """The picture and, in the page of docs beside the folder, what each command of its blocks prints."""
    with Client(kubeconfig=str(laptop.home / "kubeconfig")) as client, Path("/dev/null").open("w") as nowhere:
        console = Console(record=True, width=_WIDTH, file=nowhere, force_terminal=True, color_system="truecolor")
        console.print(job_screen(look(client.get("digits")), width=_WIDTH))
    svg = _FONTS.sub("", console.export_svg(title="footplate status digits"))
    (folder / "terminal.svg").write_text(svg)
    page = folder.parent / "cli.md"
    if page.exists():
        page.write_text(
            _BLOCK.sub(lambda found: f"{found[1]}{_printed(laptop, found['command'])}```", page.read_text())
        )


def _printed(laptop: Laptop, command: str) -> str:
    lines = laptop.footplate(*command.split()).rstrip().splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines)
