"""The tree of RFC 6962: roots, paths, and the tree that grows."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.ledger.merkle import (
    EMPTY_ROOT,
    Tree,
    find_path,
    grow_levels,
    is_proved,
    leaf_hash,
    merkle_root,
    node_hash,
    path_among,
    path_through,
)

LEAVES = [leaf_hash(bytes([number])) for number in range(70)]
HASHES = st.binary(min_size=32, max_size=32)
CT_ENTRIES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]


def define_root(entries: list[bytes]) -> bytes:
    """Return MTH of RFC 6962, section 2.1, word by word."""
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    split = 1
    while split * 2 < len(entries):
        split *= 2
    return sha256(b"\x01" + define_root(entries[:split]) + define_root(entries[split:])).digest()


@pytest.mark.parametrize("count", range(1, 71))
def test_root_is_that_of_rfc_6962(count: int) -> None:
    """For every number of leaves, folding gives the root that the RFC defines by splitting."""
    entries = [bytes([number]) for number in range(count)]

    assert merkle_root([leaf_hash(entry) for entry in entries]) == define_root(entries)


@given(st.lists(st.binary(max_size=80), min_size=1, max_size=70))
def test_root_of_any_entries_is_that_of_rfc_6962(entries: list[bytes]) -> None:
    """Whatever the entries are, empty or equal, the root is the RFC's."""
    assert merkle_root([leaf_hash(entry) for entry in entries]) == define_root(entries)


