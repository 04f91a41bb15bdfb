"""The ids that are minted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.ids import inference_id, request_id

TIMES = st.integers(0, 2**48 - 1)
ENTROPY = st.binary(min_size=10, max_size=10)


def test_ids_have_their_form() -> None:
    """An inference's id is the clients' prefix, 12 digits of time and 20 of randomness; a request's is `req_…`."""
    assert inference_id(1_700_000_000_000, bytes(range(10))) == "chatcmpl-018bcfe5680000010203040506070809"
    assert request_id(bytes(range(12))) == "req_000102030405060708090a0b"


@given(TIMES, ENTROPY, TIMES, ENTROPY)
def test_later_ids_sort_later(early_ms: int, one: bytes, late_ms: int, other: bytes) -> None:
    """Ids sort by their time, so that what is made together lies together in every index."""
    early, late = sorted((early_ms, late_ms))

    assert inference_id(early, one) < inference_id(late, other) or early == late


@given(TIMES, ENTROPY, TIMES, ENTROPY)
def test_ids_are_as_different_as_what_they_are_made_of(a_ms: int, a: bytes, b_ms: int, b: bytes) -> None:
    """Two ids are the same only if time and randomness are."""
    assert (inference_id(a_ms, a) == inference_id(b_ms, b)) == ((a_ms, a) == (b_ms, b))
