"""The table of other platforms' variables, each against what that platform's documentation promises."""

import json
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from footplate.api.errors import explain
from footplate.api.trainingjob import TrainingJobSpec
from footplate.dialects import MAX_VALUE_BYTES, VARIABLES, Place, environment
from footplate.dialects.place import MAX_LISTED

HYPERPARAMETERS = {"batch-size": 256, "lr": 1e-4, "name": "café", "deep": True, "layers": [1, 2], "none": None}
CHANNELS = [{"name": name, "uri": f"s3://data/{name}/"} for name in ("train", "my-val", "test")]


def spec_of(trainer: dict[str, Any] | None = None, **changes: Any) -> TrainingJobSpec:
    base = {"image": "any", "entrypoint": "pkg/train.py", "hyperparameters": HYPERPARAMETERS}
    return TrainingJobSpec.model_validate({"trainer": {**base, **(trainer or {})}, "inputs": CHANNELS, **changes})


def place(nodes: int = 2, **changes: Any) -> Place:
    """The second node of a gang, as its command sees it."""
    here: dict[str, Any] = {
        "spec": spec_of(), "job": "digits", "run": 1, "attempt": 2, "port": 23_000, "processes": 4,
        "hosts": [f"digits-{rank}.run" for rank in range(nodes)], "node_rank": nodes - 1,
        "arguments": ["--depth", "18"], "output_dir": "/out", "checkpoint_dir": "/ckpt", "tensorboard_dir": "/tb",
        "input_dir": "/in", "sagemaker_dir": "/ml", "code_dir": "/code", "cpus": 8, "gpus": 4,
    }  # fmt: skip
    return Place(**{**here, **changes})


SAID = environment(place(data_format="csv"))


def test_torchrun_finds_its_gang() -> None:
    assert {name: value for name, value in SAID.items() if name.startswith("PET_")} == {
        "PET_NNODES": "2", "PET_NPROC_PER_NODE": "4", "PET_NODE_RANK": "1", "PET_MASTER_ADDR": "digits-0.run",
        "PET_MASTER_PORT": "23000", "PET_MAX_RESTARTS": "0", "PET_RDZV_BACKEND": "static", "PET_RDZV_ID": "digits-1-2",
    }  # fmt: skip


def test_sagemaker_toolkit() -> None:
    """Each variable of the toolkit's ENVIRONMENT_VARIABLES.md, and what its containers set besides."""
    expected: dict[str, Any] = {
        "SM_MODEL_DIR": "/out", "SM_OUTPUT_DATA_DIR": "/ml/output/data", "SM_OUTPUT_DIR": "/ml/output",
        "SM_OUTPUT_INTERMEDIATE_DIR": "/ml/output/intermediate", "SM_INPUT_DIR": "/ml/input",
        "SM_INPUT_CONFIG_DIR": "/ml/input/config", "SM_CHANNEL_TRAIN": "/in/train", "SM_CHANNEL_MY_VAL": "/in/my-val",
        "SM_CHANNEL_TEST": "/in/test", "SM_CURRENT_HOST": "digits-1.run", "SM_NUM_GPUS": "4", "SM_NUM_CPUS": "8",
        "SM_LOG_LEVEL": "20", "SM_NETWORK_INTERFACE_NAME": "eth0", "SM_USER_ENTRY_POINT": "pkg/train.py",
        "SM_MODULE_NAME": "pkg.train", "SM_MODULE_DIR": "/code", "SM_HP_BATCH-SIZE": "256", "SM_HP_LR": "0.0001",
        "SM_HP_NAME": "café", "SM_HP_DEEP": "true", "SM_HP_LAYERS": "[1, 2]", "SM_HP_NONE": "null",
    }  # fmt: skip
    hosts = ["digits-0.run", "digits-1.run"]
    resources = {"current_host": "digits-1.run", "hosts": hosts, "network_interface_name": "eth0"}
    channel = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
    as_json = {
        "SM_CHANNELS": ["my-val", "test", "train"], "SM_HPS": HYPERPARAMETERS, "SM_USER_ARGS": ["--depth", "18"],
        "SM_HOSTS": hosts, "SM_RESOURCE_CONFIG": resources,
        "SM_INPUT_DATA_CONFIG": dict.fromkeys(("train", "my-val", "test"), channel),
    }  # fmt: skip
    said = {name: value for name, value in SAID.items() if name.startswith("SM_")}
    everything = json.loads(said.pop("SM_TRAINING_ENV"))
    assert {name: json.loads(said.pop(name)) for name in as_json} == as_json
    assert said == expected
    assert everything["channel_input_dirs"] == {"train": "/in/train", "my-val": "/in/my-val", "test": "/in/test"}
    assert (everything["hyperparameters"], everything["resource_config"]) == (HYPERPARAMETERS, resources)
    assert (everything["is_master"], everything["master_hostname"], everything["num_gpus"]) == (False, hosts[0], 4)
    assert SAID["TRAINING_JOB_NAME"] == "digits"


