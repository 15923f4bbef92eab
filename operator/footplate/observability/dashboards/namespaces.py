"""Who holds what, and what became of it: for whoever pays, and for whoever is asked why so much is lost."""

from footplate.observability.alerts import LED
from footplate.observability.dashboard import Dashboard, Variable
from footplate.observability.panel import Panel, Query, Row

HELD = "footplate_accelerator_seconds_total"
CHOSEN = 'namespace=~"$namespace",resource=~"$resource"'
BY = "sum by (namespace, resource)"


def _hours(outcome: str = "") -> str:
    """PromQL: accelerator hours of this time, of one outcome or of all."""
    return f"{BY} (increase({HELD}{{{CHOSEN}{outcome}}}[$__range])) / 3600"


def _share(part: str, by: str, window: str) -> str:
    """PromQL: the share of an outcome in what is known."""
    sums = (f"{by} (increase({HELD}{{{CHOSEN},{outcome}}}[{window}]))" for outcome in (part, 'outcome!="unknown"'))
    return " / ".join(sums)


USE = Row(
    "Use",
    (
        Panel(
            "Chargeback",
            "Hours that accelerators (or nodes of jobs that have none) were held in this time, and what became of "
            "them. unknown: the code doesn't report its steps.",
            (
                Query(_hours(), "held, h"),
                Query(_hours(',outcome="productive"'), "productive, h"),
                Query(_hours(',outcome="lost"'), "lost, h"),
                Query(_hours(',outcome="unknown"'), "unknown, h"),
                Query(_share('outcome="productive"', BY, "$__range"), "goodput"),
            ),
            kind="table",
            width=24,
            units={"goodput": "percentunit"},
        ),
        Panel(
            "Held",
            "Accelerators by namespace, on average over the hour before.",
            (Query(f"{BY} (rate({HELD}{{{CHOSEN}}}[1h]))", "{{namespace}} {{resource}}"),),
            width=12,
            stacked=True,
        ),
        Panel(
            "Lost",
            "Accelerators that worked on steps which training no longer stands on, or on none, on average over the "
            "hour before.",
            (
                Query(
                    f'{BY} (rate({HELD}{{{CHOSEN},outcome="lost"}}[1h]))',
                    "{{namespace}} {{resource}}",
                ),
            ),
            width=12,
            stacked=True,
        ),
    ),
)

JOBS = Row(
    "Jobs",
    (
        Panel(
            "Jobs by phase",
            "Of the chosen namespaces.",
            (Query(f'sum by (phase) (footplate_jobs{{namespace=~"$namespace"}} {LED})', "{{phase}}"),),
            stacked=True,
        ),
        Panel(
            "Waiting for nodes",
            "Jobs that the scheduler finds no place for.",
            (
                Query(
                    f'sum by (namespace) (footplate_jobs{{namespace=~"$namespace",phase="Queued"}} {LED})',
                    "{{namespace}}",
                ),
            ),
            stacked=True,
        ),
        Panel(
            "Goodput of running jobs",
            "Since their runs began.",
            (Query(f'min by (namespace) (footplate_goodput_ratio{{namespace=~"$namespace"}} {LED})', "{{namespace}}"),),
            unit="percentunit",
        ),
        Panel(
            "Step of each job",
            "Steps of the jobs that run now.",
            (
                Query(
                    'max by (namespace, trainingjob) (footplate_trainer_step{namespace=~"$namespace"})',
                    "{{namespace}}/{{trainingjob}}",
                ),
            ),
            width=12,
        ),
        Panel(
            "Time to the end",
            "What the jobs that run now say of it.",
            (
                Query(
                    'max by (namespace, trainingjob) (footplate_trainer_eta_seconds{namespace=~"$namespace"})',
                    "{{namespace}}/{{trainingjob}}",
                ),
            ),
            unit="s",
            width=12,
        ),
    ),
)

NAMESPACES = Dashboard(
    "namespaces",
    "Footplate: namespaces and chargeback",
    "What each namespace holds, and what comes of it.",
    (USE, JOBS),
    since="7d",
    variables=(
        Variable("namespace", "namespace", HELD, several=True),
        Variable("resource", "resource", f'{HELD}{{namespace=~"$namespace"}}', several=True),
    ),
)
