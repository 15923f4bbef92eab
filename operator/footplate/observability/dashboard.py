"""A dashboard, its variables and its annotations, and how Grafana reads them."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

from footplate.observability.panel import DATASOURCE, Row

TAG = "footplate"
SCHEMA_VERSION = 36
"""Of Grafana 10; newer ones migrate it when they load it."""


@dataclass(frozen=True, slots=True)
class Variable:
    """What a reader chooses above the panels: the values of a label."""

    name: str
    label: str
    """Of the series."""
    series: str
    """Selects the series, with variables before this one."""
    several: bool = False
    """More than one value may be chosen, or all; PromQL asks for it by `=~`."""

    def to_json(self) -> dict[str, Any]:
        """The variable as a dashboard has it."""
        query = f"label_values({self.series}, {self.label})"
        every = {"multi": True, "includeAll": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"}}
        return {
            "type": "query",
            "name": self.name,
            "datasource": DATASOURCE,
            "query": {"query": query, "refId": self.name},
            "refresh": 2,
            "sort": 1,
            **(every if self.several else {}),
        }


@dataclass(frozen=True, slots=True)
class Annotation:
    """Moments that are marked in all panels."""

    name: str
    promql: str
    """Each sample is a moment."""
    text: str
    """What is said of it, with `{{label}}` for labels."""

    def to_json(self) -> dict[str, Any]:
        """The annotation as a dashboard has it."""
        return {
            "name": self.name,
            "datasource": DATASOURCE,
            "enable": True,
            "iconColor": "orange",
            "expr": self.promql,
            "titleFormat": self.text,
        }


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard."""

    name: str
    """Of its file, and after `footplate-` its address in Grafana."""
    title: str
    description: str
    rows: Sequence[Row]
    _: KW_ONLY
    since: str
    """How far back it looks at first, as `6h`."""
    variables: Sequence[Variable] = ()
    annotations: Sequence[Annotation] = ()

    def to_json(self) -> dict[str, Any]:
        """The dashboard as Grafana imports it."""
        return {
            "uid": f"footplate-{self.name}",
            "title": self.title,
            "description": self.description,
            "tags": [TAG],
            "schemaVersion": SCHEMA_VERSION,
            "editable": True,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": f"now-{self.since}", "to": "now"},
            "templating": {"list": [_choose_datasource(), *(each.to_json() for each in self.variables)]},
            "annotations": {"list": [each.to_json() for each in self.annotations]},
            "links": [_link_others()],
            "panels": self._place(),
        }

    def _place(self) -> list[dict[str, Any]]:
        placed: list[dict[str, Any]] = []
        for row in self.rows:
            bottom = max((each["gridPos"]["y"] + each["gridPos"]["h"] for each in placed), default=0)
            placed += row.to_json(len(placed) + 1, bottom)
        return placed


def _choose_datasource() -> dict[str, Any]:
    return {"type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus", "refresh": 1}


def _link_others() -> dict[str, Any]:
    return {
        "type": "dashboards",
        "title": "Footplate",
        "tags": [TAG],
        "asDropdown": True,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "icon": "external link",
        "tooltip": "",
        "url": "",
    }
