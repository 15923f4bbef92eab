"""Python packages that are installed for a job before it starts: how one is written, and where it may come from."""

import re
from typing import Annotated, Literal

from pydantic import Field

from footplate.api.patterns import HTTP_PATTERN, REQUIREMENT_PATTERN
from footplate.api.types import Model, Rule, at

MAX_REQUIREMENTS = 256
WHEELS = "wheels"
"""The input channel whose files packages are installed from: then no index is asked."""

FROM_FILES = f"files of the source or of the input channel {WHEELS!r}"
"""Where packages may always come from, in words."""

Requirement = Annotated[str, Field(min_length=1, max_length=1024, pattern=REQUIREMENT_PATTERN)]
_Index = Annotated[str, Field(max_length=1024, pattern=HTTP_PATTERN)]

_ADDRESS = re.compile(r"""[A-Za-z][A-Za-z0-9+.-]{0,31}://[^\s;,'"]+""")
"""Of a scheme the end will do: a line that is one long word is looked through in no time."""
_CREDENTIALS = re.compile(r"(?<=//)[^/@\s]*@")


class PipPolicy(Model):
    """Whether packages that a job requires are installed before it starts, and from where."""

    install: Literal["fromIndex", "fromFiles", "never"] = Field(
        default="fromIndex",
        description="fromIndex: from a package index, or from files; fromFiles: from files alone, those of the source "
        f"or of the input channel {WHEELS}, so that no network is needed; never: jobs have what is in their image.",
    )
    indexes: Annotated[list[_Index], Field(max_length=16)] = Field(
        default=[],
        description="Package indexes, the only ones that are asked. Default: as the image and PIP_* in trainer.env "
        "say.",
        examples=[["https://pypi.example.com/simple/"]],
    )

    rules = (
        Rule(
            "!has(self.indexes) || self.indexes.size() == 0 || !has(self.install) || self.install == 'fromIndex'",
            "indexes go with install: fromIndex; leave one of them out",
            lambda it: not at(it, "indexes") or at(it, "install") in (None, "fromIndex"),
            "indexes",
        ),
    )

    @property
    def is_closed(self) -> bool:
        """True where packages come from named places alone."""
        return self.install != "fromIndex" or bool(self.indexes)

    def refused_address(self, line: str) -> str:
        """The first address in a line of requirements that leads elsewhere than this policy allows, without
        credentials; empty where there is none.
        """
        if not self.is_closed:
            return ""
        found = [address for address in _ADDRESS.findall(line) if not self._allows(address)]
        return _CREDENTIALS.sub("", found[0]) if found else ""

    @property
    def places(self) -> str:
        """Where packages may come from, for a message."""
        return f"{', '.join(self.indexes)}, or {FROM_FILES}" if self.indexes else FROM_FILES

    def _allows(self, address: str) -> bool:
        """A prefix ends where a path segment does, and credentials are the user's business."""
        plain = _CREDENTIALS.sub("", address).rstrip("/") + "/"
        inside = plain.startswith(tuple(index.rstrip("/") + "/" for index in self.indexes))
        return plain.startswith("file:///") or (inside and "/../" not in plain)
