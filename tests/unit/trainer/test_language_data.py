"""What the recipe of language models reads, which of it is to be learnt, and what it says of data that are wrong."""

import gzip
import json
import random
from collections.abc import Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from footplate_trainer.data.language import (
    NOT_COUNTED,
    AskedOfRecords,
    LanguageSplits,
    Rows,
    collate_rows,
    read_language,
)
from footplate_trainer.data.packing import pack
from footplate_trainer.data.prompts import PLAIN_TEMPLATE, Writer
from footplate_trainer.data.records import Chat, Reader
from footplate_trainer.errors import DataError
from text_cases import CHAT_TEMPLATE, END, make_chats, make_sentences, make_tokenizer, write_lines

THOUGHTFUL = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' }}"
    "{% if message['role'] == 'assistant' and loop.last %}{{ '(thought)' }}{% endif %}"
    "{{ message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
"""Shows only the last message with a thought, as Qwen 3's does."""


def chat(*messages: str) -> dict[str, Any]:
    """Messages of user and assistant in turn."""
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[n % 2], "content": text} for n, text in enumerate(messages)]}


def read(
    *, tokenizer: Any = None, fraction: float = 0.0, max_length: int = 64, packing: bool = False, **inputs: Path
) -> LanguageSplits:
    asked = AskedOfRecords(inputs=inputs, fractions={"test": fraction, "validation": fraction}, seed=0, packing=packing)
    return read_language(asked, Writer(tokenizer or make_tokenizer(), max_length))


def read_rows(folder: Path, rows: Sequence[Any], **options: Any) -> LanguageSplits:
    return read(train=write_lines(folder / "data" / "rows.jsonl", rows), **options)


def spoken(rows: Rows, tokenizer: Any = None) -> list[tuple[str, str]]:
    """Each text, and what of it is to be learnt."""
    decode = (tokenizer or make_tokenizer()).decode
    found = []
    for place in range(len(rows)):
        ids, targets, positions = rows[place]
        assert positions.tolist() == list(range(len(ids)))
        learnt = targets != NOT_COUNTED
        assert targets[learnt].tolist() == ids[1:][learnt[:-1]].tolist()
        found.append((decode(ids), decode(targets[learnt])))
    return found


def test_of_chats_all_that_the_assistant_says_is_learnt(tmp_path: Path) -> None:
    """Its end mark too, by which it learns to stop."""
    rows = [chat("a sad day", "bad", "a happy song", "good"), chat("fine soup", "good")]
    rows[1]["messages"].insert(0, {"role": "system", "content": "be kind"})
    assert spoken(read_rows(tmp_path, rows).train) == [
        (
            "<|user|>a sad day<|end|><|assistant|>bad<|end|><|user|>a happy song<|end|><|assistant|>good<|end|>",
            "bad<|end|>good<|end|>",
        ),
        ("<|system|>be kind<|end|><|user|>fine soup<|end|><|assistant|>good<|end|>", "good<|end|>"),
    ]


def test_a_message_of_weight_0_is_not_learnt(tmp_path: Path) -> None:
    """As OpenAI's files for fine-tuning say it."""
    row = chat("a sad day", "bad", "a happy song", "good")
    row["messages"][1]["weight"], row["messages"][3]["weight"] = 0, 1
    [(text, learnt)] = spoken(read_rows(tmp_path, [row]).train)
    assert "bad<|end|>" in text
    assert learnt == "good<|end|>"
    row["messages"][3]["weight"] = 0
    with pytest.raises(
        DataError, match=r"no message of the assistant, only of user, assistant \(weight 0\): there is no"
    ):
        read_rows(tmp_path, [row])
    for weight in (0.5, "0"):
        row["messages"][1]["weight"] = weight
        with pytest.raises(DataError, match=r"messages\[1\] has the weight .*; it is 1, or 0"):
            read_rows(tmp_path, [row])


