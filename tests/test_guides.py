"""The guides of direct access, operating and devnet: what is to be typed is there, and what works is said first."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from tallygate.cli import program

DOCS = Path(__file__).parents[1] / "docs"
COMMAND = re.compile(r"(?<![\w/.\[-])tallygate((?: +(?:--?[a-z][\w-]*|[a-z][\w-]*))+)")
OPTION = re.compile(r"(?<!\w)--[a-z][a-z-]+")


def code_of(page: str) -> list[str]:
    """Return the lines of a guide that are to be typed: of code blocks, fenced and indented, and between backquotes."""
    text = (DOCS / page).read_text()
    fenced = re.findall(r"^```(?:sh|yaml)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    indented = re.findall(r"^ {4,}\S.*$", text, re.MULTILINE)
    return [line for block in (*fenced, *indented, *re.findall(r"`([^`\n]+)`", text)) for line in block.splitlines()]


def problem_of(line: str) -> str | None:
    """Return what is wrong with the command that a line shows, if it shows one."""
    found = COMMAND.search(line.partition("#")[0])
    if found is None:
        return None
    command: click.Command = program
    context = click.Context(program)
    for word in found[1].split():
        if word.startswith("-") or not isinstance(command, click.Group):
            break
        following = command.get_command(context, word)
        if following is None:
            return f"{line!r}: there is no {word!r}"
        command = following
    known = {name for parameter in command.params for name in parameter.opts} | {"--help", "--version"}
    unknown = [name for name in OPTION.findall(line[found.start() :].partition(" -- ")[0]) if name not in known]
    return f"{line!r}: {command.name} has no {unknown}" if unknown else None


@pytest.mark.parametrize("page", ["direct.md", "operate.md", "devnet.md"])
def test_what_is_to_be_typed_is_there(page: str) -> None:
    """Each command of ours that a guide shows exists, with the options that it shows."""
    lines = [line for line in code_of(page) if COMMAND.search(line)]
    assert lines
    assert [problem for line in lines if (problem := problem_of(line)) is not None] == []


def test_commands_that_are_none_are_found() -> None:
    """The test above would find a command or an option that is not there."""
    assert problem_of("tallygate accout gonka1x") is not None
    assert problem_of("tallygate wallet burn") is not None
    assert problem_of("tallygate send-request --fast") is not None
    assert problem_of("tallygate send-request --keystore w --file r.json") is None


def test_the_guide_says_first_what_works_today() -> None:
    """The first line of the guide of direct access says what a node of mainnet answers, and offers a Bearer key."""
    _, _, first, *_ = (DOCS / "direct.md").read_text().splitlines()

    assert "mainnet" in first
    assert "`410`" in first
    assert "Bearer key" in first
