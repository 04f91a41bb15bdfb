"""Every code of the table is one that callers can meet, and that some test has met."""

from __future__ import annotations

import ast
from pathlib import Path

from tallygate.core.errors import Code

ROOT = Path(__file__).parents[2]
TABLES = {"src/tallygate/core/errors.py", "src/tallygate/api/problems.py", "tests/api/test_problems.py"}


def codes_in(folder: str) -> set[Code]:
    """Return the codes that a folder's files name, as members or by their words, the tables themselves left out."""
    files = [file for file in (ROOT / folder).rglob("*.py") if file.relative_to(ROOT).as_posix() not in TABLES]
    nodes = [node for file in files if file != Path(__file__) for node in ast.walk(ast.parse(file.read_text()))]
    members = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    words = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {code for code in Code if code.name in members or code.value in words}


def test_every_code_is_raised_somewhere() -> None:
    """No code stands in the table only: something refuses with it."""
    assert set(Code) - codes_in("src") == set()


def test_every_code_is_met_by_a_test() -> None:
    """Each code that is raised is expected by name in some test."""
    assert set(Code) - codes_in("tests") == set()
