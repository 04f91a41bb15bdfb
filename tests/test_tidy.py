"""The house rules that a reader would otherwise have to watch: sizes, purity, no float near money, docstrings, names.

Each rule is a function from a parsed module to what is wrong with it; each has an example that it must find, so that
no rule can fall asleep.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tallygate.cli.loading import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70

IMPURE_MODULES = frozenset(
    {"asyncio", "socket", "ssl", "os", "io", "pathlib", "subprocess", "threading"}
    | {"time", "datetime", "random", "secrets", "logging", "structlog"}
)
IMPURE_CALLS = frozenset({"open", "print", "input"})
EMPTY_NAMES = frozenset({"utils", "util", "helpers", "helper", "common", "base", "misc", "manager", "managers"})
MONEY_PATHS = ("core/money.py", "core/pricing.py", "core/ledger/", "core/audit/", "core/proofs/", "storage/")

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Module(NamedTuple):
    """One file of the project."""

    path: str
    text: str

    @property
    def tree(self) -> ast.Module:
        """Its syntax."""
        return parse(self.text)

    @property
    def inner(self) -> str:
        """Its path inside the package, or empty outside of it."""
        return self.path.removeprefix("src/tallygate/") if self.path.startswith("src/tallygate/") else ""

    @property
    def dotted(self) -> str:
        """Its name as it is imported."""
        return self.path.removeprefix("src/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@cache
def parse(text: str) -> ast.Module:
    """Parse a text once."""
    return ast.parse(text)


@cache
def modules(folder: str) -> Sequence[Module]:
    """Return the Python files of a folder."""
    files = sorted((ROOT / folder).rglob("*.py"))
    return [Module(file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8")) for file in files]


def functions(module: Module) -> Iterator[Function]:
    """Return every function, methods and inner ones included."""
    return (node for node in ast.walk(module.tree) if isinstance(node, Function))


def imported(module: Module) -> Iterator[str]:
    """Return every module and every member of one that is imported, wherever in the file, relative ones resolved."""
    package = module.dotted.split(".") if module.path.endswith("__init__.py") else module.dotted.split(".")[:-1]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*start, *([node.module] if node.module else [])])
            yield source
            yield from (f"{source}.{alias.name}" for alias in node.names)


def name_of(node: ast.expr) -> str:
    """Return the dotted name that an expression spells, or what it ends in."""
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def calls(module: Module) -> Iterator[tuple[str, ast.Call]]:
    """Return every call with the name of what is called."""
    return ((name_of(node.func), node) for node in ast.walk(module.tree) if isinstance(node, ast.Call))


def find_long_files(module: Module) -> Iterator[str]:
    """A file has at most 400 lines."""
    lines = len(module.text.splitlines())
    if lines > FILE_LINES_MAX:
        yield f"has {lines} lines"


def find_long_functions(module: Module) -> Iterator[str]:
    """A function has at most 70 lines."""
    for node in functions(module):
        lines = (node.end_lineno or 0) - node.lineno + 1
        if lines > FUNCTION_LINES_MAX:
            yield f"{node.name} has {lines} lines"


def find_empty_names(module: Module) -> Iterator[str]:
    """A module's name says what is in it."""
    yield from (f"{part} says nothing" for part in module.dotted.split(".") if part.strip("_") in EMPTY_NAMES)


def find_missing_docstrings(module: Module) -> Iterator[str]:
    """A module opens with a docstring."""
    if not ast.get_docstring(module.tree):
        yield "has no docstring"


def find_swallowed_errors(module: Module) -> Iterator[str]:
    """No error is caught without a name, and not every error is passed over."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type] if node.type else []
            names = {name_of(item) for item in caught}
            is_empty = all(isinstance(step, ast.Pass) or is_ellipsis(step) for step in node.body)
            if not names or (is_empty and not names.isdisjoint({"Exception", "BaseException"})):
                yield f"line {node.lineno} swallows any error"
    for name, call in calls(module):
        if name.endswith("suppress") and {name_of(item) for item in call.args} & {"Exception", "BaseException"}:
            yield f"line {call.lineno} swallows any error"


def is_ellipsis(node: ast.stmt) -> bool:
    """Return whether a statement is `...`."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node.value.value is ...


