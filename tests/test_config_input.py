"""The configuration: whatever a file or a mapping is, it becomes settings or problems, and nothing else."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tallygate.config import ConfigError, load, parse
from tallygate.config.schema import REFERENCE, Root
from tests.test_config import NODE, OPENAI, no_file

if TYPE_CHECKING:
    from tallygate.config import Problem
    from tallygate.config.keys import Section


def problem_of_file(path: Path) -> Problem:
    """Return the only thing that is wrong with a file."""
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    (problem,) = caught.value.problems
    return problem


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    """A file that is not there is one problem, and `tallygate init` its remedy."""
    problem = problem_of_file(tmp_path / "tallygate.toml")

    assert str(tmp_path / "tallygate.toml") in problem.message
    assert "tallygate init" in problem.remedy
    assert problem.line is None


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    """What cannot be read as a file is one problem."""
    assert "cannot be read" in problem_of_file(tmp_path).message


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        (b"[server]\nlisten\n", 2, "Expected '='"),
        (b"[server]\n[server]\n", 2, "Cannot declare"),
        (b"a = 1\nb = [1,\n", 3, "not valid TOML"),
        (b"\n\nx = 9" + b"9" * 5000, None, "not valid TOML"),
        (b"x = 1e" + b"9" * 50, None, "not valid TOML"),
        (b"x = " + b"[" * 100_000, None, "not valid TOML"),
        (b'x = "\xff"', None, "UTF-8"),
    ],
)
def test_a_file_that_is_no_toml_is_one_problem(content: bytes, line: int | None, says: str, tmp_path: Path) -> None:
    """A syntax error is told with its line, whatever the standard library makes of it."""
    path = tmp_path / "tallygate.toml"
    path.write_bytes(content)

    problem = problem_of_file(path)

    assert line == problem.line
    assert says in problem.message


def test_a_missing_certificate_file_is_told(tmp_path: Path) -> None:
    """Certificates that are read later must be there now."""
    path = tmp_path / "tallygate.toml"
    path.write_text(OPENAI + 'ca_file = "ca.pem"\n')

    problem = problem_of_file(path)

    assert problem.path == "upstreams[0].ca_file"
    assert str(tmp_path / "ca.pem") in problem.message


SECTIONS: tuple[type[Section], ...] = (Root, *REFERENCE)
NAMES = sorted({name for section in SECTIONS for name in section.declared()})
WORDS = ("gonka", "openai", "hash", "usd", "ngonka", "none", "*", "http://n/v1", NODE, "sqlite:a.db", "0.5", "::1:1")
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.sampled_from([Decimal("1e999999999"), Decimal("-1e-999999999"), Decimal("sNaN")]),
    st.just(5000).map(lambda digits: 16**digits),  # more digits than Python writes in decimal
    st.sampled_from(WORDS),
    st.text(),
    st.dates(),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(), inner, max_size=5),
    max_leaves=20,
)


def table_of(section: type[Section]) -> st.SearchStrategy[dict[str, Any]]:
    """Return tables that hold some of a section's keys, with values that may be right."""
    inner: dict[str, st.SearchStrategy[Any]] = dict.fromkeys(section.declared(), VALUES)
    return st.fixed_dictionaries({}, optional=inner)


MAPPINGS = st.dictionaries(st.sampled_from(list(Root.declared())) | st.text(), VALUES, max_size=4) | (
    st.fixed_dictionaries(
        {"upstreams": st.lists(st.one_of(*map(table_of, SECTIONS)), max_size=3)},
        optional={"models": st.dictionaries(st.text(), st.one_of(*map(table_of, SECTIONS)) | VALUES, max_size=3)}
        | dict.fromkeys(("server", "admin", "store", "keys", "billing"), VALUES),
    )
)


def problems_of_mapping(mapping: dict[str, Any]) -> tuple[Problem, ...] | None:
    """Return what is wrong with a mapping, None if nothing is."""
    try:
        parse(
            mapping,
            environ={"WALLET": "x"},
            read_secret_file=no_file,
            lines=lambda _: None,
            base_dir=Path("/etc"),
        )
    except ConfigError as error:
        return error.problems
    return None


@given(mapping=MAPPINGS)
@example(mapping={"upstreams": [{"kind": "openai", "name": "a", "base_url": "http://n", "cost": {"unit": {}}}]})
@settings(max_examples=300, deadline=None)
def test_any_mapping_is_parsed_or_refused(mapping: dict[str, Any]) -> None:
    """Whatever a mapping holds, it becomes settings or a ConfigError whose problems all have a remedy."""
    problems = problems_of_mapping(mapping)

    assert problems is None or problems
    for problem in problems or ():
        assert problem.message
        assert problem.remedy
        assert "\n" not in str(problem)
