"""What `footplate status` shows of one job, as one renderable; pure.

Every text of the job goes through `plain`: it may hold what moves a terminal's cursor. Those of ranks and events have
been there.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.filesize import decimal
from rich.text import Text

from footplate.cli.chart import sparkline
from footplate.cli.columns import PHASE_STYLES, columns
from footplate.cli.rank_grid import rank_grid
from footplate.cli.words import age, count, duration, number, share
from footplate.client.status import model_in_words, phases_of_run
from footplate.client.untrusted import plain, plain_lines

if TYPE_CHECKING:
    from footplate.api.reports import ProgressStatus
    from footplate.api.status import TrainingJobStatus
    from footplate.client import History, Job, JobEvent, RankView

Row = tuple[str, Text]
"""What a line says, and the line, or several."""

LABEL_WIDTH = 12
_PLAIN_WIDTH = 120
_RULER = Console(width=200)
"""Rich breaks lines by the rules of some console."""
_BAR_WIDTH = 40
_TRANSITIONS = 8
_METRICS = 8
_EVENTS = 6
_EVENT_LENGTH = 300
_TRACEBACK_LINES = 15


@dataclass(frozen=True, slots=True)
class View:
    """What was read of a job for one picture of it."""

    job: "Job"
    progress: "ProgressStatus | None"
    history: "History"
    ranks: "Sequence[RankView]"
    events: "Sequence[JobEvent]"
    now: datetime


def job_screen(view: View, *, width: int | None) -> Text:
    """The whole of it, `width` columns wide; None: lines are as long as they are."""
    rows = [
        _timeline(view),
        *_progress(view.progress, running=view.job.phase == "Running"),
        *_curves(view.history, view.progress, width=width or _PLAIN_WIDTH),
        *_ranks(view.ranks, width=width or _PLAIN_WIDTH),
        *_results(view.job.status, view.now),
        *_failure(view.job.status),
        *_events(view.events, view.now),
    ]
    return Text("\n").join([*_head(view), *(line for label, text in rows for line in _labelled(label, text, width))])


def _labelled(label: str, text: Text, width: int | None) -> Iterator[Text]:
    """Lines of which the first begins with what they are; those that are too long go on below their beginning."""
    parts: Iterable[Text] = text.split(allow_blank=True)
    if width is not None:
        parts = [each for part in parts for each in part.wrap(_RULER, max(20, width - LABEL_WIDTH))]
    for part in parts:
        part.rstrip()
        yield Text.assemble((f"{label:<{LABEL_WIDTH}}", "dim"), part)
        label = ""


def _head(view: View) -> Iterator[Text]:
    job, status = view.job, view.job.status
    phase = job.phase or "Pending"
    run = "" if status.run is None else f"   run {job.run}, attempt {job.attempt}"
    restarts = status.restarts.total if status.restarts else 0
    yield Text.assemble(
        (job.name, "bold"),
        (f"   {job.namespace}{run}", "dim"),
        "   ",
        (phase, PHASE_STYLES.get(phase, "")),
        (f"   {count(restarts, 'restart')}" if restarts else "", "yellow"),
    )
    if status.message:
        yield Text(plain(status.message))


def _timeline(view: View) -> Row:
    """The phases of the run and how long each took, or has lasted until now."""
    of_run = phases_of_run(view.job.status)
    transitions = of_run[-_TRANSITIONS:]
    ends = [*(each.time for each in transitions[1:]), view.now]
    text = Text.assemble(("…" if len(of_run) > _TRANSITIONS else "", "dim"))
    for transition, end in zip(transitions, ends, strict=False):
        if text:
            text.append(" → ", "dim")
        text.append(transition.phase, PHASE_STYLES.get(transition.phase, ""))
        if not transition.phase.finished:
            text.append(f" {duration((end - transition.time).total_seconds())}")
    return "Timeline", text or Text("nothing has happened yet; the operator hasn't seen this job")


def _progress(progress: "ProgressStatus | None", *, running: bool) -> Iterator[Row]:
    if progress is None:
        return
    if progress.percent is not None:
        done = round(max(0.0, min(100.0, progress.percent)) / 100 * _BAR_WIDTH)
        bar = Text.assemble(("█" * done, "green"), ("░" * (_BAR_WIDTH - done), "dim"), f" {int(progress.percent)} %")
        if running:
            left = progress.eta_seconds
            bar.append("   time left not known yet" if left is None else f"   {duration(left)} left")
        yield "Progress", bar
    parts = [f"{name} {share(*both)}" for name, both in _counted(progress) if both[0] is not None]
    if running and progress.samples_per_second:
        parts.append(f"{progress.samples_per_second:,.0f} samples/s")
    if parts:
        yield "Progress" if progress.percent is None else "", Text("   ".join(parts))


def _counted(progress: "ProgressStatus") -> Iterator[tuple[str, tuple[int | None, int | None]]]:
    yield "step", (progress.step, progress.total_steps)
    yield "epoch", (progress.epoch, progress.epochs)


def _curves(history: "History", progress: "ProgressStatus | None", *, width: int) -> Iterator[Row]:
    """A line a metric: its curve, its newest value, and between what it lay; of one without a curve the value alone."""
    newest: dict[str, list[float | None]] = {
        name: [value] for name, value in (progress.metrics if progress is not None else {}).items()
    }
    shown = {plain(name, most=63): values for name, values in {**newest, **history.metrics}.items()}
    known = {name: [value for value in values if value is not None] for name, values in shown.items()}
    names = max(map(len, known), default=0)
    room = max(10, min(60, width - LABEL_WIDTH - names - 40))
    label = "Metrics"
    for name in list(filter(known.get, known))[:_METRICS]:
        line = Text.assemble(
            f"{name:<{names}}  ",
            (f"{sparkline(shown[name], width=room):<{room}}", "cyan"),
            (f"  {number(known[name][-1]):<10}", "bold"),
            (f" {number(min(known[name]))} … {number(max(known[name]))}", "dim"),
        )
        yield label, line
        label = ""


def _ranks(ranks: "Sequence[RankView]", *, width: int) -> Iterator[Row]:
    if any(rank.state != "absent" for rank in ranks):
        yield "Ranks", Text("\n").join(rank_grid(ranks, width=width - LABEL_WIDTH))


def _results(status: "TrainingJobStatus", now: datetime) -> Iterator[Row]:
    if (saved := status.checkpoint) is not None:
        step = "" if saved.step is None else f", step {saved.step:,}"
        yield "Checkpoint", Text(f"{plain(saved.uri, most=2048)}{step}, {age(saved.time, now=now)} ago")
    if (model := status.artifact) is not None:
        said = ", ".join(filter(None, (decimal(model.size_bytes), model_in_words(model))))
        refused = ("   not accepted", "red") if model.accepted is False else ""
        yield "Model", Text.assemble(f"{plain(model.uri, most=2048)} ({said})", refused)
    yield from _evaluation(status)
    for index, run in enumerate(status.tracking):
        yield "Tracking" if index == 0 else "", Text(f"{plain(run.name)} {plain(run.url, most=2048)}")
    if (usage := status.usage) is not None:
        held = {"node": usage.node_seconds} | usage.accelerator_seconds
        text = "   ".join(f"{plain(name)} {seconds / 3600:,.2f} h" for name, seconds in held.items())
        goodput = "" if usage.goodput_percent is None else f"   goodput {usage.goodput_percent:.0f} %"
        yield "Used", Text(text + goodput)
    for index, note in enumerate(status.notes):
        yield "Notes" if index == 0 else "", Text(plain(note), "yellow")


def _evaluation(status: "TrainingJobStatus") -> Iterator[Row]:
    if (found := status.evaluation) is None:
        return
    if found.metrics:
        values = (f"{plain(name, most=63)} {number(value)}" for name, value in found.metrics.items())
        yield "Evaluation", Text("   ".join(values))
    for index, gate in enumerate(found.gates):
        passed = ("passed", "green") if gate.passed else ("not passed", "red")
        words = f"{plain(gate.metric, most=160)} {gate.shown}, {gate.bound} is asked: "
        yield "Gates" if index == 0 else "", Text.assemble(words, passed)


def _failure(status: "TrainingJobStatus") -> Iterator[Row]:
    if (failure := status.failure) is None:
        return
    facts = {"rank": failure.rank, "node": failure.node, "exit code": failure.exit_code, "signal": failure.signal}
    where = ", ".join(f"{name} {plain(str(value))}" for name, value in facts.items() if value is not None)
    label = "Failure" if status.phase == "Failed" else "Failed last"
    yield label, Text(f"{failure.class_}{f' ({where})' if where else ''}", "red")
    text = plain_lines("\n".join(filter(None, (failure.message, failure.traceback))), most=6000)
    lines = text.rstrip().splitlines()
    left_out = ["…"] if len(lines) > _TRACEBACK_LINES else []
    yield "", Text("\n".join([*lines[:1], *left_out, *lines[1:][-_TRACEBACK_LINES:]]))


def _events(events: "Sequence[JobEvent]", now: datetime) -> Iterator[Row]:
    rows = [[f"{age(each.last, now=now)} ago", each.reason, each.message[:_EVENT_LENGTH]] for each in events[-_EVENTS:]]
    if rows:
        yield "Events", Text("\n".join(columns(rows[0], rows[1:])))
