"""`checkpoint.initFrom`: a training begins with the weights of another job's checkpoint or model, and those alone."""

import copy
import hashlib
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn

from footplate_trainer import checkpoint
from footplate_trainer.data.indexed import Batching, IndexedData, Order, SliceTensors
from footplate_trainer.data.loader import Loader
from footplate_trainer.errors import ConfigError, DataError
from footplate_trainer.model_manifest import CodeRecord, Hardware, ModelFile, ModelManifest
from training_program import Program, Training, complete_steps, flip

OTHER = "another"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    program = Program(tmp_path, monkeypatch)
    program.begin()
    return program


@pytest.fixture
def donor(program: Program) -> Training:
    """A training of another job, with a checkpoint of its step 4."""
    training = Training().restore(loader=make_loader(), ema=nn.Linear(2, 1))
    training.train(until=4)
    return training


def uri(program: Program, step: int = 4) -> str:
    return f"file://{program.folder()}/step-{step:08d}/"


def make_loader(samples: int = 40) -> Loader:
    split, fetch = Batching(samples, 4, drop_last=False), SliceTensors([torch.zeros(samples, 1)])
    indexed = IndexedData(split, Order(samples, 0, shuffle=True), fetch, rank=0, world_size=1)
    return Loader(indexed, epochs=1)


def write_model(folder: Path, files: dict[str, Callable[[Path], object]]) -> str:
    """A model as a job leaves it in its output, and its URI."""
    folder.mkdir()
    for name, write in files.items():
        write(folder / name)
    described = [
        ModelFile(name=name, size_bytes=(folder / name).stat().st_size, sha256=hashlib.sha256(
            (folder / name).read_bytes()).hexdigest())
        for name in files
    ]  # fmt: skip
    manifest = ModelManifest(
        job="donor", namespace="n", uid="u", run=1, attempt=0, created=datetime.now(UTC), files=described, metrics={},
        hyperparameters={}, inputs={}, code=CodeRecord(run="e.py"), packages={},
        hardware=Hardware(nodes=1, processes_per_node=1, machine="m", cpu="c", cpus=1, memory_bytes=1, accelerators={}),
    )  # fmt: skip
    (folder / "manifest.json").write_text(manifest.model_dump_json(by_alias=True, exclude_none=True))
    return f"file://{folder}/"


def test_weights_are_taken_and_nothing_else(program: Program, donor: Training) -> None:
    program.begin(uid=OTHER)
    Training().restore(loader=make_loader())
    fresh = torch.rand(3)
    program.begin(uid=OTHER, init_from=uri(program))
    loader = make_loader()
    training = Training().restore(loader=loader)
    assert torch.equal(torch.rand(3), fresh), "random numbers are as in any beginning"
    assert training.weights == donor.weights
    assert (training.state.step, training.state.epoch, loader.index) == (0, 0, 0)
    assert training.optimizer.state_dict()["state"] == {}
    assert program.notes == [f"begins with the weights of {uri(program)}, and with nothing else of it"]
    assert program.said._snapshot().resumed_from_step is None


def test_a_second_fit_goes_on_with_what_the_first_has_learnt(program: Program, donor: Training) -> None:
    """Not with the first weights once more, also where no checkpoint counts."""
    program.begin(uid=OTHER, init_from=uri(program), resume="never", every={"steps": 1000})
    training = Training().restore()
    training.train(until=3)
    learnt, drawn = training.weights, torch.get_rng_state()
    for step in (3, 5):
        training.state = checkpoint.restore(model=training.model, optimizer=training.optimizer)
        assert training.state.step == step
        assert training.weights == learnt
        assert torch.equal(torch.get_rng_state(), drawn), "random numbers go on as well"
        training.train(until=5)
        learnt, drawn = training.weights, torch.get_rng_state()


