"""The nodes that were discovered last: for whom they count, and what a file that is none of ours does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tallygate.core.address import address_from_public_key
from tallygate.network.discovery import FoundNode
from tallygate.network.keptnodes import KeptNodes
from tallygate.network.origin import Origin

if TYPE_CHECKING:
    from pathlib import Path

A, B = (address_from_public_key(bytes([2]) + bytes([number]) * 32) for number in range(1, 3))
NODES = (
    FoundNode(Origin("http", "a.example", 8000), b"", A),
    FoundNode(Origin("https", "b.example", 443), b"/gonka", B),
)
SOURCES = ("http://one.example:80", "http://two.example:80")


def test_nodes_are_kept_by_upstream_and_sources(tmp_path: Path) -> None:
    """What one upstream found is there for a new process, for that upstream while it asks the same places only."""
    path = tmp_path / "books.nodes"
    KeptNodes(path).keep("main", SOURCES, NODES)
    kept = KeptNodes(path)
    kept.keep("other", SOURCES, NODES[1:])

    assert KeptNodes(path).nodes("main", SOURCES) == NODES
    assert KeptNodes(path).nodes("other", SOURCES) == NODES[1:]
    assert KeptNodes(path).nodes("main", SOURCES[:1]) == ()
    assert KeptNodes(path).nodes("third", SOURCES) == ()
    assert [file.name for file in tmp_path.iterdir()] == ["books.nodes"]


def test_what_has_not_changed_is_not_written(tmp_path: Path) -> None:
    """A refresh that finds the same nodes leaves the file as it is."""
    path = tmp_path / "books.nodes"
    kept = KeptNodes(path)
    kept.keep("main", SOURCES, NODES)
    path.unlink()
    kept.keep("main", SOURCES, NODES)
    assert not path.exists()
    kept.keep("main", SOURCES, NODES[:1])

    assert KeptNodes(path).nodes("main", SOURCES) == NODES[:1]


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"main": 5}', b'{"main": {"sources": [], "nodes": [{}]}}'])
def test_a_file_of_nonsense_says_nothing(tmp_path: Path, content: bytes) -> None:
    """A file that is none of ours is as none at all, and is written over by what is found."""
    path = tmp_path / "books.nodes"
    path.write_bytes(content)
    kept = KeptNodes(path)
    assert kept.nodes("main", ()) == ()
    kept.keep("main", SOURCES, NODES)

    assert KeptNodes(path).nodes("main", SOURCES) == NODES


def test_odd_nodes_are_left_out(tmp_path: Path) -> None:
    """A node whose URL or address is none is not sent to."""
    path = tmp_path / "books.nodes"
    KeptNodes(path).keep("main", SOURCES, NODES)
    path.write_bytes(path.read_bytes().replace(b"http://a.example", b"file://a.example"))
    assert KeptNodes(path).nodes("main", SOURCES) == NODES[1:]
    path.write_bytes(path.read_bytes().replace(B.encode(), b"gonka1nobody"))

    assert KeptNodes(path).nodes("main", SOURCES) == ()


def test_a_folder_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    """Where nothing can be kept, nothing is, and nothing else is wrong."""
    kept = KeptNodes(tmp_path / "nowhere" / "books.nodes")
    kept.keep("main", SOURCES, NODES)

    assert kept.nodes("main", SOURCES) == NODES
