"""What the operator tells Prometheus. Label values come from closed sets, with every child made in advance, so that a
rate over a counter never misses its first increment and no tenant's text becomes a series; but for namespaces, of which
`job_metrics` shows so many and no more.
"""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from footplate.machinery.job_metrics import JobMetrics

RESULTS = ("settled", "changed", "refused", "conflict", "retry", "error", "gone", "left_alone")
"""How one reconciliation ended."""

REFLECTED = ("pods", "nodes", "namespaces", "priorityclasses")
GROUPS = ("podgroups", "workloads")
CREATED_KINDS = ("ConfigMap", "Service", "Pod", "PodGroup")
POLL_RESULTS = ("ok", "unreachable", "invalid")
EVENT_RESULTS = ("written", "filtered", "dropped", "failed")

_CODES = ("2xx", "404", "409", "410", "422", "429", "4xx", "5xx", "lost")
_CALLS = (
    *((verb, "pods") for verb in ("list", "watch", "create", "delete", "get")),
    *((verb, "nodes") for verb in ("list", "watch", "get")),
    *((verb, resource) for verb in ("list", "watch") for resource in ("namespaces", "priorityclasses")),
    *((verb, "trainingjobs") for verb in ("list", "get", "patch", "delete")),
    *(("list", resource) for resource in ("trainingruntimes", "clustertrainingruntimes", "trainingpolicies")),
    *((verb, "configmaps") for verb in ("get", "create", "delete")),
    *((verb, "services") for verb in ("get", "create", "delete")),
    *((verb, "leases") for verb in ("get", "create", "update")),
    *((verb, "events") for verb in ("create", "patch")),
    *((verb, "podgroups") for verb in ("get", "list", "watch", "create", "delete")),
    *((verb, "workloads") for verb in ("list", "watch", "delete")),
    ("get", "discovery"),
)
_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


def code_class(status: int | None) -> str:
    """The `code` label of an API answer; None is an answer that never came."""
    if status is None:
        return "lost"
    exact = str(status)
    return exact if exact in _CODES else f"{status // 100}xx"


class Metrics:
    """The operator's metrics in a registry of their own. Not a global: tests run several operators in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._reconciliation_metrics()
        self._queue_metrics()
        self._api_metrics()
        self._job_metrics()
        self._create_children()

    def _reconciliation_metrics(self) -> None:
        self.reconciliations = Counter(
            "footplate_reconciliations",
            "Reconciliations by how they ended.",
            ["result"],
            registry=self.registry,
        )
        self.reconcile_seconds = Histogram(
            "footplate_reconcile_duration_seconds",
            "Time of one reconciliation, with its API calls.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.plan_seconds = Histogram(
            "footplate_plan_duration_seconds",
            "Time of the pure decision inside a reconciliation.",
            buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25),
            registry=self.registry,
        )

    def _queue_metrics(self) -> None:
        self.queue_depth = Gauge("footplate_workqueue_depth", "Keys that wait for a worker.", registry=self.registry)
        self.queue_seconds = Histogram(
            "footplate_workqueue_wait_seconds",
            "Time a key waited for a worker.",
            buckets=_SECONDS,
            registry=self.registry,
        )

    def _api_metrics(self) -> None:
        self.api_requests = Counter(
            "footplate_api_requests",
            "Requests to the API server, each attempt counted; code 'lost' is no answer.",
            ["verb", "resource", "code"],
            registry=self.registry,
        )
        self.api_seconds = Histogram(
            "footplate_api_request_duration_seconds",
            "Latency of API requests, without watches.",
            ["verb", "resource"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.relists = Counter(
            "footplate_reflector_lists",
            "Full lists by reflectors.",
            ["resource"],
            registry=self.registry,
        )
        self.event_age = Gauge(
            "footplate_reflector_last_contact_age_seconds",
            "Age of the last event, bookmark or list of a reflector.",
            ["resource"],
            registry=self.registry,
        )

    def _job_metrics(self) -> None:
        self.jobs = JobMetrics(self.registry)
        self.leader = Gauge("footplate_leader", "1 while this replica holds the lease.", registry=self.registry)
        self.created = Counter(
            "footplate_objects_created", "Objects created, by kind.", ["kind"], registry=self.registry
        )
        self.polls = Counter(
            "footplate_progress_polls",
            "Looks at a running job's progress.",
            ["result"],
            registry=self.registry,
        )
        self.events = Counter(
            "footplate_events", "Kubernetes events, by what became of them.", ["result"], registry=self.registry
        )

    def _create_children(self) -> None:
        _precreate(self.reconciliations, RESULTS)
        _precreate(self.relists, REFLECTED + GROUPS)
        _precreate(self.event_age, REFLECTED)
        _precreate(self.created, CREATED_KINDS)
        _precreate(self.polls, POLL_RESULTS)
        _precreate(self.events, EVENT_RESULTS)
        for verb, resource in _CALLS:
            self.api_seconds.labels(verb, resource)
            for code in _CODES:
                self.api_requests.labels(verb, resource, code)


def _precreate(metric: Counter | Gauge, values: Iterable[str]) -> None:
    for value in values:
        metric.labels(value)
