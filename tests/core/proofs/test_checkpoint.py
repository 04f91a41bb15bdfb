"""Checkpoints: their bytes, and who has signed them."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tallygate.core.proofs.checkpoint import (
    Checkpoint,
    CheckpointKey,
    MalformedCheckpointError,
    SignedCheckpoint,
    decode_checkpoint,
    encode_checkpoint,
    header_leaf,
    is_signed,
    key_id_of,
)
from tests.core.audit.forgery import make_world
from tests.core.ledger.messagepack import pack
from tests.core.proofs.proving import KEY, OTHER_KEY, make_checkpoint

CHECKPOINT = make_checkpoint(make_world().batches())
SIGNED = KEY.sign(CHECKPOINT)


def fields_of(checkpoint: Checkpoint) -> list[Any]:
    """Return a checkpoint as plain lists, in the order of the page on the books."""
    heads = [
        [head.writer, head.epoch, head.sequence, head.header_hash, head.tree_size, head.tree_root]
        for head in checkpoint.heads
    ]
    totals = [list(total) for total in checkpoint.totals]
    return [checkpoint.format, checkpoint.time_ns, heads, totals, checkpoint.accounts_root]


FIELDS = fields_of(CHECKPOINT)
HEAD = FIELDS[2][0]


def test_checkpoint_bytes_are_what_another_encoder_makes() -> None:
    """A checkpoint is one MessagePack array of five members in their order, and is read back from it."""
    body = encode_checkpoint(CHECKPOINT)

    assert body == pack(FIELDS)
    assert decode_checkpoint(body) == CHECKPOINT
    assert CHECKPOINT.head_of(HEAD[0]) == CHECKPOINT.heads[0]
    assert CHECKPOINT.head_of(b"other") is None
    assert sum(CHECKPOINT.sums.values()) == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        pack(FIELDS)[:-1],
        pack(FIELDS) + b"\xc0",
        b"\xdc\x00\x05" + pack(FIELDS)[1:],
        pack([2, *FIELDS[1:]]),
        pack([*FIELDS[:4], bytes(31)]),
        pack([*FIELDS[:2], [], *FIELDS[3:]]),
        pack([*FIELDS[:2], [HEAD, HEAD], *FIELDS[3:]]),
        pack([*FIELDS[:2], [[b"x" * 16, *HEAD[1:]], [b"w" * 16, *HEAD[1:]]], *FIELDS[3:]]),
        pack([*FIELDS[:2], [[b"w" * 15, *HEAD[1:]]], *FIELDS[3:]]),
        pack([*FIELDS[:2], [[*HEAD[:3], bytes(31), *HEAD[4:]]], *FIELDS[3:]]),
        pack([*FIELDS[:2], [[*HEAD[:5], bytes(33)]], *FIELDS[3:]]),
        pack([*FIELDS[:2], [[*HEAD[:4], HEAD[4] + 1, HEAD[5]]], *FIELDS[3:]]),
        pack([*FIELDS[:2], [[*HEAD[:2], -1, HEAD[3], -1, HEAD[5]]], *FIELDS[3:]]),
        pack([*FIELDS[:3], FIELDS[3][::-1], FIELDS[4]]),
        pack([*FIELDS[:3], [["USD", "world", "12"]], FIELDS[4]]),
        b"\x95" + b"\x91" * 100_000,
    ],
)
def test_checkpoint_that_we_would_not_write_is_refused(body: bytes) -> None:
    """Bytes that are no checkpoint, or one in any but its one form, are malformed."""
    with pytest.raises(MalformedCheckpointError):
        decode_checkpoint(body)


@given(st.binary(max_size=200))
def test_garbage_is_malformed_and_nothing_else(garbage: bytes) -> None:
    """No bytes raise another exception."""
    try:
        decode_checkpoint(garbage)
    except MalformedCheckpointError:
        return


def test_leaf_of_a_batch_is_over_its_header_hash() -> None:
    """In the tree of its writer, SHA-256(0x00 || header hash) stands for a batch."""
    assert header_leaf(bytes(32)) == sha256(bytes(33)).digest()


def test_signature_is_that_of_rfc_8032() -> None:
    """The key and the signature are Ed25519's, by the RFC's first test."""
    secret = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
    public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    signature = (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe"
        "24655141438e7a100b"
    )
    key = CheckpointKey(bytes.fromhex(secret))

    assert key.public.hex() == public
    assert key.id == sha256(key.public).hexdigest()[:16]
    assert is_signed(SignedCheckpoint(b"", bytes.fromhex(signature), key.id), key.public)


def test_key_shows_its_name_and_never_its_secret() -> None:
    """What is printed of a key is its id."""
    assert repr(KEY) == f"CheckpointKey({KEY.id})"


def test_signature_is_of_these_bytes_and_this_key() -> None:
    """Other bytes, another signature, another key or another name of a key is no signature."""
    assert is_signed(SIGNED, KEY.public)
    assert not is_signed(SIGNED, OTHER_KEY.public)
    assert not is_signed(replace(SIGNED, key_id=OTHER_KEY.id), KEY.public)
    assert not is_signed(replace(SIGNED, key_id=OTHER_KEY.id), OTHER_KEY.public)
    assert not is_signed(replace(SIGNED, body=SIGNED.body + b"\x00"), KEY.public)
    assert not is_signed(replace(SIGNED, sig=SIGNED.sig[:-1]), KEY.public)
    for place in range(64):
        forged = bytearray(SIGNED.sig)
        forged[place] ^= 1
        assert not is_signed(replace(SIGNED, sig=bytes(forged)), KEY.public)


@pytest.mark.parametrize("public", [b"", bytes(31), bytes(33), b"\xff" * 32])
def test_what_is_no_key_has_signed_nothing(public: bytes) -> None:
    """Bytes that are no public key are told like any wrong key."""
    assert not is_signed(replace(SIGNED, key_id=key_id_of(public)), public)
