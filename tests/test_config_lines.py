"""Where things stand in a TOML text."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.config.lines import KeyPath, LineFinder

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = '''\
# a comment with [brackets] and "quotes
top = 1
[server]
listen = "127.0.0.1:8080"  # not = this
[server.deeper]
a.b."c.d" = 1
a.b.e = 2

[[upstreams]]
name = "one"
nodes = [
  # [a comment]
  {url = "http://a", address = "x"},

  {url = "]},", "address" = 'y"'},
]
long = """
[not.a.table]
quotes \\""" and four""""
literal = \'\'\'
name = "no"\'\'\'
after = 1
[upstreams.cost]
unit = "usd"
[[upstreams.inner]]
x = 1
[[upstreams.inner]]
x = 2
[[upstreams]]
name = "two"
[models."a/b"]
aliases = ["x",
  "y", [1,
  2]]
when = 1979-05-27 07:32:00
[ models . \'c\' ]
"esc\\u0041ped" = {p = {q = [{r = 1}]}}
"" = 1
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("server",), 3),
        (("server", "listen"), 4),
        (("server", "deeper"), 5),
        (("server", "deeper", "a"), 6),
        (("server", "deeper", "a", "b", "c.d"), 6),
        (("server", "deeper", "a", "b", "e"), 7),
        (("upstreams",), 9),
        (("upstreams", 0), 9),
        (("upstreams", 0, "name"), 10),
        (("upstreams", 0, "nodes"), 11),
        (("upstreams", 0, "nodes", 0), 13),
        (("upstreams", 0, "nodes", 1), 15),
        (("upstreams", 0, "nodes", 1, "address"), 15),
        (("upstreams", 0, "long"), 17),
        (("upstreams", 0, "literal"), 20),
        (("upstreams", 0, "after"), 22),
        (("upstreams", 0, "cost"), 23),
        (("upstreams", 0, "cost", "unit"), 24),
        (("upstreams", 0, "inner", 0, "x"), 26),
        (("upstreams", 0, "inner", 1), 27),
        (("upstreams", 0, "inner", 1, "x"), 28),
        (("upstreams", 1), 29),
        (("upstreams", 1, "name"), 30),
        (("models",), 31),
        (("models", "a/b"), 31),
        (("models", "a/b", "aliases", 0), 32),
        (("models", "a/b", "aliases", 1), 33),
        (("models", "a/b", "aliases", 2, 1), 34),
        (("models", "a/b", "when"), 35),
        (("models", "c"), 36),
        (("models", "c", "escAped", "p", "q", 0, "r"), 37),
        (("models", "c", ""), 38),
    ],
)
def test_a_value_has_the_line_that_it_begins_on(path: KeyPath, line: int) -> None:
    """Tables, arrays of tables, dotted and quoted keys, inline tables and arrays all have their lines."""
    tomllib.loads(TEXT)

    assert line == LineFinder(TEXT)(path)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("server", "missing"), 3),
        (("upstreams", 0, "nodes", 1, "missing", "deeper"), 15),
        (("upstreams", 1, "missing"), 29),
        (("upstreams", 2), 9),
        (("missing", "deeper"), None),
        ((), None),
    ],
)
def test_what_has_no_line_has_that_of_the_nearest_thing_around_it(path: KeyPath, line: int | None) -> None:
    """Something missing is told by the line of the table that it is missing from, if there is one."""
    assert line == LineFinder(TEXT)(path)


def test_line_ends_of_windows_count_once() -> None:
    """A carriage return before a line feed does not make another line."""
    assert LineFinder("a = 1\r\n\r\n[b]\r\nc = 2\r\n")(("b", "c")) == 4


@given(st.text(alphabet=st.sampled_from("ab.=[]{},\"'#\\ \n1"), max_size=60))
def test_no_text_is_too_odd(text: str) -> None:
    """Any text at all has lines or none, and of one that is right, every key has its line."""
    finder = LineFinder(text)

    assert finder(("a",)) is None or text
    try:
        mapping = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    rows = text.split("\n")
    for path in paths_of(mapping):
        line = finder(path)
        assert line is not None
        assert 1 <= line <= len(rows)
        assert isinstance(path[-1], int) or path[-1] in rows[line - 1]


def paths_of(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Return the places of everything in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from paths_of(inner, (*path, key))


def test_a_deeply_nested_text_ends_well() -> None:
    """Nesting that no parser takes leaves the finder without lines, and raises nothing."""
    assert LineFinder("a = " + "[" * 100_000)(("b",)) is None
