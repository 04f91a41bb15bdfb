"""Errors: each is told from the others by class and code."""

from tallygate.network import connection_errors
from tallygate.network.connection_errors import (
    ConnectError,
    ConnectionLostError,
    ConnectTimeoutError,
    UpstreamConnectionError,
)

LEAVES = UpstreamConnectionError.__subclasses__()


def test_codes_are_distinct() -> None:
    """No two errors share a code."""
    assert len(LEAVES) == len({leaf.code for leaf in LEAVES}) >= 9


def test_only_failed_connects_prove_that_nothing_was_sent() -> None:
    """Nothing was sent, for certain, only where no connection came about."""
    assert {ConnectError, ConnectTimeoutError} == {leaf for leaf in LEAVES if not leaf.request_sent}


def test_lost_connection_says_how_far_the_answer_had_come() -> None:
    """A lost connection carries what a decision about trying again needs."""
    lost = ConnectionLostError("lost", reused=True, any_byte=True, body_byte=False)
    assert (lost.reused, lost.any_byte, lost.body_byte) == (True, True, False)


def test_all_errors_have_the_one_base() -> None:
    """Every exception of the module can be caught by its base."""
    classes = [value for value in vars(connection_errors).values() if isinstance(value, type)]
    assert all(issubclass(value, UpstreamConnectionError) for value in classes)
