"""Tiles: with them, root and paths are those over all batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tallygate.core.ledger.merkle import is_proved, merkle_root
from tallygate.core.proofs.checkpoint import header_leaf
from tallygate.core.proofs.totals import Totals
from tallygate.storage.proofs.tiles import TILE_BATCHES, OpenTile, Tile, path_of, whole_root
from tests.core.audit.forgery import entries_of, make_world

if TYPE_CHECKING:
    from collections.abc import Sequence

HASHES = [number.to_bytes(32, "big") for number in range(3 * TILE_BATCHES + 5)]
LEAVES = [header_leaf(header_hash) for header_hash in HASHES]
SIZES = [1, 255, 256, 257, 511, 512, 513, 3 * TILE_BATCHES, len(HASHES)]


def lay(size: int) -> list[Tile]:
    """Return the tiles that so many batches fill."""
    tile = OpenTile(0, Totals())
    return [done for number in range(size) if (done := tile.take(HASHES[number], []))]


@pytest.mark.parametrize("size", SIZES)
def test_root_over_tiles_is_the_root_over_all_batches(size: int) -> None:
    """Full tiles and the leaves behind them give the root that all leaves give."""
    tiles = lay(size)

    assert [tile.number for tile in tiles] == list(range(1, size // TILE_BATCHES + 1))
    behind = LEAVES[len(tiles) * TILE_BATCHES : size]
    assert whole_root([tile.root for tile in tiles], behind) == merkle_root(LEAVES[:size])


@pytest.mark.parametrize("size", SIZES)
def test_paths_over_tiles_prove_every_batch_with_few_leaves_read(size: int) -> None:
    """Whichever batch it is, the path proves it, and no more than the leaves of two tiles are read for it."""
    roots = [tile.root for tile in lay(len(HASHES))]  # the store may have gone on since the checkpoint
    for sequence in {1, size // 2 + 1, max(size - 1, 1), size}:
        read: list[bytes] = []

        def read_leaves(begin: int, end: int, read: list[bytes] = read) -> Sequence[bytes]:
            read += LEAVES[begin:end]
            return LEAVES[begin:end]

        path = path_of(sequence, size, roots, read_leaves)

        assert is_proved(LEAVES[sequence - 1], sequence - 1, size, path, merkle_root(LEAVES[:size]))
        assert len(read) <= 2 * TILE_BATCHES


def test_tile_keeps_the_totals_after_its_last_batch() -> None:
    """A tile that goes on from the totals of the one before it has the totals of all entries so far."""
    entries = entries_of(make_world())
    expected = Totals()
    tile = OpenTile(4, Totals())
    for number in range(TILE_BATCHES):
        taken = [entries[number]] if number < len(entries) else []
        done = tile.take(HASHES[number], taken)
    for entry in entries:
        expected.take(entry)

    assert done is not None
    assert (done.number, Totals.decode(done.totals).sums) == (5, {k: v for k, v in expected.sums.items() if v})
