"""What is kept beside the books so that a checkpoint, or a receipt, never has to read the whole history.

Every 256 batches make a tile: the root over their leaves in the writer's tree, and the totals after the last of them.
The root over all batches follows from the tiles and fewer than 256 headers; so does the path to any one of them. It
costs a commit nothing but every 256th time, one row. `verify` compares it with the books.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tallygate.core.ledger.merkle import find_path, merkle_root
from tallygate.core.proofs.checkpoint import header_leaf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tallygate.core.ledger.entry import Entry
    from tallygate.core.proofs.totals import Totals

TILE_BATCHES: Final = 256
"""Batches of a tile: ten million batches make 40,000 tiles, whose root takes some 50 ms; the rest are 256 headers."""


class Tile(NamedTuple):
    """A row for a tile that has just become full; its position is the store's to say."""

    number: int
    root: bytes
    totals: bytes


class OpenTile:
    """The tile that is being filled.

    Args:
        full: How many tiles are full.
        totals: The totals after the last of those.
    """

    def __init__(self, full: int, totals: Totals) -> None:
        self._full = full
        self._totals = totals
        self._leaves: list[bytes] = []

    def take(self, header_hash: bytes, entries: Iterable[Entry]) -> Tile | None:
        """Take the next batch; return the tile if that has made it full."""
        for entry in entries:
            self._totals.take(entry)
        self._leaves.append(header_leaf(header_hash))
        if len(self._leaves) < TILE_BATCHES:
            return None
        self._full += 1
        tile = Tile(self._full, merkle_root(self._leaves), self._totals.encode())
        self._leaves.clear()
        return tile


def whole_root(tile_roots: Sequence[bytes], leaves: Sequence[bytes]) -> bytes:
    """Return the root over all batches, from the tiles that are full and the leaves behind them."""
    return merkle_root([*tile_roots, merkle_root(leaves)] if leaves else tile_roots)


def path_of(
    sequence: int, size: int, tile_roots: Sequence[bytes], read_leaves: Callable[[int, int], Sequence[bytes]]
) -> list[bytes]:
    """Return the path from a batch to the root over so many batches.

    Args:
        sequence: Of the batch, from 1.
        size: Of the tree.
        tile_roots: Of all tiles that are full.
        read_leaves: Gives the leaves of the batches from one number (from 0) up to, not including, another.
    """

    def root_of(begin: int, end: int) -> bytes:
        if end - begin < TILE_BATCHES:
            return merkle_root(read_leaves(begin, end))
        first, last = begin // TILE_BATCHES, end // TILE_BATCHES  # any other range begins with a tile
        return whole_root(tile_roots[first:last], read_leaves(last * TILE_BATCHES, end))

    return find_path(sequence - 1, size, root_of)
