"""Panels of a dashboard, and how Grafana reads them.

The JSON is Grafana's classic dashboard model, which every version from 10 on imports; tests/grafana_schema.py has the
part of it that is used here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from string import ascii_uppercase
from typing import Any, Literal

COLUMNS = 24
"""Grafana's grid is so wide."""
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

_REDUCED: dict[str, Any] = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
_OPTIONS: Mapping[str, dict[str, Any]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {**_REDUCED, "colorMode": "none", "graphMode": "area", "textMode": "auto", "orientation": "auto"},
    "table": {"showHeader": True},
}


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and what its series, or its column of a table, are called."""

    promql: str
    legend: str = ""

    def to_json(self, reference: str, *, table: bool) -> dict[str, Any]:
        """The query as a panel has it; a table asks for the newest values alone."""
        shape = {"instant": True, "range": False, "format": "table"} if table else {"instant": False, "range": True}
        return {
            "refId": reference,
            "datasource": DATASOURCE,
            "expr": self.promql,
            "legendFormat": self.legend or "__auto",
            **shape,
        }


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of some queries."""

    title: str
    description: str
    """What it shows, and what a reader should make of it."""
    queries: Sequence[Query]
    _: KW_ONLY
    unit: str = "short"
    """Grafana's name of the unit: `s`, `percentunit`, `bytes`, …"""
    kind: Literal["timeseries", "stat", "table"] = "timeseries"
    width: int = 8
    stacked: bool = False
    units: Mapping[str, str] = field(default_factory=dict)
    """Units of a table's columns that have another."""

    @property
    def height(self) -> int:
        """In rows of the grid."""
        return 4 if self.kind == "stat" else 8

    def to_json(self, number: int, *, x: int, y: int) -> dict[str, Any]:
        """The panel at its place."""
        table = self.kind == "table"
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "fieldConfig": {"defaults": self._defaults(), "overrides": list(self._columns()) if table else []},
            "options": _OPTIONS[self.kind],
            "targets": [
                query.to_json(letter, table=table) for letter, query in zip(ascii_uppercase, self.queries, strict=False)
            ],
            **({"transformations": [{"id": "merge", "options": {}}, _without_time()]} if table else {}),
        }

    def _defaults(self) -> dict[str, Any]:
        custom: dict[str, Any] = {"showPoints": "never", "fillOpacity": 10, "spanNulls": False}
        if self.stacked:
            custom |= {"stacking": {"mode": "normal", "group": "A"}, "fillOpacity": 40}
        bounds = {"min": 0} if self.stacked or self.unit in ("percentunit", "bytes", "watt") else {}
        return {"unit": self.unit, **bounds, "custom": custom if self.kind == "timeseries" else {}}

    def _columns(self) -> Iterator[dict[str, Any]]:
        for letter, query in zip(ascii_uppercase, self.queries, strict=False):
            properties = [
                {"id": "displayName", "value": query.legend},
                {"id": "unit", "value": self.units.get(query.legend, self.unit)},
            ]
            yield {"matcher": {"id": "byName", "options": f"Value #{letter}"}, "properties": properties}


def _without_time() -> dict[str, Any]:
    return {"id": "organize", "options": {"excludeByName": {"Time": True}}}


@dataclass(frozen=True, slots=True)
class Row:
    """Panels below a headline."""

    title: str
    panels: Sequence[Panel]

    def to_json(self, number: int, y: int) -> list[dict[str, Any]]:
        """The headline, and its panels from left to right as far as they fit beside each other."""
        place = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
        placed: list[dict[str, Any]] = [
            {"id": number, "type": "row", "title": self.title, "collapsed": False, "gridPos": place, "panels": []}
        ]
        x, y, height = 0, y + 1, 0
        for panel in self.panels:
            if x + panel.width > COLUMNS:
                x, y, height = 0, y + height, 0
            placed.append(panel.to_json(number + len(placed), x=x, y=y))
            x, height = x + panel.width, max(height, panel.height)
        return placed
