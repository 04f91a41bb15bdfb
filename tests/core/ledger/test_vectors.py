"""The form of the books as committed bytes: a change here is a migration of everybody's books."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tallygate.core.ledger.batch import Header, decode_header, encode_header, header_hash
from tallygate.core.ledger.entry import KINDS, Entry, decode_entry, encode_entry, entry_id
from tallygate.core.ledger.merkle import leaf_hash, merkle_root

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors.json").read_text())
ENTRIES: dict[str, dict[str, Any]] = {vector["fields"]["kind"]: vector for vector in VECTORS["entries"]}
HEX = ("nonce", "writer", "ends", "tag", "previous", "root")


def read_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a vector as our records have them."""
    read = {name: bytes.fromhex(value) if name in HEX else value for name, value in fields.items()}
    postings = fields.get("postings")
    return read if postings is None else {**read, "postings": tuple(map(tuple, postings))}


def test_every_kind_has_a_vector() -> None:
    """Each kind of entry is pinned."""
    assert ENTRIES.keys() == KINDS


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_entry_has_its_committed_bytes(kind: str) -> None:
    """An entry of each kind has just the bytes and the id that were committed for it, in both directions."""
    vector = ENTRIES[kind]
    entry = Entry(**read_fields(vector["fields"]))

    assert encode_entry(entry).hex() == vector["bytes"]
    assert decode_entry(bytes.fromhex(vector["bytes"])) == entry
    assert entry_id(encode_entry(entry)).hex() == vector["id"] == sha256(bytes.fromhex(vector["bytes"])).hexdigest()


def test_header_has_its_committed_bytes() -> None:
    """A header has just the bytes, the hash and the Merkle root that were committed for it."""
    vector = VECTORS["header"]
    header = Header(**read_fields(vector["fields"]))

    assert encode_header(header).hex() == vector["bytes"]
    assert decode_header(bytes.fromhex(vector["bytes"])) == header
    assert header_hash(encode_header(header)).hex() == vector["hash"]
    leaves = [leaf_hash(bytes.fromhex(entry["bytes"])) for entry in VECTORS["entries"]]
    assert merkle_root(leaves) == header.root