def test_a_model_is_taken_as_well(program: Program, tmp_path: Path) -> None:
    donor = nn.Linear(2, 1)
    uris = [
        write_model(tmp_path / "a", {"model.safetensors": lambda path: save_file(donor.state_dict(), path),
                                     "other.safetensors": lambda path: save_file({"x": torch.zeros(1)}, path)}),
        write_model(tmp_path / "b", {"weights.safetensors": lambda path: save_file(donor.state_dict(), path)}),
        write_model(tmp_path / "c", {"my größtes (2).safetensors": lambda path: save_file(donor.state_dict(), path)}),
    ]  # fmt: skip
    for number, address in enumerate(uris):
        program.begin(uid=f"{OTHER}-{number}", init_from=address)
        assert Training().restore().weights == donor.weight.flatten().tolist()


class Tied(nn.Module):
    """A model whose output weights are its input's."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(4, 3), nn.Linear(3, 4, bias=False)
        self.head.weight = self.embed.weight


def test_of_weights_with_two_names_a_model_holds_one(program: Program, tmp_path: Path) -> None:
    donor, mine = Tied(), Tied()
    address = write_model(tmp_path / "a", {"model.safetensors": lambda path: save_model(donor, str(path))})
    program.begin(uid=OTHER, init_from=address)
    checkpoint.restore(model=mine)
    assert torch.equal(mine.head.weight, donor.head.weight)
    assert mine.head.weight is mine.embed.weight


def test_only_where_there_is_nothing_to_go_on_from(program: Program, donor: Training) -> None:
    program.begin(uid=OTHER, init_from=uri(program))
    training = Training().restore()
    training.train(until=2)
    for place in ({"attempt": 1}, {"run": 2}):
        program.begin(uid=OTHER, init_from=uri(program), **place)
        again = Training().restore()
        assert (again.state.step, again.weights) == (2, training.weights)
        assert not any("begins with the weights" in note for note in program.notes)
    shutil.rmtree(program.folder())
    program.begin(uid=OTHER, init_from=uri(program), attempt=2)
    assert Training().restore().state.step == 2, "what lay there isn't even asked for"


def test_a_checkpoint_names_what_its_training_began_with(program: Program, donor: Training) -> None:
    program.begin(uid=OTHER, init_from=uri(program))
    Training().restore().train(until=2)
    path = next(program.root.glob(f"checkpoints/job/run-1-{OTHER}/step-00000002/manifest.json"), None)
    assert path is not None
    assert f'"parent": "{uri(program)}"' in path.read_text()
    assert program.said._snapshot().resumed_from == uri(program)


def test_an_average_of_the_weights_begins_with_its_own(program: Program, donor: Training) -> None:
    """Not with the random ones that it was copied from before."""
    ema = nn.Linear(2, 1)
    program.begin(uid=OTHER, init_from=uri(program))
    Training().restore(ema=ema)
    assert torch.equal(ema.weight, donor.state.parts["ema"].weight)


def test_a_training_with_a_name_says_whether_it_begins_so(program: Program, donor: Training) -> None:
    program.begin(uid=OTHER, init_from=uri(program))
    with pytest.raises(ConfigError, match=r"training 'fold-0' doesn't say .* init=True or init=False"):
        Training("fold-0").restore()
    assert Training("fold-0").restore(init=True).weights == donor.weights
    assert Training("fold-1").restore(init=False).weights != donor.weights
    assert Training().restore(init=False).weights != donor.weights


def test_a_checkpoint_of_a_newer_version_is_refused_with_words(program: Program, donor: Training) -> None:
    path = program.folder() / "step-00000004/manifest.json"
    path.write_bytes(path.read_bytes().replace(b"footplate-checkpoint/1", b"footplate-checkpoint/2"))
    program.begin(uid=OTHER, init_from=uri(program))
    with pytest.raises(ConfigError, match=r"footplate-checkpoint/2 is of a newer version"):
        Training().restore()


class Body(nn.Module):
    """A body that fits, and a head that doesn't."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(2, 3), nn.Linear(3, classes)


def with_donor(program: Program, model: nn.Module, **block: Any) -> None:
    checkpoint.save(checkpoint.restore(model=model))
    program.begin(uid=OTHER, init_from=uri(program, 0), **block)


