"""What ranks' recorders say, in torch's own format, and which of them waits for which."""

import asyncio
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from footplate.contract import Env
from footplate_trainer.supervisor import flight_recorder
from footplate_trainer.supervisor.flight_recorder import Recording, ask, parse, read, settings, waits
from footplate_trainer.supervisor.hang import Silence, find_culprit
from footplate_trainer.supervisor.launch import plan_launches
from footplate_trainer.supervisor.pod import read_pod
from footplate_trainer.supervisor.stacks import Finding, Frame
from footplate_trainer.supervisor.watch import Watch
from trainer_pods import pod_environment

Dump = dict[str, Any]


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Dump:
    """As torch writes one: of a gang of one rank over gloo, whose recorder is the same code's."""
    from torch._C._distributed_c10d import _dump_fr_trace

    store = dist.FileStore(str(tmp_path_factory.mktemp("store") / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        for _ in range(3):
            dist.all_reduce(torch.ones(4))
        content = _dump_fr_trace(True, True, False)
    finally:
        dist.destroy_process_group()
    assert parse(content) is not None
    loaded: Dump = pickle.loads(content)
    loaded["entries"] = loaded["entries"][-3:]
    for number, entry in enumerate(loaded["entries"], start=126):
        entry["collective_seq_id"] = number
    return loaded


def stuck_at(dump: Dump, number: int | None, *, last: int = 128) -> bytes:
    """The dump of a rank that has begun collectives up to `last`, and waits from `number` on."""
    entries = [
        {
            **entry,
            "retired": number is None or entry["collective_seq_id"] < number,
            "state": "completed" if number is None or entry["collective_seq_id"] < number else "started",
        }
        for entry in dump["entries"]
        if entry["collective_seq_id"] <= last
    ]
    return pickle.dumps({**dump, "entries": entries}, protocol=2)


def recordings(dump: Dump, *ranks: tuple[int | None, int]) -> dict[int, Recording]:
    found = {}
    for rank, (number, last) in enumerate(ranks):
        recording = parse(stuck_at(dump, number, last=last))
        assert recording is not None
        found[rank] = recording
    return found


def test_a_collective_is_told_with_the_line_that_called_it(dump: Dump) -> None:
    recording = parse(stuck_at(dump, 127))
    assert recording is not None
    assert [one.number for one in recording.waits_in] == [127, 128]
    text = str(recording)
    assert text.startswith("waits in collective 127 of default_pg, gloo:all_reduce of [[4]] (started), called from ")
    assert f"{Path(__file__).name} line " in text
    assert "distributed_c10d" not in text
    assert str(parse(stuck_at(dump, None))) == "waits in no collective; the last it has begun: 128 of default_pg"


@pytest.mark.parametrize(
    ("ranks", "waiting"),
    [
        pytest.param([(128, 128), (None, 127)], [True, False], id="one hasn't come"),
        pytest.param([(128, 128), (127, 127), (128, 128)], [True, False, True], id="one is behind, with one in flight"),
        pytest.param([(128, 128), (128, 128)], [True, True], id="all wait, for those of another pod"),
        pytest.param([(None, 128)], [False], id="alone, and waiting for nobody"),
    ],
)
def test_who_has_begun_less_than_others_wait_for_is_waited_for(
    dump: Dump, ranks: list[tuple[int | None, int]], waiting: list[bool]
) -> None:
    found = recordings(dump, *ranks)
    assert [waits(rank, found) for rank in found] == waiting
    assert waits(99, found) is None


def test_it_is_better_evidence_than_a_stack(dump: Dump) -> None:
    """Both have run ahead to a launch; and a rank in our own agreement over gloo waits, whatever its GPU does."""
    launch = (Frame("/x/site-packages/torch/nn/modules/linear.py", "9", "forward"),)
    agreement = (Frame("/x/site-packages/torch/distributed/distributed_c10d.py", "9", "all_reduce"),)
    found = recordings(dump, (128, 128), (None, 127), (None, 128))
    findings = {
        rank: Finding(stack, "R", waits(rank, found), on_device=True)
        for rank, stack in enumerate([launch, launch, agreement])
    }
    silences = [Silence(rank, "training", 7, 100.0 - rank, pid=1) for rank in findings]
    assert [findings[rank].waits_for_others for rank in findings] == [True, False, True]
    assert find_culprit(silences, findings).culprit.rank == 1


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("false",)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80\x02}q", pickle.dumps({"entries": [{}]}), pickle.dumps([1]), pickle.dumps({"entries": Evil()})],
    ids=["empty", "cut", "other fields", "another thing", "a pickle that runs something"],
)
def test_what_is_no_dump_is_left_out(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "rank-0").write_bytes(content)
    assert read(tmp_path) == {}


