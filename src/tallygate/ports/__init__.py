"""What the relay and the routes need of the world, in the words of the domain.

Each port is a noun with a few verbs; adapters add how (`EmbeddedLedger`, `GonkaNode`, `BearerUpstream`). Nothing
here knows of SQL, sockets or HTTP servers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

    from tallygate.core.audit.report import Report
    from tallygate.core.idempotency import Claim, Claimed
    from tallygate.core.ledger.margin import MarginSums
    from tallygate.core.ledger.past import CallPage, PastCall, Wanted
    from tallygate.core.ledger.reconciliation import Bill, Unreported
    from tallygate.core.ledger.records import (
        Account,
        Correction,
        Deposit,
        Hold,
        HoldRequest,
        Sending,
        SendingEnd,
        Settlement,
    )
    from tallygate.core.ledger.rollup import CallSums, Page, Question
    from tallygate.core.ledger.spending import Budget
    from tallygate.core.ledger.statement import Line, Statement
    from tallygate.core.ledger.sums import Sums
    from tallygate.core.limits import Limits
    from tallygate.core.pricing import Sheet, UpstreamRate, UpstreamRates
    from tallygate.core.proofs.anchoring import AnchorReport
    from tallygate.core.proofs.checkpoint import SignedCheckpoint
    from tallygate.core.proofs.receipt import BalanceProof, Receipt
    from tallygate.core.retry import Failure
    from tallygate.core.standing import End, Standing
    from tallygate.core.usage import Usage


class Ledger(Protocol):
    """The books of one installation.

    Every `async` act returns when what it did is durable, unless it says otherwise. When the store fails,
    `StoreUnavailableError` is raised by the act under way and by all later ones, and `ready` is False.
    """

    @property
    def ready(self) -> bool:
        """Whether the store takes writes."""

    @property
    def sheet(self) -> Sheet:
        """The prices in force."""

    @property
    def sheet_ns(self) -> int:
        """When they were published, 0 for never."""

    def account(self, account_id: str) -> Account:
        """Return an account with its balance now; raises `UnknownAccountError`."""

    def accounts(self) -> Sequence[Account]:
        """Return all accounts, oldest first."""

    def budgets(self, account_id: str, key_id: str, limits: tuple[Limits, Limits]) -> Sequence[Sequence[Budget]]:
        """Return what is spent and held now of the spend limits of a key, and of its account."""

    @property
    def sums(self) -> Sums:
        """Sums over all accounts and open holds: takes time for every account."""

    @property
    def kept_events(self) -> Sequence[KeptEvent]:
        """What the operator's webhook does not have yet, oldest first; what came last may not be durable yet."""

    async def open_account(self, name: str, actor: str) -> Account:
        """Open an account with nothing in it."""

    async def suspend_account(self, account_id: str, reason: str, actor: str) -> Account:
        """Close an account for now, effective at once: its keys are blocked until it is resumed."""

    async def resume_account(self, account_id: str, reason: str, actor: str) -> Account:
        """Open a suspended account again; its keys are what they were."""

    async def limit_account(self, account_id: str, limits: Limits, actor: str) -> Account:
        """Set what all keys of an account together may do, from the next call on."""

    async def deposit(
        self, account_id: str, picousd: int, reference: str | None, actor: str, claim: Claim | None = None
    ) -> Deposit:
        """Book money that came in; a reference is booked once, and so is a claim."""

    async def correct(
        self, account_id: str, picousd: int, reason: str, actor: str, claim: Claim | None = None
    ) -> Correction:
        """Change a balance, up or down, by the operator's word; it may end below zero. A claim is booked once."""

    async def publish(self, sheet: Sheet, actor: str) -> None:
        """Put the next version of the price sheet in force."""

    def bound(self, request: HoldRequest) -> int:
        """Return the bound of the answer that a hold would be taken with now, in tokens; takes nothing.

        Raises:
            Refusal: None would be taken: the money is not there, or a spend limit does not allow it.
        """

    async def hold(self, request: HoldRequest) -> Hold:
        """Set the most that an inference can cost aside, record its first sendings, take its claim: all in one step.

        Raises:
            Refusal: The money is not there, or the claim's key is taken.
        """

    def begin_attempt(self, hold: Hold, sending: Sending) -> None:
        """Record a further sending before it is sent; not waited for."""

    def end_attempt(self, hold: Hold, end: SendingEnd) -> None:
        """Record the end of a sending that was not the last; not waited for."""

    async def settle(self, hold: Hold, end: SendingEnd, usage: Usage, others: Sequence[SendingEnd] = ()) -> Settlement:
        """Turn a hold into the charge; `others` are the ends of the parts beside the one that `end` is of."""

    async def void(self, hold: Hold, end: SendingEnd, reason: str, others: Sequence[SendingEnd] = ()) -> None:
        """Give a hold back; `others` as above."""

    async def find_claim(self, claim: Claim) -> Claimed | None:
        """Return what a claim's key stands for, durably, or None if it is free.

        Raises:
            Refusal: It stands for another request.
        """

    async def purge_claims(self) -> int:
        """Forget the claims whose day is over; returns how many."""

    async def expire_orphans(
        self, rate: Callable[[str], UpstreamRate], *, charge_prompt: bool, owned: Container[str] = ()
    ) -> Sequence[str]:
        """End every open hold without an owner, an earlier process's or one that was lost here; returns whose.

        Args:
            rate: What an upstream bills, by name.
            charge_prompt: Whether the caller is charged the prompt, or nothing.
            owned: The inferences whose calls are under way: their holds are left alone, however long they last.
        """

    async def audit(self) -> Report:
        """Replay everything that is durable and say what was checked."""

    async def statement(
        self, account_id: str, start_ns: int, end_ns: int, entries_max: int
    ) -> tuple[Statement, Sequence[Line]]:
        """Draw up what happened to an account between two moments; refuses one of too many entries."""

    async def close(self) -> None:
        """Make everything durable and let go of the store."""


