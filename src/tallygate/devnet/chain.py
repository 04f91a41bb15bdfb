"""The simulated chain: accounts, balances in ngonka, blocks, and the record of every inference.

It knows nothing of HTTP. One chain is shared by all nodes of a devnet. Invariants: no balance is
ever below zero; balances, escrows and costs together never change but by `fund`, a control, or a transaction; what an
inference cost was taken from its requester once, its fee (where there is one) at its start.

At the start of an inference the most that it can cost is put in escrow, at the price of that block. At its finish it
pays for its tokens, never more than its escrow, and gets the rest back. One that has not finished in time gets
everything back, and can finish no more.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tallygate.devnet.epochs import EPOCH_BLOCKS, Epochs
from tallygate.devnet.identity import derive_address
from tallygate.devnet.membership import Membership
from tallygate.devnet.parameters import Parameters

NS_PER_S = 1_000_000_000
FIRST_HEIGHT = 5_000_000  # of the order of mainnet's heights, so that logs look alike
EXPIRATION_BLOCKS = 20  # the chain's own parameter
CHAIN_ID = "gonka-devnet"  # never mainnet's: what is signed for a devnet must be worth nothing there


@dataclass(frozen=True, slots=True)
class Block:
    """The latest block: its height and its own time."""

    height: int
    time_ns: int


class BlockClock:
    """Block times: a new block at every interval of the injected clock, unless the chain stalls."""

    def __init__(self, now_ns: Callable[[], int], interval_ns: int) -> None:
        self._now_ns = now_ns
        self._interval_ns = interval_ns
        self._start = Block(FIRST_HEIGHT, now_ns())
        self._stalled_at: Block | None = None
        self._offset_ns = 0

    @property
    def stalled(self) -> bool:
        """Whether the chain makes no blocks."""
        return self._stalled_at is not None

    @property
    def offset_s(self) -> int:
        """How far block times are ahead of the injected clock, by a test's wish."""
        return self._offset_ns // NS_PER_S

    def latest(self) -> Block:
        """Gives the latest block."""
        block = self._stalled_at or self._count_blocks()
        return Block(block.height, block.time_ns + self._offset_ns)

    def stall(self) -> None:
        """Stops making blocks; the latest one stays the latest."""
        self._stalled_at = self._stalled_at or self._count_blocks()

    def resume(self) -> None:
        """Makes blocks again, the first one now."""
        if self._stalled_at is not None:
            self._start = Block(self._stalled_at.height + 1, self._now_ns())
            self._stalled_at = None

    def skip(self, blocks: int) -> None:
        """Makes blocks at once, as many as wanted, without any time going by."""
        if self._stalled_at is not None:
            self._stalled_at = Block(self._stalled_at.height + blocks, self._stalled_at.time_ns)
        self._start = Block(self._start.height + blocks, self._start.time_ns)

    def shift(self, offset_s: int) -> None:
        """Moves block times by whole seconds from the injected clock, forwards or backwards."""
        self._offset_ns = offset_s * NS_PER_S

    def _count_blocks(self) -> Block:
        blocks = max(0, self._now_ns() - self._start.time_ns) // self._interval_ns
        return Block(self._start.height + blocks, self._start.time_ns + blocks * self._interval_ns)


@dataclass(slots=True)
class Account:
    """An account of the chain.

    Attributes:
        number: The chain's own number of it, which transactions are signed with.
        balance_ngonka: What it can spend.
        escrowed_ngonka: What inferences under way have taken from it and may give back.
        public_key: None until it is published.
        sequence: How many transactions it has made.
    """

    address: str
    number: int
    balance_ngonka: int = 0
    escrowed_ngonka: int = 0
    public_key: bytes | None = None
    sequence: int = 0


class InferenceStatus(StrEnum):
    """How far the chain has come with an inference."""

    STARTED = "STARTED"
    FINISHED = "FINISHED"
    EXPIRED = "EXPIRED"


@dataclass(slots=True)
class Inference:
    """The chain's record of one inference; counts are 0 until it has finished.

    Attributes:
        price_ngonka: The price of one token, locked at the start.
        started: The block in which it began.
        expires_at: The last block in which it can finish.
        ended: The block in which it finished.
        expired: Whether its time went by.
        escrow_ngonka: What was put in escrow at its start.
        fee_ngonka: What was debited for the attempt itself.
        cost_ngonka: All that it has cost, the fee included; nothing of its escrow counts until it has finished.
        max_tokens: The most tokens of its answer.
        input_bytes: The length of the request's body.
        request_id: The Bearer gateway's id of the request, where it came through one.
    """

    id: str
    requester: str
    node_address: str
    model: str
    price_ngonka: int
    started: Block
    expires_at: int = 0
    ended: Block | None = None
    expired: bool = False
    escrow_ngonka: int = 0
    fee_ngonka: int = 0
    cost_ngonka: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    max_tokens: int = 0
    input_bytes: int = 0
    request_id: str | None = None

    @property
    def tokens_ngonka(self) -> int:
        """What its tokens have cost."""
        return self.cost_ngonka - self.fee_ngonka


@dataclass(frozen=True, slots=True)
class Order:
    """What an inference is to be, when it begins.

    Attributes:
        escrow_tokens: How many tokens its escrow is for.
        lifetime_blocks: In how many blocks it has to finish.
    """

    id: str
    requester: str
    node_address: str
    model: str
    escrow_tokens: int
    max_tokens: int = 0
    input_bytes: int = 0
    fee_ngonka: int = 0
    lifetime_blocks: int = EXPIRATION_BLOCKS


