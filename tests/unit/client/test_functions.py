"""A function's source becomes a program that runs elsewhere; what can't go with it is named."""

import functools
import importlib.util
import json
import linecache
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from footplate.client.function_names import IMAGE_MODULES
from footplate.client.functions import PackedFunction, UnfitFunction, pack

HEAD = """\
import json
import math as m
import os.path
from collections import OrderedDict
from functools import lru_cache, wraps
from math import pi
from pathlib import Path

import xml.dom
import helpers

EPOCHS = 3


class Net:
    pass


def logged(function):
    @wraps(function)
    def inner(*args, **kwargs):
        return function(*args, **kwargs)

    return inner

"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Makes a user's module, beside another one of his own."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "helpers.py").write_text("def scale(x):\n    return 2 * x\n")

    def make(body: str, *, head: str = HEAD) -> ModuleType:
        path = tmp_path / "users.py"
        path.write_text(head + body)
        linecache.clearcache()
        spec = importlib.util.spec_from_file_location("users", path)
        assert spec is not None
        assert spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "users", made)
        spec.loader.exec_module(made)
        return made

    yield make
    sys.modules.pop("helpers", None)


def run(packed: PackedFunction, folder: Path) -> str:
    """What the program prints in a job, with hyperparameters of a runtime beside its own."""
    values = {"ofRuntime": 1, **packed.hyperparameters}
    (folder / "job.json").write_text(json.dumps({"spec": {"trainer": {"hyperparameters": values}}}))
    (folder / "function.py").write_text(packed.program)
    environment = {"FOOTPLATE_CONFIG": str(folder / "job.json"), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "function.py"], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


PORTABLE = {
    "its imports": (
        "def train(a, b=2):\n    print(json.dumps([a, b, m.floor(2.5), OrderedDict(x=1)]), os.path.join('a', 'b'))\n",
        {"a": [1, {"k": None}]}, '[[1, {"k": null}], 2, 2, {"x": 1}] a/b\n',
    ),
    "a constant that is imported": ("def train():\n    print(round(pi, 2))\n", {}, "3.14\n"),
    "a decorator that is imported": ("@lru_cache\ndef train(a):\n    print(a)\n", {"a": "it's"}, "it's\n"),
    "recursion and inner functions": (
        "def train(n):\n    total = 0\n    def add(x):\n        nonlocal total\n        total += x\n"
        "    class Inner:\n        size = n\n    [add(i) for i in range(Inner.size)]\n"
        "    print(total)\n    n and train(n - 1)\n",
        {"n": 2}, "1\n0\n0\n",
    ),
    "a global of its own": ("def train():\n    global seen\n    seen = 1\n    print(seen)\n", {}, "1\n"),
    "any name": ("def values(job):\n    print(job)\n\ntrain = values\n", {"job": 1}, "1\n"),
    "None for a default of None": ("def train(a=None):\n    print(a)\n", {"a": None}, "None\n"),
    "any argument": ("def train(**given):\n    print(given)\n", {"a": 1}, "{'a': 1}\n"),
    "texts keep their bytes": (
        "def outer():\n    def train():\n        print('''a\n  b\nc''')\n    return train\n\ntrain = outer()\n",
        {}, "a\n  b\nc\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "args", "printed"), PORTABLE.values(), ids=PORTABLE)
def test_it_runs_elsewhere(
    module: Callable[[str], ModuleType], tmp_path: Path, body: str, args: Mapping[str, Any], printed: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    packed = pack(module(body).train, args)
    assert run(packed, tmp_path / "elsewhere") == printed
    assert "helpers" not in packed.program


def test_imports_under_their_own_names(module: Callable[[str], ModuleType]) -> None:
    packed = pack(module("def train():\n    return xml.dom.Node, Path(m.pi)\n").train, {})
    imports = packed.program.partition("\n\n")[0].splitlines()
    assert imports == ["from pathlib import Path", "import math as m", "import xml.dom"]


UNFIT = {
    "a closure": (
        "def outer(rate):\n    def train():\n        print(rate)\n    return train\n\ntrain = outer(1)\n", {},
        "train: it uses 'rate' of the function around it, which doesn't go with it: make it a parameter",
    ),
    "a constant": ("def train():\n    print(EPOCHS)\n", {}, "it uses 'EPOCHS', which is defined beside it: define it"),
    "a default": ("def train(n=EPOCHS):\n    print(n)\n", {}, "it uses 'EPOCHS', which is defined beside it"),
    "a class beside it": ("def train():\n    print(Net())\n", {}, "it uses 'Net', which is defined beside it"),
    "in an inner function": (
        "def train():\n    def inner():\n        return [Net for _ in range(2)]\n    inner()\n", {},
        "it uses 'Net', which is defined beside it",
    ),
    "a decorator beside it": ("@logged\ndef train():\n    pass\n", {}, "it uses 'logged', which is defined beside it"),
    "a missing import": (
        "def train():\n    return np.zeros(3)\n", {}, "it uses 'np', which is neither defined nor imported: import it"),
    "a module of the user's": (
        "def train():\n    print(helpers.scale(2))\n", {}, "it imports 'helpers', a module of yours ("),
    "the same, inside": (
        "def train():\n    from helpers import scale\n    print(scale(2))\n", {}, "it imports 'helpers', a module of"),
    "a lambda": ("train = lambda: 1\n", {}, "a lambda has no source of its own: write a function with `def`"),
    "a coroutine": ("async def train():\n    pass\n", {}, "train is a coroutine or a generator"),
    "a generator": ("def train():\n    yield 1\n", {}, "train is a coroutine or a generator"),
    "an object": ("train = Net()\n", {}, "is no function written with `def`"),
    "arguments that don't fit": (
        "def train(a):\n    pass\n", {"b": 1}, "args don't fit its parameters (a): missing a required argument: 'a'"),
    "no JSON": ("def train(a):\n    pass\n", {"a": (1, 2)}, "args['a'] isn't what JSON carries"),
    "no number": ("def train(a):\n    pass\n", {"a": float("nan")}, "args['a'] isn't what JSON carries"),
    "more than 64 bits": ("def train(a):\n    pass\n", {"a": [10**30]}, "args['a'] isn't what JSON carries"),
    "no dict": ("def train(a):\n    pass\n", [1], "args: pass a dict of the function's arguments by name, no list"),
    "None": ("def train(a):\n    pass\n", {"a": None}, "args['a'] is None, which counts as left out in a job"),
    "a huge one": (f"def train():\n    x = '{'x' * 900_000}'\n", {}, "more than 900,000 bytes, which no ConfigMap"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "args", "words"), UNFIT.values(), ids=UNFIT)
def test_what_cannot_go_is_named(
    module: Callable[[str], ModuleType], body: str, args: Mapping[str, Any], words: str
) -> None:
    with pytest.raises(UnfitFunction) as caught:
        pack(module(body).train, args)
    assert words in str(caught.value)


def test_packages_are_a_list(module: Callable[[str], ModuleType]) -> None:
    """A text would be a list of its letters, and PyPI has packages of such names."""
    with pytest.raises(UnfitFunction, match=r"packages: pass a list, \['einops'\]"):
        pack(module("def train():\n    pass\n").train, {}, "einops")


def test_all_that_is_wrong_is_told_at_once(module: Callable[[str], ModuleType]) -> None:
    with pytest.raises(UnfitFunction) as caught:
        pack(module("def train(a):\n    print(EPOCHS, np, helpers)\n").train, {})
    assert [word for word in ("'a'", "'EPOCHS'", "'np'", "'helpers'") if word not in str(caught.value)] == []


def test_annotations_that_stay_text_need_nothing(module: Callable[[str], ModuleType], tmp_path: Path) -> None:
    head = "from __future__ import annotations\n" + HEAD
    (tmp_path / "elsewhere").mkdir()
    made = module("def train(a: Net) -> Nobody:\n    b: Net = a\n    print(b)\n", head=head)  # type: ignore[call-arg]
    assert run(pack(made.train, {"a": 1}), tmp_path / "elsewhere") == "1\n"


@pytest.mark.parametrize("function", [print, functools.partial(print), [].append], ids=["built-in", "partial", "bound"])
def test_what_is_no_function(function: Callable[..., object]) -> None:
    with pytest.raises(UnfitFunction, match="no function written with `def`"):
        pack(function, {})


def test_a_function_without_a_source() -> None:
    space: dict[str, Any] = {}
    exec("def train():\n    pass\n", space)
    with pytest.raises(UnfitFunction, match="its source can't be read, as it was typed into an interactive Python"):
        pack(space["train"], {})


def notebook(*cells: str) -> dict[str, Any]:
    """The names of a notebook that has run these cells, as IPython keeps them."""
    space: dict[str, Any] = {"__name__": "__main__", "In": ["", *cells]}
    for number, cell in enumerate(cells):
        file = f"/tmp/ipykernel_1/{number}.py"
        linecache.cache[file] = (len(cell), None, cell.splitlines(keepends=True), file)
        exec(compile(cell if not cell.startswith("%") else "", file, "exec"), space)
    return space


def test_a_notebooks_cells(tmp_path: Path) -> None:
    space = notebook(
        "%time\n", "import math as m\nfrom math import pi\n", "def train(a):\n    print(m.floor(pi) + a)\n"
    )
    assert run(pack(space["train"], {"a": 1}), tmp_path) == "4\n"
    space = notebook("def helper():\n    return 1\n", "def train():\n    print(helper(), get_ipython)\n")
    with pytest.raises(UnfitFunction) as caught:
        pack(space["train"], {})
    assert "it uses 'helper', which is defined beside it" in str(caught.value)
    assert "it uses 'get_ipython', which is neither defined nor imported" in str(caught.value)


def test_what_the_image_may_lack_is_told(module: Callable[[str], ModuleType]) -> None:
    train = module("def train():\n    import torch, yaml, re\n    print(torch, yaml, re)\n").train
    [warning] = pack(train, {}).warnings
    assert "train imports 'yaml', which Footplate's trainer image doesn't have: name it in packages" in warning
    assert pack(train, {}, packages=["PyYAML>=6"]).warnings == []


def test_what_the_image_has_is_there() -> None:
    assert [name for name in IMAGE_MODULES if importlib.util.find_spec(name) is None] == []