class KeptEvent(NamedTuple):
    """An event that the operator's webhook does not have yet; `body` is the JSON that it gets."""

    id: str
    created_ns: int
    body: str


class Outgoings(Protocol):
    """What is to be delivered to the operator's webhook."""

    async def events(self) -> Sequence[KeptEvent]:
        """Return what waits, oldest first, as soon as there is something and all of it is durable."""

    def forget_event(self, event_id: str) -> None:
        """Let go of an event; not waited for, so a crash can bring it back."""


class Proofs(Protocol):
    """What the operator and customers can prove of the books, by signed checkpoints.

    What makes a checkpoint raises `StoreUnavailableError` when the store has failed, or the checkpoint cannot be kept.
    """

    @property
    def public_key(self) -> bytes:
        """The public half of the checkpoint key."""

    @property
    def latest(self) -> SignedCheckpoint | None:
        """The last checkpoint."""

    async def checkpoint(self) -> SignedCheckpoint:
        """Make a checkpoint of what is durable now."""

    async def audit(self) -> AnchorReport:
        """Hold what is durable against every anchor."""

    async def receipt(self, inference: str, account: str | None = None) -> Receipt | None:
        """Return the receipt of an inference, None if there is none of this id, or of this account."""

    async def balance(self, account: str, sequence: int) -> BalanceProof | None:
        """Return the proof of an account's balance, after this entry of it; None before the account is durable."""


class CallHistory(Protocol):
    """What became of past calls, read from what is durable, beside the calls that go on.

    What is asked of an account that is not there raises `UnknownAccountError`.
    """

    async def usage(self, account: str, question: Question) -> Page[CallSums]:
        """Add up what an account's calls have used and cost; refuses a period that is too long for its order."""

    async def margin(self, question: Question) -> Page[MarginSums]:
        """Add up what all calls have brought in, and what the network has billed for them; refuses likewise."""

    async def call(self, inference: str) -> PastCall | None:
        """Return one inference, None if there is none of this id."""

    async def calls(self, wanted: Wanted, limit: int, before: int | None = None) -> CallPage:
        """Return the inferences that are looked for, newest first, from before a number that a page has named.

        A page can be shorter than the limit, even empty, and yet name where to go on.
        """


class Answer(Protocol):
    """An upstream's answer of which the status and the headers are in."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, names in lower case."""

    @property
    def reference(self) -> str | None:
        """The upstream's own id of this attempt."""

    async def read(self) -> bytes:
        """Return the body's bytes that have come, waiting for at least one; empty at its complete end."""

    async def read_all(self, bytes_max: int) -> bytes:
        """Return the whole body."""

    def abandon(self) -> None:
        """Let the connection go at once."""

    def conclude(self, end: End, tokens: tuple[int, int] | None = None, *, is_odd: bool = False) -> None:
        """Tell its place how the answer ended; see `core.standing`."""


