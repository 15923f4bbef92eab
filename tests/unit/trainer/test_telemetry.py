"""What a pod says of itself over HTTP."""

import asyncio
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from footplate.api.reports import MAX_STRAGGLERS, CheckpointStatus, CurveStatus, ProgressStatus, Straggler
from footplate.contract import MAX_PROGRESS_BYTES, TOKEN_HEADER, Progress
from footplate_trainer import exchange
from footplate_trainer.exchange import DurationCounts, Heartbeat, RankReport
from footplate_trainer.supervisor import telemetry
from footplate_trainer.supervisor.history.recorder import Recorder
from footplate_trainer.supervisor.pod import Pod, read_pod
from footplate_trainer.supervisor.telemetry import Telemetry
from trainer_pods import free_port, pod_environment

NOW = 1000.0
"""By time.monotonic()."""
REPORT = RankReport(
    progress=ProgressStatus(step=10, total_steps=20, epoch=1, samples_per_second=99.5, metrics={"loss": 0.25}),
    checkpoint=CheckpointStatus(
        uri="s3://c/8/", step=8, time=datetime(2026, 1, 1, 11, 59, tzinfo=UTC), size_bytes=5, save_seconds=1.5
    ),
    checkpointed_at=NOW - 60,
    step_seconds=0.125,
    productive_node_seconds=7.5,
    stragglers=tuple(Straggler(rank=rank, node_rank=0, factor=2.0) for rank in range(MAX_STRAGGLERS + 1)),
    resumed_from_step=4,
    notes=("found a damaged checkpoint",),
)


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return read_pod(pod_environment(tmp_path, {"trainer": {"entrypoint": "train.py"}}, run=2, attempt=3))


def test_progress_is_what_rank_0_reported_and_does(pod: Pod) -> None:
    said = Telemetry(pod)
    assert (said.progress().activity, said.progress().progress.step) == ("loading", None)
    said.activity = None
    assert said.progress().activity == "starting"
    heartbeat = Heartbeat(pod.run_dir, 0)
    heartbeat.beat(10, "checkpointing")
    exchange.write_report(pod.run_dir, REPORT)
    progress = Progress.model_validate_json(said.progress_json())
    assert (progress.uid, progress.run, progress.attempt, progress.activity) == ("uid-1", 2, 3, "checkpointing")
    assert (progress.progress, progress.checkpoint) == (REPORT.progress, REPORT.checkpoint)
    assert (progress.resumed_from_step, progress.notes) == (4, ["found a damaged checkpoint"])
    assert progress.productive_node_seconds == 7.5
    assert progress.stragglers == list(REPORT.stragglers[:MAX_STRAGGLERS])


def test_progress_is_bounded_and_keeps_the_last_notes(pod: Pod) -> None:
    exchange.write_report(pod.run_dir, RankReport(notes=tuple(f"{i} " + "𝔸" * 1500 for i in range(20))))
    text = Telemetry(pod).progress_json()
    assert len(text) <= MAX_PROGRESS_BYTES
    notes = Progress.model_validate_json(text).notes
    assert notes[-1].startswith("19 ")
    assert len(notes) == 15


def test_what_cant_be_in_a_report_is_left_out_of_progress_with_a_note(pod: Pod) -> None:
    pod.make_folders()
    (pod.run_dir / "report.json").write_text('{"resumedFromStep": -1, "productiveNodeSeconds": 1e308}')
    progress = Telemetry(pod).progress()
    assert (progress.uid, progress.resumed_from_step, progress.productive_node_seconds) == (pod.uid, None, None)
    assert "what rank 0 has reported can't be told" in progress.notes[0]