def make_other_tokenizer(kind: str) -> Any:
    """Tokenizers of the kinds that pretrained models have."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    marks = [END, "<s>", "<unk>", "<|user|>", "<|assistant|>", "<|system|>"]
    texts = [text for text, _ in make_sentences(200)]
    trainer: Any
    if kind == "unigram":  # as Llama's of SentencePiece: blanks are letters
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=300, special_tokens=marks, unk_token="<unk>", initial_alphabet=list("0123456789.?!:"),
            show_progress=False,
        )  # fmt: skip
    elif kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=marks, show_progress=False)
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=500, special_tokens=marks, initial_alphabet=alphabet, show_progress=False
        )
    tokenizer.train_from_iterator(texts, trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, bos_token="<s>", unk_token="<unk>")
    made.chat_template = CHAT_TEMPLATE
    return made


@pytest.mark.parametrize("kind", ["bytes", "trimmed bytes", "unigram", "wordpiece"])
def test_what_is_learnt_is_what_transformers_finds(kind: str) -> None:
    """By `{% generation %}` in the template; with words and without, letters of several bytes, and blanks."""
    tokenizer = make_tokenizer() if kind == "bytes" else make_other_tokenizer(kind)
    said = ["a sad day", "  bad  ", "naïve 日本 🙂", "good\n\ngood", "fine", "\n\n", "and?", "x" * 40, "a", "\tb\n"]
    draw = random.Random(0)
    for _ in range(40):
        messages = chat(*(draw.choice(said) for _ in range(2 * draw.randint(1, 4))))["messages"]
        [text] = (writer := Writer(tokenizer, 512)).write(Chat(messages))
        [found] = writer.encode([text], marks=False)
        expected = tokenizer.apply_chat_template(
            messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        assert found.ids.tolist() == expected["input_ids"]
        ends = [end for _, end in tokenizer(text.text, add_special_tokens=False).encodings[0].offsets]
        if kind == "trimmed bytes":  # transformers loses tokens of blanks alone, whose offsets are empty
            assert not (np.asarray(expected["assistant_masks"], bool) & ~found.learnt).any()
            learnt = tokenizer.decode(found.ids[found.learnt])
            assert learnt == "".join(each["content"] + END for each in messages if each["role"] == "assistant")
        else:
            assert found.learnt.tolist() == [bool(each) for each in expected["assistant_masks"]], (messages, ends)


@pytest.mark.parametrize("kind", ["bytes", "unigram"])
def test_what_is_learnt_is_what_comes_after_the_prompts_tokens(kind: str, tmp_path: Path) -> None:
    tokenizer = make_tokenizer() if kind == "bytes" else make_other_tokenizer(kind)
    prompts = ["Is this good?\na sad day", "a happy song", "naïve 日本:"]
    rows = [{"prompt": prompt, "completion": f" {label}"} for prompt in prompts for label in ("good", "bad")]
    splits = read_rows(tmp_path, rows, tokenizer=tokenizer)
    for place, row in enumerate(rows):
        before = tokenizer(row["prompt"])["input_ids"]
        after = [*tokenizer(row["prompt"] + row["completion"])["input_ids"], tokenizer.eos_token_id]
        ids, targets, _ = splits.train[place]
        assert ids.tolist() == after
        assert after[: len(before)] == before
        assert targets[len(before) - 1 : -1].tolist() == after[len(before) :]
        assert set(targets[: len(before) - 1].tolist()) <= {NOT_COUNTED}


def test_a_prompt_and_its_completion_may_be_messages(tmp_path: Path) -> None:
    """Of those the completion's alone are learnt, whoever speaks in the prompt."""
    messages = chat("a sad day", "bad", "a happy song", "good")["messages"]
    [(text, learnt)] = spoken(read_rows(tmp_path, [{"prompt": messages[:3], "completion": messages[3:]}]).train)
    assert text.startswith("<|user|>a sad day<|end|><|assistant|>bad<|end|>")
    assert learnt == "good<|end|>"


def test_of_texts_all_is_learnt_but_the_first_token(tmp_path: Path) -> None:
    texts = [text for text, _ in make_sentences(20)]
    splits = read_rows(tmp_path, [{"text": text} for text in texts])
    assert [text for text, _ in spoken(splits.train)] == [text + END for text in texts]
    ids, targets, _ = splits.train[0]
    assert targets.tolist() == [*ids[1:].tolist(), NOT_COUNTED]


def test_an_end_mark_that_the_tokenizer_writes_is_written_once(tmp_path: Path) -> None:
    from tokenizers import processors

    tokenizer = make_tokenizer()
    marks = [(END, tokenizer.eos_token_id)]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {END}", special_tokens=marks)
    [(text, learnt)] = spoken(read_rows(tmp_path, [{"prompt": "a", "completion": " day"}], tokenizer=tokenizer).train)
    assert (text, learnt) == (f"a day{END}", f" day{END}")


