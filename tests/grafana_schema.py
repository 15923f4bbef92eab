"""The part of Grafana's dashboard schema that our dashboards use, strict: a key that Grafana doesn't know is an error.

Written after the types that Grafana publishes as grafana-foundation-sdk (Apache-2.0), release v10.1.x: its models
`dashboard`, `prometheus`, `timeseries`, `stat`, `table` and `common`.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


class DataSourceRef(Strict):
    type: Literal["prometheus"]
    uid: Literal["${datasource}"]


class GridPos(Strict):
    x: int = Field(ge=0, lt=24)
    y: int = Field(ge=0)
    w: int = Field(gt=0, le=24)
    h: int = Field(gt=0)


class Target(Strict):
    """prometheus.Dataquery."""

    ref_id: str
    datasource: DataSourceRef
    expr: str = Field(min_length=1)
    legend_format: str
    instant: bool
    range: bool
    format: Literal["time_series", "table", "heatmap"] = "time_series"


class Stacking(Strict):
    mode: Literal["none", "normal", "percent"]
    group: str


class GraphFieldConfig(Strict):
    """common.GraphFieldConfig, the `custom` of a time series; empty for the others."""

    show_points: Literal["auto", "never", "always"] | None = None
    fill_opacity: int | None = Field(default=None, ge=0, le=100)
    span_nulls: bool | None = None
    stacking: Stacking | None = None


class FieldDefaults(Strict):
    unit: Literal["short", "s", "percentunit", "bytes", "watt", "ops", "reqps"]
    """Ids from grafana-data/src/valueFormats/categories.ts."""
    min: float | None = None
    custom: GraphFieldConfig


class Property(Strict):
    id: Literal["displayName", "unit"]
    value: str


class Matcher(Strict):
    id: Literal["byName"]
    options: str


class Override(Strict):
    matcher: Matcher
    properties: list[Property]


class FieldConfigSource(Strict):
    defaults: FieldDefaults
    overrides: list[Override]


class VizLegend(Strict):
    display_mode: Literal["list", "table", "hidden"]
    placement: Literal["bottom", "right"]
    show_legend: bool


class VizTooltip(Strict):
    mode: Literal["single", "multi", "none"]
    sort: Literal["asc", "desc", "none"]


class TimeSeriesOptions(Strict):
    legend: VizLegend
    tooltip: VizTooltip


class ReduceDataOptions(Strict):
    calcs: list[Literal["lastNotNull", "mean", "max", "sum"]]
    fields: str
    values: bool


class StatOptions(Strict):
    reduce_options: ReduceDataOptions
    color_mode: Literal["value", "background", "background_solid", "none"]
    graph_mode: Literal["none", "line", "area"]
    text_mode: Literal["auto", "value", "value_and_name", "name", "none"]
    orientation: Literal["auto", "vertical", "horizontal"]


class TableOptions(Strict):
    show_header: bool


class Transformation(Strict):
    id: Literal["merge", "organize"]
    options: dict[str, Any]


class _Panel(Strict):
    id: int = Field(gt=0)
    title: str = Field(min_length=1)
    description: str
    datasource: DataSourceRef
    grid_pos: GridPos
    field_config: FieldConfigSource
    targets: list[Target] = Field(min_length=1)


class TimeSeriesPanel(_Panel):
    type: Literal["timeseries"]
    options: TimeSeriesOptions


class StatPanel(_Panel):
    type: Literal["stat"]
    options: StatOptions


class TablePanel(_Panel):
    type: Literal["table"]
    options: TableOptions
    transformations: list[Transformation]


class RowPanel(Strict):
    type: Literal["row"]
    id: int = Field(gt=0)
    title: str
    collapsed: Literal[False]
    grid_pos: GridPos
    panels: list[Any] = Field(max_length=0)


class VariableOption(Strict):
    text: str
    value: str


class VariableQuery(Strict):
    query: str
    ref_id: str


class Variable(Strict):
    """VariableModel."""

    type: Literal["query", "datasource"]
    name: str = Field(pattern=r"^\w+$")
    label: str | None = None
    datasource: DataSourceRef | None = None
    query: VariableQuery | Literal["prometheus"]
    refresh: Literal[1, 2]
    """When the dashboard is loaded; when the time range changes."""
    sort: Literal[0, 1, 2, 3, 4, 5, 6] = 0
    multi: bool = False
    include_all: bool = False
    all_value: str | None = None
    current: VariableOption | None = None


class AnnotationQuery(Strict):
    """Open for what its data source reads, which for Prometheus is `expr` and `titleFormat`."""

    name: str
    datasource: DataSourceRef
    enable: bool
    icon_color: str
    expr: str
    title_format: str


class DashboardLink(Strict):
    title: str
    type: Literal["link", "dashboards"]
    icon: str
    tooltip: str
    url: str
    tags: list[str]
    as_dropdown: bool
    target_blank: bool
    include_vars: bool
    keep_time: bool


class TimeRange(Strict):
    from_: str = Field(alias="from")
    to: str


class Templating(Strict):
    list: list[Variable]


class Annotations(Strict):
    list: list[AnnotationQuery]


class Dashboard(Strict):
    uid: str = Field(min_length=8, max_length=40)
    title: str
    description: str
    tags: list[str]
    schema_version: int = Field(ge=36)
    editable: bool
    graph_tooltip: Literal[0, 1, 2]
    refresh: str
    time: TimeRange
    templating: Templating
    annotations: Annotations
    links: list[DashboardLink]
    panels: list[Annotated[RowPanel | TimeSeriesPanel | StatPanel | TablePanel, Field(discriminator="type")]]
