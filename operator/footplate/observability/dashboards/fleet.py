"""The whole cluster: what runs, what waits, what is lost, and how the operator does."""

from footplate.observability.alerts import LED
from footplate.observability.dashboard import Dashboard
from footplate.observability.panel import Panel, Query, Row


def quantile(share: float, histogram: str, by: str = "", window: str = "$__rate_interval") -> str:
    """PromQL: of a histogram of the operator the value that so large a share of the observations doesn't pass."""
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({histogram}_bucket[{window}])))"


def _median_and_tail(histogram: str, window: str = "$__rate_interval", tail: float = 0.99) -> tuple[Query, Query]:
    return (
        Query(quantile(0.5, histogram, window=window), "median"),
        Query(quantile(tail, histogram, window=window), f"{round(tail * 100)}th percentile"),
    )


NOW = Row(
    "Now",
    (
        Panel(
            "Running",
            "Jobs whose pods all run.",
            (Query(f'sum(footplate_jobs{{phase="Running"}} {LED})'),),
            kind="stat",
            width=4,
        ),
        Panel(
            "Waiting",
            "Jobs that have no nodes yet, or whose pods start.",
            (Query(f'sum(footplate_jobs{{phase=~"Pending|Queued|Starting|Restarting"}} {LED})'),),
            kind="stat",
            width=4,
        ),
        Panel(
            "Held",
            "Accelerators that jobs have held in the last hour, on average, by resource; nodes of jobs without any. "
            "Jobs that report no steps are told of every ten minutes.",
            (Query("sum by (resource) (rate(footplate_accelerator_seconds_total[1h]))", "{{resource}}"),),
            kind="stat",
            width=6,
        ),
        Panel(
            "Goodput",
            "Of what jobs held in this time, the share that went into steps that training stands on. Jobs that don't "
            "report their steps are left out.",
            (
                Query(
                    'sum by (resource) (increase(footplate_accelerator_seconds_total{outcome="productive"}[$__range])) '
                    "/ sum by (resource) "
                    '(increase(footplate_accelerator_seconds_total{outcome!="unknown"}[$__range]))',
                    "{{resource}}",
                ),
            ),
            unit="percentunit",
            kind="stat",
            width=5,
        ),
        Panel(
            "Restarts",
            "Gang restarts in this time, by who pays.",
            (Query("sum by (class) (increase(footplate_gang_restarts_total[$__range]))", "{{class}}"),),
            kind="stat",
            width=5,
        ),
    ),
)