@pytest.mark.parametrize(
    ("model", "named"),
    [
        pytest.param(Body(5), r"another shape: head.weight \(checkpoint \(2, 3\), model \(5, 3\)\), head", id="shape"),
        pytest.param(nn.Sequential(Body(2)), r"missing from the checkpoint: 0.body.weight.*none of it fits", id="all"),
        pytest.param(nn.ModuleDict({"body": nn.Linear(2, 3)}), "unknown to the model: head.weight", id="more"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_with_the_way_out(program: Program, model: nn.Module, named: str) -> None:
    with_donor(program, Body(2))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ConfigError, match=rf"initFrom=file://.*: the model doesn't fit: .*{named}") as refused:
        checkpoint.restore(model=model)
    assert ("initStrict: false" in str(refused.value)) is ("none of it fits" not in str(refused.value))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_where_it_need_not_fit_what_is_left_out_is_told(program: Program) -> None:
    donor, model = Body(2), Body(5)
    head = model.head.weight.detach().clone()
    with_donor(program, donor, init_strict=False)
    checkpoint.restore(model=model)
    assert torch.equal(model.body.weight, donor.body.weight)
    assert torch.equal(model.head.weight, head)
    assert len(program.notes) == 1
    assert "left out of the model: of another shape: head.weight (checkpoint (2, 3), model (5, 3))" in program.notes[0]


def test_where_nothing_fits_nothing_is_taken_however_lax(program: Program) -> None:
    with_donor(program, Body(2), init_strict=False)
    with pytest.raises(ConfigError, match="none of it fits"):
        checkpoint.restore(model=nn.Sequential(Body(2)))


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        pytest.param(shutil.rmtree, "no manifest.json, so this is neither", id="missing"),
        pytest.param(lambda folder: (folder / "manifest.json").unlink(), "status.artifact.uri", id="half"),
        pytest.param(lambda folder: flip(next(folder.glob("model*"))), "SHA-256", id="corrupt"),
        pytest.param(lambda folder: next(folder.glob("model*")).unlink(), "is missing", id="a file gone"),
        pytest.param(
            lambda folder: (folder / "manifest.json").write_text('{"kind": "other"}'), "no checkpoint", id="foreign"
        ),
    ],
)
def test_what_is_no_checkpoint_is_a_data_error(
    program: Program, donor: Training, spoil: Callable[[Path], object], problem: str
) -> None:
    spoil(program.folder() / "step-00000004")
    program.begin(uid=OTHER, init_from=uri(program))
    with pytest.raises(DataError, match=f"checkpoint.initFrom=file://.*{problem}"):
        Training().restore()
    assert complete_steps(program.root / f"checkpoints/job/run-1-{OTHER}") == []


@pytest.mark.parametrize(
    ("said", "lie"),
    [
        pytest.param('"sizeBytes":20', '"sizeBytes":-1', id="size"),
        pytest.param('"name":"model.safetensors"', '"name":"..safetensors"', id="name"),
        pytest.param('"sha256":"', '"sha256":"../', id="sha256"),
    ],
)
def test_a_models_manifest_that_lies_is_a_data_error(program: Program, tmp_path: Path, said: str, lie: str) -> None:
    program.begin(
        uid=OTHER,
        init_from=write_model(tmp_path / "a", {"model.safetensors": lambda path: path.write_bytes(b"x" * 20)}),
    )
    manifest = tmp_path / "a/manifest.json"
    manifest.write_text(manifest.read_text().replace(said, lie, 1))
    with pytest.raises(DataError, match=r"initFrom=file://.*: what its manifest says of '.*safetensors' can't be: "):
        Training().restore()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        pytest.param("model.onnx", r"this model \(model.onnx\) has neither", id="onnx"),
        pytest.param("model.safetensors", "not a safetensors file", id="bytes"),
    ],
)  # fmt: skip
def test_a_model_without_weights_is_a_data_error(program: Program, tmp_path: Path, name: str, problem: str) -> None:
    program.begin(uid=OTHER, init_from=write_model(tmp_path / "a", {name: lambda path: path.write_bytes(b"x" * 20)}))
    with pytest.raises(DataError, match=problem):
        Training().restore()
