"""The records that the books hand out and take in: accounts, holds, sendings, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import Flag
from tallygate.core.limits import UNLIMITED

if TYPE_CHECKING:
    from tallygate.core.idempotency import Claim
    from tallygate.core.ledger.entry import Entry
    from tallygate.core.ledger.spending import Spending
    from tallygate.core.limits import Limits
    from tallygate.core.pricing import Cost, Price


class Written(NamedTuple):
    """An entry that has been made and now has to become durable."""

    entry: Entry
    raw: bytes
    id: bytes


@dataclass(slots=True, eq=False)
class Account:
    """A customer's account; amounts in pico-dollars.

    Attributes:
        told_empty: Whether the operator has been told, since money last came in, that it cannot pay for a call.
        suspended: Whether the operator has closed it for now: its keys are blocked until it is resumed.
        limits: What all of its keys together may do.
    """

    id: str
    name: str
    created_ns: int
    available: int = 0
    held: int = 0
    sequence: int = 0
    told_empty: bool = False
    suspended: bool = False
    limits: Limits = UNLIMITED
    available_account: str = field(init=False)
    held_account: str = field(init=False)

    def __post_init__(self) -> None:
        self.available_account = e.available_account(self.id)
        self.held_account = e.held_account(self.id)

    @property
    def balance(self) -> int:
        """All of the customer's money, set aside or not."""
        return self.available + self.held


class Sending(NamedTuple):
    """One attempt: which part of the inference, which try of it, and where it is sent."""

    part: int
    try_: int
    upstream: str
    node: str | None


class SendingEnd(NamedTuple):
    """How one attempt ended: the tokens that it took as far as we know, and what it costs the operator.

    Attributes:
        flags: What was special about the answer of a part whose end does not end the inference.
    """

    sending: Sending
    prompt_tokens: int
    completion_tokens: int
    bill_ngonka: int
    upstream_reference: str | None = None
    flags: Flag = Flag(0)


class Shrink(NamedTuple):
    """How far the bound of an answer may be lowered where the money does not pay for all of it.

    Attributes:
        choices: How many choices the answer has; the bound of each is the same, so all of it is a multiple of this.
        tokens_min: The least that the bound of one choice may be.
    """

    choices: int
    tokens_min: int


class HoldRequest(NamedTuple):
    """What has to be set aside for an inference before it is sent.

    Attributes:
        first: The first sending of its first part.
        shrink: How far its bounds may be lowered; without, they stand.
        claim: The idempotency key that it claims, if any.
        tag: What its caller attributes it to, as `core.tags` makes it.
        others: The first sendings of its other parts.
        limits: Those of its key and of its account; None where neither limits what is spent.
    """

    inference: str
    account: str
    key_id: str | None
    model: str
    prompt_tokens_max: int
    completion_tokens_max: int
    first: Sending
    shrink: Shrink | None = None
    claim: Claim | None = None
    tag: bytes | None = None
    others: tuple[Sending, ...] = ()
    limits: tuple[Limits, Limits] | None = None


@dataclass(slots=True, eq=False)
class Hold:
    """Money set aside for one inference, and its sendings.

    Attributes:
        open_sendings: Those that have not ended, each with the id of the `attempt` that began it; None for the first.
        taken_ns: When it was taken, by the wall clock: its charge counts in that day and month.
        begun: Part and try of every sending ever begun.
        tag: What its caller attributes it to.
        counted_in: The spending of its account and of its key, where it counts until it has ended.
    """

    id: bytes
    inference: str
    account: Account
    key_id: str | None
    model: str
    sheet_version: int
    price: Price
    fee_ppm: int
    prompt_tokens_max: int
    completion_tokens_max: int
    cost: Cost
    open_sendings: dict[Sending, bytes | None]
    taken_ns: int
    begun: set[tuple[int, int]] = field(default_factory=set)
    tag: bytes | None = None
    counted_in: tuple[Spending, ...] = ()


class Settlement(NamedTuple):
    """What an inference was charged in the end, and whether the upstream reported more than that."""

    cost: Cost
    flags: Flag


class Deposit(NamedTuple):
    """A deposit that is in the books; `replayed` when its reference or idempotency key had been booked before."""

    id: bytes
    picousd: int
    replayed: bool


class Correction(NamedTuple):
    """An operator's change of a balance that is in the books; `replayed` when its idempotency key had been before."""

    id: bytes
    picousd: int
    replayed: bool


class UnknownAccountError(LookupError):
    """There is no account with this id."""
