"""One scrape of a pod's `/metrics`: what is known of it, in Prometheus' text. Pure.

Cardinality is bounded: the job's own metrics are one family with the name as a label, 64 at most; ranks and devices are
those of one pod.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from footplate.api.reports import PreflightStatus
from footplate_trainer.exchange import Beat, DurationCounts, RankReport
from footplate_trainer.supervisor.device_readings import DeviceReading
from footplate_trainer.timing.durations import SAVE_BOUNDS, STEP_BOUNDS, Durations


def render(
    report: RankReport,
    beats: Mapping[int, Beat],
    devices: Iterable[DeviceReading],
    *,
    saves: Durations,
    now: float,
    preflight: PreflightStatus | None = None,
) -> bytes:
    """The text.

    Args:
        report: what is known of the run.
        beats: of each rank its last sign of life.
        devices: of each of the pod's devices.
        saves: of snapshots; those of our own checkpoints are in the report.
        preflight: what the nodes have shown before training.
        now: by the clock of the report and the beats, `time.monotonic()`.
    """
    registry = CollectorRegistry(auto_describe=False)
    families = (
        *_of_the_run(report, now),
        *_durations(report, saves),
        *_of_ranks(beats, now),
        *_of_devices(tuple(devices)),
        *_of_preflight(preflight or PreflightStatus()),
    )
    registry.register(_Families(families))
    return generate_latest(registry)


class _Families(Collector):
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _of_the_run(report: RankReport, now: float) -> Iterator[Metric]:
    progress, checkpoint = report.progress, report.checkpoint
    yield from _gauges(
        ("step", "Optimizer steps finished.", progress.step),
        ("steps", "Optimizer steps in all.", progress.total_steps),
        ("epoch", "Epochs finished.", progress.epoch),
        ("eta_seconds", "Seconds until the last step, at the speed of recent steps.", progress.eta_seconds),
        ("last_step_age_seconds", "Seconds since the last step was finished.", _age(report.stepped_at, now)),
        ("samples_per_second", "Samples of all ranks together per second.", progress.samples_per_second),
        ("tokens_per_second", "Tokens of all ranks together per second.", report.tokens_per_second),
        ("mfu_ratio", "What the ranks compute of what their devices could at most.", report.mfu_ratio),
        ("data_wait_ratio", "Share of recent time in which rank 0 has waited for data.", report.data_wait_ratio),
        ("step_seconds", "Recent duration of a step, waiting included.", report.step_seconds),
        (
            "productive_node_seconds",
            "Node seconds of the steps that training stands on.",
            report.productive_node_seconds,
        ),
        ("checkpoint_step", "Step of the newest complete checkpoint.", checkpoint.step if checkpoint else None),
        ("checkpoint_size_bytes", "Its size.", checkpoint.size_bytes if checkpoint else None),
        ("checkpoint_save_seconds", "How long it took to save.", checkpoint.save_seconds if checkpoint else None),
        ("checkpoint_age_seconds", "Seconds since it was committed.", _age(report.checkpointed_at, now)),
    )
    yield _labelled("metric", "Latest value that the code reported.", "name", progress.metrics)


def _durations(report: RankReport, snapshots: Durations) -> Iterator[Metric]:
    steps, saves = report.steps_took, report.saves_took
    if steps is not None:
        yield from _histogram("step_duration_seconds", "Duration of a step, waiting included.", steps, STEP_BOUNDS)
    if saves is None or not any(saves.counts):
        saves = DurationCounts(counts=snapshots.counts, seconds=snapshots.seconds)
    text = "How long a checkpoint took to save, from the copy in memory to the commit."
    yield from _histogram("checkpoint_save_duration_seconds", text, saves, SAVE_BOUNDS)


def _of_ranks(beats: Mapping[int, Beat], now: float) -> Iterator[Metric]:
    ages = {str(rank): max(0.0, now - beat.time) for rank, beat in beats.items()}
    steps = {str(rank): float(beat.step) for rank, beat in beats.items()}
    work = {str(rank): beat.work_seconds for rank, beat in beats.items() if beat.work_seconds > 0}
    yield _labelled("heartbeat_age_seconds", "Seconds since a rank's last sign of life.", "rank", ages)
    yield _labelled("rank_step", "Optimizer steps that a rank has finished.", "rank", steps)
    yield _labelled("rank_work_seconds", "A rank's own work on a step, without waiting for others.", "rank", work)


def _of_devices(devices: Sequence[DeviceReading]) -> Iterator[Metric]:
    for name, text, value_of in _DEVICE_METRICS:
        values = {each.device: value for each in devices if (value := value_of(each)) is not None}
        if values:
            yield _labelled(f"device_{name}", text, "device", values)


def _of_preflight(found: PreflightStatus) -> Iterator[Metric]:
    yield from _gauges(
        ("preflight_device_memory_bytes", "Least free memory of a device before training.", found.device_memory_bytes),
        ("preflight_teraflops", "TFLOP/s of the slowest device before training.", found.teraflops),
        (
            "preflight_gigabits_per_second",
            "Gbit/s that each node sent before training, while all summed a tensor.",
            found.gigabits_per_second,
        ),
    )


_DEVICE_METRICS: Sequence[tuple[str, str, Callable[[DeviceReading], float | None]]] = (
    ("memory_used_bytes", "Memory of a device in use.", lambda device: device.memory_used),
    ("memory_bytes", "Memory of a device.", lambda device: device.memory),
    ("utilization_ratio", "Share of time in which a device has worked.", lambda device: device.utilization),
    ("power_watts", "Power that a device draws.", lambda device: device.power),
)


def _age(since: float | None, now: float) -> float | None:
    return None if since is None else max(0.0, now - since)


def _gauges(*values: tuple[str, str, float | None]) -> Iterator[Metric]:
    for name, text, value in values:
        if value is not None:
            yield GaugeMetricFamily(f"footplate_trainer_{name}", text, value=value)


def _labelled(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"footplate_trainer_{name}", text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _histogram(name: str, text: str, took: DurationCounts, bounds: Sequence[float]) -> Iterator[Metric]:
    if len(took.counts) != len(bounds) + 1:  # a lie
        return
    edges = [*(str(bound) for bound in bounds), "+Inf"]
    buckets = list(zip(edges, map(float, accumulate(took.counts)), strict=True))
    yield HistogramMetricFamily(f"footplate_trainer_{name}", text, buckets=buckets, sum_value=took.seconds)