def test_metrics_hold_what_is_known_and_nothing_else(pod: Pod) -> None:
    said = Telemetry(pod, clock=lambda: NOW)
    assert "footplate_trainer_step " not in said.metrics().decode()
    exchange.write_report(pod.run_dir, REPORT)
    Heartbeat(pod.run_dir, 0)
    heartbeat = Heartbeat(pod.run_dir, 1)
    heartbeat.beat(0, "training", 0.0625)
    lines = said.metrics().decode().splitlines()
    for line in (
        "footplate_trainer_step 10.0",
        "footplate_trainer_steps 20.0",
        "footplate_trainer_samples_per_second 99.5",
        "footplate_trainer_step_seconds 0.125",
        "footplate_trainer_checkpoint_age_seconds 60.0",
        "footplate_trainer_checkpoint_size_bytes 5.0",
        'footplate_trainer_metric{name="loss"} 0.25',
        'footplate_trainer_rank_step{rank="1"} 0.0',
        'footplate_trainer_rank_work_seconds{rank="1"} 0.0625',
    ):
        assert line in lines
    assert not any(line.startswith('footplate_trainer_rank_work_seconds{rank="0"}') for line in lines)
    assert any(line.startswith('footplate_trainer_heartbeat_age_seconds{rank="1"}') for line in lines)


def test_an_eta_of_steps_that_come_no_more_is_not_known(pod: Pod) -> None:
    now = NOW
    said = Telemetry(pod, clock=lambda: now)
    progress = REPORT.progress.model_copy(update={"eta_seconds": 100})
    exchange.write_report(pod.run_dir, REPORT.model_copy(update={"progress": progress, "stepped_at": NOW}))
    now += telemetry.MIN_PATIENCE_SECONDS - 1
    assert said.progress().progress.eta_seconds == 100
    assert "footplate_trainer_last_step_age_seconds 59.0" in said.metrics().decode()
    now += 2
    assert said.progress().progress.eta_seconds is None
    assert "eta_seconds" not in said.metrics().decode()
    assert said.report().progress.eta_seconds == 100


def test_a_slow_step_is_waited_for(pod: Pod) -> None:
    now = NOW
    said = Telemetry(pod, clock=lambda: now)
    progress = REPORT.progress.model_copy(update={"eta_seconds": 9000})
    slow = {"progress": progress, "stepped_at": NOW, "step_seconds": 30.0}
    exchange.write_report(pod.run_dir, REPORT.model_copy(update=slow))
    now += 299
    assert said.progress().progress.eta_seconds == 9000
    now += 2
    assert said.progress().progress.eta_seconds is None


def test_the_course_of_the_metrics_is_in_progress(pod: Pod) -> None:
    said = Telemetry(pod)
    exchange.write_report(pod.run_dir, REPORT.model_copy(update={"reported": {"loss": 1.0}}))
    said.recorder = Recorder(said.report, None)
    said.recorder.look(NOW)
    history = Progress.model_validate_json(said.progress_json()).progress.history
    assert history == CurveStatus(steps=[10], metrics={"loss": [0.25]})


def test_histograms_are_those_of_the_ranks_and_of_snapshots(pod: Pod) -> None:
    said = Telemetry(pod, clock=lambda: NOW)
    steps = DurationCounts(counts=[0, 2, 1, *[0] * 14], seconds=0.0125)
    exchange.write_report(pod.run_dir, REPORT.model_copy(update={"steps_took": steps}))
    said.safe(CheckpointStatus(uri="s3://c/snapshot/", save_seconds=3.0))
    lines = said.metrics().decode().splitlines()
    for line in (
        'footplate_trainer_step_duration_seconds_bucket{le="0.001"} 0.0',
        'footplate_trainer_step_duration_seconds_bucket{le="0.0025"} 2.0',
        'footplate_trainer_step_duration_seconds_bucket{le="+Inf"} 3.0',
        "footplate_trainer_step_duration_seconds_count 3.0",
        "footplate_trainer_step_duration_seconds_sum 0.0125",
        'footplate_trainer_checkpoint_save_duration_seconds_bucket{le="5.0"} 1.0',
        "footplate_trainer_checkpoint_save_duration_seconds_sum 3.0",
    ):
        assert line in lines
    lie = steps.model_copy(update={"counts": [1]})
    exchange.write_report(pod.run_dir, REPORT.model_copy(update={"steps_took": lie}))
    assert "step_duration" not in said.metrics().decode()