JOBS = Row(
    "Jobs",
    (
        Panel(
            "Jobs by phase",
            "As the operator that acts sees them.",
            (Query(f"sum by (phase) (footplate_jobs {LED})", "{{phase}}"),),
            stacked=True,
        ),
        Panel(
            "Namespaces that run most",
            "The ten with the most running jobs.",
            (Query(f'topk(10, sum by (namespace) (footplate_jobs{{phase="Running"}} {LED}))', "{{namespace}}"),),
        ),
        Panel(
            "Restarts an hour",
            "By who pays. Infrastructure in many jobs at once is a node; hangs in many are the network.",
            (Query("sum by (class) (increase(footplate_gang_restarts_total[1h]))", "{{class}}"),),
        ),
        Panel(
            "Least goodput",
            "The ten namespaces whose running jobs make the least of what they hold.",
            (Query(f"bottomk(10, min by (namespace) (footplate_goodput_ratio {LED}))", "{{namespace}}"),),
            unit="percentunit",
        ),
        Panel(
            "Goodput of finished runs",
            "Of the last week, by what they held: accelerators, or nodes where they had none.",
            (
                Query(
                    'sum by (held) (increase(footplate_finished_run_seconds_total{outcome="productive"}[7d])) '
                    '/ sum by (held) (increase(footplate_finished_run_seconds_total{outcome!="unknown"}[7d]))',
                    "{{held}}",
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            "Time in a phase",
            "9 of 10 gangs that left the phase within the last hour had been in it for less.",
            (Query(quantile(0.9, "footplate_phase_duration_seconds", "phase", "1h"), "{{phase}}"),),
            unit="s",
        ),
        Panel(
            "From apply to all pods",
            "Of the jobs of the last hour. Long: quotas, slow webhooks, an operator that lacks CPU.",
            _median_and_tail("footplate_pods_created_duration_seconds", "1h", 0.9),
            unit="s",
        ),
        Panel(
            "From apply to the first step",
            "Of the jobs of the last hour: the queue, images, data and compilation together.",
            _median_and_tail("footplate_first_step_duration_seconds", "1h", 0.9),
            unit="s",
        ),
    ),
)

OPERATOR = Row(
    "Operator",
    (
        Panel(
            "Leaders",
            "1 in each namespace that has an operator.",
            (Query("sum by (namespace) (footplate_leader)", "{{namespace}}"),),
        ),
        Panel(
            "Looks at jobs",
            "By how they ended. error is a bug; conflict and retry are tried again.",
            (Query("sum by (result) (rate(footplate_reconciliations_total[$__rate_interval]))", "{{result}}"),),
            unit="ops",
            stacked=True,
        ),
        Panel(
            "Duration of a look",
            "With its calls to the API server, and the decision in it without them.",
            (
                *_median_and_tail("footplate_reconcile_duration_seconds"),
                Query(quantile(0.99, "footplate_plan_duration_seconds"), "99th percentile of the decision"),
            ),
            unit="s",
        ),
        Panel(
            "Jobs that wait for a worker",
            "More for long means too little CPU, or an API server that is slow.",
            (Query("max(footplate_workqueue_depth)", "jobs"),),
        ),
        Panel(
            "Wait for a worker",
            "How long a job waits until it is looked at.",
            _median_and_tail("footplate_workqueue_wait_seconds"),
            unit="s",
        ),
        Panel(
            "Requests to the API server",
            "By its answer; lost is none, or 401.",
            (Query("sum by (code) (rate(footplate_api_requests_total[$__rate_interval]))", "{{code}}"),),
            unit="reqps",
            stacked=True,
        ),
        Panel(
            "Latency of the API server",
            "99th percentile, without watches.",
            (
                Query(
                    quantile(0.99, "footplate_api_request_duration_seconds", "verb, resource"), "{{verb}} {{resource}}"
                ),
            ),
            unit="s",
        ),
        Panel(
            "Silence of the watches",
            "Since one last said anything. At 180 s the operator isn't ready any more.",
            (Query("max by (resource) (footplate_reflector_last_contact_age_seconds)", "{{resource}}"),),
            unit="s",
        ),
        Panel(
            "Full lists",
            "Of pods and nodes, in the last hour. Many: watches are cut, or the operator restarts.",
            (Query("sum by (resource) (increase(footplate_reflector_lists_total[1h]))", "{{resource}}"),),
        ),
        Panel(
            "Looks at running pods",
            "unreachable: a NetworkPolicy, or pods that hang.",
            (Query("sum by (result) (rate(footplate_progress_polls_total[$__rate_interval]))", "{{result}}"),),
            unit="ops",
            stacked=True,
        ),
        Panel(
            "Events",
            "By what became of them.",
            (Query("sum by (result) (rate(footplate_events_total[$__rate_interval]))", "{{result}}"),),
            unit="ops",
        ),
        Panel(
            "Objects created",
            "By kind.",
            (Query("sum by (kind) (rate(footplate_objects_created_total[$__rate_interval]))", "{{kind}}"),),
            unit="ops",
        ),
    ),
)

FLEET = Dashboard(
    "fleet",
    "Footplate: the fleet",
    "All TrainingJobs of the cluster, and the operator.",
    (NOW, JOBS, OPERATOR),
    since="6h",
)
