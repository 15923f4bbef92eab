"""One job: how far it is, what it learns, how fast it is and why, over all of its runs and attempts."""

from footplate.observability.dashboard import Annotation, Dashboard, Variable
from footplate.observability.panel import Panel, Query, Row

JOB = 'namespace="$namespace",trainingjob="$job"'
CHOSEN = f'{JOB},run=~"$run"'
ATTEMPT = "run {{run}}, attempt {{attempt}}"
NODE = "{{pod}}"


def _trainer(name: str, more: str = "") -> str:
    """PromQL: a metric of the chosen runs."""
    return f"footplate_trainer_{name}{{{CHOSEN}{more}}}"


def _newest(name: str) -> str:
    """PromQL: what the job says of itself, whichever of its pods says it."""
    return f"max by (namespace, trainingjob) ({_trainer(name)})"


def _quantiles(histogram: str, window: str) -> tuple[Query, ...]:
    """PromQL: median and tails of a histogram of all pods together."""
    rate = f"sum by (le) (rate({_trainer(f'{histogram}_bucket')}[{window}]))"
    return tuple(
        Query(f"histogram_quantile({share}, {rate})", legend)
        for share, legend in ((0.5, "median"), (0.9, "90th percentile"), (0.99, "99th percentile"))
    )


NOW = Row(
    "Now",
    (
        Panel(
            "Progress",
            "Steps that are done, of all.",
            (Query(f"{_newest('step')} / {_newest('steps')}", "done"),),
            unit="percentunit",
            kind="stat",
            width=6,
        ),
        Panel(
            "Time to the end",
            "From the duration of recent steps.",
            (Query(_newest("eta_seconds"), "left"),),
            unit="s",
            kind="stat",
            width=6,
        ),
        Panel(
            "Since the last step",
            "Much more than a step takes: an evaluation, a checkpoint, or a hang.",
            (Query(_newest("last_step_age_seconds"), "ago"),),
            unit="s",
            kind="stat",
            width=6,
        ),
        Panel(
            "Would be lost",
            "Since the newest complete checkpoint, if the gang died now.",
            (Query(_newest("checkpoint_age_seconds"), "since the checkpoint"),),
            unit="s",
            kind="stat",
            width=6,
        ),
    ),
)

LEARNING = Row(
    "Learning",
    (
        Panel(
            "Loss",
            "As the code reports it.",
            (Query(_trainer("metric", ',name="loss"'), ATTEMPT),),
            width=12,
        ),
        Panel(
            "Other metrics",
            "All else that the code reports.",
            (Query(_trainer("metric", ',name!="loss"'), "{{name}}, " + ATTEMPT),),
            width=12,
        ),
        Panel(
            "Step",
            "A new attempt goes on from the newest checkpoint: what it falls back by is lost.",
            (Query(_newest("step"), "step"), Query(_newest("checkpoint_step"), "checkpoint")),
            width=12,
        ),
        Panel("Epoch", "Epochs that are finished.", (Query(_newest("epoch"), "epoch"),), width=12),
    ),
)

SPEED = Row(
    "Speed",
    (
        Panel(
            "Duration of a step",
            "With waiting for data and for other ranks.",
            (*_quantiles("step_duration_seconds", "$__rate_interval"), Query(_newest("step_seconds"), "recent")),
            unit="s",
        ),
        Panel(
            "Samples a second",
            "Of all ranks together.",
            (Query(_newest("samples_per_second"), "samples"),),
        ),
        Panel(
            "Tokens a second",
            "Of all ranks together, where the code counts tokens.",
            (Query(_newest("tokens_per_second"), "tokens"),),
        ),
        Panel(
            "Waiting for data",
            "The share of a step. Above a tenth, more loader workers or a faster input help.",
            (Query(f"avg by (namespace, trainingjob) ({_trainer('data_wait_ratio')})", "waiting"),),
            unit="percentunit",
        ),
        Panel(
            "Model FLOPs utilisation",
            "The share of the devices' peak that goes into the model, where the FLOPs of a step are known.",
            (Query(_newest("mfu_ratio"), "MFU"),),
            unit="percentunit",
        ),
        Panel(
            "Slowest rank",
            "How many steps it is behind the first.",
            (
                Query(
                    f"max by (trainingjob) ({_trainer('rank_step')}) - min by (trainingjob) ({_trainer('rank_step')})",
                    "steps behind",
                ),
            ),
        ),
        Panel(
            "Own work of each rank",
            "On a step, without waiting for others. One that stands out is a straggler.",
            (Query(_trainer("rank_work_seconds"), "rank {{rank}}"),),
            unit="s",
        ),
        Panel(
            "Silence of each rank",
            "Since its last sign of life.",
            (Query(_trainer("heartbeat_age_seconds"), "rank {{rank}}"),),
            unit="s",
        ),
        Panel(
            "Node seconds of lasting steps",
            "How many nodes' whole time goes into steps that training stands on.",
            (
                Query(
                    f"sum by (namespace, trainingjob) (deriv({_trainer('productive_node_seconds')}[$__rate_interval]))",
                    "nodes",
                ),
            ),
        ),
    ),
)

CHECKPOINTS = Row(
    "Checkpoints",
    (
        Panel(
            "Duration of a save",
            "In the background. Longer than the time between two: storage is too slow.",
            (
                *_quantiles("checkpoint_save_duration_seconds", "1h"),
                Query(_newest("checkpoint_save_seconds"), "the last"),
            ),
            unit="s",
        ),
        Panel(
            "Age of the newest",
            "What would be lost if the gang died.",
            (Query(_newest("checkpoint_age_seconds"), "age"),),
            unit="s",
        ),
        Panel(
            "Size of the newest", "Of all its files.", (Query(_newest("checkpoint_size_bytes"), "size"),), unit="bytes"
        ),
    ),
)

DEVICES = Row(
    "Devices",
    (
        Panel(
            "Utilisation",
            "The share of time in which a device did anything, as NVIDIA's driver says.",
            (Query(_trainer("device_utilization_ratio"), f"{NODE} {{{{device}}}}"),),
            unit="percentunit",
        ),
        Panel(
            "Memory",
            "The share of a device's memory that is taken.",
            (
                Query(
                    f"{_trainer('device_memory_used_bytes')} / {_trainer('device_memory_bytes')}",
                    f"{NODE} {{{{device}}}}",
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            "Power",
            "One that draws less than the others waits for them, or is throttled.",
            (Query(_trainer("device_power_watts"), f"{NODE} {{{{device}}}}"),),
            unit="watt",
        ),
    ),
)

DASHBOARD = Dashboard(
    "job",
    "Footplate: one job",
    "One TrainingJob; where an attempt begins is marked in all panels.",
    (NOW, LEARNING, SPEED, CHECKPOINTS, DEVICES),
    since="6h",
    variables=(
        Variable("namespace", "namespace", 'up{trainingjob!=""}'),
        Variable("job", "trainingjob", 'up{namespace="$namespace",trainingjob!=""}'),
        Variable("run", "run", f"up{{{JOB}}}", several=True),
    ),
    annotations=(
        Annotation(
            "Attempts",
            f"count by (run, attempt) (up{{{CHOSEN}}}) unless count by (run, attempt) (up{{{CHOSEN}}} offset 2m)",
            ATTEMPT,
        ),
    ),
)