def find_impurity(module: Module) -> Iterator[str]:
    """The core has no waiting, clock, environment, log, randomness, socket or file."""
    if not module.inner.startswith("core/"):
        return
    yield from (f"imports {name}" for name in imported(module) if name.split(".")[0] in IMPURE_MODULES)
    yield from (f"line {call.lineno} calls {name}" for name, call in calls(module) if name in IMPURE_CALLS)
    waits = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    yield from (f"line {node.lineno} waits" for node in ast.walk(module.tree) if isinstance(node, waits))


def find_floats(module: Module) -> Iterator[str]:
    """Nothing that holds, prices, adds or stores an amount knows floats, or divides into one."""
    if not module.inner.startswith(MONEY_PATHS):
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Name) and node.id == "float":
            yield f"line {node.lineno} names float"
        elif isinstance(node, ast.Constant) and isinstance(node.value, float):
            yield f"line {node.lineno} has a float"
        elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            divisor = node.right if isinstance(node, ast.BinOp) else node.value
            if not (isinstance(divisor, ast.Constant) and isinstance(divisor.value, str)):  # a path
                yield f"line {node.lineno} divides into a float"


def find_foreign_imports(module: Module) -> Iterator[str]:
    """The simulated network shares nothing with what it is there to check."""
    if module.inner.startswith("devnet/"):
        ours = (name for name in imported(module) if name.split(".")[0] == "tallygate")
        yield from (f"imports {name}" for name in ours if not f"{name}.".startswith("tallygate.devnet."))


def find_unstated_facts(module: Module) -> Iterator[str]:
    """A test states its fact in a docstring of one line."""
    for node in functions(module):
        if node.name.startswith("test") and module.path.rpartition("/")[2].startswith("test_"):
            fact = ast.get_docstring(node, clean=False)
            if not fact or "\n" in fact.strip():
                yield f"{node.name} states no fact in one line"


def find_sleeps(module: Module) -> Iterator[str]:
    """A test never sleeps; it may let the loop turn."""
    for name, call in calls(module):
        is_turn = [item.value for item in call.args if isinstance(item, ast.Constant)] == [0]
        if name == "time.sleep" or (name == "asyncio.sleep" and not is_turn):
            yield f"line {call.lineno} sleeps"
    yield from (f"imports {name}" for name in imported(module) if name in ("time.sleep", "asyncio.sleep"))


SIZES = [find_long_files, find_long_functions, find_swallowed_errors, find_empty_names]
SOURCE = [*SIZES, find_missing_docstrings, find_impurity, find_floats, find_foreign_imports]
TESTS = [*SIZES, find_unstated_facts, find_sleeps]


