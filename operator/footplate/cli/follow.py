"""A TrainingJob's way to its end, as a person reads it: one line a phase, and between them one that is alive."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.text import Text

from footplate.api.reports import ArtifactStatus, EvaluationStatus
from footplate.cli.words import duration, number, share
from footplate.client.status import model_in_words, read_status

POLL_SECONDS = 0.5
LINE_SECONDS = 3.0
"""Where nobody looks on (a log file, CI), progress gets a new line so often."""
Object = Mapping[str, Any]


async def follow(
    read: Callable[[], Awaitable[Object]], console: Console, *, log: Callable[[Object], Iterable[str]]
) -> Object:
    """Shows the job that `read` reads until its run has finished; the job as it then is.

    `log`: the new lines of its program's output, by the job's status.
    """
    began = printed = time.monotonic()
    phase = shown = ""
    with console.status("waiting for the operator") as live:
        while True:
            job = await read()
            status = job.get("status") or {}
            await asyncio.to_thread(_print_log, console, log, status)  # a long one takes a second
            if status.get("phase", "") != phase:
                phase = status["phase"]
                _print(console, began, f"[bold]{phase}[/]  {escape(status.get('message') or '')}")
            if phase in ("Succeeded", "Failed"):
                return job
            line = escape(describe_progress(status)) if phase == "Running" else ""
            live.update(line or phase or "waiting for the operator")
            if line and line != shown and not console.is_terminal and time.monotonic() - printed > LINE_SECONDS:
                printed, shown = time.monotonic(), line
                _print(console, began, line)
            await asyncio.sleep(POLL_SECONDS)


def _print_log(console: Console, log: Callable[[Object], Iterable[str]], status: Object) -> None:
    lines = [Text("         │ ", "dim").append_text(Text.from_ansi(words)) for words in log(status)]
    if lines:
        console.print(Text("\n").join(lines), soft_wrap=True)


def describe_progress(status: Object) -> str:
    """Step, epoch, metrics, speed and time left of a running job, as far as they are known."""
    progress = status.get("progress") or {}
    counted = {name: progress.get(name) for name in ("step", "epoch")}
    totals = {"step": progress.get("totalSteps"), "epoch": progress.get("epochs")}
    parts = [f"{name} {share(done, totals[name])}" for name, done in counted.items() if done is not None]
    parts += [f"{name} {number(value)}" for name, value in (progress.get("metrics") or {}).items()]
    if speed := progress.get("samplesPerSecond"):
        parts.append(f"{speed:,.0f} samples/s")
    if (left := progress.get("etaSeconds")) is not None:
        parts.append(f"{duration(left)} left")
    return "  ".join(parts)


def describe_end(job: Object) -> str:
    """Where the model is and how good, or what went wrong, where and with which traceback."""
    status, read = job["status"], read_status(job)
    if status["phase"] == "Succeeded":
        return "\n".join([_describe_artifact(read.artifact), *_describe_gates(read.evaluation)])
    failure = status.get("failure") or {}
    facts = {"rank": "rank {}", "node": "node {}", "exitCode": "exit code {}"}
    where = ", ".join(form.format(failure[key]) for key, form in facts.items() if failure.get(key) is not None)
    lines = [f"Failed: {status.get('reason')}{f' ({where})' if where else ''}"]
    lines += [failure.get("message") or status.get("message") or "", (failure.get("traceback") or "").rstrip()]
    return "\n".join([*filter(None, lines), *_describe_gates(read.evaluation)])


def _describe_gates(found: EvaluationStatus | None) -> Iterator[str]:
    """A line for each gate of the job: what is asked, what was measured, and whether that passes."""
    for gate in found.gates if found is not None else ():
        passed = "passed" if gate.passed else "not passed"
        yield f"Gate       {gate.metric} {gate.shown}, {gate.bound} is asked: {passed}"


def _describe_artifact(artifact: ArtifactStatus | None) -> str:
    if artifact is None:
        return "The job has no output, so there is no model to show."
    metrics = "".join(f"\n  {name:<12} {number(value)}" for name, value in artifact.metrics.items())
    said = ", ".join(filter(None, (decimal(artifact.size_bytes), model_in_words(artifact))))
    return f"Model      {artifact.uri} ({said})\nManifest   {artifact.manifest}{metrics}"


def _print(console: Console, began: float, text: str) -> None:
    console.print(f"[dim]{time.monotonic() - began:6.1f} s[/]  {text}", soft_wrap=True)
