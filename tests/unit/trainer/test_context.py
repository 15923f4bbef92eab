"""How the environment becomes a context."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from footplate.contract import Env
from footplate_trainer.errors import ConfigError, WrongJob
from footplate_trainer.rank.environment import Context, read_context


def environment(folder: Path, *, hyperparameters: dict[str, Any] | None = None, **more: str) -> dict[str, str]:
    spec = {
        "trainer": {"image": "i", "entrypoint": "train.py", "hyperparameters": hyperparameters or {}},
        "inputs": [{"name": "train", "uri": "s3://data/train/"}],
    }
    path = folder / "job.json"
    path.write_text(json.dumps({"metadata": {"name": "digits", "uid": "u-1"}, "run": 2, "spec": spec}))
    return {
        Env.CONFIG: str(path),
        Env.RUN: "2",
        Env.ATTEMPT: "3",
        Env.NODE_RANK: "1",
        Env.INPUT_DIR: "/in",
        Env.OUTPUT_DIR: "/out",
        Env.RUN_DIR: "/run/rank",
        Env.GRACE_SECONDS: "120",
        "RANK": "5",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "8",
        "LOCAL_WORLD_SIZE": "4",
        **more,
    }


def test_a_folder_that_is_not_there_is_told_with_those_that_are_and_where_they_come_from(tmp_path: Path) -> None:
    inside, outside = read_context(environment(tmp_path)), read_context({})
    with pytest.raises(KeyError, match=r"no input 'trian': there are 'train'\. They are those of spec\.inputs"):
        inside.inputs["trian"]
    with pytest.raises(KeyError, match=r"no input 'train': there are none\..*outside a job: ctx\.inputs\.get"):
        outside.inputs["train"]
    with pytest.raises(KeyError, match=r"no part 'train': there are none\. spec\.data\.split makes them"):
        inside.splits["train"]
    assert inside.inputs.get("trian") is None
    assert copy.deepcopy(inside.inputs) == inside.inputs == pickle.loads(pickle.dumps(inside.inputs))


def test_outside_a_job_there_is_one_rank_and_nothing_else() -> None:
    place = read_context({})
    assert place == Context(device=place.device)
    assert (place.rank, place.world_size, place.is_main, place.inputs, place.config) == (0, 1, True, {}, None)


def test_inside_a_job(tmp_path: Path) -> None:
    place = read_context(environment(tmp_path, hyperparameters={"seed": 7, "epochs": 3}))
    assert (place.rank, place.local_rank, place.world_size, place.local_world_size, place.node_rank) == (5, 1, 8, 4, 1)
    assert (place.job, place.uid, place.run, place.attempt, place.seed) == ("digits", "u-1", 2, 3, 7)
    assert place.inputs == {"train": Path("/in/train")}
    assert (place.output_dir, place.run_dir, place.grace_seconds) == (Path("/out"), Path("/run/rank"), 120.0)
    assert place.hyperparameters == {"seed": 7, "epochs": 3}
    assert not place.is_main


def test_the_device_is_the_local_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert read_context(environment(tmp_path)).device == torch.device("cuda", 1)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        pytest.param({"RANK": "first"}, "RANK='first' must be a whole number", id="rank"),
        pytest.param({Env.CONFIG: "/nowhere/job.json"}, "FOOTPLATE_CONFIG=/nowhere/job.json", id="config"),
    ],
)
def test_a_broken_environment_is_named(tmp_path: Path, more: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        read_context(environment(tmp_path) | more)


@pytest.mark.parametrize("content", [b"", b"{", b"\x00\xff", b"[]", b'{"metadata": {}}'])
def test_a_damaged_job_is_named(tmp_path: Path, content: bytes) -> None:
    environ = environment(tmp_path)
    Path(environ[Env.CONFIG]).write_bytes(content)
    with pytest.raises(ConfigError, match=r"FOOTPLATE_CONFIG=.*job\.json"):
        read_context(environ)


@pytest.mark.parametrize("seed", [-1, 1.5, "7", True, 2**63])
def test_a_seed_is_a_whole_number(tmp_path: Path, seed: Any) -> None:
    with pytest.raises(ConfigError, match=r"hyperparameters\.seed="):
        read_context(environment(tmp_path, hyperparameters={"seed": seed}))


def test_a_rank_refuses_another_jobs_configuration(tmp_path: Path) -> None:
    with pytest.raises(WrongJob, match="the node has mounted something old"):
        read_context(environment(tmp_path, **{Env.UID: "u-2"}))
