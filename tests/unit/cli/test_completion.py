"""Completion: what may come next, and nothing else."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

import footplate.client
from footplate.cli import completion
from footplate.cli.completion import complete_jobs


class FakeClient:
    def __init__(self, **where: Any) -> None:
        self.where = where

    def __enter__(self) -> "FakeClient":
        return self

    def __exit__(self, *_: object) -> None: ...

    def list(self) -> list[SimpleNamespace]:
        if self.where["context"] == "broken":
            print("warning", file=sys.stderr)
            raise ValueError
        return [SimpleNamespace(name=name) for name in (f"digits-{self.where['namespace']}", "wine")]


@pytest.mark.parametrize(
    ("where", "names"), [({"namespace": "a"}, ["digits-a"]), ({"context": "broken"}, [])], ids=["names", "an-error"]
)
def test_names_of_jobs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], where: dict[str, str], names: list[str]
) -> None:
    monkeypatch.setattr(footplate.client, "Client", FakeClient)
    assert complete_jobs(SimpleNamespace(params=where), "di") == names  # type: ignore[arg-type]
    assert capsys.readouterr() == ("", "")


def test_a_cluster_that_does_not_answer_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footplate.client, "Client", lambda **_: __import__("time").sleep(1))
    monkeypatch.setattr(completion, "_SECONDS", 0.01)
    assert complete_jobs(SimpleNamespace(params={}), "") == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["sus"], "suspend\n:4\n"),
        (["list", "--all"], "--all-namespaces\n:4\n"),
        (["suspend", "--kubeconfig", "/no such file", ""], ":4\n"),
    ],
)
def test_kubectl_gets_what_may_come_last(words: list[str], answer: str) -> None:
    command = [sys.executable, "-m", "footplate.cli.kubectl_completion", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout == answer
    assert done.stderr == ""
