"""What is counted of a gateway, as a port: who counts is told of it in the words of the domain."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallygate.core.ledger.records import Written
    from tallygate.core.retry import Failure


class CallEnd(NamedTuple):
    """How a call ended that money was set aside for.

    Attributes:
        model: The canonical id.
        outcome: What ended it, in the words of `core.inference`.
        state: What became of it: settled, voided.
        overhead_s: From the checked request to its sending: the time that it took us to set money aside, durably.
        first_byte_s: From the checked request to the first byte of the answer; None where none came.
        total_s: From the checked request to the ending.
    """

    model: str
    outcome: str
    state: str
    overhead_s: float | None
    first_byte_s: float | None
    total_s: float


class Meter(Protocol):
    """Who counts what happens, for the operator's figures; returns at once, and is never told a caller's text."""

    def request_answered(self, route: str, model: str, status: int, code: str | None) -> None:
        """Count an answered request.

        Args:
            route: The pattern of its path, as in the table of routes; empty where there is none.
            model: The canonical id of the model that it was about; empty where it was about none that there is.
            status: The HTTP status.
            code: Why it was refused, where it was.
        """

    def call_ended(self, end: CallEnd) -> None:
        """Count the ending of a call."""

    def sending_failed(self, upstream: str, node: str | None, failure: Failure) -> None:
        """Count a failed sending; its kind is a row of the retry table."""

    def sending_answered(self, upstream: str, node: str | None) -> None:
        """Count a sending of which the first byte of an answer came."""

    def batch_taken(self, entries: Sequence[Written]) -> None:
        """Count what the books have taken in one batch."""

    def batch_durable(self, seconds: float) -> None:
        """Count the time that a batch has waited for the disk; called by whatever thread waits."""
