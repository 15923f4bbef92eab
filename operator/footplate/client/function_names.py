"""What a function takes from outside of itself: the imports that must go with its source, and what can't go. Pure.

Names are found in the source, not in the compiled code, whose list of names also has those of attributes, and doesn't
have those that inner functions, defaults and decorators use.
"""

import ast
import builtins
import symtable
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from re import match
from types import ModuleType
from typing import Any

_NOTEBOOK = ("get_ipython", "display", "In", "Out")
"""What IPython adds to the built-in names."""
_OF_MODULES = ("__name__", "__file__", "__doc__", "__builtins__")
_OURS = ("footplate", "footplate_trainer")
IMAGE_MODULES = (
    *_OURS, "numpy", "obstore", "onnxscript", "PIL", "pip", "prometheus_client", "pyarrow", "pydantic",
    "pynvml", "re2", "safetensors", "structlog", "torch", "torchdata",
)  # fmt: skip
"""What the trainer image has, by the names under which it is imported."""

Statements = Mapping[str, Sequence[str]]
"""Import statements by the name that they bind: `import a.b` and `import a.c` both bind `a`."""


def outer_names(program: str) -> list[str]:
    """The names that a program reads and nowhere sets, but for the built-in ones; in alphabetical order."""
    module = symtable.symtable(program, "function", "exec")
    read, written = set[str](), set[str]()
    for table in _tables(module):
        for symbol in table.get_symbols():
            if table is module or symbol.is_global():
                is_set = symbol.is_assigned() or symbol.is_imported()
                (written if is_set else read).add(symbol.get_name())
    known = {*vars(builtins)} - {*_NOTEBOOK} | {*_OF_MODULES}
    return sorted(read - written - known)


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _tables(child)


def import_statements(sources: Iterable[str]) -> Statements:
    """The imports of a module, or of a notebook's cells, outside of functions and classes. A cell that isn't Python
    has none.
    """
    found: dict[str, list[str]] = {}
    for source in sources:
        try:
            tree = ast.parse(source)
        except SyntaxError:
            continue
        for node in _outer_imports(tree):
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                found.setdefault(name, []).append(_statement(node, alias))
    return found


def _outer_imports(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _outer_imports(child)


def _statement(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> str:
    one = ast.Import([alias]) if isinstance(node, ast.Import) else ast.ImportFrom(node.module, [alias], node.level)
    return ast.unparse(one)


def import_of(name: str, value: object, *, home: str | None) -> str:
    """The statement that gives a name its value elsewhere, empty where none does: for modules, and for functions and
    classes of other modules than `home`.
    """
    if isinstance(value, ModuleType):
        return ast.unparse(ast.Import([ast.alias(value.__name__, None if value.__name__ == name else name)]))
    module, qualname = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or module in (home, "__main__", "builtins") or not isinstance(qualname, str):
        return ""
    if getattr(sys.modules.get(module), qualname, None) is not value:
        return ""
    return ast.unparse(ast.ImportFrom(module, [ast.alias(qualname, None if qualname == name else name)], 0))


def imported_modules(program: str) -> list[str]:
    """The modules that a program imports, without what lies in them; a relative one begins with a dot."""
    found = dict[str, None]()
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.Import):
            found.update(dict.fromkeys(alias.name.partition(".")[0] for alias in node.names))
        elif isinstance(node, ast.ImportFrom):
            found["." * node.level + (node.module or "").partition(".")[0]] = None
    return [*found]


def is_packaged(module: str, packages: Sequence[str]) -> bool:
    """Whether one of these requirements brings a module."""
    wanted = {_plain(found[0]) for each in packages if (found := match(r"[A-Za-z0-9][A-Za-z0-9._-]*", each))}
    if not wanted or _plain(module) in wanted:
        return bool(wanted)
    return any(_plain(name) in wanted for name in packages_distributions().get(module, ()))


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def place_of_own(module: str) -> str:
    """Where a module lies that is the user's own, which no image has; empty for any other, and for one that isn't
    here.
    """
    if module.startswith("."):
        return module
    if module in sys.stdlib_module_names or module in _OURS:
        return ""
    if module == "__main__":
        return "this program"
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return ""
    places: list[Any] = [] if spec is None else [spec.origin, *(spec.submodule_search_locations or ())]
    place = next((each for each in places if isinstance(each, str) and each not in ("built-in", "frozen")), "")
    return "" if "site-packages" in place or "dist-packages" in place else place


def is_in_image(module: str) -> bool:
    """Whether the trainer image has a module."""
    return module in sys.stdlib_module_names or module in IMAGE_MODULES