@pytest.mark.parametrize(
    ("folder", "rule"),
    [*(("src", rule) for rule in SOURCE), *(("tests", rule) for rule in TESTS)],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_rule(folder: str, rule: Callable[[Module], Iterator[str]]) -> None:
    """Every file keeps the rule."""
    found = [f"{module.path}: {complaint}" for module in modules(folder) for complaint in rule(module)]
    assert not found, f"{rule.__doc__}\n" + "\n".join(found)


def test_no_module_is_dead() -> None:
    """Every module of the package is reached by imports from the program's entry, or named by a test."""
    named = {name for module in modules("tests") for name in imported(module)} | {"tallygate.__main__"}
    named |= {f"tallygate.cli.{where.partition(':')[0]}" for where in COMMANDS.values()}  # loaded when they are called
    by_name = {module.dotted: module for module in modules("src")}
    reached: set[str] = set()
    ahead = [name for name in named if name in by_name]
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            ahead.extend(found for found in imported(by_name[name]) if found in by_name)
    left = [module.path for module in modules("src") if not is_exempt(module) and module.dotted not in reached]
    assert not left, "nobody imports\n" + "\n".join(left)


def is_exempt(module: Module) -> bool:
    """Return whether a module is only a door to others, or how the program is started."""
    return module.path.endswith(("__init__.py", "__main__.py")) or "/sql/" in module.path


BAD = [
    (find_long_files, "core/x.py", "x = 1\n" * 401),
    (find_long_functions, "core/x.py", "def f():\n" + "    x = 1\n" * 70),
    (find_long_functions, "core/x.py", "class A:\n    async def f():\n" + "        x = 1\n" * 70),
    (find_empty_names, "core/utils.py", ""),
    (find_empty_names, "common/__init__.py", ""),
    (find_empty_names, "core/_helpers.py", ""),
    (find_missing_docstrings, "core/x.py", "# No docstring.\nx = 1\n"),
    (find_swallowed_errors, "x.py", "try:\n    f()\nexcept:\n    raise\n"),
    (find_swallowed_errors, "x.py", "try:\n    f()\nexcept Exception:\n    pass\n"),
    (find_swallowed_errors, "x.py", "try:\n    f()\nexcept (OSError, BaseException):\n    ...\n"),
    (find_swallowed_errors, "x.py", "with contextlib.suppress(OSError, Exception):\n    f()\n"),
    *((find_impurity, "core/x.py", f"import {name}\n") for name in sorted(IMPURE_MODULES)),
    (find_impurity, "core/ledger/x.py", "from os import path\n"),
    (find_impurity, "core/x.py", "def f():\n    import asyncio.events as e\n"),
    (find_impurity, "core/x.py", "open('x')\n"),
    (find_impurity, "core/x.py", "def f():\n    print(1)\n"),
    (find_impurity, "core/x.py", "async def f(): ...\n"),
    (find_floats, "core/money.py", "x = float(y)\n"),
    (find_floats, "core/pricing.py", "def f(x: float): ...\n"),
    (find_floats, "core/ledger/x.py", "def f() -> int | float: ...\n"),
    (find_floats, "storage/x.py", "x: list[float] = []\n"),
    (find_floats, "storage/x.py", "x = a / b\n"),
    (find_floats, "storage/x.py", "x /= b\n"),
    (find_floats, "core/money.py", "x = a * 1.1\n"),
    (find_foreign_imports, "devnet/x.py", "from tallygate.core import sse\n"),
    (find_foreign_imports, "devnet/x.py", "import tallygate.core.sse\n"),
    (find_foreign_imports, "devnet/x.py", "from ..core.sse import DONE\n"),
    (find_foreign_imports, "devnet/x.py", "from tallygate import core\n"),
]


@pytest.mark.parametrize(("rule", "path", "text"), BAD)
def test_source_rules_bite(rule: Callable[[Module], Iterator[str]], path: str, text: str) -> None:
    """Each rule for the package finds what it is there to find."""
    assert list(rule(Module(f"src/tallygate/{path}", text)))


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (find_unstated_facts, "def test_x(): ...\n"),
        (find_unstated_facts, "async def test_x():\n    'Two.\\n\\nLines.'\n"),
        (find_unstated_facts, "class TestX:\n    def test_x(self): ...\n"),
        (find_sleeps, "time.sleep(0)\n"),
        (find_sleeps, "async def f():\n    await asyncio.sleep(0.01)\n"),
        (find_sleeps, "async def f():\n    await asyncio.sleep(some)\n"),
        (find_sleeps, "async def f():\n    await asyncio.sleep(delay=1)\n"),
        (find_sleeps, "from asyncio import sleep\n"),
    ],
)
def test_test_rules_bite(rule: Callable[[Module], Iterator[str]], text: str) -> None:
    """Each rule for tests finds what it is there to find."""
    assert list(rule(Module("tests/test_x.py", text)))


def test_rules_leave_the_rest_alone() -> None:
    """What the rules do not forbid passes them."""
    text = (
        "'''Doc.'''\nfrom tallygate.devnet.chain import Block\nx = a // b\ntry:\n    f()\nexcept OSError:\n    pass\n"
    )
    for path in ("core/x.py", "storage/x.py", "devnet/x.py"):
        assert not [found for rule in SOURCE for found in rule(Module(f"src/tallygate/{path}", text))]
    test = "async def test_x():\n    '''A fact.'''\n    await asyncio.sleep(0)\n"
    assert not [found for rule in TESTS for found in rule(Module("tests/test_x.py", test))]