def test_vertex_ai() -> None:
    assert {name: value for name, value in SAID.items() if name.startswith("AIP_")} == {
        "AIP_MODEL_DIR": "/out", "AIP_CHECKPOINT_DIR": "/ckpt", "AIP_TENSORBOARD_LOG_DIR": "/tb",
        "AIP_TRAINING_DATA_URI": "/in/train/*", "AIP_TEST_DATA_URI": "/in/test/*", "AIP_DATA_FORMAT": "csv",
    }  # fmt: skip
    assert json.loads(SAID["CLUSTER_SPEC"]) == {
        "cluster": {"workerpool0": ["digits-0.run:13000"], "workerpool1": ["digits-1.run:13001"]},
        "environment": "cloud",
        "task": {"type": "workerpool1", "index": 0},
    }


def test_azure_ml() -> None:
    assert {name: value for name, value in SAID.items() if name.startswith("AZ")} == {
        "AZUREML_NODE_COUNT": "2", "AZ_BATCH_MASTER_NODE": "digits-0.run:23000", "AZURE_ML_INPUT_train": "/in/train",
        "AZURE_ML_INPUT_my_val": "/in/my-val", "AZURE_ML_INPUT_test": "/in/test",
    }  # fmt: skip


def test_tensorflow_of_a_command_counts_nodes_and_of_an_entrypoint_ranks() -> None:
    node = json.loads(SAID["TF_CONFIG"])
    assert node == {
        "cluster": {"worker": ["digits-0.run:13000", "digits-1.run:13001"]},
        "task": {"type": "worker", "index": 1},
    }
    rank = json.loads(environment(place(local_rank=2))["TF_CONFIG"])
    assert rank["task"] == {"type": "worker", "index": 6}
    assert rank["cluster"]["worker"][:5:4] == ["digits-0.run:13000", "digits-1.run:13004"]
    assert len(set(rank["cluster"]["worker"])) == 8


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, ("2", "1", None), id="a command: a process a node, with all its GPUs"),
        pytest.param({"local_rank": 2}, ("8", "6", "2"), id="a rank of several: one GPU"),
        pytest.param({"local_rank": 0, "processes": 1}, ("2", "1", None), id="the only rank: all of them"),
        pytest.param({"local_rank": 2, "gpus": 0}, ("8", "6", None), id="no GPUs"),
    ],
)
def test_jax(changes: dict[str, Any], expected: tuple[str | None, ...]) -> None:
    said = environment(place(**changes))
    assert said["JAX_COORDINATOR_ADDRESS"] == "digits-0.run:13000"
    assert tuple(map(said.get, ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID", "JAX_LOCAL_DEVICE_IDS"))) == expected


def test_a_member_alone_is_in_no_cluster_but_jax_may_initialize() -> None:
    said = environment(place(nodes=1))
    assert not {"TF_CONFIG", "CLUSTER_SPEC"} & said.keys()
    assert (said["JAX_NUM_PROCESSES"], said["JAX_PROCESS_ID"]) == ("1", "0")
    assert json.loads(said["SM_HOSTS"]) == ["digits-0.run"]


MISLEADING = ("OMPI_", "PMI_", "MV2_", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_JOB_ID", "AZUREML_RUN",
              "AZUREML_EXPERIMENT", "AZUREML_ARM", "NUM_PROCESSES")  # fmt: skip


def test_nothing_that_makes_a_library_believe_in_another_launcher() -> None:
    assert not [name for name in SAID if name.startswith(MISLEADING) or "NODELIST" in name]
    assert (SAID["SLURM_NNODES"], SAID["SLURM_NODEID"], SAID["SLURM_GPUS_ON_NODE"]) == ("2", "1", "4")


def test_what_the_job_sets_itself_stays() -> None:
    env = [{"name": "TF_CONFIG", "value": "mine"}, {"name": "SM_CHANNEL_TRAIN", "value": "/mine"}]
    said = environment(place(spec=spec_of({"env": env})))
    assert SAID.keys() - said.keys() - {"AIP_DATA_FORMAT"} == {"TF_CONFIG", "SM_CHANNEL_TRAIN"}


def test_a_large_gang_is_not_listed_and_starts() -> None:
    here = place(nodes=MAX_LISTED + 1)
    assert {"TF_CONFIG", "CLUSTER_SPEC", "SM_HOSTS", "SM_TRAINING_ENV", "SM_RESOURCE_CONFIG"} & environment(
        replace(here, hosts=here.hosts[:-1], node_rank=0)
    ).keys() == {"TF_CONFIG", "CLUSTER_SPEC", "SM_HOSTS", "SM_TRAINING_ENV", "SM_RESOURCE_CONFIG"}
    said = environment(here)
    assert not {"TF_CONFIG", "CLUSTER_SPEC", "SM_HOSTS", "SM_TRAINING_ENV", "SM_RESOURCE_CONFIG"} & said.keys()
    assert (said["PET_NNODES"], said["JAX_PROCESS_ID"]) == (str(MAX_LISTED + 1), str(MAX_LISTED))


@pytest.mark.parametrize(
    ("hyperparameters", "left_out"),
    [
        pytest.param({"a": "x\0y"}, {"SM_HP_A"}, id="a NUL ends a variable"),
        pytest.param({"a=b": 1, "": 2, "ä": 3}, set(), id="names that no variable has"),
        pytest.param({"a": "é" * 32_000, "b": "x"}, set(), id="64 kB of other letters, as they are"),
    ],
)
def test_hyperparameters_that_no_variable_can_hold(hyperparameters: dict[str, Any], left_out: set[str]) -> None:
    said = environment(place(spec=spec_of({"hyperparameters": hyperparameters})))
    possible = {f"SM_HP_{name.upper()}" for name in hyperparameters if name.isascii() and name.isalnum()}
    assert {name for name in said if name.startswith("SM_HP_")} == possible - left_out
    assert json.loads(said["SM_HPS"]) == hyperparameters
    for name, value in said.items():
        assert "=" not in name
        assert "\0" not in value
        assert len(value.encode()) <= MAX_VALUE_BYTES


def test_more_than_fits_is_left_out_by_family() -> None:
    said = environment(place(), most=20)
    assert {"SM_HPS", "TF_CONFIG"} & said.keys() == set()
    assert not [name for name in said if name.startswith("SM_HP_")]
    assert said["SM_NUM_GPUS"] == "4"


def test_no_two_rows_set_the_same_name() -> None:
    names = [name for row in VARIABLES for name in row.values(place(data_format="csv", local_rank=1))]
    assert len(names) == len(set(names))
    assert all(row.values(place(data_format="csv", local_rank=1)) for row in VARIABLES if "VALIDATION" not in row.name)


@pytest.mark.parametrize("hyperparameters", [{"a b": 1}, {"": 1}, {"-x": 1}, {"a=b": 1}, {"a": "x\0y"}, {"ä": 1}])
def test_what_no_argument_can_be_is_refused_where_it_would_be_one(hyperparameters: dict[str, Any]) -> None:
    spec_of({"hyperparameters": hyperparameters})
    with pytest.raises(ValidationError, match="hyperparameterArgs makes arguments of hyperparameters") as refused:
        spec_of({"hyperparameters": hyperparameters, "hyperparameterArgs": True})
    assert [problem.path for problem in explain(refused.value)] == ["spec.trainer.hyperparameters"]