class Target(Protocol):
    """One place that an inference can be sent to: a node of a Gonka upstream, or a whole Bearer upstream."""

    @property
    def upstream(self) -> str:
        """The upstream's configured name."""

    @property
    def node(self) -> str | None:
        """The node's address on the chain, where there is one."""

    @property
    def url(self) -> str:
        """Where it is asked, before the route."""

    @property
    def signed(self) -> bool:
        """Whether requests are signed for a Gonka node (else they carry a Bearer key)."""

    @property
    def rates(self) -> UpstreamRates:
        """What the upstream bills for its models."""

    @property
    def tokens_floor(self) -> int:
        """The least `max_tokens` that the upstream takes."""

    @property
    def bills_to_end(self) -> bool:
        """Whether the upstream bills an answer to its end, also when we stop reading it."""

    @property
    def flattens(self) -> bool:
        """Whether message content that comes in text parts is sent there as one string."""

    @property
    def is_out(self) -> bool:
        """Whether this place is left out of the choice now."""

    @property
    def is_out_for_good(self) -> bool:
        """Whether it will not come back by itself."""

    @property
    def is_quiet(self) -> bool:
        """Whether it serves little or nothing now because the network is in a quiet window."""

    @property
    def standing(self) -> Standing:
        """How this place has done lately."""

    def report(self, failure: Failure) -> Failure:
        """Take note of a sending that failed here; return it with what this place knows of it besides."""

    def take_retry(self) -> bool:
        """Return whether a call that failed here may be sent again; whoever is told so has used one retry up."""

    async def send(
        self,
        body: bytes,
        *,
        fresh: bool = False,
        streams: bool = False,
        on_sent: Callable[[str | None], None] | None = None,
    ) -> Answer:
        """Send one attempt; raises `core.retry.SendingError`, as does reading its answer.

        `on_sent` is called once the request is on its way, so that it may cost something: with the upstream's id of
        the attempt where that is known beforehand, for nothing more may ever be heard of it.
        """


class Upstream(Protocol):
    """One configured way to reach the network."""

    @property
    def name(self) -> str:
        """Its configured name."""

    @property
    def models(self) -> Mapping[str, str] | None:
        """Its names for our model ids; None when it takes every id as it is."""

    @property
    def priority(self) -> int:
        """Lower is tried first."""

    @property
    def weight(self) -> int:
        """Its share among upstreams of the same priority."""

    @property
    def routes(self) -> Mapping[str, tuple[int, int]]:
        """Priority and weight for our model ids, in lower case, that have others."""

    @property
    def rates(self) -> UpstreamRates:
        """What it bills for its models."""

    @property
    def places(self) -> Sequence[Target]:
        """Its places, whoever's turn it is."""

    def describe(self) -> Mapping[str, object]:
        """Return what is known of the network behind it, for the operator; plain values."""

    def targets(self) -> Sequence[Target]:
        """Return its places in the order in which to try them now."""

    async def ask_bill(self, reference: str, node: str | None) -> Bill | Unreported:
        """Return what an attempt cost, by its reference and the node that took it; or why that cannot be told."""

    async def close(self) -> None:
        """Close its connections."""


class Upstreams(Protocol):
    """All configured ways to reach the network."""

    @property
    def upstreams(self) -> Sequence[Upstream]:
        """All of them, best first."""

    def serves(self, model: str) -> bool:
        """Return whether any upstream takes a model."""

    def works(self, model: str) -> bool:
        """Return whether any place that takes a model is in the choice now, and not in a quiet window."""

    def look(self, model: str) -> Sequence[tuple[Target, str]]:
        """Return the places for a model as they are configured: nothing is drawn, and nobody's turn is taken."""

    def targets(self, model: str) -> Sequence[tuple[Target, str]]:
        """Return the places to try for a model, best first, each with the model's name there."""

    def rate(self, upstream: str) -> UpstreamRate:
        """Return what an upstream bills at most, all zero for one that is not configured (any more)."""