def test_sharegpts_names_are_known(tmp_path: Path) -> None:
    said = [("system", "be kind"), ("human", "a sad day"), ("gpt", "bad")]
    rows = [{"conversations": [{"from": who, "value": text} for who, text in said]}]
    [(text, learnt)] = spoken(read_rows(tmp_path, rows).train)
    assert (text, learnt) == ("<|system|>be kind<|end|><|user|>a sad day<|end|><|assistant|>bad<|end|>", "bad<|end|>")


def save_as(kind: str, rows: list[dict[str, Any]], folder: Path) -> None:
    """As a Parquet file, as a Feather file, or as datasets' save_to_disk does: a stream of Arrow."""
    table = pa.Table.from_pylist(rows)
    if kind == "parquet":
        pa.parquet.write_table(table, folder / "rows.parquet")
    elif kind == "feather":
        pyarrow.feather.write_feather(table, str(folder / "rows.feather"))
    else:
        with pa.ipc.new_stream(folder / "data-00000-of-00001.arrow", table.schema) as writer:
            writer.write_table(table, max_chunksize=3)
        files = [{"filename": "data-00000-of-00001.arrow"}]
        (folder / "state.json").write_text(json.dumps({"_data_files": files, "_indices_data_files": None}))


@pytest.mark.parametrize("kind", ["parquet", "feather", "save_to_disk", "gzip"])
def test_other_files(tmp_path: Path, kind: str) -> None:
    rows = make_chats(10)
    if kind != "gzip":
        save_as(kind, rows, tmp_path)
    else:
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    assert spoken(read(train=tmp_path).train) == spoken(read_rows(tmp_path / "lines", rows).train)


@pytest.mark.parametrize("kind", ["parquet", "feather", "save_to_disk"])
def test_an_object_of_a_table_has_only_the_keys_that_it_had(tmp_path: Path, kind: str) -> None:
    """Arrow gives each all keys of all: a tool would be shown with the parameters of another one."""
    tools = [{"name": name, "parameters": {name: {"type": "string"}}} for name in ("city", "zone")]
    calls = [{"name": tool["name"], "arguments": {tool["name"]: "x"}} for tool in tools]
    rows = [
        {
            "messages": [
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "", "tool_calls": [call]},
                {"role": "tool", "content": "b", "name": call["name"]},
                {"role": "assistant", "content": "c"},
            ],
            "tools": tools,
        }
        for call in calls
    ]
    save_as(kind, rows, tmp_path)
    path = next(path for path in tmp_path.iterdir() if path.suffix != ".json")
    lines = write_lines(tmp_path / "lines" / "rows.jsonl", rows) / "rows.jsonl"
    assert [record for _, record in Reader().read(path)] == [record for _, record in Reader().read(lines)]


