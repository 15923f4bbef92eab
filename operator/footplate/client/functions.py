"""A function becomes the program of a job: its source, with the imports that it uses, and nothing else of where it
stands.

What can't go with it is named before anything is sent: variables of a function around it, what its module or notebook
defines beside it, modules of the user's own, values that JSON can't carry. Its arguments are the job's hyperparameters,
so that the job, its status and the model's manifest show them.
"""

import __future__

import ast
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import orjson

from footplate.client.errors import ClientError
from footplate.client.function_names import (
    Statements,
    import_of,
    import_statements,
    imported_modules,
    is_in_image,
    is_packaged,
    outer_names,
    place_of_own,
)
from footplate.contract import Env
from footplate.errors import Terminal

FILE = "function.py"
MAX_BYTES = 900_000
"""A ConfigMap holds 1 MiB."""

_CALL = """

if __name__ == "__main__":

    def __arguments():
        import json
        import os

        with open(os.environ["{config}"], encoding="utf-8") as file:
            values = json.load(file)["spec"]["trainer"].get("hyperparameters", {{}})
        return {{name: values[name] for name in {names!r}}}

    {function}(**__arguments())
"""
"""It sets no name that the function could have."""


class UnfitFunction(ClientError, Terminal):
    """The function can't run elsewhere as it is; the message has all that keeps it from that."""


@dataclass(frozen=True, slots=True)
class PackedFunction:
    """A function as a job's program."""

    program: str
    """The text of `FILE`."""
    hyperparameters: Mapping[str, Any]
    warnings: Sequence[str] = ()
    """What may be missing where it runs."""


def pack(function: Callable[..., object], args: Mapping[str, Any], packages: Sequence[str] = ()) -> PackedFunction:
    """Makes a function the program of a job.

    Args:
        function: a plain one, written with `def`; it may be nested, decorated, and stand in a notebook.
        args: its keyword arguments, as JSON has them.
        packages: requirements that are installed for it.

    Raises:
        UnfitFunction: it can't run elsewhere, or not with these arguments.
    """
    _refuse_other_kinds(args, packages)
    inner = _plain_function(function)
    name, source = inner.__name__, _source_of(inner)
    problems = [*_wrong_arguments(function, args), *_closure(inner)]
    imports, unknown = _imports(inner, source)
    program = "\n".join([*_future(inner), *imports, "", "", source])
    problems += [*unknown, *_own_modules(program, packages)]
    given = {key: value for key, value in args.items() if value is not None}
    program += _CALL.format(config=Env.CONFIG, function=name, names=[*given])
    if len(program.encode()) > MAX_BYTES:
        problems.append(f"its source has more than {MAX_BYTES:,} bytes, which no ConfigMap holds: put data into inputs")
    if problems:
        raise UnfitFunction(f"{name}: " + "; ".join(dict.fromkeys(problems)))
    return PackedFunction(program, given, [*_warnings(name, program, packages)])


def _refuse_other_kinds(args: object, packages: object) -> None:
    if not isinstance(args, Mapping):
        raise UnfitFunction(f"args: pass a dict of the function's arguments by name, no {type(args).__name__}")
    if isinstance(packages, str):  # a text is a sequence too, of packages with names of one letter
        raise UnfitFunction(f"packages: pass a list, [{packages!r}]")


def _plain_function(function: Callable[..., object]) -> FunctionType:
    found = inspect.unwrap(function)
    if not isinstance(found, FunctionType):
        raise UnfitFunction(f"{function!r} is no function written with `def`: put the call of it into one")
    if found.__name__ == "<lambda>":
        raise UnfitFunction("a lambda has no source of its own: write a function with `def`")
    if inspect.iscoroutinefunction(found) or inspect.isgeneratorfunction(found) or inspect.isasyncgenfunction(found):
        raise UnfitFunction(f"{found.__name__} is a coroutine or a generator, which does nothing when it is called")
    return found


