"""The parts of a node's check, against the protocol's vectors and its window."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.devnet.chain import NS_PER_S, Block
from tallygate.devnet.settings import Scheme
from tallygate.devnet.verification import (
    REPLAY_BLOCKS,
    RefusedError,
    ReplayGuard,
    build_signed_bytes,
    check_signature,
    check_timestamp,
    parse_timestamp,
)
from tests.devnet.test_identity import VECTORS

CASES = [
    *((Scheme.RAW, vector) for vector in VECTORS["scheme_raw_v0_2_5_and_older"]),
    *((Scheme.HASH, vector) for vector in VECTORS["scheme_hash_v0_2_6_plus"]),
]


def check(scheme: Scheme, vector: dict[str, Any], **changes: Any) -> None:
    """Checks a vector's signature, perhaps after a change."""
    case = vector | changes
    signed = build_signed_bytes(
        scheme,
        case["payload_utf8"].encode(),
        int(case["timestamp_ns"]),
        case["transfer_address"],
    )
    check_signature(bytes.fromhex(case["public_key_hex"]), signed, case["signature_b64"])


@pytest.mark.parametrize(("scheme", "vector"), CASES)
def test_accepts_every_vector(scheme: Scheme, vector: dict[str, Any]) -> None:
    """Every vector verifies under its own scheme."""
    check(scheme, vector)


@pytest.mark.parametrize(("scheme", "vector"), CASES)
def test_refuses_the_other_scheme(scheme: Scheme, vector: dict[str, Any]) -> None:
    """No vector verifies under the other scheme."""
    other = Scheme.RAW if scheme is Scheme.HASH else Scheme.HASH
    with pytest.raises(RefusedError, match="invalid signature"):
        check(other, vector)


@pytest.mark.parametrize(
    "changes",
    [
        {"payload_utf8": "{}"},
        {"timestamp_ns": "1"},
        {"transfer_address": "gonka1gfcfek4rsrxt04jz3h7h5d8f7pm3a40hjk6wxc"},
        {"public_key_hex": "030f940251673cd92454a97bab2c2718164d40589275f0efa282405d45852993ee"},
        {"signature_b64": "not base64"},
        {"signature_b64": "é"},
        {"signature_b64": ""},
    ],
)
@pytest.mark.parametrize(("scheme", "vector"), [CASES[0], CASES[3]])
def test_refuses_every_change(scheme: Scheme, vector: dict[str, Any], changes: dict[str, Any]) -> None:
    """Another body, timestamp, node, key or signature is refused with the same words."""
    with pytest.raises(RefusedError) as caught:
        check(scheme, vector, **changes)
    assert caught.value.status == 401
    assert caught.value.message == "Unable to validate request against PubKey:invalid signature"


@given(st.integers(-(2**63), 2**63 - 1))
def test_reads_every_64_bit_timestamp(number: int) -> None:
    """A decimal of 64 bits is read as it is."""
    assert parse_timestamp(str(number)) == number


@pytest.mark.parametrize("text", ["", "1.5", "1_0", " 1", "٣", "0x10", "9" * 19, "1e9", "now"])
def test_any_other_timestamp_counts_as_0(text: str) -> None:
    """What is no decimal of 64 bits is 0, and so too old."""
    assert parse_timestamp(text) == 0


def test_a_timestamp_of_0_is_not_part_of_what_is_signed() -> None:
    """Without a timestamp the signed bytes are payload and address alone."""
    assert build_signed_bytes(Scheme.RAW, b"{}", 0, "gonka1x") == b"{}gonka1x"


@pytest.mark.parametrize(
    ("age_ns", "message"),
    [
        (60 * NS_PER_S, None),
        (60 * NS_PER_S + 1, "signature is too old"),
        (-30 * NS_PER_S, None),
        (-30 * NS_PER_S - 1, "signature is in the future"),
    ],
)
def test_window_is_60_s_old_and_30_s_ahead(age_ns: int, message: str | None) -> None:
    """The window's ends belong to it."""
    block = Block(1, 1_800_000_000 * NS_PER_S)
    if message is None:
        check_timestamp(block.time_ns - age_ns, block)
        return
    with pytest.raises(RefusedError, match=message):
        check_timestamp(block.time_ns - age_ns, block)


def test_replays_are_remembered_for_30_blocks() -> None:
    """A signature is refused for 30 blocks, and forgotten after them."""
    guard = ReplayGuard()
    guard.check("signature", Block(100, 0))
    guard.check("another", Block(101, 0))
    with pytest.raises(RefusedError, match="AuthKey has already been used"):
        guard.check("signature", Block(100 + REPLAY_BLOCKS, 0))
    guard.check("signature", Block(101 + REPLAY_BLOCKS, 0))
