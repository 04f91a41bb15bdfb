"""The documentation says what the code does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tallygate.api.cors import EXPOSED
from tallygate.api.headers import HEADERS
from tallygate.api.problems import PROBLEMS
from tallygate.core.errors import Code
from tallygate.core.ledger.entry import KINDS, Entry, Flag

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\[[^\]]+\]\((?!https?:)([^)#]+)")


def test_generated_tables_are_what_the_code_says() -> None:
    """The tables of routes, errors, states, retries and commands are drawn from the code as it is."""
    check = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"], capture_output=True, text=True, check=False
    )

    assert (check.returncode, check.stderr) == (0, "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page leads to a file of the project."""
    missing = [target for target in LINK.findall(page.read_text()) if not (page.parent / target).exists()]

    assert missing == []


def test_every_module_is_in_the_tree() -> None:
    """ARCHITECTURE.md names each file of the package in its tree, and of a few folders only the folder."""
    tree = (ROOT / "ARCHITECTURE.md").read_text().split("```")[1]
    named = set(re.findall(r"\w+", tree))
    package = ROOT / "src" / "tallygate"
    whole = {"admin", "cli", "config", "devnet"}
    paths = [path.relative_to(package) for path in package.rglob("*.py") if not path.stem.startswith("__")]

    assert sorted(str(path) for path in paths if path.stem not in named and whole.isdisjoint(path.parts)) == []


def test_every_code_has_a_status() -> None:
    """Each error code of the contract has one row in the table of statuses."""
    assert PROBLEMS.keys() == set(Code)


def test_books_page_lists_every_member_of_an_entry() -> None:
    """The page on the books numbers as many members as an entry has, and names every kind and every flag."""
    page = (ROOT / "docs" / "books.md").read_text()

    assert sorted(int(number) for number in re.findall(r"\| (\d+) \|", page)) == list(range(30))
    assert len(Entry.__struct_fields__) == 30
    assert [kind for kind in KINDS if f"`{kind}`" not in page] == []
    assert [flag for flag in Flag if f"{flag.value} {(flag.name or '').lower().split('_')[0]}" not in page] == []


def test_every_header_that_means_something_is_in_the_contract() -> None:
    """Each header of our own that the code writes is in the table, and a browser shows a page no others."""
    sources = [*ROOT.glob("src/tallygate/api/**/*.py"), *ROOT.glob("src/tallygate/relay/*.py")]
    sources.append(ROOT / "src/tallygate/core/limits.py")
    written = {
        name for source in sources for name in re.findall(r'\bb"((?:x-|retry-|allow)[a-z-]*)"', source.read_text())
    }
    rates = {"x-ratelimit-", *(f"x-ratelimit-{word}-" for word in ("limit", "remaining", "reset"))}
    for_browsers = {"x-content-type-options", "x-accel-buffering"}

    assert rates <= written
    named = {name for name in HEADERS if not name.startswith("x-ratelimit-")}
    assert written - rates - for_browsers == named
    assert set(EXPOSED) == set(HEADERS)


@pytest.mark.parametrize("script", ["scripts/demo", "scripts/test"])
def test_the_two_commands_of_the_readme_are_there(script: str) -> None:
    """README names the two commands that do everything, and both can be run as they stand."""
    assert f"\n{script} " in (ROOT / "README.md").read_text()
    assert os.access(ROOT / script, os.X_OK)


def test_every_dependency_has_its_reason() -> None:
    """Each dependency that is installed for the server has a line in the decision on dependencies."""
    project = (ROOT / "pyproject.toml").read_text()
    table = project[project.index("\ndependencies") : project.index("[dependency-groups]")]
    names = re.findall(r'"([a-z0-9-]+)>=', table)
    reasons = (ROOT / "docs" / "decisions" / "0001-dependencies.md").read_text()

    assert len(names) > 10
    assert [name for name in names if name not in reasons] == []
