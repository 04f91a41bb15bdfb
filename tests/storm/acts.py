"""What the operator does to balances in a storm, and asks for again where a kill has left it open: each is done once.

By a reference of the payer's, or by an `Idempotency-Key`: then the entry does not say under which, and an act is known
by its amount, or by its reason.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from tallygate.core.ledger.entry import Entry
    from tests.storm.witness import Books
    from tests.storm.world import Gateway


class Way(StrEnum):
    """How an act is known again when it is asked for again."""

    REFERENCE = "deposits by reference"
    DEPOSIT_KEY = "deposits by idempotency key"
    CORRECTION_KEY = "corrections by idempotency key"


class Act(NamedTuple):
    """One of them.

    Attributes:
        name: Its reference, or its key; of a correction the reason, too.
    """

    way: Way
    account: str
    name: str
    picousd: int

    @classmethod
    def draw(cls, rng: random.Random, account: str, name: str, number: int) -> Act:
        """Return any act; no two of a storm have the same amount."""
        return cls(rng.choice(list(Way)), account, name, 1000 * rng.randint(200, 1500) + number)

    async def ask(self, gateway: Gateway) -> bool:
        """Have it done; return whether it had been done before.

        Raises:
            OSError: The gateway is not there any more; it may be done or not.
        """
        key = "" if self.way is Way.REFERENCE else self.name.replace(" ", "-")
        if self.way is Way.CORRECTION_KEY:
            path, fields = "corrections", {"reason": self.name, "actor": "operator"}
        else:
            path, fields = "deposits", {"reference": self.name} if self.way is Way.REFERENCE else {}
        whole, part = divmod(self.picousd, 10**12)
        fields["usd"] = f"{whole}.{part:012d}"
        done = await gateway.operate("POST", f"accounts/{self.account}/{path}", fields, idempotency_key=key)
        return bool(done["replayed"])


Known = tuple[str, str | None, str]


def check_acts(acknowledged: set[Act], books: Books) -> Iterator[str]:
    """An act that was acknowledged is in the books, with its amount; and whatever is there is there once."""
    booked: Counter[Known] = Counter()
    amounts: dict[Known, int] = {}
    for entry in books.entries:
        if (known := _know(entry)) is not None:
            booked[known] += 1
            amounts[known] = _amount(entry)
    yield from (f"{' '.join(map(str, known))} is booked {count} times" for known, count in booked.items() if count > 1)
    for act in acknowledged:
        kind = "correction" if act.way is Way.CORRECTION_KEY else "deposit"
        known = (kind, act.account, str(act.picousd) if act.way is Way.DEPOSIT_KEY else act.name)
        if amounts.get(known) != act.picousd:
            yield f"{act} was acknowledged, the books have {amounts.get(known)}"


def _know(entry: Entry) -> Known | None:
    """Return what an act in the books is known by."""
    if entry.kind == "deposit":
        return entry.kind, entry.account, entry.reference or str(_amount(entry))
    return (entry.kind, entry.account, entry.reason or "") if entry.kind == "correction" else None


def _amount(entry: Entry) -> int:
    return sum(amount for _, _, amount in entry.postings if amount > 0)
