"""The dashboards are what Grafana reads, and ask for what is served and documented."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError

import grafana_schema
from documents import DOCS, names_in, read_table
from footplate.observability.__main__ import main
from footplate.observability.alerts import ALERTS
from footplate.observability.dashboards import DASHBOARDS
from footplate.observability.panel import COLUMNS
from footplate.policy.usage import TELL_EVERY_SECONDS

FILES = DOCS.parent / "helm/footplate/files"
EACH = pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda each: each.name)
QUERIES = [query.promql for each in DASHBOARDS for row in each.rows for panel in row.panels for query in panel.queries]


def read(name: str) -> dict[str, Any]:
    dashboard: dict[str, Any] = json.loads((FILES / f"dashboards/{name}.json").read_text())
    return dashboard


def test_files_are_what_python_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", str(FILES)]) == 0, capsys.readouterr().err
    assert {path.stem for path in (FILES / "dashboards").iterdir()} == {each.name for each in DASHBOARDS}


def test_check_finds_drift(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 0
    (tmp_path / "alerts.yaml").write_text("groups: []\n")
    assert main(["--check", str(tmp_path)]) == 1
    assert "alerts.yaml isn't what footplate.observability says: run make dashboards" in capsys.readouterr().err


@EACH
def test_grafana_s_schema_is_kept(dashboard: Any) -> None:
    grafana_schema.Dashboard.model_validate_json((FILES / f"dashboards/{dashboard.name}.json").read_text())


def test_what_is_told_every_ten_minutes_is_asked_for_over_many_of_them() -> None:
    """Over a minute it is nothing, and once in ten minutes ten times too much."""
    windows = {
        window for query in QUERIES if "accelerator_seconds" in query for window in re.findall(r"\[(.+?)\]", query)
    }
    assert windows == {"1h", "$__range"}
    assert 5 * TELL_EVERY_SECONDS <= 3600


def test_the_schema_finds_what_grafana_does_not_know() -> None:
    raw = read("job")
    raw["panels"][1]["fieldConfig"]["defaults"]["units"] = "s"
    with pytest.raises(ValidationError, match="units"):
        grafana_schema.Dashboard.model_validate(raw)


@EACH
def test_no_panel_lies_on_another(dashboard: Any) -> None:
    panels = read(dashboard.name)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] + place["w"] <= COLUMNS for place in places)
    for a, b in combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        below = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or below, (a, b)


@EACH
def test_every_variable_that_is_asked_for_can_be_chosen(dashboard: Any) -> None:
    text = json.dumps(read(dashboard.name))
    known = {each.name for each in dashboard.variables}
    assert set(re.findall(r"\$(?!__)(\w+)", text)) == known
    assert {"datasource"} == set(re.findall(r"\$\{(\w+)\}", text))


@EACH
def test_every_label_of_a_legend_is_one_of_the_query(dashboard: Any) -> None:
    """Where the query says by which labels it sums."""
    for query in (query for row in dashboard.rows for panel in row.panels for query in panel.queries):
        for by in re.findall(r"^(?:sum|max|min|topk\(10, sum|bottomk\(10, min) by \(([^)]*)\)", query.promql):
            assert set(re.findall(r"{{(\w+)}}", query.legend)) <= set(by.split(", ")), query


def test_only_metrics_that_are_documented_are_asked_for() -> None:
    known = {
        names_in(row[0])[0]
        for mark in ("operator", "trainer")
        for row in read_table("operations.md", f"metrics: {mark}")
    }
    queries = [*QUERIES, *(alert.expr for alert in ALERTS)]
    asked = {name.removesuffix("_bucket") for text in queries for name in re.findall(r"footplate_\w+", text)}
    assert asked <= known


def test_what_is_written_of_gpus_is_named_as_a_trainer_names_it() -> None:
    """tests/integration/test_prometheus.py scrapes it, in place of a node with devices."""
    written = (Path(__file__).parents[2] / "integration/written/devices.prom").read_text()
    documented = {
        names_in(name)[0]: (kind, set(names_in(labels)))
        for name, kind, labels, _ in read_table("operations.md", "metrics: trainer")
    }
    for family in text_string_to_metric_families(written):
        labels = {label for sample in family.samples for label in sample.labels}
        assert documented[family.name] == (family.type, labels)


def plain(promql: str) -> str:
    """A query without what the dashboard's reader chooses."""
    for variable, window in (("$__rate_interval", "5m"), ("$__range", "7d")):
        promql = promql.replace(variable, window)
    return re.sub(r"\w+=~?\"\$\w+\",?", "", promql).replace(",}", "}").replace("{}", "")


def test_documented_queries_are_those_of_the_dashboards() -> None:
    documented = {names_in(promql)[0] for _, promql in read_table("operations.md", "prometheus: queries")}
    assert documented
    assert documented <= {plain(query) for query in QUERIES}


def test_documented_alerts_are_those_that_are_shipped() -> None:
    documented = [(names_in(name)[0], *rest) for name, *rest, _ in read_table("alerts.md", "alerts")]
    assert documented == [(alert.name, alert.severity, alert.lasting) for alert in ALERTS]


def test_every_alert_has_its_runbook() -> None:
    sections = re.split(r"^## ", (DOCS / "alerts.md").read_text(), flags=re.MULTILINE)[1:]
    runbooks = {title: text for title, _, text in (section.partition("\n") for section in sections)}
    assert list(runbooks) == [alert.name for alert in ALERTS]
    for alert in ALERTS:
        text = runbooks[alert.name]
        assert text.startswith(f"\n```promql\n{alert.expr}\n```\n"), alert.name
        assert len(text) - len(alert.expr) > 250, alert.name