def test_it_is_served(pod: Pod) -> None:
    address = f"127.0.0.1:{free_port()}"
    server = telemetry.serve(Telemetry(pod), address)
    assert server is not None
    try:
        assert get(f"http://{address}/healthz") == b"ok\n"
        assert json.loads(get(f"http://{address}/progress"))["uid"] == "uid-1"
        assert b"footplate_trainer_metric" in get(f"http://{address}/metrics?x=1")
        with pytest.raises(urllib.error.HTTPError, match="404") as refused:
            get(f"http://{address}/secret")
        refused.value.close()
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("open_metrics", [False, True])
def test_who_does_not_show_the_run_s_token_gets_nothing(pod: Pod, open_metrics: bool) -> None:
    address, token = f"127.0.0.1:{free_port()}", "a" * 64
    server = telemetry.serve(Telemetry(replace(pod, token=token, open_metrics=open_metrics)), address)
    assert server is not None
    try:
        for path in ("/progress", "/progress?x=1", *(() if open_metrics else ("/metrics",))):
            for shown in (None, "", "b" * 64, token[:-1], f"{token}a", "ü" * 64):
                with pytest.raises(urllib.error.HTTPError, match="401: show the run's token") as refused:
                    get(f"http://{address}{path}", token=shown)
                assert refused.value.read() == b""
                refused.value.close()
            assert get(f"http://{address}{path}", token=token)
        assert get(f"http://{address}/metrics", token=None if open_metrics else token)
        assert get(f"http://{address}/healthz") == b"ok\n", "the kubelet knows no token"
    finally:
        server.shutdown()
        server.server_close()


def test_who_asks_and_asks_nothing_takes_no_threads(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "REQUEST_SECONDS", 60)  # as for one who sends a byte now and then
    port, before = free_port(), threading.active_count()
    server = telemetry.serve(Telemetry(pod), f"127.0.0.1:{port}")
    assert server is not None
    silent = []
    try:
        for _ in range(telemetry.MAX_CONNECTIONS + 40):
            silent.append(socket.create_connection(("127.0.0.1", port)))
            silent[-1].sendall(b"GET /he")
        assert get(f"http://127.0.0.1:{port}/healthz") == b"ok\n"
        silent[0].settimeout(5)
        assert silent[0].recv(1) == b"", "the oldest had to go"
        deadline = time.monotonic() + 3
        while threading.active_count() - before > telemetry.MAX_CONNECTIONS + 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert threading.active_count() - before <= telemetry.MAX_CONNECTIONS + 1
    finally:
        for connection in silent:
            connection.close()
        server.shutdown()
        server.server_close()


async def test_a_stuck_supervisor_is_not_well(pod: Pod) -> None:
    now = 1000.0
    said, address = Telemetry(pod, clock=lambda: now), f"127.0.0.1:{free_port()}"
    server = telemetry.serve(said, address)
    assert server is not None
    try:
        now += 61
        with pytest.raises(urllib.error.HTTPError, match="503: the supervisor is stuck") as refused:
            get(f"http://{address}/healthz")
        refused.value.close()
        assert get(f"http://{address}/progress")
        pulse = asyncio.create_task(said.pulse())
        await asyncio.sleep(0)
        assert get(f"http://{address}/healthz") == b"ok\n"
        pulse.cancel()
    finally:
        server.shutdown()
        server.server_close()


def test_an_address_that_cannot_be_had_stops_nothing(pod: Pod) -> None:
    address = f"127.0.0.1:{free_port()}"
    first = telemetry.serve(Telemetry(pod), address)
    assert first is not None
    try:
        for taken in (address, "nowhere", "203.0.113.1:80", "127.0.0.1:99999", "", None):
            assert telemetry.serve(Telemetry(pod), taken) is None
    finally:
        first.shutdown()
        first.server_close()


def get(url: str, *, token: str | None = None) -> bytes:
    request = urllib.request.Request(url, headers={} if token is None else {TOKEN_HEADER: token})
    with urllib.request.urlopen(request, timeout=5) as answer:
        body: bytes = answer.read()
        return body
