"""What a pod knows of itself for the table of dialects, and the files that go with it."""

import json
from pathlib import Path
from typing import Any

import pytest

from footplate.dialects import Place
from footplate_trainer.supervisor.dialect import gather, lay_out, place_of
from footplate_trainer.supervisor.launch import plan_launches
from footplate_trainer.supervisor.pod import Pod, read_pod
from trainer_pods import pod_environment

SPEC = {
    "trainer": {
        "entrypoint": "train.py", "args": ["--depth", "18"], "hyperparameterArgs": True,
        "hyperparameters": {"lr": 0.1, "epochs": 5, "x": "$(HOME)", "fast": True, "sizes": [1, 2], "off": None},
    },
    "inputs": [{"name": "train", "uri": "s3://data/train/"}],
    "resources": {"limits": {"cpu": "8", "nvidia.com/gpu": 2}},
}  # fmt: skip
ARGUMENTS = ["--epochs", "5", "--fast", "True", "--lr", "0.1", "--sizes", "[1, 2]", "-x", "$(HOME)"]


def pod_in(root: Path, spec: dict[str, Any] | None = None, **place: Any) -> Pod:
    pod = read_pod(pod_environment(root, SPEC if spec is None else spec, **place))
    pod.make_folders()
    return pod


def here(pod: Pod, environ: dict[str, str] | None = None) -> Place:
    return place_of(pod, Path("/code"), environ or {})


@pytest.mark.parametrize(
    ("environ", "hosts"),
    [
        pytest.param({"FOOTPLATE_HOSTS": "a.run,b.run"}, ["a.run", "b.run"], id="as the operator lists them"),
        pytest.param(
            {"FOOTPLATE_HOSTS": "", "MASTER_ADDR": "digits-1-0-0.digits-run-1"},
            ["digits-1-0-0.digits-run-1", "digits-1-0-1.digits-run-1"],
            id="too many to be listed: as MASTER_ADDR",
        ),
        pytest.param({"MASTER_ADDR": "127.0.0.1"}, ["127.0.0.1", "digits-1-0-1"], id="started by hand"),
    ],
)
def test_nodes_have_names_that_resolve(tmp_path: Path, environ: dict[str, str], hosts: list[str]) -> None:
    assert here(pod_in(tmp_path, nodes=2), environ).hosts == hosts


def test_pretended_gpus_are_none_to_compute_on(tmp_path: Path) -> None:
    pod = pod_in(tmp_path)
    assert here(pod).gpus == 2
    assert here(pod, {"FOOTPLATE_PRETENDED_ACCELERATORS": "1"}).gpus == 0


@pytest.mark.parametrize(
    ("names", "found"),
    [
        pytest.param(["a.csv", "b.csv"], "csv", id="csv"),
        pytest.param(["a.jsonl"], "jsonl", id="jsonl"),
        pytest.param(["a.tfrecord-00000-of-00002", "a.tfrecord-00001-of-00002"], "tf-record", id="shards"),
        pytest.param(["a.csv", "a.jsonl"], None, id="mixed"),
        pytest.param(["a.png"], None, id="no word for it"),
        pytest.param([], None, id="empty"),
    ],
)
def test_training_data_have_a_format(tmp_path: Path, names: list[str], found: str | None) -> None:
    pod = pod_in(tmp_path)
    (pod.input_dir / "train").mkdir()
    for name in names:
        (pod.input_dir / "train" / name).touch()
    assert here(pod).data_format == found


def test_without_a_training_channel_there_is_no_format(tmp_path: Path) -> None:
    assert here(pod_in(tmp_path)).data_format is None


def test_sagemakers_folder_is_laid_out(tmp_path: Path) -> None:
    pod = pod_in(tmp_path)
    for _ in range(2):  # a container that starts anew finds the folder
        lay_out(pod, here(pod, {"FOOTPLATE_HOSTS": "a.run"}))
    folder = pod.work_dir / "sagemaker"
    links = {"model": pod.output_dir, "checkpoints": pod.checkpoint_dir, "input/data": pod.input_dir}
    assert {name: (folder / name).readlink() for name in links} == links
    assert not [*pod.output_dir.iterdir()], "who saves there may insist that it is empty"
    written = {path.name: json.loads(path.read_text()) for path in (folder / "input/config").iterdir()}
    assert written.keys() == {"hyperparameters.json", "resourceconfig.json", "inputdataconfig.json"}
    assert written["hyperparameters.json"] == {
        "lr": "0.1", "epochs": "5", "x": "$(HOME)", "fast": "true", "sizes": "[1, 2]", "off": "null",
    }  # fmt: skip
    assert written["resourceconfig.json"]["hosts"] == ["a.run"]
    assert written["inputdataconfig.json"].keys() == {"train"}


@pytest.mark.parametrize(
    ("left", "taken", "found"),
    [
        pytest.param(["report.txt"], [], ["data/report.txt"], id="beside the model"),
        pytest.param(["report.txt"], ["data/x"], ["data/x", "output-data/report.txt"], id="not over the code's own"),
        pytest.param([], [], [], id="nothing"),
    ],
)
def test_output_data_goes_with_the_model(tmp_path: Path, left: list[str], taken: list[str], found: list[str]) -> None:
    pod = pod_in(tmp_path)
    (launch,) = plan_launches(pod, tmp_path, {})
    lay_out(pod, here(pod))
    for folder, names in ((Path(launch.env["SM_OUTPUT_DATA_DIR"]), left), (pod.output_dir, taken)):
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).touch()
    gather(pod)
    files = (path for path in pod.output_dir.rglob("*") if path.is_file())
    assert sorted(path.relative_to(pod.output_dir).as_posix() for path in files) == found


def test_hyperparameters_are_arguments_where_the_job_says_so(tmp_path: Path) -> None:
    pod = pod_in(tmp_path)
    (launch,) = plan_launches(pod, tmp_path, {})
    assert [*launch.command][3:] == ["--depth", "18", *ARGUMENTS]
    assert json.loads(launch.env["SM_USER_ARGS"]) == ["--depth", "18", *ARGUMENTS]


def test_of_a_command_only_what_follows_it_is_the_scripts(tmp_path: Path) -> None:
    trainer = {"command": ["torchrun", "train.py"], "args": ["--depth", "18"], "hyperparameters": {"epochs": 5}}
    (launch,) = plan_launches(pod_in(tmp_path, {"trainer": trainer}), tmp_path, {})
    assert [*launch.command] == ["torchrun", "train.py", "--depth", "18"]
    assert json.loads(launch.env["SM_USER_ARGS"]) == ["--depth", "18"]
    assert "SM_USER_ENTRY_POINT" not in launch.env


def test_ranks_differ_in_their_places(tmp_path: Path) -> None:
    launches = plan_launches(pod_in(tmp_path, nodes=2, node_rank=1, processes=2), tmp_path, {})
    assert [launch.env["JAX_PROCESS_ID"] for launch in launches] == ["2", "3"]
    assert [json.loads(launch.env["TF_CONFIG"])["task"]["index"] for launch in launches] == [2, 3]
    assert [launch.env["JAX_LOCAL_DEVICE_IDS"] for launch in launches] == ["0", "1"]


def test_a_mig_instance_is_the_only_device_of_its_rank(tmp_path: Path) -> None:
    launches = plan_launches(pod_in(tmp_path, processes=2), tmp_path, {}, instances=["MIG-a", "MIG-b"])
    seen = [(launch.env["CUDA_VISIBLE_DEVICES"], launch.env["JAX_LOCAL_DEVICE_IDS"]) for launch in launches]
    assert seen == [("MIG-a", "0"), ("MIG-b", "0")]
