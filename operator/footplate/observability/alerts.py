"""The alerts. Each has a section of its name in docs/alerts.md, and cases where it fires and where it doesn't in
tests/unit/observability/test_alerts.py.

Gauges of the operator are read where the leader serves them: a standby has its own, older, view. Alerts about one job
carry `namespace` and `trainingjob`, so that they can be sent to whom it belongs.
"""

from footplate.observability.alert import Alert

LED = "and on (instance) footplate_leader == 1"
JOB = "namespace, trainingjob"

OPERATOR = (
    Alert(
        "FootplateNoLeader",
        measures="(sum by (namespace) (footplate_leader) or absent(footplate_leader) - 1)",
        fires="< 1",
        lasting="2m",
        severity="critical",
        summary="No Footplate operator acts",
        description=(
            "No operator holds the Lease, or none is scraped. Gangs go on training, but nothing is started, "
            "restarted or finished. Look at the operator's pods and at the Lease footplate-operator in its "
            "namespace."
        ),
    ),
    Alert(
        "FootplateTwoLeaders",
        measures="sum by (namespace) (footplate_leader)",
        fires="> 1",
        lasting="2m",
        severity="critical",
        summary="{{ $value }} Footplate operators act at the same time",
        description=(
            "In {{ $labels.namespace }} {{ $value }} operators believe that they lead. Run one replica where "
            "leaderElection is false; else compare the holder of the Lease footplate-operator with the pods, and "
            "delete the others."
        ),
    ),
    Alert(
        "FootplateApiServerSilent",
        measures="max by (instance, resource) (footplate_reflector_last_contact_age_seconds)",
        fires="> 120",
        lasting="1m",
        severity="critical",
        summary="The operator hears nothing of {{ $labels.resource }}",
        description=(
            "For {{ $value | humanizeDuration }} the API server is away from {{ $labels.instance }}, or a watch is "
            "stuck: what happens to {{ $labels.resource }} isn't seen. At 180 s /readyz fails. Look at the API "
            "server and at the network policies between the two; deleting the operator's pod is harmless."
        ),
    ),
    Alert(
        "FootplateReconcileErrors",
        measures='sum(increase(footplate_reconciliations_total{result="error"}[10m]))',
        fires="> 0",
        lasting="5m",
        severity="warning",
        summary="The operator fails on a job",
        description=(
            "{{ $value | humanize }} looks at a job ended with an exception within 10 minutes. That is a bug: the "
            "operator's log has the job and a traceback under reconcile_failed. Other jobs aren't affected."
        ),
    ),
    Alert(
        "FootplateQueueSlow",
        measures="histogram_quantile(0.99, sum by (le) (rate(footplate_workqueue_wait_seconds_bucket[5m])))",
        fires="> 5",
        lasting="10m",
        severity="warning",
        summary="Jobs wait {{ $value | humanizeDuration }} for the operator",
        description=(
            "1 look in 100 waits longer than {{ $value | humanizeDuration }} for a worker. Give the operator more "
            "CPU, or find out why the API server is slow: footplate_api_request_duration_seconds has its latency."
        ),
    ),
    Alert(
        "FootplateApiRequestsFail",
        measures=(
            'sum(rate(footplate_api_requests_total{code=~"429|5xx|lost"}[5m])) '
            "/ sum(rate(footplate_api_requests_total[5m]))"
        ),
        fires="> 0.1",
        lasting="10m",
        severity="warning",
        summary="{{ $value | humanizePercentage }} of the operator's requests fail",
        description=(
            "The API server answers {{ $value | humanizePercentage }} of the operator's requests with 429 or 5xx, "
            "or not at all; each is tried again. Look at the API server, its webhooks and its priority levels."
        ),
    ),
    Alert(
        "FootplateRightsMissing",
        measures="max by (verb, resource) (footplate_rights_missing)",
        fires="> 0",
        lasting="5m",
        severity="critical",
        summary="The operator may not {{ $labels.verb }} {{ $labels.resource }}",
        description=(
            "RBAC refuses the operator to {{ $labels.verb }} {{ $labels.resource }}, as of {{ $value }} namespaces or "
            "of the cluster, and jobs that need it stand still. /readyz and the log under right_missing name it: "
            "grant it as the chart does, and the operator goes on by itself."
        ),
    ),
    Alert(
        "FootplateProgressUnreachable",
        measures=(
            'sum(rate(footplate_progress_polls_total{result="unreachable"}[10m])) '
            "/ sum(rate(footplate_progress_polls_total[10m]))"
        ),
        fires="> 0.2",
        lasting="30m",
        severity="warning",
        summary="The operator can't reach {{ $value | humanizePercentage }} of the running jobs",
        description=(
            "Jobs run, but show no progress, and hangs may go unseen: {{ $value | humanizePercentage }} of the "
            "looks at port 9464 of rank 0's pods fail. Allow the operator's namespace there in the NetworkPolicies "
            "of the tenants."
        ),
    ),
)

