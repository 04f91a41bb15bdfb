"""Compares the tiles that a store keeps beside its books with the books: whoever changes one would have a lie signed.

A checkpoint takes the roots and totals of full tiles at their word. So they are proved when the books are, after a
replay that has found nothing wrong with the batches themselves.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from tallygate.core.ledger.entry import decode_entry
from tallygate.core.ledger.merkle import merkle_root
from tallygate.core.proofs.checkpoint import header_leaf
from tallygate.core.proofs.totals import AVAILABLE, HELD, MalformedTotalsError, Totals
from tallygate.storage.proofs.tiles import TILE_BATCHES
from tallygate.storage.sql import QUERIES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import apsw

KeptTile = tuple[bytes, int, bytes]
"""A row: the root over its batches, the position of its last entry, and the totals after it."""


class TileRoots:
    """The roots of tiles, made of header hashes as they pass in a replay: so that no header is read for it once more.

    Parts of the history, taken apart, add up in their order; a tile that lies in two of them waits for its other part.
    """

    def __init__(self) -> None:
        self.roots: dict[int, bytes] = {}
        self._leaves: dict[int, list[bytes]] = {}

    def take(self, sequence: int, header_hash: bytes) -> None:
        """Take the hash of the next batch's header."""
        self._extend(-(-sequence // TILE_BATCHES), [header_leaf(header_hash)])

    def add(self, later: TileRoots) -> None:
        """Take over what a later part of the history has made."""
        self.roots |= later.roots
        for number, leaves in later._leaves.items():
            self._extend(number, leaves)

    def _extend(self, number: int, more: Sequence[bytes]) -> None:
        leaves = self._leaves.get(number)
        if leaves is None:
            leaves = self._leaves[number] = []
        leaves += more
        if len(leaves) == TILE_BATCHES:
            self.roots[number] = merkle_root(leaves)
            del self._leaves[number]


def find_tile_faults(
    db: apsw.Connection, tiles: Sequence[KeptTile], found: TileRoots, first_batch: int, last_batch: int
) -> Iterator[str]:
    """Return which tiles are not what the batches from one to another, all taken and found right, make of them."""
    full = last_batch // TILE_BATCHES
    if len(tiles) != full:
        yield f"tiles: {last_batch} batches make {full} of them, the store has {len(tiles)}"
        return
    skipped = (max(first_batch, 1) + TILE_BATCHES - 2) // TILE_BATCHES
    for number, (root, position, _) in enumerate(tiles[skipped:], skipped + 1):
        if found.roots.get(number) != root:
            yield f"tile {number}: its root is not that of its batches"
        places = [batch for _, batch, _ in islice(db.execute(QUERIES["entries_after"], (position - 1,)), 2)]
        if not (places[:1] == [number * TILE_BATCHES] and places[1:] != places[:1]):
            yield f"tile {number}: does not end with the last entry of batch {number * TILE_BATCHES}"


def find_sum_faults(
    db: apsw.Connection, tiles: Sequence[KeptTile], last_position: int, posted: Mapping[str, int]
) -> Iterator[str]:
    """Return which totals, as the last tile and the entries after it give them, were not posted.

    Args:
        db: The store.
        tiles: All of its tiles.
        last_position: Of the last entry that counts.
        posted: What a replay of all entries has posted, by `book class`.
    """
    position, raw = (tiles[-1][1], tiles[-1][2]) if tiles else (0, Totals().encode())
    try:
        totals = Totals.decode(raw)
    except MalformedTotalsError as error:
        yield f"tile {len(tiles)}: {error}"
        return
    for place, _, entry in db.execute(QUERIES["entries_after"], (position,)):
        if place > last_position:
            break
        totals.take(decode_entry(entry))
    kept = {f"{book} {name}": total for (book, name), total in totals.sums.items()}
    for place_name in sorted(kept.keys() | posted.keys()):
        wanted, found = posted.get(place_name, 0), kept.get(place_name, 0)
        if wanted != found and not place_name.endswith((f" {AVAILABLE}", f" {HELD}")):
            yield f"tile {len(tiles)}: makes {place_name} {found}, the entries make it {wanted}"