@pytest.mark.parametrize(
    ("entries", "root"),
    [
        ([""], "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
        (["", "00"], "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
        (["", "00", "10"], "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
        (
            ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"],
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ),
    ],
)
def test_roots_of_certificate_transparency(entries: list[str], root: str) -> None:
    """The roots are those that the reference programs of Certificate Transparency test themselves with."""
    assert merkle_root([leaf_hash(bytes.fromhex(entry)) for entry in entries]).hex() == root


@given(st.lists(HASHES, min_size=1, max_size=20), st.data())
def test_root_names_every_leaf_and_its_place(leaves: list[bytes], data: st.DataObject) -> None:
    """Another leaf, one leaf more or less, or another order, is another root."""
    root = merkle_root(leaves)
    place = data.draw(st.integers(0, len(leaves) - 1))
    turned = data.draw(st.permutations(leaves))

    assert merkle_root([*leaves[:place], bytes(32), *leaves[place + 1 :]]) != root or leaves[place] == bytes(32)
    assert merkle_root([*leaves, leaves[-1]]) != root
    assert (merkle_root(turned) == root) == (turned == leaves)


def test_leaf_and_node_cannot_be_mistaken_for_each_other() -> None:
    """An entry that looks like an inner node has another hash than that node."""
    assert leaf_hash(LEAVES[0] + LEAVES[1]) != merkle_root(LEAVES[:2])


def define_path(entries: list[bytes], index: int) -> list[bytes]:
    """Return PATH of RFC 6962, section 2.1.1, word by word."""
    if len(entries) == 1:
        return []
    split = 1
    while split * 2 < len(entries):
        split *= 2
    if index < split:
        return [*define_path(entries[:split], index), define_root(entries[split:])]
    return [*define_path(entries[split:], index - split), define_root(entries[:split])]


def test_root_over_nothing_is_that_of_rfc_6962() -> None:
    """A tree without leaves has the hash of nothing for its root."""
    assert merkle_root([]) == Tree().root == EMPTY_ROOT == sha256().digest()


@pytest.mark.parametrize("size", range(1, 40))
def test_paths_are_those_of_rfc_6962(size: int) -> None:
    """For every leaf of every size of tree, the path is the one that the RFC defines, and it proves the leaf."""
    entries = [bytes([number]) for number in range(size)]
    leaves = [leaf_hash(entry) for entry in entries]
    for index in range(size):
        path = path_among(leaves, index)

        assert path == define_path(entries, index)
        assert is_proved(leaves[index], index, size, path, define_root(entries))


@pytest.mark.parametrize(
    ("index", "size", "path"),
    [
        (0, 1, []),
        (
            0,
            8,
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            5,
            8,
            [
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
        (
            1,
            5,
            [
                "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ],
)
def test_paths_of_certificate_transparency(index: int, size: int, path: list[str]) -> None:
    """The paths are those that the reference programs of Certificate Transparency test themselves with."""
    leaves = [leaf_hash(bytes.fromhex(entry)) for entry in CT_ENTRIES[:size]]

    assert [sibling.hex() for sibling in path_among(leaves, index)] == path


@given(st.integers(1, 200), st.data())
def test_path_proves_nothing_but_its_leaf_at_its_place(size: int, data: st.DataObject) -> None:
    """Another leaf, place, root or path, a longer or a shorter one, proves nothing."""
    leaves = [leaf_hash(number.to_bytes(2, "big")) for number in range(size)]
    index = data.draw(st.integers(0, size - 1))
    path, root = path_among(leaves, index), merkle_root(leaves)

    assert is_proved(leaves[index], index, size, path, root)
    assert not is_proved(leaf_hash(b"other"), index, size, path, root)
    assert not is_proved(leaves[index], index, size, path, leaf_hash(b"other"))
    assert not is_proved(leaves[index], index, size, [*path, root], root)
    assert not any(is_proved(leaves[index], place, size, path, root) for place in range(-1, size + 1) if place != index)
    if path:
        place = data.draw(st.integers(0, len(path) - 1))
        assert not is_proved(leaves[index], index, size, path[:-1], root)
        assert not is_proved(leaves[index], index, size, [*path[:place], bytes(32), *path[place + 1 :]], root)


@pytest.mark.parametrize("index", [-1, 3, 4])
def test_leaf_that_is_not_there_has_no_path(index: int) -> None:
    """There is no path for a number beyond the leaves."""
    with pytest.raises(IndexError):
        path_among(LEAVES[:3], index)


def test_growing_tree_has_the_root_of_a_whole_one_at_every_size() -> None:
    """Leaf by leaf, the growing tree has the root over all leaves so far."""
    tree = Tree()
    for size, leaf in enumerate(LEAVES, 1):
        tree.append(leaf)

        assert (tree.size, tree.root) == (size, merkle_root(LEAVES[:size]))


@given(st.integers(0, 70), st.sampled_from([1, 2, 4, 8, 16]))
def test_tiles_stand_in_for_their_leaves(size: int, tile: int) -> None:
    """The root over the roots of whole tiles, and of the rest if there is one, is the root over all leaves."""
    roots = [merkle_root(LEAVES[begin : min(begin + tile, size)]) for begin in range(0, size, tile)]

    assert merkle_root(roots) == merkle_root(LEAVES[:size])


def test_ranges_asked_for_a_path_are_whole_or_at_the_end() -> None:
    """A path asks for roots over ranges that begin at a multiple of their size, rounded up to a power of two."""
    for size in range(1, 70):
        for index in range(size):

            def root_of(begin: int, end: int, size: int = size) -> bytes:
                width = 1 << (end - begin - 1).bit_length()
                assert begin % width == 0
                assert end - begin == width or end == size
                return node_hash(LEAVES[begin], LEAVES[end - 1])

            find_path(index, size, root_of)


@pytest.mark.parametrize("count", range(71))
def test_path_through_the_nodes_is_the_path(count: int) -> None:
    """Where all nodes are kept, a path is looked up and not hashed, and it is the same one."""
    levels = grow_levels(LEAVES[:count])

    assert [path_through(levels, index) for index in range(count)] == [
        path_among(LEAVES[:count], index) for index in range(count)
    ]
    assert levels[-1] == ([merkle_root(LEAVES[:count])] if count else [])
