"""What an alert is, and how Prometheus reads it."""

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

RUNBOOKS = "docs/alerts.md"
"""Where the runbooks are, from the repository's root; the chart puts an address in its place."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. What is measured and when that is too much stand apart, so that a test can see that there is something
    to measure where nothing is wrong.
    """

    name: str
    _: KW_ONLY
    measures: str
    """PromQL, which has an answer in a healthy cluster too."""
    fires: str
    """The comparison that makes it an alert, as `> 120`."""
    lasting: str
    """For how long that must hold, as `10m`."""
    severity: Literal["critical", "warning", "info"]
    """critical: somebody must look now; warning: today; info: it costs somebody time or money."""
    summary: str
    """One line, for the subject of a message."""
    description: str
    """What is the matter, and the way out."""

    @property
    def expr(self) -> str:
        """The rule's PromQL."""
        return f"{self.measures} {self.fires}"

    @property
    def runbook(self) -> str:
        """Where more is said of it."""
        return f"{RUNBOOKS}#{self.name.lower()}"

    def to_json(self) -> dict[str, Any]:
        """The rule as Prometheus has it."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.lasting,
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": self.runbook,
            },
        }


def to_group(name: str, alerts: Iterable[Alert]) -> dict[str, Any]:
    """A group of rules as Prometheus has it."""
    return {"name": name, "rules": [alert.to_json() for alert in alerts]}
