"""The one kind of tree that the books are hashed with: RFC 6962's, over any number of leaves.

    leaf       = SHA-256(0x00 || data)
    inner node = SHA-256(0x01 || left || right)
    shape        the left half is the largest power of two that is smaller than the whole

Three trees have this form: the entries of a batch, the header hashes of a writer, and the balances of a checkpoint.
A root stands for all of its leaves and their order; a path of some twenty hashes proves one of them against the root
without showing any other. Leaves and inner nodes can never be mistaken for each other.

Folding neighbours level by level, with an odd last one carried up, gives that very shape. So whole subtrees of one
size may stand in for their leaves: the root over the roots of tiles, with the root of a last tile that is not yet
full at the end, is the root over all leaves.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()
"""The root of a tree without leaves."""

# Begun once and copied: with OpenSSL to begin a hash takes as long as to hash an entry.
_copy_leaf: Final = sha256(b"\x00").copy
_copy_node: Final = sha256(b"\x01").copy


def leaf_hash(data: bytes) -> bytes:
    """Return what stands for some data in a tree."""
    return leaf_hashes((data,))[0]


def leaf_hashes(data: Iterable[bytes]) -> list[bytes]:
    """Return what stands for each of these in a tree."""
    hashes = []
    for item in data:
        leaf = _copy_leaf()
        leaf.update(item)
        hashes.append(leaf.digest())
    return hashes


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return what stands for two neighbours."""
    node = _copy_node()
    node.update(left + right)
    return node.digest()


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes."""
    if len(leaves) == 1:  # as half of all batches have
        return leaves[0]
    if not leaves:
        return EMPTY_ROOT
    level = leaves
    while (size := len(level)) > 1:
        above = []
        for right in range(1, size, 2):
            node = _copy_node()  # as `node_hash`; to call it for each would take a sixth longer
            node.update(level[right - 1] + level[right])
            above.append(node.digest())
        if size % 2:
            above.append(level[-1])
        level = above
    return level[0]


def find_path(index: int, size: int, root_of: Callable[[int, int], bytes]) -> list[bytes]:
    """Return the path that proves a leaf, from its sibling up to the root's other half.

    Args:
        index: The leaf's number, from 0.
        size: How many leaves there are.
        root_of: Gives the root over the leaves from one number up to, not including, another.

    Raises:
        IndexError: There is no such leaf.
    """
    if not 0 <= index < size:
        raise IndexError(index)
    path = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + (1 << (end - begin - 1).bit_length() - 1)
        if index < middle:
            path.append(root_of(middle, end))
            end = middle
        else:
            path.append(root_of(begin, middle))
            begin = middle
    return path[::-1]


def grow_levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """Return all nodes of the tree over leaf hashes, level by level from the leaves to the root."""
    levels = [list(leaves)]
    while len(level := levels[-1]) > 1:
        odd = [level[-1]] if len(level) % 2 else []
        levels.append([node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)] + odd)
    return levels


def path_through(levels: Sequence[Sequence[bytes]], index: int) -> list[bytes]:
    """Return the path that proves a leaf of a tree whose nodes are at hand: nothing is hashed."""
    path = []
    for level in levels[:-1]:
        if (sibling := index ^ 1) < len(level):  # an odd last one has none, and is carried up
            path.append(level[sibling])
        index >>= 1
    return path


def path_among(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the path that proves one of these leaf hashes."""
    return find_path(index, len(leaves), lambda begin, end: merkle_root(leaves[begin:end]))


def is_proved(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Return whether a path proves that a leaf hash has this place among so many leaves under a root.

    Word by word RFC 9162, section 2.1.3.2, which corrects the RFC before it.
    """
    if not 0 <= index < size:
        return False
    place, last, found = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if place % 2 or place == last:
            found = node_hash(sibling, found)
            while place and not place % 2:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root


class Tree:
    """A tree that grows leaf by leaf, and keeps nothing but the roots of its whole subtrees, one of a size at most."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Take the next leaf hash."""
        number, node = self.size, leaf
        while number % 2:
            node = node_hash(self._peaks.pop(), node)
            number >>= 1
        self._peaks.append(node)
        self.size += 1

    @property
    def root(self) -> bytes:
        """The root over all leaves so far."""
        if not self._peaks:
            return EMPTY_ROOT
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = node_hash(peak, root)
        return root
