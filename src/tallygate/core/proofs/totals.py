"""What the ledger accounts of each class sum to: exact integers of any size, never a database's.

An installation may have millions of ledger accounts, and which customer has how much is nobody else's business; so
what is published, and kept beside the books for a quick start, is one total for each class: `available`, `held`,
`payable`, and those that stand for themselves (`world`, `income/base`, …).

A total can exceed 64 bits, which no account can. Its form in MessagePack is an integer while it is a signed 64-bit
one, and its decimal digits as text beyond: one form for each number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from tallygate.core.ledger import entry as e

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tallygate.core.ledger.entry import Entry, Posting

AVAILABLE: Final = "available"
HELD: Final = "held"

DIGITS_MAX: Final = 40
"""Digits of the largest total: every entry that 64 bits can count, at the largest amount, has 38."""

WrittenTotal = tuple[str, str, int | str]
"""Book, class, and the total in its one form."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[WrittenTotal, ...]).decode


class MalformedTotalsError(ValueError):
    """Totals are not written in their one form."""


def class_of(ledger_account: str) -> str:
    """Return the class of a ledger account: `account/x/held` is `held`, `upstream/y/payable` is `payable`."""
    return ledger_account.rsplit("/", 1)[1] if ledger_account.startswith(("account/", "upstream/")) else ledger_account


def write_totals(totals: Mapping[tuple[str, str], int]) -> tuple[WrittenTotal, ...]:
    """Return totals in their one form: sorted, without those of zero."""
    return tuple((book, name, _write(total)) for (book, name), total in sorted(totals.items()) if total)


def read_totals(written: Iterable[WrittenTotal]) -> dict[tuple[str, str], int]:
    """Return the totals that were written.

    Raises:
        MalformedTotalsError: They are written otherwise than we would write them.
    """
    rows = tuple(written)
    totals = {(book, name): _read(total) for book, name, total in rows}
    if write_totals(totals) != rows:
        raise MalformedTotalsError("totals are not in their one form")
    return totals


class Totals:
    """The totals of what no customer owns, kept up entry by entry.

    The customers' own money is not among them: their balances are at hand wherever totals are wanted, and adding those
    up instead makes it a check, since all together must sum to zero.
    """

    def __init__(self, sums: Mapping[tuple[str, str], int] | None = None) -> None:
        self.sums = dict(sums or {})

    def take(self, entry: Entry) -> None:
        """Add what an entry posts."""
        self.add(entry.postings)

    def add(self, postings: Iterable[Posting], sign: int = 1) -> None:
        """Add postings, or take them back."""
        sums = self.sums
        for book, name, amount in postings:
            if not name.startswith("account/"):
                key = (book, class_of(name))
                sums[key] = sums.get(key, 0) + sign * amount

    def with_customers(self, available: int, held: int) -> dict[tuple[str, str], int]:
        """Return the totals of all classes, given what customers have."""
        return {**self.sums, (e.USD, AVAILABLE): available, (e.USD, HELD): held}

    def encode(self) -> bytes:
        """Return the totals as a store keeps them."""
        return _encode(write_totals(self.sums))

    @classmethod
    def decode(cls, raw: bytes) -> Totals:
        """Return the totals that a store has kept.

        Raises:
            MalformedTotalsError: The bytes are no totals of ours.
        """
        try:
            return cls(read_totals(_decode(raw)))
        except msgspec.DecodeError as error:
            raise MalformedTotalsError(f"no totals: {error}") from None


def find_imbalance(totals: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """Return the books that do not sum to zero, with what they sum to."""
    sums: dict[str, int] = {}
    for (book, _), total in totals.items():
        sums[book] = sums.get(book, 0) + total
    return {book: total for book, total in sums.items() if total}


def _write(total: int) -> int | str:
    return total if -(2**63) <= total < 2**63 else str(total)


def _read(written: int | str) -> int:
    if isinstance(written, int):
        return written
    if len(written) > DIGITS_MAX or not written.removeprefix("-").isdecimal() or not written.isascii():
        raise MalformedTotalsError("a total is no number")
    return int(written)