TOOLS = [{"type": "function", "function": {"name": "day", "parameters": {"type": "object", "properties": {}}}}]
WITH_TOOLS = (
    "{% if tools %}{{ tools | tojson }}{% endif %}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + (message['content'] or '') }}"
    "{% for call in message.tool_calls or [] %}{{ call.name }}{% endfor %}{{ '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def chat_with_calls(*, content: str | None = "one moment", **keys: Any) -> dict[str, Any]:
    row = chat("a day?", "", "fine")
    row["messages"][1:] = [
        {"role": "assistant", "content": content, "tool_calls": [{"name": "day", "arguments": {}}]},
        {"role": "tool", "content": "monday"},
        {"role": "assistant", "content": "monday"},
    ]
    return {**row, **keys}


@pytest.mark.parametrize("content", ["one moment", None])
@pytest.mark.parametrize("tools", [TOOLS, json.dumps(TOOLS)], ids=["list", "JSON"])
def test_calls_and_tools_are_shown_as_the_template_does(tmp_path: Path, tools: Any, content: str | None) -> None:
    row = chat_with_calls(tools=tools, content=content)
    [(text, learnt)] = spoken(
        read_rows(tmp_path, [row], max_length=512, tokenizer=make_tokenizer(template=WITH_TOOLS)).train
    )
    assert text.startswith('[{"type": "function", "function": {"name": "day"')
    assert learnt == f"{content or ''}day<|end|>monday<|end|>"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {**chat("a", "b"), "tools": TOOLS},
            "line 1: has tools, and the model's chat template leaves them out; take a",
        ),
        (
            {"messages": chat_with_calls()["messages"][:2]},
            r"line 1: message 1 calls a tool \(tool_calls\), and the model's chat template leaves that",
        ),
        ({**chat("a", "b"), "tools": "day"}, r"line 1: 'tools' is a text that is no JSON \(Expecting value"),
        ({**chat("a", "b"), "tools": {"name": "day"}}, "line 1: 'tools' is an object, not a list of tools, each an"),
        ({**chat("a", "b"), "tools": ["day"]}, "line 1: 'tools' is a list, not a list of tools, each an object"),
    ],
)
@pytest.mark.parametrize("template", ["its own", None])
def test_a_template_that_leaves_out_calls_or_tools(
    tmp_path: Path, row: dict[str, Any], message: str, template: str | None
) -> None:
    """Else the assistant would learn to answer what it can't see, and never to call."""
    tokenizer = make_tokenizer() if template else make_tokenizer(template=None)
    with pytest.raises(DataError, match=message):
        read_rows(tmp_path, [row], tokenizer=tokenizer)


