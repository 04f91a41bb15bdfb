"""The words in which a call can be refused."""

from __future__ import annotations

import re

from tallygate.core.errors import Code, FencedError, InvariantBrokenError, Refusal, StoreUnavailableError


def test_codes_are_words_of_the_contract() -> None:
    """A code is its name in lower case, so no two can be the same and none has another spelling."""
    assert [code.value for code in Code] == [code.name.lower() for code in Code]
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", code.value) for code in Code)


def test_refusal_carries_what_the_edge_needs() -> None:
    """A refusal keeps its code, message, place, metadata, retry time and inference."""
    refusal = Refusal(
        Code.BALANCE_HELD, "Wait.", param="model", metadata={"a": "1"}, retry_after_s=1, inference="chatcmpl-1"
    )

    assert (refusal.code, refusal.message, refusal.param) == (Code.BALANCE_HELD, "Wait.", "model")
    assert (refusal.metadata, refusal.retry_after_s, refusal.inference) == ({"a": "1"}, 1, "chatcmpl-1")
    assert str(refusal) == "Wait."


def test_refusal_says_nothing_that_it_was_not_told() -> None:
    """What is left out of a refusal is None."""
    refusal = Refusal(Code.INTERNAL_ERROR, "Ours.")

    assert (refusal.param, refusal.metadata, refusal.retry_after_s, refusal.inference) == (None, None, None, None)


def test_fenced_owner_counts_as_a_store_that_takes_no_writes() -> None:
    """Whoever handles an unavailable store handles being fenced; a broken invariant is neither."""
    assert issubclass(FencedError, StoreUnavailableError)
    assert not issubclass(InvariantBrokenError, (StoreUnavailableError, Refusal))