def _source_of(function: FunctionType) -> str:
    """The function as it stands in its file or cell, indented by a block of its own where it is indented there: its
    texts keep their bytes.
    """
    name = function.__name__
    try:
        source = inspect.getsource(function).rstrip() + "\n"
    except (OSError, TypeError):
        raise UnfitFunction(
            f"{name}: its source can't be read, as it was typed into an interactive Python or made by exec; "
            "write it into a file or a notebook"
        ) from None
    program = source if not source[0].isspace() else f"if True:  # as it was indented\n{source}"
    try:
        tree = ast.parse(program)
    except SyntaxError as error:
        raise UnfitFunction(f"{name}: its source can't be taken out of what is around it ({error.msg})") from None
    defined = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    if name not in defined[:1]:
        raise UnfitFunction(f"{name}: its source isn't that of one function: write it with `def`, on lines of its own")
    return program


def _wrong_arguments(function: Callable[..., object], args: Mapping[str, Any]) -> Iterator[str]:
    signature = inspect.signature(function)
    try:
        signature.bind(**args)
    except TypeError as error:
        yield f"args don't fit its parameters {signature}: {error}"
    for name, value in args.items():
        if not _is_json(value):
            yield f"args[{name!r}] isn't what JSON carries: pass numbers, texts, booleans, lists and dicts of these"
        parameter = signature.parameters.get(name)
        if value is None and (parameter is None or parameter.default is not None):
            yield f"args[{name!r}] is None, which counts as left out in a job: let that be its default"


def _is_json(value: object) -> bool:
    try:
        orjson.dumps(value)  # the way to the API server, whose integers have 64 bits
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError, RecursionError):
        return False


def _closure(function: FunctionType) -> Iterator[str]:
    for name in function.__code__.co_freevars:
        yield (
            f"it uses {name!r} of the function around it, which doesn't go with it: make it a parameter, and pass it "
            "in args, or define it inside"
        )


def _future(function: FunctionType) -> list[str]:
    late = function.__code__.co_flags & __future__.annotations.compiler_flag
    return ["from __future__ import annotations"] if late else []


def _imports(function: FunctionType, source: str) -> tuple[list[str], list[str]]:
    """The statements that go before the source, and what is wrong with the other names that it uses."""
    known, statements, problems = import_statements(_sources_around(function)), list[str](), list[str]()
    names = outer_names(source if not _future(function) else _without_annotations(source))
    for name in names:
        if name in function.__code__.co_freevars:
            continue
        found = _statements_of(name, function, known)
        statements += found
        problems += [] if found else [_unknown(name, function)]
    return [*dict.fromkeys(statements)], problems


def _sources_around(function: FunctionType) -> list[str]:
    """Of its module; of a notebook, all cells."""
    cells = function.__globals__.get("In")
    if isinstance(cells, list):
        return [cell for cell in cells if isinstance(cell, str)]
    try:
        return [inspect.getsource(module)] if (module := inspect.getmodule(function)) is not None else []
    except (OSError, TypeError):
        return []


def _statements_of(name: str, function: FunctionType, known: Statements) -> Sequence[str]:
    if name in known:
        return known[name]
    if name not in function.__globals__:
        return ()
    statement = import_of(name, function.__globals__[name], home=function.__module__)
    return (statement,) if statement else ()


def _unknown(name: str, function: FunctionType) -> str:
    if name not in function.__globals__:
        return f"it uses {name!r}, which is neither defined nor imported: import it, or correct the name"
    return f"it uses {name!r}, which is defined beside it: define it inside, or make it a parameter"


def _without_annotations(source: str) -> str:
    """The source without what is never computed, as annotations aren't where they stay text."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
    return ast.unparse(tree)


def _own_modules(program: str, packages: Sequence[str]) -> Iterator[str]:
    for module in imported_modules(program):
        place = place_of_own(module)
        if place and not is_packaged(module, packages):
            yield (
                f"it imports {module!r}, a module of yours ({place}), which isn't where it runs: define what it needs "
                "inside, name its package in packages, or send a folder of code by trainer.source"
            )


def _warnings(name: str, program: str, packages: Sequence[str]) -> Iterator[str]:
    for module in imported_modules(program):
        if not is_in_image(module) and not is_packaged(module, packages) and not place_of_own(module):
            yield (
                f"{name} imports {module!r}, which Footplate's trainer image doesn't have: name it in packages; where "
                "the image has it all the same, nothing is installed"
            )