def test_without_a_template_roles_are_headings(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(template=None)
    rows = [chat("a sad day", "bad", "a song", "good")]
    [(text, learnt)] = spoken(read_rows(tmp_path, rows, tokenizer=tokenizer).train)
    assert text == (
        "### user\na sad day\n\n### assistant\nbad<|end|>\n\n### user\na song\n\n### assistant\ngood<|end|>"
    )
    assert learnt == "bad<|end|>good<|end|>"
    assert tokenizer.chat_template == PLAIN_TEMPLATE


def test_a_template_that_shows_earlier_turns_otherwise(tmp_path: Path) -> None:
    """Each turn is then learnt as it will be asked for; and a chat's turns are in one split."""
    tokenizer = make_tokenizer(template=THOUGHTFUL)
    splits = read_rows(tmp_path, [chat("a sad day", "bad", "a song", "good")], tokenizer=tokenizer)
    assert spoken(splits.train, tokenizer) == [
        ("<|user|>a sad day<|end|><|assistant|>(thought)bad<|end|>", "(thought)bad<|end|>"),
        (
            "<|user|>a sad day<|end|><|assistant|>bad<|end|><|user|>a song<|end|><|assistant|>(thought)good<|end|>",
            "(thought)good<|end|>",
        ),
    ]
    assert "1 chats are a text for each of the assistant's messages" in splits.notes[0]
    long = "a" * 100
    rows = [chat("a sad day", "bad", long, "good", "a", "good"), chat("a", "b")]
    splits = read_rows(tmp_path / "long", rows, tokenizer=tokenizer)
    assert [len(text) < 80 for text, _ in spoken(splits.train, tokenizer)] == [True, True]
    assert "1 of 2 records are left out, of whose first maxLength tokens none is to be learnt" in splits.notes[0]
    rows = [chat(f"{n}", f"{n}", f"{n}", f"{n}") for n in range(40)]
    splits = read_rows(tmp_path / "many", rows, tokenizer=tokenizer, fraction=0.25)
    parts = [splits.train, splits.validation, splits.test]
    of = [{text.removeprefix("<|user|>").partition("<")[0] for text, _ in spoken(part, tokenizer)} for part in parts]
    assert [len(part) for part in parts] == [2 * len(each) for each in of] == [44, 16, 20]
    assert len(of[0] | of[1] | of[2]) == 40


def test_a_prompt_that_begins_a_thought(tmp_path: Path) -> None:
    """As reasoning models' do: the message is shown without it, and learnt from where they part."""
    template = CHAT_TEMPLATE.replace("'<|assistant|>'", "'<|assistant|>(think)'")
    tokenizer = make_tokenizer(template=template)
    [(_, learnt)] = spoken(read_rows(tmp_path, [chat("a", "bad")], tokenizer=tokenizer).train, tokenizer)
    assert learnt == "bad<|end|>"


def test_what_is_too_long_is_cut_or_left_out_and_counted(tmp_path: Path) -> None:
    rows = [
        {"prompt": "a day", "completion": " good"},
        {"prompt": "a day", "completion": " good" * 100},
        {"prompt": "a day" * 100, "completion": " good"},
        {"prompt": "a", "completion": " "},
        {"prompt": "a", "completion": None},
        {"prompt": "a day", "completion": "long " * 2_000_000},
    ]
    splits = read_rows(tmp_path, rows, max_length=16)
    assert splits.train.lengths.tolist()[1:] == [16, 16]
    assert [END in text for text, _ in spoken(splits.train)] == [True, False, False]
    path = tmp_path / "data" / "rows.jsonl"
    assert sorted(splits.notes) == [
        "input train: 1 of 6 records are left out, of whose first maxLength tokens none is to be learnt; the first is "
        f"{path}, line 3",
        "input train: 2 of 3 texts are longer than maxLength = 16 tokens: what comes after isn't read",
        f"input train: 2 of 6 records are left out, without a text; the first is {path}, line 4",
    ]


def test_halves_of_letters_are_taken(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "rows.jsonl").write_text('{"text": "a \\ud83d day"}\n')
    assert spoken(read(train=folder).train)[0][0] == f"a ? day{END}"


MESSAGE = {"role": "user", "content": "a"}
ANSWER = {"role": "assistant", "content": "b"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "a"}, r"has the keys 'question'; a record has messages, a list of"),
        ({"mesages": []}, r"did you mean messages\?"),
        ({"prompt": "a"}, r"'completion' is missing"),
        ({}, "has no keys; a record has messages"),
        ({"messages": []}, "'messages' is empty; give it messages"),
        ({"messages": "hello"}, "'messages' is a text, not a list of messages"),
        ({"messages": ["hello"]}, r"messages\[0\] is a text, not a message"),
        ({"messages": [{"content": "a"}]}, r"messages\[0\] has no 'role'"),
        ({"messages": [MESSAGE, {"role": "assistant"}]}, r"messages\[1\] has a 'content' that is null, not a text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
            r"messages\[0\] has a 'content' that is a l",
        ),
        ({"messages": [MESSAGE]}, "'messages' has no message of the assistant, only of user: there is nothing"),
        ({"messages": [ANSWER, MESSAGE]}, "the first message is the assistant's; begin with one"),
        (
            {"messages": [MESSAGE, {"role": "critic", "content": "c"}, ANSWER]},
            "the model's chat template doesn't take messages of user, critic, assistant in this order: only user",
        ),
        ({"prompt": [MESSAGE, ANSWER], "completion": [MESSAGE]}, "'completion' has no message of the assistant"),
        ({"prompt": 3, "completion": "a"}, "'prompt' is a number, not a text"),
        ({"text": ["a"]}, "'text' is a list, not a text"),
    ],
)
def test_a_mistake_is_named_by_file_and_line(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    first: list[dict[str, Any]] = []  # of the same shape, where it has one
    if "messages" in row:
        first = [chat("a", "b")]
    with pytest.raises(DataError, match=rf"rows\.jsonl, line {len(first) + 1}: .*{message}"):
        read_rows(tmp_path, [*first, row])


def test_a_role_that_a_template_leaves_out_is_named(tmp_path: Path) -> None:
    silent = CHAT_TEMPLATE.replace("{{ raise_exception('only user, assistant and system') }}", "")
    rows = [{"messages": [MESSAGE, {"role": "critic", "content": "no, bad"}, ANSWER]}]
    with pytest.raises(
        DataError, match=r"line 1: message 1 has the role 'critic', and the model's chat template leaves"
    ):
        read_rows(tmp_path, rows, tokenizer=make_tokenizer(template=silent))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([chat("a", "b"), {"text": "a"}], "line 2: has no 'messages', and the first record .*line 1. has messages"),
        ([{"text": "a"}, chat("a", "b")], "line 2: has no 'text'"),
        (
            [{"prompt": "a", "completion": "b"}, {"prompt": [MESSAGE], "completion": [ANSWER]}],
            "line 2: 'prompt' is a list, and that of the first record .* is a text",
        ),
    ],
)
def test_one_shape_for_all(tmp_path: Path, rows: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_rows(tmp_path, rows)


def test_other_splits_have_the_shape_of_the_training_data(tmp_path: Path) -> None:
    train = write_lines(tmp_path / "train" / "rows.jsonl", [chat("a", "b")])
    test = write_lines(tmp_path / "test" / "rows.jsonl", [{"text": "a"}])
    with pytest.raises(
        DataError, match=r"test/rows\.jsonl, line 1: has no 'messages', and the first record .*train/rows"
    ):
        read(train=train, test=test)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no records; fill or remove it"),
        (b'{"text": "caf\xe9"}\n', r"rows\.jsonl can't be read: line 1 isn't UTF-8, which JSON is"),
        (b'{"text": "a"}\n{"text"\n', "line 2 is no JSON"),
        (b'["a"]\n', "line 1 holds a list, not an object"),
        (b'{"text": ""}\n{"text": null}\n', "none of its 2 records has a text to learn; .*left out, without a text"),
    ],
)
def test_files_without_records(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "rows.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(train=tmp_path)


def test_a_folder_without_such_files(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text\na\n")
    with pytest.raises(DataError, match=r"holds no JSON lines, Parquet or Feather files; check"):
        read(train=tmp_path)


def test_splits_by_name_and_by_share(tmp_path: Path) -> None:
    rows = [{"text": f"a {n}"} for n in range(50)]
    splits = read_rows(tmp_path / "shares", rows, fraction=0.1)
    parts = [spoken(part) for part in (splits.train, splits.validation, splits.test)]
    assert [len(part) for part in parts] == [41, 4, 5]
    assert sorted(chain(*parts)) == sorted(spoken(read_rows(tmp_path / "all", rows).train))
    write_lines(tmp_path / "named" / "train.jsonl", rows)
    splits = read(train=write_lines(tmp_path / "named" / "test.jsonl", rows[:3]))
    assert (len(splits.train), splits.validation, len(splits.test)) == (50, None, 3)
    assert splits.notes == ("input train: some files are taken for test, as named so",)
    splits = read_rows(tmp_path / "few", rows[:2], fraction=0.1)
    assert (len(splits.train), splits.validation, splits.test) == (2, None, None)
    assert splits.notes[0].startswith("no test data are held out: a share of 0.1 of the records is less than one")


@given(st.lists(st.integers(1, 40), max_size=60))
def test_packing_keeps_each_sample_once_and_whole(lengths: list[int]) -> None:
    rows = pack(lengths, 40)
    assert sorted(n for row in rows for n in row) == list(range(len(lengths)))
    totals = [sum(lengths[n] for n in row) for row in rows]
    assert all(total <= 40 for total in totals)
    assert len(rows) <= max(1, len(lengths))
    emptiest = sorted(totals)[:2]
    assert len(rows) < 2 or sum(emptiest) > 40, "two rows that fit into one"
    assert pack(lengths, 40) == rows


def test_packed_rows_hold_the_same_texts(tmp_path: Path) -> None:
    rows = make_chats(60)
    plain, packed = read_rows(tmp_path / "a", rows).train, read_rows(tmp_path / "b", rows, packing=True)
    assert len(packed.train) < len(plain) / 2
    assert packed.notes == (f"packing: 60 texts to train on are in {len(packed.train)} rows",)
    assert packed.train.lengths.max() <= 64
    found = []
    for place in range(len(packed.train)):
        ids, targets, positions = packed.train[place]
        starts = [*(positions == 0).nonzero()[:, 0].tolist(), len(ids)]
        for start, end in pairwise(starts):
            found.append((ids[start:end].tolist(), targets[start:end].tolist()))
            assert targets[end - 1] == NOT_COUNTED, "a text foretells the next one's beginning"
    assert sorted(found) == sorted((plain[n][0].tolist(), plain[n][1].tolist()) for n in range(60))


def test_padding_comes_last_and_goes_on() -> None:
    samples = [(torch.tensor([5, 6, 7]), torch.tensor([6, 7, NOT_COUNTED]), torch.tensor([0, 0, 1]))]
    inputs, targets = collate_rows(samples, pad=9, max_length=6)
    assert inputs["input_ids"].tolist() == [[5, 6, 7, 9, 9, 9]]
    assert inputs["position_ids"].tolist() == [[0, 0, 1, 2, 3, 4]]
    assert targets.tolist() == [[6, 7, *[NOT_COUNTED] * 4]]