JOBS = (
    Alert(
        "FootplatePodsCreatedSlowly",
        measures="histogram_quantile(0.9, sum by (le) (rate(footplate_pods_created_duration_seconds_bucket[30m])))",
        fires="> 60",
        lasting="10m",
        severity="warning",
        summary="It takes {{ $value | humanizeDuration }} until a job has its pods",
        description=(
            "1 job in 10 waits longer than {{ $value | humanizeDuration }} for the last of its pods to be created. "
            "Look for quotas and slow admission webhooks: the jobs' messages have the API server's words."
        ),
    ),
    Alert(
        "FootplateStartsSlowly",
        measures=(
            'histogram_quantile(0.9, sum by (le) (rate(footplate_phase_duration_seconds_bucket{phase="starting"}[1h])))'
        ),
        fires="> 900",
        lasting="10m",
        severity="warning",
        summary="Pods take {{ $value | humanizeDuration }} to start",
        description=(
            "1 gang in 10 is Starting for longer than {{ $value | humanizeDuration }}, with its accelerators held. "
            "Pull images beforehand or make them smaller, and see in the jobs' messages which volumes can't be "
            "mounted."
        ),
    ),
    Alert(
        "FootplateJobsWait",
        measures=f'sum by (namespace) (footplate_jobs{{phase="Queued"}} {LED})',
        fires="> 0",
        lasting="6h",
        severity="info",
        summary="{{ $value }} jobs wait for nodes in {{ $labels.namespace }}",
        description=(
            "There have been jobs without nodes in {{ $labels.namespace }} for 6 hours on end, now {{ $value }}. "
            "Their messages have the scheduler's words: add nodes, raise the quota, or ask for less."
        ),
    ),
    Alert(
        "FootplateNodesDisrupt",
        measures='sum(increase(footplate_gang_restarts_total{class="infrastructure"}[1h]))',
        fires="> 10",
        lasting="5m",
        severity="warning",
        summary="{{ $value | humanize }} gangs were restarted in an hour for no fault of theirs",
        description=(
            "{{ $value | humanize }} gangs lost a node or a pod within an hour. If nobody drains nodes just now, "
            "one is broken: status.failure of the jobs names it; cordon it."
        ),
    ),
    Alert(
        "FootplateGangsHang",
        measures='sum(increase(footplate_gang_restarts_total{class="hang"}[1h]))',
        fires="> 3",
        lasting="5m",
        severity="warning",
        summary="{{ $value | humanize }} gangs hung within an hour",
        description=(
            "{{ $value | humanize }} gangs made no step for as long as their hang timeout, and were restarted. "
            "Where their nodes have something in common it is the network or a device; where they have an image in "
            "common, the code."
        ),
    ),
    Alert(
        "FootplateGoodputLow",
        measures=f"min by (namespace) (footplate_goodput_ratio {LED})",
        fires="< 0.5",
        lasting="1h",
        severity="info",
        summary="{{ $labels.namespace }} uses {{ $value | humanizePercentage }} of what it holds",
        description=(
            "Only {{ $value | humanizePercentage }} of what the running jobs of {{ $labels.namespace }} have held "
            "went into steps that they stand on. Look for long starts, restarts, and checkpoints that are too far "
            "apart."
        ),
    ),
)

TRAINING = (
    Alert(
        "FootplateTrainingStuck",
        measures=(
            f"max by ({JOB}) (footplate_trainer_last_step_age_seconds) "
            f"/ clamp_min(20 * max by ({JOB}) (footplate_trainer_step_seconds), 900)"
        ),
        fires="> 1",
        lasting="5m",
        severity="warning",
        summary="{{ $labels.namespace }}/{{ $labels.trainingjob }} makes no steps",
        description=(
            "{{ $labels.namespace }}/{{ $labels.trainingjob }} has made no step for 15 minutes and for 20 times as "
            "long as one takes. An evaluation or a large checkpoint may take so long; else read the ranks' logs: "
            "after runPolicy.hangTimeoutSeconds it is restarted by itself."
        ),
    ),
    Alert(
        "FootplateCheckpointOld",
        measures=f"max by ({JOB}) (footplate_trainer_checkpoint_age_seconds)",
        fires="> 3600",
        lasting="10m",
        severity="warning",
        summary="{{ $labels.namespace }}/{{ $labels.trainingjob }} would lose {{ $value | humanizeDuration }}",
        description=(
            "The newest complete checkpoint of {{ $labels.namespace }}/{{ $labels.trainingjob }} is {{ $value | "
            "humanizeDuration }} old: what was learned since is lost with the next node. Its status.notes say "
            "whether storage refuses; if not, checkpoint.every asks for too few."
        ),
    ),
    Alert(
        "FootplateDataSlow",
        measures=f"avg by ({JOB}) (footplate_trainer_data_wait_ratio)",
        fires="> 0.5",
        lasting="30m",
        severity="info",
        summary="{{ $labels.namespace }}/{{ $labels.trainingjob }} waits for data",
        description=(
            "{{ $labels.namespace }}/{{ $labels.trainingjob }} spends {{ $value | humanizePercentage }} of its "
            "steps waiting for data. Give the loader more workers and its pods more CPU, or fetch the input before "
            "training."
        ),
    ),
    Alert(
        "FootplateAcceleratorsIdle",
        measures=f"avg by ({JOB}) (footplate_trainer_device_utilization_ratio)",
        fires="< 0.1",
        lasting="30m",
        severity="info",
        summary="The accelerators of {{ $labels.namespace }}/{{ $labels.trainingjob }} are idle",
        description=(
            "The accelerators of {{ $labels.namespace }}/{{ $labels.trainingjob }} have been {{ $value | "
            "humanizePercentage }} busy for half an hour. Look whether it waits for data, evaluates on the CPU or "
            "hangs; suspend it until that is mended."
        ),
    ),
)

GROUPS = {"footplate-operator": OPERATOR, "footplate-jobs": JOBS, "footplate-training": TRAINING}
ALERTS = tuple(alert for alerts in GROUPS.values() for alert in alerts)