class Chain:
    """Everything that all nodes of a devnet agree on.

    Attributes:
        clock: Its blocks.
        epochs: Its epochs.
        parameters: What its governance has decided.
        membership: Who takes part in which epoch.
        id: Its name, which transactions are signed for.
        inferences: All that ever began, in that order.
        transactions: What became of each that was taken, by its hash, as the chain shows it.
    """

    def __init__(
        self, clock: BlockClock, price_ngonka: int, *, chain_id: str = CHAIN_ID, epoch_blocks: int = EPOCH_BLOCKS
    ) -> None:
        self.clock = clock
        self.epochs = Epochs(clock.latest().height, epoch_blocks)
        self.parameters = Parameters(price_ngonka=price_ngonka)
        self.membership = Membership()
        self.id = chain_id
        self.inferences: dict[str, Inference] = {}
        self.transactions: dict[str, dict[str, Any]] = {}
        self._accounts: dict[str, Account] = {}
        self._under_way: deque[Inference] = deque()  # in the order of their starts

    @property
    def accounts(self) -> dict[str, Account]:
        """All accounts by address, as of the latest block."""
        self._expire()
        return self._accounts

    @property
    def price_ngonka(self) -> int:
        """What a token costs now."""
        return self.parameters.price_ngonka

    @property
    def is_quiet(self) -> bool:
        """Whether nodes serve no inference now."""
        return self.epochs.is_quiet(self.clock.latest().height)

    def stays_out(self, address: str) -> bool:
        """Says whether a node takes no part in the epoch in charge."""
        epoch = self.epochs.effective_index(self.clock.latest().height)
        return address in self.membership.absent_from(epoch)

    def find_account(self, address: str) -> Account | None:
        """Gives an account, or None when the chain does not know it."""
        return self.accounts.get(address)

    def open_account(self, address: str) -> Account:
        """Gives an account, making it known first if it was not."""
        accounts = self.accounts
        return accounts.setdefault(address, Account(address, len(accounts)))

    def fund(self, public_key: bytes, balance_ngonka: int) -> Account:
        """Sets the balance of a key's account and publishes the key."""
        account = self.open_account(derive_address(public_key))
        account.public_key = public_key
        account.balance_ngonka = balance_ngonka
        return account

    def start(self, order: Order) -> Inference:
        """Records an inference that begins, at the price of now: debits its fee and takes its escrow."""
        account = self.open_account(order.requester)
        block = self.clock.latest()
        inference = Inference(
            order.id,
            order.requester,
            order.node_address,
            order.model,
            self.parameters.price_ngonka,
            started=block,
            expires_at=block.height + order.lifetime_blocks,
            max_tokens=order.max_tokens,
            input_bytes=order.input_bytes,
        )
        inference.fee_ngonka = inference.cost_ngonka = _take(account, order.fee_ngonka)
        inference.escrow_ngonka = _take(account, order.escrow_tokens * inference.price_ngonka)
        account.escrowed_ngonka += inference.escrow_ngonka
        self.inferences[order.id] = inference
        self._under_way.append(inference)
        return inference

    def finish(self, inference: Inference, prompt_tokens: int, completion_tokens: int) -> None:
        """Records what an inference took and pays for it out of its escrow; of an expired one, nothing is recorded."""
        if inference.ended is not None:
            raise RuntimeError(f"inference {inference.id} has already finished")
        self._expire()
        if inference.expired:
            return
        payment = min((prompt_tokens + completion_tokens) * inference.price_ngonka, inference.escrow_ngonka)
        self._give_back(inference, payment)
        inference.cost_ngonka += payment
        inference.prompt_tokens = prompt_tokens
        inference.completion_tokens = completion_tokens
        inference.ended = self.clock.latest()

    def status_of(self, inference: Inference) -> InferenceStatus:
        """Says how far an inference has come by the latest block."""
        self._expire()
        if inference.ended is not None:
            return InferenceStatus.FINISHED
        return InferenceStatus.EXPIRED if inference.expired else InferenceStatus.STARTED

    def _expire(self) -> None:
        """Gives back what inferences hold whose time has gone by; those that have finished are forgotten on the way."""
        if not self._under_way:
            return
        height = self.clock.latest().height
        waiting: deque[Inference] = deque()
        while self._under_way and self._under_way[0].started.height + EXPIRATION_BLOCKS < height:
            inference = self._under_way.popleft()
            if inference.ended is not None:
                continue
            if inference.expires_at >= height:
                waiting.append(inference)
                continue
            inference.expired = True
            self._give_back(inference, 0)
        self._under_way.extendleft(reversed(waiting))

    def _give_back(self, inference: Inference, payment_ngonka: int) -> None:
        account = self._accounts[inference.requester]
        account.escrowed_ngonka -= inference.escrow_ngonka
        account.balance_ngonka += inference.escrow_ngonka - payment_ngonka


def _take(account: Account, ngonka: int) -> int:
    """Takes an amount from a balance, or what there is of it, and gives what was taken."""
    taken = min(ngonka, account.balance_ngonka)
    account.balance_ngonka -= taken
    return taken
