"""Pretrained language models: what is trained of them, what a text sees, what is refused, and what is left."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from footplate.api.recipes import EvaluateHyperparameters, LanguageHyperparameters
from footplate_trainer import load_model
from footplate_trainer.data.inputs import PromptInput
from footplate_trainer.data.language import NOT_COUNTED, Sample, collate_rows
from footplate_trainer.errors import ConfigError, DataError
from footplate_trainer.models.cards import ModelCard
from footplate_trainer.models.export import export_model
from footplate_trainer.models.folders import add_adapters
from footplate_trainer.models.language import (
    NAME,
    LanguageModel,
    choose_length,
    load_language_model,
    positions_of,
    read_language_model,
)
from footplate_trainer.models.pretrained import DECODERS
from footplate_trainer.recipes import evaluate
from footplate_trainer.recipes.evaluating import perplexity
from footplate_trainer.recipes.language_model import ADAPTERS_RATE, FULL_RATE, loss_of_learnt, train
from footplate_trainer.recipes.tuning import with_rate
from text_cases import make_language_model, make_model


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_language_model(tmp_path_factory.mktemp("pretrained"))


@pytest.fixture
def folder(pretrained: Path, tmp_path: Path) -> Path:
    """A copy of the model to be damaged."""
    return Path(shutil.copytree(pretrained, tmp_path / "model"))


def change(folder: Path, file: str = "config.json", **values: Any) -> None:
    settings = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**settings, **values}))


def samples(*lengths: int) -> list[Sample]:
    draw = torch.Generator().manual_seed(0)
    found = []
    for length in lengths:
        ids = torch.randint(4, 300, (length,), generator=draw)
        targets = torch.full_like(ids, NOT_COUNTED)
        targets[2:-1] = ids[3:]
        found.append((ids, targets, torch.arange(length)))
    return found


def joined(*several: Sample) -> Sample:
    ids, targets, positions = (torch.cat(parts) for parts in zip(*several, strict=True))
    return ids, targets, positions


def loss_of(model: LanguageModel, rows: list[Sample]) -> Tensor:
    inputs, targets = collate_rows(rows, pad=0, max_length=64)
    return loss_of_learnt(model(inputs), targets)[0]


def gradients_of(model: LanguageModel, rows: list[Sample]) -> dict[str, Tensor]:
    """Of the weights that have one."""
    model.zero_grad()
    loss_of(model, rows).backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("kind", DECODERS.architectures)
def test_a_packed_text_sees_no_other_and_every_weight_learns(kind: str, tmp_path: Path) -> None:
    """The loss of texts in one row is that of each alone; and on several ranks DistributedDataParallel would wait for
    the gradient of a weight that has none.
    """
    model, _ = read_language_model(make_language_model(tmp_path, kind=kind))
    texts = samples(7, 20, 13, 9)
    with torch.no_grad():
        alone = sum(loss_of(model.eval(), [text]) for text in texts)
        packed = [joined(*texts[:2]), joined(*texts[2:])]
        for rows in (texts, packed, [joined(*texts)]):
            torch.testing.assert_close(loss_of(model, rows), alone, rtol=1e-5, atol=1e-3)
        ids, targets, _ = joined(*texts)
        run_together = loss_of(model, [(ids, targets, torch.arange(len(ids)))])
        assert abs(run_together - alone) > 5e-3, "the model doesn't tell one text from two"
    for adapted in (False, True):
        if adapted:
            model.network = add_adapters(model.network, 4, classifies=False)
        gradients = [gradients_of(model.train(), rows) for rows in (texts, packed)]
        torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-3)
        trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
        assert trained == gradients[0].keys()
        assert all("lora_" in name for name in trained) == adapted


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("rank", [None, 4], ids=["full", "lora"])
def test_what_is_left_is_transformers_own_and_ours(tmp_path: Path, kind: str, rank: int | None) -> None:
    pretrained, left = make_language_model(tmp_path / "pretrained", kind=kind), tmp_path / "left"
    model, _ = read_language_model(pretrained)
    if rank:
        model.network = add_adapters(model.network, rank, classifies=False)
        for name, weight in model.named_parameters():
            if "lora_B" in name:  # else adapters change nothing
                torch.nn.init.normal_(weight, std=0.1)
    inputs, _ = collate_rows(samples(9, 12), pad=0, max_length=64)
    with torch.no_grad():
        expected = model.eval()(inputs)
    card = ModelCard(recipe=NAME, network=NAME, arguments={}, classes=(), input=PromptInput(max_length=64))
    export_model(model, inputs, card=card, formats=["safetensors"], folder=left)
    assert {path.name for path in left.iterdir()} == {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert str(pretrained) not in "".join(path.read_text() for path in left.glob("*.json"))
    loaded = load_model(left)
    with torch.no_grad():
        torch.testing.assert_close(loaded.network(inputs), expected, atol=1e-4, rtol=1e-3)

    from transformers import pipeline

    prompts = ["a lovely day", "a sad song, a poor film and a grey train"]
    chats = [[{"role": "user", "content": text}] for text in prompts]
    ask = pipeline("text-generation", str(left), do_sample=False, max_new_tokens=7, return_full_text=False)
    for asked in (prompts, chats):
        found = [each[0]["generated_text"] for each in ask(asked)]
        assert loaded.predict(asked, max_new_tokens=7) == found
    assert loaded.predict(prompts[0], max_new_tokens=7) == loaded.predict(prompts[:1], max_new_tokens=7)


@pytest.fixture(scope="module")
def loaded(pretrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("loaded")
    model, _ = read_language_model(pretrained)
    card = ModelCard(recipe=NAME, network=NAME, arguments={}, classes=(), input=PromptInput(max_length=64))
    inputs, _ = collate_rows(samples(9), pad=0, max_length=64)
    export_model(model, inputs, card=card, formats=["safetensors"], folder=folder)
    return load_model(folder)


def test_many_prompts_at_once_are_as_each_alone(loaded: Any) -> None:
    prompts = ["a", "a sad day, " * 5, "", "fine soup"] * 5
    together = loaded.predict(prompts, max_new_tokens=5)
    assert together == [loaded.predict(prompt, max_new_tokens=5)[0] for prompt in prompts]


def test_an_answer_is_as_long_beside_a_prompt_that_leaves_little_room(loaded: Any) -> None:
    prompts = ["a sad day, " * 11, "a sad day", "fine soup"]
    alone = [loaded.predict(prompt, max_new_tokens=20)[0] for prompt in prompts]
    assert len(alone[0]) < len(alone[1])
    assert loaded.predict(prompts, max_new_tokens=20) == alone


@pytest.mark.parametrize(
    "said",
    [{"num_beams": 3}, {"num_beams": 2, "num_return_sequences": 2}, {"min_length": 60}],
    ids=str,
)
def test_the_likeliest_token_is_taken_whatever_the_folder_says(folder: Path, said: dict[str, Any]) -> None:
    """Its settings are for others, and stay in it."""
    expected = load_language_model(folder).generate(["a sad day"] * 2, 20)
    change(folder, "generation_config.json", **said)
    model = load_language_model(folder)
    assert model.generate(["a sad day"] * 2, 20) == expected
    model.save(folder / "again")
    left = json.loads((folder / "again" / "generation_config.json").read_text())
    assert {name: left[name] for name in said} == said


def test_a_model_reads_no_more_than_it_can(loaded: Any) -> None:
    assert loaded.predict("a sad day, " * 11)
    with pytest.raises(DataError, match="a prompt has 801 tokens, and the model reads 64 with what comes after it"):
        loaded.predict("a sad day, " * 200)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([1], "takes at least one text, or chat"),
        ([], "takes at least one text"),
        ([[{"content": "a"}]], "takes at least one text"),
        ([[{"role": "critic", "content": "a"}]], "chat template doesn't take messages of critic"),
    ],
)
def test_what_is_no_prompt(loaded: Any, inputs: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        loaded.predict(inputs)
    with pytest.raises(DataError, match="a model of language-model gives a text for each row"):
        loaded.probabilities(["a"])


def test_the_recipe_evaluate_says_that_it_takes_none(loaded: Any, tmp_path: Path) -> None:
    ctx: Any = SimpleNamespace(config=None, inputs={"model": tmp_path, "test": tmp_path}, output_dir=tmp_path)
    inputs, _ = collate_rows(samples(9), pad=0, max_length=64)
    export_model(loaded.network, inputs, card=loaded.card, formats=["safetensors"], folder=tmp_path)
    with pytest.raises(ConfigError, match="recipe evaluate takes no language model"):
        evaluate.train(ctx, EvaluateHyperparameters.model_validate({}))


def only_pickles(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def no_end_mark(folder: Path) -> None:
    change(folder, "tokenizer_config.json", eos_token=None)


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(only_pickles, r"no model\.safetensors, only pytorch_model\.bin, which may run code", id="pickle"),
        pytest.param(no_tokenizer, r"no tokenizer\.json; .*save_pretrained\(folder\) writes it", id="no tokenizer"),
        pytest.param(no_end_mark, r"has no token that ends a text \(eos_token\)", id="no end mark"),
        pytest.param(
            lambda folder: change(folder, model_type="qwen2_vl"),
            r"has model_type 'qwen2_vl'; language-model trains gemma, gemma2, ", id="vision",
        ),
        pytest.param(
            lambda folder: change(folder, auto_map={"AutoModelForCausalLM": "evil.Model"}),
            r"config\.json asks for code that comes with the model \(auto_map\), which is never", id="remote code",
        ),
        pytest.param(
            lambda folder: change(folder, quantization_config={"quant_method": "gptq", "bits": 4}),
            r"says that the weights are quantized \(quantization_config\)", id="few bits",
        ),
        pytest.param(
            lambda folder: change(folder, num_hidden_layers=3),
            r"aren't those of the llama that config\.json describes: 9 are missing.*layers\.2", id="more layers",
        ),
        pytest.param(
            lambda folder: change(folder, vocab_size=300), r"tokens, and the model knows 300; it is", id="vocabulary"
        ),
        pytest.param(
            lambda folder: change(folder, "generation_config.json", do_sample=False, temperature=0.6),
            r"generation_config\.json can't be read", id="a contradiction that couldn't be saved",
        ),
    ],
)  # fmt: skip
def test_what_is_not_loaded_is_named(folder: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(folder)
    with pytest.raises(DataError, match=message):
        read_language_model(folder)


def test_an_encoder_is_no_language_model(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has model_type 'bert'; language-model trains gemma"):
        read_language_model(make_model(tmp_path))


def test_without_a_token_to_pad_with_the_end_mark_does(pretrained: Path) -> None:
    model, _ = read_language_model(pretrained)
    assert model.tokenizer.pad_token_id is None
    assert model.pad == model.tokenizer.eos_token_id == 0


def test_how_much_is_read() -> None:
    assert choose_length(None, {}) == choose_length(None, {"max_position_embeddings": 4096}) == 1024
    assert choose_length(None, {"n_positions": 512}) == 512
    assert choose_length(4096, {"max_position_embeddings": 4096}) == choose_length(4096, {}) == 4096
    with pytest.raises(ConfigError, match=r"maxLength = 513: the model reads at most 512 tokens; use 512 or fewer"):
        choose_length(513, {"n_positions": 512})
    assert positions_of({"max_position_embeddings": "many"}) is None


def test_the_learning_rate_goes_by_what_is_trained() -> None:
    rates: Any = {"pretrained": True, "full": FULL_RATE, "other": ADAPTERS_RATE}
    assert with_rate(settings(), **rates).learning_rate == 2e-5
    assert with_rate(settings(fineTuning="lora"), **rates).learning_rate == 2e-4
    assert with_rate(settings(learningRate=0.5), **rates).learning_rate == 0.5


def settings(**values: Any) -> LanguageHyperparameters:
    return LanguageHyperparameters.model_validate(values)


def test_without_a_model_there_is_nothing_to_train(tmp_path: Path) -> None:
    ctx: Any = SimpleNamespace(config=None, splits={}, inputs={"train": tmp_path})
    with pytest.raises(
        ConfigError, match=r"recipe language-model goes on .*there is no input 'model'; add \{name: model, uri"
    ):
        train(ctx, settings())


def test_perplexity_of_any_loss() -> None:
    assert perplexity(0.0) == 1.0
    assert perplexity(math.log(17)) == pytest.approx(17)
    assert perplexity(1e6) == math.inf
    assert math.isnan(perplexity(math.nan))
