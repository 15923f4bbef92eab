"""Pretrained folders: what is trained of them, what is refused, and what is left of a training."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from footplate.api.recipes import LanguageHyperparameters, TextHyperparameters
from footplate_trainer import load_model
from footplate_trainer.data import tokens as token_module
from footplate_trainer.data.inputs import TextInput
from footplate_trainer.errors import ConfigError, DataError
from footplate_trainer.models.cards import ModelCard
from footplate_trainer.models.export import export_model
from footplate_trainer.models.pretrained import (
    ARCHITECTURES,
    check_folder,
    find_folder,
    read_network,
    read_tokens,
)
from footplate_trainer.models.texts import NAME, TextClassifier, add_adapters, make_network
from footplate_trainer.recipes.text_classification import balance, check_fine_tuning, check_settings, with_rate
from text_cases import make_model

CLASSES = ("bad", "good", "odd")


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("pretrained"))


@pytest.fixture
def folder(pretrained: Path, tmp_path: Path) -> Path:
    """A copy of the model to be damaged."""
    return Path(shutil.copytree(pretrained, tmp_path / "model"))


def change(folder: Path, file: str = "config.json", **values: Any) -> None:
    settings = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**settings, **values}))


def classifier_of(folder: Path, *, rank: int | None = None) -> TextClassifier:
    tokens = read_tokens(folder, check_folder(folder), 16)
    network, _ = read_network(folder, CLASSES)
    return TextClassifier(add_adapters(network, rank) if rank else network, tokens)


@pytest.mark.parametrize("rank", [None, 4], ids=["full", "lora"])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_every_weight_that_may_learn_does(kind: str, rank: int | None, tmp_path: Path) -> None:
    """On several ranks DistributedDataParallel would wait for the gradient of one that has none."""
    model = classifier_of(make_model(tmp_path, kind=kind), rank=rank)
    logits = model(model.tokens.batch(["a lovely day", "a sad song"]))
    assert logits.shape == (2, 3)
    logits.logsumexp(dim=1).sum().backward()
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert trained
    assert [name for name, weight in model.named_parameters() if name in trained and weight.grad is None] == []
    if rank:
        assert all("lora_" in name or "modules_to_save" in name for name in trained)


@pytest.mark.parametrize("rank", [None, 4], ids=["full", "lora"])
def test_what_is_left_is_transformers_own_and_ours(pretrained: Path, tmp_path: Path, rank: int | None) -> None:
    model = classifier_of(pretrained, rank=rank)
    for name, weight in model.named_parameters():
        if "lora_B" in name:  # else adapters change nothing
            torch.nn.init.normal_(weight, std=0.1)
    texts = ["a lovely day", "a sad song, a poor film", ""]
    with torch.no_grad():
        expected = torch.softmax(model.eval()(model.tokens.batch(texts)), dim=1)
    card = ModelCard(
        recipe="text-classification", network=NAME, arguments={}, classes=CLASSES, input=TextInput(max_length=16)
    )
    export_model(model, model.tokens.batch(texts), card=card, formats=["safetensors"], folder=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json",
        "model.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert str(pretrained) not in "".join(path.read_text() for path in tmp_path.glob("*.json"))
    loaded = load_model(tmp_path)
    torch.testing.assert_close(loaded.probabilities(texts), expected, atol=1e-4, rtol=1e-3)
    assert loaded.predict(texts) == [CLASSES[place] for place in expected.argmax(dim=1)]
    assert loaded.predict(texts[0]) == loaded.predict(texts)[:1]
    with pytest.raises(DataError, match="takes texts: strings"):
        loaded.predict([1])

    from transformers import pipeline

    found = pipeline("text-classification", str(tmp_path))(texts[:2], top_k=None)
    assert [each[0]["label"] for each in found] == loaded.predict(texts[:2])


def test_many_texts_at_once_are_as_each_alone(pretrained: Path, tmp_path: Path) -> None:
    model = classifier_of(pretrained)
    card = ModelCard(recipe="any", network=NAME, arguments={}, classes=CLASSES, input=TextInput(max_length=16))
    export_model(model, model.tokens.batch(["a"]), card=card, formats=["safetensors"], folder=tmp_path)
    loaded = load_model(tmp_path)
    texts = [f"a {word} day" for word in ("sad", "fine", "grey")] * 50
    together = loaded.probabilities(texts)
    torch.testing.assert_close(together[149:], loaded.probabilities(texts[149]), atol=1e-5, rtol=1e-4)


def test_a_model_without_a_folder_fits_its_tokenizer(pretrained: Path) -> None:
    tokens = read_tokens(pretrained, check_folder(pretrained), 16)
    network = make_network(tokens, CLASSES, hidden=96, layers=2, dropout=0.1)
    assert network.config.num_attention_heads == 3
    assert network.config.vocab_size == len(tokens.tokenizer)
    assert TextClassifier(network, tokens)(tokens.batch(["a day"])).shape == (1, 3)


def test_a_download_of_the_hub_is_found(folder: Path, tmp_path: Path) -> None:
    below = tmp_path / "hub" / "models--org--name" / "snapshots" / "8b3219a"
    below.parent.mkdir(parents=True)
    folder.rename(below)
    (below / "1_Pooling").mkdir()
    (below / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    assert find_folder(tmp_path / "hub") == below
    assert find_folder(below) == below
    shutil.copytree(below, tmp_path / "hub" / "other")
    with pytest.raises(DataError, match=r"holds several models, in models--org--name.snapshots.8b3219a, other"):
        find_folder(tmp_path / "hub")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no model: config\.json must be in it"):
        find_folder(tmp_path / "empty")


def only_pickles(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def half_a_file(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def no_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def add_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def half_a_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"version": "1.0", "model": {}}')


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(only_pickles, r"no model\.safetensors, only pytorch_model\.bin, which may run code", id="pickle"),
        pytest.param(half_a_file, r"model\.safetensors can't be read", id="half a file"),
        pytest.param(no_json, r"config\.json can't be read", id="no JSON"),
        pytest.param(add_adapter, r"adapter_config\.json is an adapter's; merge it", id="adapter"),
        pytest.param(no_tokenizer, r"no tokenizer\.json; .*save_pretrained\(folder\) writes it", id="no tokenizer"),
        pytest.param(half_a_tokenizer, r"tokenizer\.json can't be read", id="half a tokenizer"),
        pytest.param(
            lambda folder: change(folder, model_type="llama"),
            r"has model_type 'llama'; text-classification trains albert, bert, ", id="another architecture",
        ),
        pytest.param(
            lambda folder: change(folder, auto_map={"AutoModel": "evil.Model"}),
            r"config\.json asks for code that comes with the model \(auto_map\), which is never", id="remote code",
        ),
        pytest.param(
            lambda folder: change(folder, attn_implementation="evil/kernel"),
            r"asks for code of the Hub \(attn_implementation: evil/kernel\), which is never run", id="kernel",
        ),
        pytest.param(
            lambda folder: change(folder, "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.T", None]}),
            r"tokenizer_config\.json asks for code", id="remote code of the tokenizer",
        ),
        pytest.param(
            lambda folder: change(folder, num_hidden_layers=3),
            r"aren't those of the bert that config\.json describes: 16 are missing.*layer\.2", id="more layers",
        ),
        pytest.param(
            lambda folder: change(folder, intermediate_size=48), r"6 are missing or of another shape", id="shape"
        ),
        pytest.param(
            lambda folder: change(folder, vocab_size=300), r"tokens, and the model knows 300; it is", id="vocabulary"
        ),
    ],
)  # fmt: skip
def test_what_is_not_loaded_is_named(folder: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(folder)
    with pytest.raises(DataError, match=message):
        classifier_of(folder)


def test_weights_in_fewer_bits_are_trained_in_float32(folder: Path) -> None:
    network, _ = read_network(folder, CLASSES)
    network.half().save_pretrained(folder)
    again, notes = read_network(folder, CLASSES)
    assert {weight.dtype for weight in again.parameters()} == {torch.float32}
    assert notes == []


def test_a_head_for_other_classes_is_left_out_and_told(folder: Path) -> None:
    network, _ = read_network(folder, ("a", "b"))
    network.save_pretrained(folder)
    network, (note,) = read_network(folder, CLASSES)
    assert network.config.id2label == dict(enumerate(CLASSES))
    assert note == "input model: its head for other classes is left out (classifier.bias, classifier.weight)"


def test_longer_texts_than_the_model_reads(pretrained: Path) -> None:
    with pytest.raises(ConfigError, match=r"maxLength = 64: the model in .* reads at most 34 tokens; use 34 or fewer"):
        read_tokens(pretrained, check_folder(pretrained), 64)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_module, "PACKAGES", ("torch", "no_such_package"))
    with pytest.raises(ConfigError, match=r"need no_such_package, .* pip install 'footplate\[text\]'"):
        token_module.check_packages()


def settings(**values: Any) -> TextHyperparameters:
    return TextHyperparameters.model_validate(values)


@pytest.mark.parametrize(
    ("values", "pretrained", "message"),
    [
        ({"hidden": 64, "layers": 2}, True, "hidden, layers describe a model that is made without an"),
        ({"fineTuning": "lora"}, False, "fineTuning are of fine-tuning, and there is no input 'model'"),
    ],
)
def test_settings_without_a_meaning(values: dict[str, Any], pretrained: bool, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_settings(settings(**values), pretrained=pretrained)


@pytest.mark.parametrize("kind", [TextHyperparameters, LanguageHyperparameters])
@pytest.mark.parametrize(
    ("values", "formats", "message"),
    [
        ({"loraRank": 8}, ["safetensors"], "loraRank is of fineTuning: lora"),
        ({}, ["safetensors", "onnx"], r"spec\.output\.formats: .* not as onnx"),
    ],
)
def test_fine_tuning_without_a_meaning(kind: Any, values: dict[str, Any], formats: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_fine_tuning(kind.model_validate(values), formats=formats)


def test_the_learning_rate_goes_by_what_is_trained() -> None:
    assert with_rate(settings(), pretrained=True).learning_rate == 5e-5
    assert with_rate(settings(fineTuning="lora"), pretrained=True).learning_rate == 1e-3
    assert with_rate(settings(), pretrained=False).learning_rate == 1e-3
    assert with_rate(settings(learningRate=0.5), pretrained=True).learning_rate == 0.5


def test_balanced_classes_weigh_alike_and_a_mean_sample_one() -> None:
    weights = balance(torch.tensor([0, 0, 0, 2]))
    assert weights == {0: pytest.approx(2 / 3), 2: 2.0}