def test_dumps_lie_by_rank(dump: Dump, tmp_path: Path) -> None:
    for rank in (0, 11):
        (tmp_path / f"rank-{rank}").write_bytes(stuck_at(dump, 128))
    (tmp_path / "rank-x").write_bytes(stuck_at(dump, 128))
    assert read(tmp_path).keys() == {0, 11}
    assert read(tmp_path / "nowhere") == {}


def test_ranks_that_listen_are_asked(tmp_path: Path) -> None:
    assert not ask(tmp_path, [0, 1]), "no pipes"
    for rank in (0, 1):
        os.mkfifo(tmp_path / f"pipe-{rank}.pipe")
    assert not ask(tmp_path, [0, 1]), "nobody reads them"
    reader = os.open(tmp_path / "pipe-1.pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert ask(tmp_path, [0, 1])
        assert os.read(reader, 128) == b"1"
    finally:
        os.close(reader)


NEW = {"TORCH_FR_BUFFER_SIZE", "TORCH_FR_DUMP_TEMP_FILE"}
OLD = {"TORCH_NCCL_TRACE_BUFFER_SIZE", "TORCH_NCCL_DEBUG_INFO_TEMP_FILE"}
BOTH = {"TORCH_NCCL_DEBUG_INFO_PIPE_FILE", "TORCH_NCCL_DUMP_ON_TIMEOUT"}


@pytest.mark.parametrize(
    ("version", "names"),
    [
        ("2.13.0+cu130", NEW | BOTH),
        ("2.9.1", NEW | BOTH),
        ("2.6.0", OLD | BOTH),
        ("3.0a1", NEW | BOTH),
        ("", OLD | BOTH),
    ],
)
def test_a_version_of_torch_gets_the_names_that_it_does_not_warn_of(version: str, names: set[str]) -> None:
    assert settings(Path("/scratch"), {}, version).keys() == names


def test_names_are_those_of_the_torch_that_is_here() -> None:
    """Its own sources and libraries know each of them."""
    root = Path(torch.__file__).parent
    header = (root / "include/torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp").read_text()
    recorder = (root / "include/torch/csrc/distributed/c10d/FlightRecorder.hpp").read_text()
    library = (root / "lib/libtorch_cpu.so").read_bytes()
    for name in settings(Path("/scratch"), {}, torch.__version__):
        pipe = name == "TORCH_NCCL_DEBUG_INFO_PIPE_FILE"  # read in the CUDA library, told of in this one's Python half
        assert pipe or name in header + recorder or name.encode() in library, name


def test_what_the_user_has_set_stays(tmp_path: Path) -> None:
    own = {"TORCH_NCCL_TRACE_BUFFER_SIZE": "0", "TORCH_FR_DUMP_TEMP_FILE": "/mine/"}
    assert settings(tmp_path, own, "2.13.0").keys() == BOTH


def test_ranks_of_gpus_record(tmp_path: Path) -> None:
    spec = {"trainer": {"entrypoint": "t.py"}, "resources": {"limits": {"nvidia.com/gpu": 2}}}
    pod = read_pod(pod_environment(tmp_path, spec, processes=2))
    for launch in plan_launches(pod, tmp_path, {}):
        assert launch.env["TORCH_FR_DUMP_TEMP_FILE"] == f"{pod.work_dir}/flight-recorder/rank-"
    pod = read_pod({**pod_environment(tmp_path, {"trainer": {"entrypoint": "t.py"}}), Env.RUN_DIR: str(tmp_path)})
    assert not any(name.startswith("TORCH") for name in plan_launches(pod, tmp_path, {})[0].env)


async def test_the_watch_tells_and_believes_them(
    dump: Dump, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pod = read_pod(pod_environment(tmp_path, {"trainer": {"entrypoint": "t.py"}}, processes=2))
    pod.make_folders()
    flight_recorder.make_folder(pod.work_dir)
    folder = flight_recorder.folder_in(pod.work_dir)
    for rank, content in enumerate([stuck_at(dump, 128), stuck_at(dump, None, last=127)]):
        (folder / f"rank-{rank}").write_bytes(content)
    silences = [Silence(rank, "training", 7, 100.0 - rank, pid=os.getpid()) for rank in (0, 1)]
    hang = await Watch(pod, [], asyncio.Event())._examine(silences)
    assert hang.culprit.rank == 1
    said = capsys.readouterr().out
    assert "waits in collective 128 of default_pg" in said
    flight_recorder.make_folder(pod.work_dir)
    assert read(folder) == {}, "what an earlier gang has left is nobody's"
